"""What a commit changed, for those who watch all mailboxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...notices import FLAGS, GONE, NEW, Entries, Notice, Notices, Watch

if TYPE_CHECKING:
    from .opened import Openings
    from .transaction import Transaction

_KINDS = {"rows": NEW, "flags": FLAGS, "gone": GONE}
#: Statements of the catalogue that change what accounts see of names.
_NAMES = frozenset({"mailbox", "no-mailbox", "subscribe", "unsubscribe", "permit"})


class EmbeddedNotices:
    """The part of a store that is INotices."""

    openings: Openings

    def __init__(self) -> None:
        self._notices = Notices()

    def notices(self, watcher: Callable[[Notice], Any]) -> Watch:
        """See INotices."""
        return self._notices.watch(watcher)

    def tell(self, transaction: Transaction) -> None:
        """After a commit, in the reactor thread."""
        if not transaction.deltas and not transaction.catalogue:
            return
        messages = {mailbox: {_KINDS[delta.kind] for delta in found} for mailbox, found in transaction.deltas.items()}
        names, entries = False, []
        for kind, *values in transaction.catalogue:
            names = names or kind in _NAMES
            if kind == "permit" and (opened := self.openings.get(values[1])) is not None:
                # Who may not see it any more shall hear of that.
                opened.notify()
            if kind == "annotate":
                entries.append(Entries(values[0], values[1], (values[2],)))
        self._notices.tell(Notice(messages, names, tuple(entries)))
