"""IDLE (floor 3; RFC 2177): news is pushed as soon as it is there.

While a client idles no coroutine waits for it: the watcher of the mailbox starts one when there is something to
say.  All changes of one turn of the reactor are told together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...wire import imap_requests as r
from . import tell
from .compress import rest

if TYPE_CHECKING:
    from .session import ImapSession

log = Logger()


class Idle:
    """One IDLE.  `at_work` fires when what is being told now is told."""

    __slots__ = ("_cancel", "_noticed", "_scheduled", "_session", "at_work", "stopped")

    def __init__(self, session: ImapSession) -> None:
        self._session = session
        self._noticed = self._scheduled = self.stopped = False
        self._cancel: Callable[[], None] | None = None
        self.at_work: Deferred[None] | None = None
        if session.selection is not None:
            self._cancel = session.selection.mailbox.watch(self.notice)

    def notice(self) -> None:
        """The mailbox changed: say so after this turn of the reactor."""
        self._noticed = True
        if not self._scheduled and self.at_work is None and not self.stopped:
            self._scheduled = True
            self._session.connection.host.call_soon(self._push)

    def _push(self, result: Any = None) -> None:
        notifying = self._session.notifying
        if notifying is not None and notifying.at_work is not None:
            # One speaks at a time.
            notifying.at_work.addCallback(self._push)
            return
        self._scheduled = False
        if self.stopped or self._session.connection.closing:
            return
        done: Deferred[None] = Deferred()
        self.at_work = done
        Deferred.fromCoroutine(self._tell()).addErrback(self._failed).addCallback(self._told, done)

    async def _tell(self) -> None:
        session = self._session
        while self._noticed and not self.stopped:
            self._noticed = False
            # A client that does not read gets all that came meanwhile in one.
            await session.connection.drain()
            if not self.stopped:
                # A mailbox that was deleted has no new MODSEQ, so the store is asked.
                await tell.catch_up(session, expunge=True, ask=True)
                rest(session)

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, ConnectionResetError) or self.stopped:
            return
        incident = uuid4().hex[:12]
        log.failure("incident {incident} in IDLE", failure=failure, incident=incident)
        self._session.fail(incident)
        self._session.connection.close()

    def _told(self, result: Any, done: Deferred[None]) -> None:
        self.at_work = None
        if self._session.deleted and not self.stopped:
            self._session.bye(b"The selected mailbox was deleted")
        done.callback(None)

    def stop(self) -> None:
        """No more is pushed."""
        self.stopped = True
        if self._cancel is not None:
            self._cancel()
            self._cancel = None


async def idle(session: ImapSession, request: r.Simple) -> bytes:
    """IDLE; without a selected mailbox there is nothing to push."""
    if session.selection is not None:
        await tell.catch_up(session, expunge=True, ask=True)
    session.say(b"+ idling")
    session.engine.idle()
    if not session.deleted:
        session.idling = Idle(session)
        if session.selection is not None and session.selection.view.behind(expunge=True):
            session.idling.notice()
    rest(session)
    return b""


async def done(session: ImapSession, event: r.Done) -> None:
    """DONE, or something else in its place."""
    idling, session.idling = session.idling, None
    if idling is not None:
        idling.stop()
        if idling.at_work is not None:
            await idling.at_work
    if session.selection is not None:
        await tell.catch_up(session, expunge=True)
    if event.valid:
        session.say(event.tag + b" OK IDLE completed")
    else:
        session.reply(r.Invalid(event.tag, "DONE expected"))
