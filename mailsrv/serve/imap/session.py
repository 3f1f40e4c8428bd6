"""The IMAP4 session (floor 3; RFC 3501): one command at a time, from the engine's event to the tagged answer.

What a command does is a function of the module of its subject; `ROWS` says which, and what the client may be
told at its end.  States are the engine's: a command of a wrong state never comes here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from ...errors import MailError, NoSuchMailbox
from ...interfaces import IAccount
from ...net.connection import Connection
from ...numbers import UidSet
from ...wire import imap_print as p
from ...wire import imap_requests as r
from ...wire.imap_commands import AUTHENTICATED, NOT_AUTHENTICATED, SELECTED
from ...wire.imap_lexer import Form
from ...wire.imap_server import ImapServerEngine
from ..session import Services, Session
from . import (
    acl,
    append,
    basics,
    compress,
    condstore,
    fetch,
    idle,
    listing,
    login,
    mailboxes,
    messages,
    metadata,
    notify,
    quota,
    replace,
    search,
    selected,
    sort,
    status,
    tell,
    thread,
)
from .answer import Bad, No, refusal
from .extensions import capabilities
from .modes import UIDONLY
from .selected import Selection
from .spaces import Mailboxes

#: Octets said after which a command waits for a slow peer.
OUTPUT = 64 * 1024
#: What a command's end may tell of other sessions' doings: nothing, all but EXPUNGE, all; or ask the store anew.
NOTHING, HOLD, TELL, ASK = range(4)
#: Commands that speak of message numbers, which RFC 9586 forbids.
NUMBERED = frozenset({"FETCH", "STORE", "SEARCH", "COPY", "MOVE", "REPLACE", "SORT", "THREAD"})
_BYE = {
    "idle": b"Idle for too long",
    "shutdown": b"Server shutting down",
    "terminated": b"Session terminated by an administrator",
}


@frozen
class Row:
    """A command's function, which gives the words of its OK (b"": it said all itself), and what follows it."""

    run: Callable[[Any, Any], Awaitable[bytes]]
    sync: int = TELL


#: RFC 3501 section 7.4.1: no EXPUNGE while FETCH, STORE and SEARCH by numbers are answered.
ROWS: dict[str, Row] = {
    "CAPABILITY": Row(basics.capability, NOTHING),
    "NOOP": Row(basics.noop, ASK),
    "LOGOUT": Row(basics.logout, NOTHING),
    "ID": Row(basics.identify, NOTHING),
    "ENABLE": Row(basics.enable, NOTHING),
    "UNAUTHENTICATE": Row(basics.unauthenticate, NOTHING),
    "COMPRESS": Row(compress.compress, NOTHING),
    "NAMESPACE": Row(basics.namespace),
    "STARTTLS": Row(login.starttls, NOTHING),
    "LOGIN": Row(login.login, NOTHING),
    "AUTHENTICATE": Row(login.authenticate, NOTHING),
    "LIST": Row(listing.list_mailboxes),
    "LSUB": Row(listing.list_subscribed),
    "CREATE": Row(mailboxes.create),
    "DELETE": Row(mailboxes.delete),
    "RENAME": Row(mailboxes.rename),
    "SUBSCRIBE": Row(mailboxes.subscribe),
    "UNSUBSCRIBE": Row(mailboxes.subscribe),
    "STATUS": Row(status.status),
    "GETQUOTA": Row(quota.get),
    "GETQUOTAROOT": Row(quota.roots),
    "SETQUOTA": Row(quota.change),
    "GETMETADATA": Row(metadata.get),
    "SETMETADATA": Row(metadata.change),
    "GETACL": Row(acl.get),
    "SETACL": Row(acl.change),
    "DELETEACL": Row(acl.delete),
    "LISTRIGHTS": Row(acl.possible),
    "MYRIGHTS": Row(acl.mine),
    "SELECT": Row(selected.select, NOTHING),
    "EXAMINE": Row(selected.select, NOTHING),
    "CLOSE": Row(selected.close, NOTHING),
    "UNSELECT": Row(selected.unselect, NOTHING),
    "CHECK": Row(basics.noop, ASK),
    "APPEND": Row(append.append),
    "REPLACE": Row(replace.replace),
    "UID REPLACE": Row(replace.replace),
    "NOTIFY": Row(notify.notify),
    "IDLE": Row(idle.idle, NOTHING),
    "EXPUNGE": Row(messages.expunge),
    "UID EXPUNGE": Row(messages.expunge),
    "STORE": Row(messages.store, HOLD),
    "UID STORE": Row(messages.store),
    "COPY": Row(messages.copy),
    "UID COPY": Row(messages.copy),
    "MOVE": Row(messages.move),
    "UID MOVE": Row(messages.move),
    "FETCH": Row(fetch.fetch, HOLD),
    "UID FETCH": Row(fetch.fetch),
    "SEARCH": Row(search.search, HOLD),
    "UID SEARCH": Row(search.search),
    "SORT": Row(sort.sort, HOLD),
    "UID SORT": Row(sort.sort),
    "THREAD": Row(thread.thread, HOLD),
    "UID THREAD": Row(thread.thread),
}


class ImapSession(Session):
    """One IMAP4 connection.

    `streaming`: a literal or a long line is under way, nothing else can be said.  `deleted`: the selected
    mailbox is gone, the session ends with the command.
    """

    def __init__(self, connection: Connection, services: Services, number: int) -> None:
        super().__init__(connection, services, number)
        self.engine = ImapServerEngine(services.limits)
        self.engine.form = Form(separator=services.separator)
        self.account: Mailboxes | None = None
        self.selection: Selection | None = None
        self.idling: idle.Idle | None = None
        self.notifying: notify.Notifying | None = None
        self.tag: bytes | None = None
        self.streaming = self.deleted = False
        #: Names of `modes`.
        self.enabled: frozenset[str] = frozenset()
        self._unwaited = 0
        #: Monotonic: when somebody logged out.
        self._left = 0.0

    # ------------------------------------------------------------ for the connection

    def greet(self) -> None:
        """RFC 3501 section 7.1.1, with the capabilities, so that nobody has to ask."""
        self.say(b"* OK [CAPABILITY %b] %b ready" % (capabilities(self), self.services.hostname.encode("ascii")))

    async def handle(self, event: Any) -> None:
        """One event of the engine."""
        if self.notifying is not None and self.notifying.at_work is not None:
            await self.notifying.at_work
        if isinstance(event, r.Request):
            self.verb = event.name
            await self._command(event, ROWS[event.name])
        elif isinstance(event, r.Done):
            await idle.done(self, event)
        else:
            self.reply(event)
        if self.deleted and self.tag is None:
            self.bye(b"The selected mailbox was deleted")
        elif self.notifying is not None:
            self.notifying.resume()
        if self._unwaited >= OUTPUT:
            await self.pace()
        await self.connection.breathe()

    def state(self) -> str:
        """See Session; the states of RFC 3501 section 3, with the mailbox."""
        state: str = self.engine.state
        if self.selection is not None:
            state = f"{state} {self.selection.name}"
        return f"{state}, idle" if self.idling is not None else state

    def dismiss(self, why: str) -> None:
        """BYE with the reason (RFC 3501 section 7.1.5)."""
        if not self.streaming:
            self.say(b"* BYE " + _BYE.get(why, b"Closing connection"))

    def fail(self, incident: str) -> None:
        """[SERVERBUG] (RFC 5530) with the number under which the log has it."""
        if self.streaming:
            return
        text = b"[SERVERBUG] Internal error, incident " + incident.encode("ascii")
        if self.tag is not None:
            self.say(self.tag + b" NO " + text)
        self.say(b"* BYE " + text)

    def closed(self) -> None:
        """The connection is gone: nothing is watched or held open any more."""
        if self.idling is not None:
            self.idling.stop()
            self.idling = None
        notify.stop(self)
        self.deselect()

    def limit(self, connected: float, active: float) -> float | None:
        """As of every session; who logged out has the time to log in again."""
        return super().limit(max(connected, self._left), active)

    # ------------------------------------------------------------ commands

    async def _command(self, request: r.Request, row: Row) -> None:
        self.tag, ask = request.tag, False
        try:
            if request.name in NUMBERED and UIDONLY in self.enabled:
                self.engine.refuse_append()
                raise Bad("Only UIDs can be used now", "UIDREQUIRED")
            if row.sync and self.selection is not None:
                await selected.renew(self, self.selection)
            words = await row.run(self, request)
        except (Bad, No, MailError) as problem:
            words = refusal(problem)
            if isinstance(problem, Bad):
                self.services.count("commands refused")
            # It may be the selected mailbox that was deleted.
            ask = isinstance(problem, NoSuchMailbox)
        if row.sync and self.selection is not None:
            await tell.catch_up(self, expunge=row.sync != HOLD, ask=ask or row.sync == ASK)
            if row.sync == HOLD:
                words = condstore.held_back(self, words)
        if words:
            self.say(b"%b %b" % (self.tag, words))
        self.tag = None

    def reply(self, event: Any) -> None:
        """What the engine asks to be said that is no command."""
        if isinstance(event, r.Continue):
            self.put(p.CONTINUE)
        elif isinstance(event, r.BadCharset):
            if event.saving and self.selection is not None:
                self.selection.view.saved = UidSet()
            self.say(event.tag + b" NO [BADCHARSET (UTF-8 US-ASCII)] Character set not supported")
        elif isinstance(event, r.Invalid):
            self.bad_commands += 1
            self.services.count("commands refused")
            self.put(p.bad(event.tag, event.text))
            if event.fatal:
                self.bye(b"Closing connection")
            elif self.bad_commands >= self.limits.bad_commands:
                self.bye(b"Too many bad commands")

    # ------------------------------------------------------------ for the modules of the commands

    def say(self, line: bytes) -> None:
        """One line."""
        self.put(line + b"\r\n")

    def put(self, octets: bytes) -> None:
        """Octets as they are; they leave with the rest of this turn's answers."""
        self._unwaited += len(octets)
        self.connection.write(octets)

    async def pace(self) -> None:
        """After much was said, wait for a slow peer.  Raises ConnectionResetError when it is gone."""
        if self._unwaited >= OUTPUT:
            self._unwaited = 0
            await self.connection.drain()

    def bye(self, text: bytes) -> None:
        """Last words, then close."""
        self.say(b"* BYE " + text)
        self.connection.close()

    def enter(self, account: IAccount) -> None:
        """Logged in."""
        services = self.services
        self.account = Mailboxes(account, services.store, services.public_account, self.connection.breathe)
        self.engine.state = AUTHENTICATED

    def leave(self) -> None:
        """Logged out: nothing of the login or of what came after it is left (RFC 8437 section 3)."""
        notify.stop(self)
        self.deselect()
        self.account = self.identity = None
        self.enabled = frozenset()
        self.engine.form = self.engine.form._replace(utf8=False)
        self.engine.state = NOT_AUTHENTICATED
        self._left = self.connection.host.monotonic()

    def chosen(self, selection: Selection) -> None:
        """A mailbox is selected."""
        self.selection = selection
        self.engine.state = SELECTED

    def deselect(self) -> None:
        """No mailbox is selected."""
        if self.selection is not None:
            self.selection.mailbox.release()
            self.selection = None
            self.engine.state = AUTHENTICATED
