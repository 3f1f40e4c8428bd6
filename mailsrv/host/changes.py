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
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from ..errors import ConfigError, MailError, Refused
from ..parts import dotted
from .config.derive import domain_facts
from .config.edit import Change as Edit
from .config.edit import edited, write_atomically
from .config.load import loads
from .config.options import SiteOptions
from .config.versions import Pending, Version, Versions, digest_of
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
        self._site, self._running = site, running
        self._lock = DeferredLock()
        self._timer: Any = None
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
        """Put another text in the place of the file's.  Raises as `edit`."""
        return await self._do(lambda _: text, asked)

    async def apply(self, asked: Asked) -> Done:
        """Take up the file as somebody has edited it.  Raises as `edit`."""
        return await self._do(lambda text: text, asked)

    async def confirm(self, who: str) -> None:
        """What waits to be confirmed stays.  Raises Refused when nothing does."""
        # One that is being taken back cannot be confirmed any more.
        async with self._lock:
            if self.versions.pending() is None:
                raise Refused("no change waits to be confirmed")
            self.versions.confirmed()
            self._cancel()
        log.info("{who} has confirmed the change of the configuration", who=who)

    async def rollback(self, number: int, asked: Asked) -> Done:
        """Back to a version; 0: to what was before the change that waits, or before the last change: an edit by hand,
        or the newest version."""
        async with self._lock:
            versions = self.versions
            pending = versions.pending()
            if pending is not None and not number:
                return await self._back(pending.text, asked)
            if not number:
                numbers, last = versions.numbers(), versions.last()
                if last is not None and last.digest != digest_of(await self._check(asked, True)):
                    return await self._back(last.text, asked)
                if len(numbers) < 2:
                    raise Refused("there is no earlier version")
                number = numbers[-2]
            found = versions.get(number)
            if found is None:
                raise Refused(f"there is no version {number}; `mailsrv config versions` lists them")
            return await self._back(found.text, asked)

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
        self.versions.confirmed()
        self._cancel()
        return done

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
        pending = self.versions.pending()
        if pending is not None:
            self._await(pending.until - self._site.clock())

    async def end(self) -> None:
        """The site ends: a change under way is finished, none begins, and what waits to be confirmed does so on."""
        self._ended = True
        async with self._lock:
            self._cancel()

    def _await(self, seconds: float) -> None:
        self._cancel()
        self._timer = self._site.reactor.callLater(
            max(0.0, seconds), lambda: Deferred.fromCoroutine(self._expire())
        )

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    async def _expire(self) -> None:
        async with self._lock:
            pending = self.versions.pending()
            if pending is None or self._ended:
                return
            log.warn("nobody has confirmed the change of the configuration: it is taken back")
            try:
                done = await self._back(pending.text, Asked(pending.who, "nobody confirmed the change"))
                changed = [dotted(key) for key in (*done.change.applied, *done.change.restart)]
                await self._site.audit.note("config.rollback", pending.who, why="nobody confirmed", changed=changed)
            except MailError as error:
                log.error("the configuration of before cannot be taken up: {reason}", reason=str(error))

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
        if after != before or versions.last() is None:
            await site.aside(versions.keep, before, "", "as it was found")
        had = site.options
        if asked.confirm:
            pending = Pending(_in_effect(versions, self.applied, before), site.clock() + asked.confirm, asked.who)
            versions.await_confirmation(pending)
        try:
            change = await self._take_up(new)
            version = await self._write(before, after, change, asked, had)
        except MailError:
            if asked.confirm:
                versions.confirmed()
            raise
        self.applied = version.digest
        if asked.confirm:
            self._await(asked.confirm)
        return Done(change, version)

    async def _check(self, asked: Asked, waiting: bool) -> str:
        """The text of the file.  Raises Refused, ConfigError."""
        if self._ended:
            raise Refused("the site stops; change the configuration when it has, or has started again")
        try:
            before = self.path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", file=str(self.path)) from error
        digest = digest_of(before)
        if asked.if_version and asked.if_version != digest:
            text = f"the configuration has changed meanwhile: it is version {digest}, not {asked.if_version}"
            raise Refused(f"{text}; read it again")
        if asked.confirm and not CONFIRM[0] <= asked.confirm <= CONFIRM[1]:
            raise Refused(f"a change waits {CONFIRM[0]} to {CONFIRM[1]} seconds to be confirmed")
        if not waiting and self.versions.pending() is not None:
            raise Refused("a change waits to be confirmed: `mailsrv config confirm` or `mailsrv config rollback` first")
        return before

    async def _take_up(self, new: SiteOptions) -> Change:
        site = self._site
        if self._running():
            change: Change = await site.live.apply(new)
            return change
        keys = tuple(await site.aside(changed, site.options, new))
        await site.apply_domains(domain_facts(new))
        return Change((), keys)

    async def _write(self, before: str, after: str, change: Change, asked: Asked, had: SiteOptions) -> Version:
        """Raises ConfigError; then file and versions are as they were, and the site has taken up again what it had."""
        site, versions, path, made = self._site, self.versions, self.path, None
        keys, last = tuple(map(dotted, (*change.applied, *change.restart))), versions.last()
        try:
            # The version first: the data folder may be full where the file is not.
            made = await site.aside(versions.keep, after, asked.who, asked.what, keys)
            if after != before:
                await site.aside(write_atomically, path, after.encode("utf-8"))
            return made
        except ConfigError:
            if made is not None and made != last:
                versions.drop(made.number)
            if self._running():
                await site.live.apply(had)
            raise


def _in_effect(versions: Versions, applied: str, before: str) -> str:
    """The text to go back to: the one in effect, where the file was edited after it."""
    for number in reversed(versions.numbers()):
        found = versions.get(number)
        if found is not None and found.digest == applied:
            return found.text
    return before
