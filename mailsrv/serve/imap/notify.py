"""NOTIFY (floor 3; RFC 5465): what happens in whichever mailboxes is told as it happens.

Of the selected mailbox the news is told between commands, as in IDLE, when there is a SELECTED group for it; without
one it is told as ever, at the end of commands, since message numbers depend on it.  Of other mailboxes STATUS, LIST and
METADATA lines are told.  As with IDLE, no coroutine waits: the store's notice starts one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import AccessDenied, MailError, NoSuchMailbox
from ...interfaces import INotices
from ...notices import FLAGS, Entries, Notice
from ...numbers import UidSet
from ...values import MailboxInfo
from ...wire import imap_print as p
from ...wire import imap_requests as r
from . import fetch, metadata, tell
from .answer import No
from .modes import CONDSTORE
from .selected import Selection
from .spaces import OTHERS, PUBLIC
from .view import gathered

if TYPE_CHECKING:
    from .session import ImapSession

log = Logger()

#: Mailboxes of one list, and changes of annotations waiting to be told; with more the client is told to look itself.
MAX_MAILBOXES, MAX_ENTRIES = 20_000, 1000
_EVENTS = ("MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange")
_ABOUT_METADATA = ("MailboxMetadataChange", "ServerMetadataChange")
_INBOX = "INBOX"


def possible(session: ImapSession) -> bool:
    """Whether the store tells of its mailboxes."""
    return bool(INotices.providedBy(session.services.store))


async def notify(session: ImapSession, request: r.Notify) -> bytes:
    """NOTIFY: what was asked for before is forgotten."""
    if not possible(session):
        raise No("CANNOT", "Nothing can be told of mailboxes here")
    if request.groups is None:
        stop(session)
        return b"OK NOTIFY completed"
    known = _EVENTS + (_ABOUT_METADATA if metadata.kept(session) else ())
    for group in request.groups:
        if not group.events.keys() <= {event.upper() for event in known}:
            raise No(f"BADEVENT ({' '.join(known)})", "Some of the events are not known here")
    made = Notifying(session, request.groups)
    try:
        lines = await made.begin(request.status)
    except (MailError, No):
        made.stop()
        raise
    stop(session)
    session.notifying = made
    for line in lines:
        session.put(line)
        await session.pace()
    return b"OK NOTIFY completed"


def stop(session: ImapSession) -> None:
    """Nothing more is told."""
    notifying, session.notifying = session.notifying, None
    if notifying is not None:
        notifying.stop()


class Notifying:
    """One NOTIFY SET.  `at_work` fires when what is being told now is told."""

    def __init__(self, session: ImapSession, groups: Sequence[r.EventGroup]) -> None:
        self._session = session
        self._groups = [group for group in groups if not group.filter.startswith("SELECTED")]
        self._selected = next((group for group in groups if group.filter.startswith("SELECTED")), None)
        self._watch = session.services.store.notices(self._notice)  # type: ignore[attr-defined]
        self._infos: dict[str, MailboxInfo] = {}
        self._chosen = 0
        # What waits to be told.
        self._messages: dict[int, set[str]] = {}
        self._names = False
        self._entries: list[Entries] = []
        self._scheduled = self.stopped = False
        self.at_work: Deferred[None] | None = None

    async def begin(self, status: bool) -> list[bytes]:
        """Look at all mailboxes; with `status` the lines of those whose messages are of interest (section 4)."""
        await self._list()
        if not status:
            return []
        return [line for info in self._infos.values() if self._of_messages(info) for line in await self._status(info)]

    # ------------------------------------------------------------ which mailboxes

    def _wants(self, info: MailboxInfo, event: str) -> bool:
        """Section 6: the first group that has the mailbox and the event, or NONE."""
        for group in self._groups:
            if _has(group, info):
                if not group.events:
                    return False
                if event in group.events:
                    return True
        return False

    def _of_messages(self, info: MailboxInfo) -> bool:
        return info.exists and info.mailbox_id != self._chosen and self._wants(info, "MESSAGENEW")

    async def _list(self) -> None:
        """Raises MailError, also for a list that is too long."""
        assert self._session.account is not None
        found = await self._session.account.mailboxes()
        if len(found) > MAX_MAILBOXES:
            raise No("CANNOT", "Too many mailboxes")
        self._infos = {info.name: info for info in found}
        self._place()

    def _place(self) -> None:
        """Whose messages are of interest."""
        selection = self._session.selection
        self._chosen = 0 if selection is None else selection.mailbox.mailbox_id
        wanted = {info.mailbox_id for info in self._infos.values() if info.exists and self._wants(info, "MESSAGENEW")}
        self._watch.mailboxes_are(wanted | ({self._chosen} - {0}))

    # ------------------------------------------------------------ when it is told

    def _notice(self, notice: Notice) -> None:
        for mailbox in self._watch.mailboxes & notice.messages.keys():
            self._messages.setdefault(mailbox, set()).update(notice.messages[mailbox])
        self._names = self._names or notice.names
        own = self._session.account.account_id if self._session.account is not None else -1
        self._entries += [one for one in notice.entries if one.account_id in (0, own)]
        self.resume()

    @property
    def _waiting(self) -> bool:
        return bool(self._messages or self._names or self._entries)

    def resume(self) -> None:
        """After a command, or when something happened: tell what waits, after this turn of the reactor."""
        selection = self._session.selection
        if (0 if selection is None else selection.mailbox.mailbox_id) != self._chosen:
            self._place()
        if self._waiting and not (self._scheduled or self.stopped or self.at_work or self._session.tag):
            self._scheduled = True
            self._session.connection.host.call_soon(self._push)

    def _push(self, result: Any = None) -> None:
        idling = self._session.idling
        if idling is not None and idling.at_work is not None:
            # One speaks at a time.
            idling.at_work.addCallback(self._push)
            return
        self._scheduled = False
        if self.stopped or self._session.tag is not None or self._session.connection.closing:
            return
        self.at_work = done = Deferred()
        Deferred.fromCoroutine(self._tell()).addErrback(self._failed).addCallback(self._told, done)

    async def _tell(self) -> None:
        session = self._session
        while self._waiting and not self.stopped:
            await session.connection.drain()
            try:
                lines = await self._compose()
            except (MailError, No):
                # Section 5.8: what cannot be told is not left out in silence.
                lines = [b"* OK [NOTIFICATIONOVERFLOW] Notifications are off, there was too much\r\n"]
                stop(session)
            for line in lines:
                session.put(line)
            session.connection.flush()

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, ConnectionResetError):
            return
        incident = uuid4().hex[:12]
        log.failure("incident {incident} in NOTIFY", failure=failure, incident=incident)
        self._session.fail(incident)
        self._session.connection.close()

    def _told(self, result: Any, done: Deferred[None]) -> None:
        self.at_work = None
        if self._session.deleted and not self.stopped and self._session.tag is None:
            self._session.bye(b"The selected mailbox was deleted")
        done.callback(None)

    def stop(self) -> None:
        """No more is told."""
        self.stopped = True
        self._watch.stop()
        self._messages.clear()
        self._entries.clear()
        self._names = False

    # ------------------------------------------------------------ what is told

    async def _compose(self) -> list[bytes]:
        """The lines about all that waits, but for the selected mailbox, whose news is told.  Raises MailError, No."""
        messages, self._messages = self._messages, {}
        entries, self._entries = self._entries, []
        names, self._names = self._names, False
        if len(entries) > MAX_ENTRIES:
            raise No("CANNOT", "Too many changes")
        if messages.pop(self._chosen, None) is not None:
            await self._tell_selected()
        lines: list[bytes] = []
        if names:
            lines += await self._changed_names()
        lines += self._changed_entries(entries)
        by_id = {info.mailbox_id: info for info in self._infos.values() if info.exists}
        for mailbox, kinds in messages.items():
            info = by_id.get(mailbox)
            if info is not None and (kinds != {FLAGS} or self._wants(info, "FLAGCHANGE")) and self._of_messages(info):
                lines += await self._status(info)
        return lines

    async def _tell_selected(self) -> None:
        """As in IDLE, which does it itself."""
        session, group = self._session, self._selected
        if group is not None and group.events and session.selection is not None and session.idling is None:
            await tell.catch_up(session, expunge=group.filter == "SELECTED")

    async def fetch_new(self, selection: Selection, last: int) -> None:
        """The items of MessageNew, of the messages after the UID `last`, which were just told of (section 5.2)."""
        if self._selected is None or not self._selected.items:
            return
        items = [evolve(item, peek=True) for item in self._selected.items]
        plan = fetch.Plan(items, fetch.manner(self._session, True, False))
        for chunk in gathered(selection.view.ranges(UidSet([(last + 1, 2**32 - 1)])), fetch.BLOCK):
            await fetch.Block(self._session, selection, plan, chunk).send()

    async def _status(self, info: MailboxInfo) -> list[bytes]:
        """STATUS of a mailbox; nothing of one that was deleted meanwhile, or may not be read."""
        session = self._session
        assert session.account is not None
        try:
            state = await session.account.status(info.name)
        except (NoSuchMailbox, AccessDenied):
            return []
        values: list[tuple[str, object]] = [
            ("MESSAGES", state.exists), ("UIDNEXT", state.uidnext), ("UIDVALIDITY", state.uidvalidity),
            ("UNSEEN", state.unseen),
        ]  # fmt: skip
        if CONDSTORE in session.enabled or self._wants(info, "FLAGCHANGE"):
            values.append(("HIGHESTMODSEQ", state.highest_modseq))
        return [p.status_line(info.name, values, session.engine.form)]

    async def _changed_names(self) -> list[bytes]:
        """LIST of what was made, renamed, deleted, subscribed (sections 5.4, 5.5), and STATUS of what is of interest
        from now on."""
        old, form = self._infos, self._session.engine.form
        before = {info.mailbox_id: info for info in old.values() if info.exists}
        watched = {info.mailbox_id for info in old.values() if self._of_messages(info)}

        def wanted(was: MailboxInfo | None, info: MailboxInfo, event: str) -> bool:
            """A group may have the mailbox as it was, or as it is."""
            return self._wants(info, event) or (was is not None and self._wants(was, event))

        await self._list()
        lines = []
        for info in self._infos.values():
            was = before.pop(info.mailbox_id, None) if info.exists else None
            renamed = was is not None and was.name != info.name
            if info.exists and (was is None or renamed) and wanted(was, info, "MAILBOXNAME"):
                former = was.name if was is not None and renamed else ""
                lines.append(p.list_line(info.name, _attributes(info), form=form, former=former))
        gone = [info for info in before.values() if self._wants(info, "MAILBOXNAME")]
        lines += [p.list_line(info.name, [b"\\NonExistent"], form=form) for info in gone]
        for name in sorted(old.keys() | self._infos.keys()):
            info = self._infos.get(name) or evolve(old[name], subscribed=False, exists=False, special_use=None)
            was = old.get(name)
            changed = info.subscribed != (was is not None and was.subscribed)
            if changed and wanted(was, info, "SUBSCRIPTIONCHANGE"):
                lines.append(p.list_line(name, _attributes(info), form=form))
        for info in self._infos.values():
            if info.mailbox_id not in watched and self._of_messages(info):
                lines += await self._status(info)
        return lines

    def _changed_entries(self, entries: Sequence[Entries]) -> list[bytes]:
        """METADATA without values (RFC 5464 section 4.4.2)."""
        by_id = {info.mailbox_id: info for info in self._infos.values() if info.exists}
        found: dict[str, dict[str, None]] = {}
        for one in entries:
            info = by_id.get(one.mailbox_id)
            wanted = info is not None and self._wants(info, "MAILBOXMETADATACHANGE")
            if not one.mailbox_id:
                wanted = any("SERVERMETADATACHANGE" in group.events for group in self._groups)
            if wanted:
                found.setdefault(info.name if info is not None else "", {}).update(dict.fromkeys(one.names))
        return [p.metadata_names(name, names, self._session.engine.form) for name, names in found.items()]


def _has(group: r.EventGroup, info: MailboxInfo) -> bool:
    """Whether a mailbox is one of a group's (section 6).  Mail comes into INBOX alone."""
    name = info.name
    if group.filter == "SUBSCRIBED":
        return info.subscribed
    if group.filter == "INBOXES":
        return name == _INBOX
    if group.filter == "PERSONAL":
        return not name.startswith((OTHERS + "/", PUBLIC + "/"))
    if group.filter == "MAILBOXES":
        return name in group.names
    return any(name == root or name.startswith(root + "/") for root in group.names)


def _attributes(info: MailboxInfo) -> list[bytes]:
    found = [] if info.exists else [b"\\NonExistent"]
    if info.special_use is not None:
        found.append(info.special_use)
    if info.subscribed:
        found.append(b"\\Subscribed")
    return found
