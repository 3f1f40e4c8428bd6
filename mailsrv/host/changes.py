"""Changes of the configuration (floor 6): edited, checked, taken up and written, or nothing of it (S-015, S-179).

The file is the truth: a change takes up the whole file as it stands then, edits by hand included.  It is written after
the running site has taken it up, and a change that cannot be written is taken back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from ..errors import ConfigError, MailError, Refused
from ..parts import dotted
from .audit import NotAudited
from .config.derive import domain_facts
from .config.edit import Change as Edit
from .config.edit import edited, write_atomically
from .config.load import loads
from .config.options import SiteOptions
from .config.versions import Pending, Version, Versions, digest_of
from .confirmation import Confirmation
from .live import Change, changed

log = Logger()

#: Seconds that a change may wait to be confirmed.
CONFIRM = (5, 86400)


@frozen
class Asked:
    """A change that somebody asks for: `who`, `what` in words for the list of versions; `if_version` (a digest): only
    while the file is that one; `confirm`: seconds after which it is taken back unless it is confirmed, 0: it stays."""

    who: str = ""
    what: str = ""
    if_version: str = ""
    confirm: int = 0


@frozen
class Done:
    """What came of a change."""

    change: Change
    version: Version


class Changes:
    """One for a site that has a file.  `running()` tells whether the site serves, so that a change takes effect."""

    def __init__(self, site: Any, running: Callable[[], bool]) -> None:
        self._site, self.running = site, running
        self._lock = DeferredLock()
        self.confirmation = Confirmation(site, self._expire)
        self._ended = False
        #: The digest of the text that is in effect; "" before anything was compared.
        self.applied = ""

    @property
    def path(self) -> Path:
        """The file.  Raises Refused."""
        if self._site.config_path is None:
            raise Refused("this site has no configuration file; its options are its program's")
        return Path(self._site.config_path)

    @property
    def versions(self) -> Versions:
        """What was kept."""
        return Versions(self._site.options.data / "config", self._site.clock)

    # ------------------------------------------------------------ for operations

    async def edit(self, change: Edit, asked: Asked) -> Done:
        """Change the file's document (tomlkit's) in place.  Raises ConfigError, Refused: nothing has changed then."""
        return await self._do(lambda text: edited(text, change, self.path), asked)

    async def put(self, text: str, asked: Asked) -> Done:
        """Put another text in the place of the file's.  Raises as `edit`, and Refused for one that says nothing."""
        if not text.strip():
            raise Refused("the text is empty: it would take every setting away; `config unset` takes one")
        return await self._do(lambda _: text, asked)

    async def apply(self, asked: Asked) -> Done:
        """Take up the file as somebody has edited it.  Raises as `edit`."""
        return await self._do(lambda text: text, asked)

    async def confirm(self, who: str) -> None:
        """What waits to be confirmed stays.  Raises Refused when nothing does."""
        # One that is being taken back cannot be confirmed any more.
        async with self._lock:
            if await self._pending() is None:
                raise Refused("no change waits to be confirmed")
            self._settled()
        log.info("{who} has confirmed the change of the configuration", who=who)

    async def rollback(self, number: int, asked: Asked) -> Done:
        """Back to a version; 0: to what was before the change that waits, or before the last change: an edit by hand,
        or the newest version."""
        async with self._lock:
            pending = None if number else await self._pending()
            if pending is not None:
                return await self._back(pending.text, asked)
            before = "" if number else await self._check(asked, True)
            return await self._back(await self._site.aside(_earlier, self.versions, number, before), asked)

    @asynccontextmanager
    async def beside(self, asked: Asked) -> AsyncIterator[None]:
        """Somebody edits the file and takes up what he has changed himself: a version as every other, and no change
        beside it.  Raises as `edit`."""
        async with self._lock:
            before, keep = await self._check(asked, False), partial(self._site.aside, self.versions.keep)
            await keep(before, "", "as it was found")
            yield
            after = await self._check(asked, False)
            if digest_of(before) == self.applied:
                self.applied = digest_of(after)
            try:
                await keep(after, asked.who, asked.what)
            except ConfigError as error:
                log.error("the change of the configuration is kept as no version: {reason}", reason=str(error))

    async def _back(self, text: str, asked: Asked) -> Done:
        done = await self._one(lambda _: text, asked, waiting=True)
        self._settled()
        return done

    async def _pending(self) -> Pending | None:
        found: Pending | None = await self._site.aside(self.versions.pending)
        return found

    def _settled(self) -> None:
        """Nothing waits any more."""
        self.versions.confirmed()
        self.confirmation.settled()

    # ------------------------------------------------------------ life

    async def begin(self) -> None:
        """The site serves: a change that nobody has confirmed before it ended is taken back when its time is over."""
        self._ended = False
        if self._site.config_path is None:
            return
        try:
            self.applied = digest_of(self.path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return
        pending = await self._pending()
        if pending is not None:
            self.confirmation.wait(pending.until - self._site.clock())

    async def end(self) -> None:
        """The site ends: a change under way is finished, none begins, and what waits to be confirmed does so on."""
        self._ended = True
        async with self._lock:
            self.confirmation.cancel()

    async def _expire(self) -> None:
        async with self._lock:
            pending = await self._pending()
            if pending is None or self._ended:
                return
            log.warn("nobody has confirmed the change of the configuration: it is taken back")
            try:
                done = await self._back(pending.text, Asked(pending.who, "nobody confirmed the change"))
                changed = [dotted(key) for key in (*done.change.applied, *done.change.restart)]
                await self._site.audit.note("config.rollback", pending.who, why="nobody confirmed", changed=changed)
            except NotAudited as error:
                log.error("the change is taken back, without a record: {reason}", reason=str(error))
            except MailError as error:
                self.confirmation.again(str(error))

    # ------------------------------------------------------------ one change

    async def _do(self, make: Callable[[str], str], asked: Asked) -> Done:
        async with self._lock:
            return await self._one(make, asked, False)

    async def _one(self, make: Callable[[str], str], asked: Asked, waiting: bool) -> Done:
        before = await self._check(asked, waiting)
        site, versions = self._site, self.versions
        # Reading and writing of long lists takes a tenth of a second and more.
        after: str = await site.aside(make, before)
        new: SiteOptions = await site.aside(loads, after, self.path)
        await site.aside(_keep_found, versions, before, after)
        had = site.options
        if asked.confirm:
            text: str = await site.aside(_in_effect, versions, self.applied, before)
            until = site.clock() + asked.confirm
            await site.aside(versions.await_confirmation, Pending(text, until, asked.who))
        try:
            change = await self._take_up(new)
            version = await self._write(before, after, change, asked, had)
        except MailError:
            if asked.confirm:
                versions.confirmed()
            raise
        self.applied = version.digest
        if asked.confirm:
            self.confirmation.wait(asked.confirm)
        return Done(change, version)

    async def _check(self, asked: Asked, waiting: bool) -> str:
        """The text of the file.  Raises Refused, ConfigError."""
        if self._ended:
            raise Refused("the site stops; change the configuration when it has, or has started again")
        before: str = await self._site.aside(_text_of, self.path)
        digest = digest_of(before)
        if asked.if_version and asked.if_version != digest:
            text = f"the configuration has changed meanwhile: it is version {digest}, not {asked.if_version}"
            raise Refused(f"{text}; read it again")
        if asked.confirm and not CONFIRM[0] <= asked.confirm <= CONFIRM[1]:
            raise Refused(f"a change waits {CONFIRM[0]} to {CONFIRM[1]} seconds to be confirmed")
        if not waiting and await self._pending() is not None:
            raise Refused("a change waits to be confirmed: `mailsrv config confirm` or `mailsrv config rollback` first")
        return before

    async def _take_up(self, new: SiteOptions) -> Change:
        site = self._site
        if self.running():
            if new.data != site.options.data:
                # Commands would look for the server there, and work on an empty store when they do not find it.
                text = "the data folder changes while the site stands: stop it, move the folder, then change this key"
                raise ConfigError(text, file=str(self.path), key="site.data")
            change: Change = await site.live.apply(new)
            return change
        keys = tuple(await site.aside(changed, site.options, new))
        await site.apply_domains(domain_facts(new))
        return Change((), keys)

    async def _write(self, before: str, after: str, change: Change, asked: Asked, had: SiteOptions) -> Version:
        """Raises ConfigError; then file and versions are as they were, and the site has taken up again what it had."""

        def write() -> Version:
            """The version first: the data folder may be full where the file is not."""
            versions, last = self.versions, self.versions.last()
            keys = tuple(map(dotted, (*change.applied, *change.restart)))
            made = versions.keep(after, asked.who, asked.what, keys)
            if after != before:
                try:
                    write_atomically(self.path, after.encode("utf-8"))
                except ConfigError:
                    if made != last:
                        versions.drop(made.number)
                    raise
            return made

        try:
            kept: Version = await self._site.aside(write)
            return kept
        except ConfigError:
            if self.running():
                await self._site.live.apply(had)
            raise


def _text_of(path: Path) -> str:
    """Raises ConfigError."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(path)) from error


def _keep_found(versions: Versions, before: str, after: str) -> None:
    """What somebody has edited meanwhile is a version too.  Raises ConfigError."""
    if after != before or versions.last() is None:
        versions.keep(before, "", "as it was found")


def _earlier(versions: Versions, number: int, before: str) -> str:
    """The text of a version; 0: of the one before what the file is.  Raises Refused."""
    if not number:
        numbers, last = versions.numbers(), versions.last()
        if last is not None and last.digest != digest_of(before):
            return last.text
        if len(numbers) < 2:
            raise Refused("there is no earlier version")
        number = numbers[-2]
    found = versions.get(number)
    if found is None:
        raise Refused(f"there is no version {number}; `mailsrv config versions` lists them")
    return found.text


def _in_effect(versions: Versions, applied: str, before: str) -> str:
    """The text to go back to: the one in effect, where the file was edited after it."""
    for number in reversed(versions.numbers()):
        found = versions.get(number)
        if found is not None and found.digest == applied:
            return found.text
    return before
