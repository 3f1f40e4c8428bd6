"""A store as the sessions of one server see it when that server has a message format (floor 3; S-154..S-163).

Stored octets stay what they are; mailboxes show renderings of them, and tell the renderings' sizes, summaries and ids
(decisions 30).  What is known of a rendering is kept with the content, under a name that holds the format's
fingerprint.  Messages that a client wrote itself are shown as they are: those above whose header there is no trace of
a delivery.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from struct import Struct
from time import monotonic
from typing import Any

from attrs import evolve, field, frozen
from zope.interface import directlyProvides, implementer, providedBy

from .. import values as v
from ..errors import StoreUnavailable, TryLater
from ..interfaces import IAccount, IContent, IMailbox, IMessageStore
from ..message.content import read_all
from ..message.format import FormatOptions, fingerprint, render
from ..query import Query

#: Octets of renderings that are held ready, and of the largest of them.
CACHE, LARGEST = 16 * 2**20, 4 * 2**20
#: Messages opened at once to be measured, and octets of those that are rendered in one go.
LOT, LOT_OCTETS = 20, 256 * 1024
#: What intake puts on top of every delivery (RFC 5321 section 4.4).
_DELIVERED = b"return-path:"
#: What the store keeps of a content, and is another thing for each rendering.
_KINDS = frozenset({"summary", "head", "preview"})
_SIZE = Struct("<Q")


class Cache:
    """The renderings made last, by (mailbox, UID): `CACHE` octets of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._octets = 0

    def get(self, key: tuple[int, int]) -> bytes | None:
        """A rendering, if it is still there."""
        return self._kept.get(key)

    def keep(self, key: tuple[int, int], octets: bytes) -> None:
        """Hold a rendering ready; the oldest ones make room."""
        if len(octets) <= LARGEST and key not in self._kept:
            self._kept[key] = octets
            self._octets += len(octets)
            while self._octets > CACHE:
                self._octets -= len(self._kept.popitem(last=False)[1])


@frozen(eq=False)
class Format:
    """The format of one server.

    `aside(function, *arguments)` works in a thread.  `since`: the instant of the last change of the format that IMAP
    clients must notice, epoch seconds; 0: none.  `approximate`: sizes are those stored (S-148).  `patience`: seconds in
    which somebody who opened a mailbox must have its sizes; what was measured till then is kept.
    """

    options: FormatOptions
    aside: Callable[..., Any] = field(repr=False)
    since: int = 0
    approximate: bool = False
    patience: float = float("inf")
    monotonic: Callable[[], float] = field(default=monotonic, repr=False)
    cache: Cache = field(factory=Cache, repr=False)

    @property
    def name(self) -> str:
        """The fingerprint."""
        return fingerprint(self.options)

    @property
    def mark(self) -> str:
        """A short word for EMAILID, which may hold few sorts of characters (RFC 8474 section 4)."""
        return sha256(self.name.encode("ascii")).hexdigest()[:8]


def _came_by_mail(octets: bytes) -> bool:
    """Whether it was delivered: what a client wrote itself is shown as it is."""
    return octets[: len(_DELIVERED)].lower() == _DELIVERED


def _render_each(stored: Sequence[bytes], options: FormatOptions) -> list[bytes]:
    """In a thread: it takes milliseconds, with hostile mail more."""
    return [render(octets, options) for octets in stored]


async def _rendered(content: IContent, shown: Format, key: tuple[int, int]) -> bytes:
    """The octets to show."""
    found = shown.cache.get(key)
    if found is None:
        found = await read_all(content)
        if _came_by_mail(found):
            (found,) = await shown.aside(_render_each, [found], shown.options)
        shown.cache.keep(key, found)
    return found


@implementer(IContent)
class RenderedContent:
    """A message in a format: rendered when it is first read."""

    __slots__ = ("_inner", "_key", "_octets", "_shown", "size")

    def __init__(self, inner: IContent, shown: Format, key: tuple[int, int], size: int) -> None:
        self._inner, self._shown, self._key, self.size = inner, shown, key, size
        self._octets: bytes | None = None

    async def read(self, offset: int, length: int) -> bytes:
        """See IContent.  Raises StoreUnavailable."""
        if self._octets is None:
            self._octets = await _rendered(self._inner, self._shown, self._key)
        return self._octets[offset : offset + length]

    def chunks(self) -> Iterator[bytes]:
        """See IContent: for the store's own use, so the message as it is stored."""
        return self._inner.chunks()

    def close(self) -> None:
        """Let go."""
        self._octets = None
        self._inner.close()


@implementer(IMailbox)
class FormattedMailbox:
    """An open mailbox in a format; what has nothing to do with the octets is the mailbox's own."""

    def __init__(self, inner: IMailbox, shown: Format) -> None:
        self._inner, self._shown = inner, shown
        self._until = shown.monotonic() + shown.patience
        directlyProvides(self, providedBy(inner))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def uidvalidity(self) -> int:
        """(mailbox, UIDVALIDITY, UID) names one immutable message, so a change of the format changes it."""
        return max(self._inner.uidvalidity, self._shown.since)

    async def state(self) -> v.MailboxState:
        """See IMailbox; `octets` are those stored."""
        return _dated(await self._inner.state(), self._shown)

    async def append(self, messages: Sequence[v.NewMessage], instead: tuple[int, int] | None = None) -> v.Appended:
        """See IMailbox."""
        return _dated(await self._inner.append(messages, instead), self._shown)

    async def copy(self, uids: Any, target_id: int, move: bool = False) -> v.Copied:
        """See IMailbox."""
        return _dated(await self._inner.copy(uids, target_id, move), self._shown)

    async def sizes(self, uids: Sequence[int]) -> Sequence[int]:
        """Of the renderings, or about that.  Raises TryLater where that takes too long."""
        stored: Sequence[int] = await self._inner.sizes(uids)
        return stored if self._shown.approximate else await self._exact(uids, stored, self._until)

    async def _exact(self, uids: Sequence[int], stored: Sequence[int], until: float = float("inf")) -> Sequence[int]:
        """Of the renderings; those that are not known yet are made."""
        kind = f"size.{self._shown.name}"
        kept = await self._inner.records(uids, kind)
        found = [size if size < 0 or not record else _SIZE.unpack(record)[0]
                 for size, record in zip(stored, kept)]  # fmt: skip
        missing = [at for at, record in enumerate(kept) if stored[at] >= 0 and not record]
        for first in range(0, len(missing), LOT):
            if self._shown.monotonic() > until:
                raise TryLater("Messages are made ready to be shown, try again in a minute")
            lot = missing[first : first + LOT]
            made = await self._measure([uids[at] for at in lot])
            for at, size in zip(lot, made):
                if size is not None:
                    found[at] = size
            known = [(uids[at], _SIZE.pack(size)) for at, size in zip(lot, made) if size is not None and size >= 0]
            await self._inner.keep_summaries(known, kind)
        return found

    async def _measure(self, uids: Sequence[int]) -> list[int | None]:
        """The sizes of these; -1 for one that is gone, None for one that cannot be read: it must not keep anybody from
        the others."""
        made: list[int | None] = [-1] * len(uids)
        cache = self._shown.cache
        #: Places in `made`, and what is stored.
        waiting: list[tuple[int, bytes]] = []
        contents = await self._inner.contents(uids)
        try:
            for at, content in enumerate(contents):
                if content is None:
                    continue
                known = cache.get((self._inner.mailbox_id, uids[at]))
                if known is not None:
                    made[at] = len(known)
                    continue
                if sum(len(octets) for _, octets in waiting) + content.size > LOT_OCTETS:
                    await self._render(waiting, uids, made)
                try:
                    octets = await read_all(content)
                except StoreUnavailable:
                    made[at] = None
                    continue
                made[at] = len(octets)
                if _came_by_mail(octets):
                    waiting.append((at, octets))
            await self._render(waiting, uids, made)
        finally:
            for content in contents:
                if content is not None:
                    content.close()
        return made

    async def _render(self, waiting: list[tuple[int, bytes]], uids: Sequence[int], made: list[int | None]) -> None:
        """Render what waits, and hold it ready: who asks for the size of a message often wants the message too."""
        if not waiting:
            return
        shown = await self._shown.aside(_render_each, [octets for _, octets in waiting], self._shown.options)
        for (at, _), octets in zip(waiting, shown):
            made[at] = len(octets)
            self._shown.cache.keep((self._inner.mailbox_id, uids[at]), octets)
        waiting.clear()

    async def facts(self, uids: Sequence[int], wanted: frozenset[str]) -> Sequence[v.MessageFacts | None]:
        """See IMailbox."""
        facts: Sequence[v.MessageFacts | None] = await self._inner.facts(uids, wanted - _KINDS)
        if "size" in wanted:
            for known, size in zip(facts, await self.sizes(uids)):
                if known is not None:
                    known.size = size
        if "ids" in wanted:
            for known in facts:
                if known is not None:
                    known.email_id = f"{known.email_id}-{self._shown.mark}"
        for kind in sorted(wanted & _KINDS):
            for known, record in zip(facts, await self._inner.records(uids, f"{kind}.{self._shown.name}")):
                if known is not None:
                    setattr(known, kind, record)
        return facts

    async def at_hand(self, uids: Sequence[int], names: Sequence[str]) -> None:
        """See IMailbox: only what is kept of a message in its own form could be."""

    async def records(self, uids: Sequence[int], kind: str) -> Sequence[bytes | None]:
        """See IMailbox."""
        found: Sequence[bytes | None] = await self._inner.records(uids, f"{kind}.{self._shown.name}")
        return found

    async def keep_summaries(self, summaries: Sequence[tuple[int, bytes]], kind: str = "summary") -> None:
        """See IMailbox."""
        await self._inner.keep_summaries(summaries, f"{kind}.{self._shown.name}")

    async def contents(self, uids: Sequence[int]) -> Sequence[IContent | None]:
        """See IMailbox: each is rendered when it is read."""
        sizes = await self._exact(uids, await self._inner.sizes(uids))
        return [
            None if content is None else RenderedContent(content, self._shown, (self._inner.mailbox_id, uid), size)
            for uid, size, content in zip(uids, sizes, await self._inner.contents(uids))
        ]

    async def search(self, query: Query) -> Any:
        """See IMailbox: flags, UIDs and MODSEQ are the mailbox's."""
        return await self._inner.search(query)


@implementer(IAccount)
class FormattedAccount:
    """An account whose mailboxes are in a format."""

    def __init__(self, inner: IAccount, shown: Format) -> None:
        self._inner, self._shown = inner, shown
        directlyProvides(self, providedBy(inner))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open(self, name: str) -> IMailbox:
        """See IAccount."""
        return FormattedMailbox(await self._inner.open(name), self._shown)

    async def status(self, name: str) -> v.MailboxState:
        """See IAccount; `octets` are those stored."""
        return _dated(await self._inner.status(name), self._shown)


@implementer(IMessageStore)
class FormattedStore:
    """A store whose mailboxes are in a format."""

    def __init__(self, inner: IMessageStore, shown: Format) -> None:
        self._inner, self._shown = inner, shown
        # Its add-ons too.
        directlyProvides(self, providedBy(inner))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def measured(self) -> bool:
        """Whether sizes are those of renderings, so that what the store has counted is not what is shown."""
        return not (self._shown.approximate or self._shown.options.stored)

    @property
    def fingerprint(self) -> str:
        """Of the format."""
        return self._shown.name

    def patient(self) -> FormattedStore:
        """The same for somebody who has time."""
        return FormattedStore(self._inner, evolve(self._shown, patience=float("inf")))

    async def account(self, account_id: int) -> IAccount:
        """See IMessageStore."""
        return FormattedAccount(await self._inner.account(account_id), self._shown)


def _dated(told: Any, shown: Format) -> Any:
    """With the UIDVALIDITY of the format."""
    return evolve(told, uidvalidity=max(told.uidvalidity, shown.since)) if told.uidvalidity < shown.since else told
