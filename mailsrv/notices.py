"""What a store tells of all its mailboxes, open or not (floor 0): see `INotices`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from attrs import frozen

#: What became of messages.
NEW, FLAGS, GONE = "new", "flags", "gone"


@frozen
class Entries:
    """Annotations that were changed (RFC 5464): of a mailbox, 0 is the server; `account_id` alone sees them, 0: all."""

    mailbox_id: int
    account_id: int
    names: tuple[str, ...]


@frozen
class Notice:
    """What one commit changed: messages, as mailbox id -> NEW, FLAGS, GONE; whether names, subscriptions or rights;
    annotations."""

    messages: Mapping[int, Collection[str]]
    names: bool = False
    entries: tuple[Entries, ...] = ()


class Notices:
    """Who wants to know what.  A watcher costs nothing while other mailboxes change."""

    def __init__(self) -> None:
        self._by_mailbox: dict[int, dict[Watch, None]] = {}
        self._all: dict[Watch, None] = {}

    def watch(self, watcher: Callable[[Notice], Any]) -> Watch:
        """Have `watcher(notice)` called, at first of names and annotations alone."""
        made = Watch(self, watcher)
        self._all[made] = None
        return made

    def tell(self, notice: Notice) -> None:
        """Call those whom it concerns; one that is stopped by another before its turn is not called any more."""
        if notice.names or notice.entries:
            concerned = list(self._all)
        else:
            found: dict[Watch, None] = {}
            for mailbox in notice.messages:
                found |= self._by_mailbox.get(mailbox, {})
            concerned = list(found)
        for watch in concerned:
            if watch in self._all:
                watch.watcher(notice)

    def place(self, watch: Watch, mailboxes: Collection[int]) -> None:
        """Whose messages a watch is told of from now on."""
        for mailbox in watch.mailboxes - set(mailboxes):
            watches = self._by_mailbox[mailbox]
            del watches[watch]
            if not watches:
                del self._by_mailbox[mailbox]
        for mailbox in mailboxes:
            self._by_mailbox.setdefault(mailbox, {})[watch] = None
        watch.mailboxes = frozenset(mailboxes)

    def drop(self, watch: Watch) -> None:
        """Nothing more."""
        self.place(watch, ())
        self._all.pop(watch, None)


class Watch:
    """One watcher."""

    __slots__ = ("_notices", "mailboxes", "watcher")

    def __init__(self, notices: Notices, watcher: Callable[[Notice], Any]) -> None:
        self._notices, self.watcher = notices, watcher
        self.mailboxes: frozenset[int] = frozenset()

    def mailboxes_are(self, ids: Iterable[int]) -> None:
        """The mailboxes whose messages are of interest from now on."""
        self._notices.place(self, frozenset(ids))

    def stop(self) -> None:
        """No more calls; idempotent."""
        self._notices.drop(self)
