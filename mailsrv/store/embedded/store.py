"""The default message store: content in segments, everything else in one SQLite index, one writer thread.

All public calls belong to the reactor thread.  DATA/lock, DATA/index.db, DATA/derived.db, DATA/segments/.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...errors import AccessDenied, MailError, StoreUnavailable
from ...interfaces import IGrants, IMessageStore, IMetadata, INotices, IQueue, IQuota, IStoreMaintenance
from ...interfaces_figures import IFigures
from ...values import NewDelivery
from ..queue_rules import check_delivery
from . import schema
from .account import EmbeddedAccount
from .backup import EmbeddedBackups
from .check import check_files
from .checkpoint import WriteCatalogue, WriteStates
from .compaction import Compactor
from .content import Readers
from .derived import Derived
from .directory import EmbeddedDirectory
from .ghosts import Ghosts
from .index import Index, Loaded, Snapshot
from .log import SegmentLog
from .naming import Purge
from .notices import EmbeddedNotices
from .opened import Opened, Openings
from .operations import Barrier, Deliver, Operation
from .queue import EmbeddedQueue
from .recovery import Lock, recover, refuse_lost_index
from .restore import restored
from .segments import SegmentSet
from .sharing import EmbeddedSharing
from .transaction import HISTORY, Transaction
from .writer import Writer

INDEX, DERIVED, SEGMENTS, LOCK = "index.db", "derived.db", "segments", "lock"
SEGMENT_OCTETS = 64 * 2**20
PURGE_AFTER = 7 * 86400.0
#: Between two checkpoints of what only the index knows, when idle; and how many rows are written down at close.
CHECKPOINT_SECONDS = 600.0
CLOSE_ROWS = 2_000_000


@implementer(IMessageStore, IQuota, IStoreMaintenance, IQueue, IMetadata, IGrants, INotices, IFigures)
class EmbeddedStore(EmbeddedQueue, EmbeddedSharing, EmbeddedNotices, EmbeddedBackups):
    """Open one with `EmbeddedStore.open`; `report` lists what the start found."""

    def __init__(
        self, path: Path, call_from_thread: Callable[..., Any], clock: Callable[[], float], lock: Lock
    ) -> None:
        self._lock = lock
        self.path, self.clock, self._index_path = path, clock, path / INDEX
        self.report: list[str] = []
        self.ghosts = Ghosts()
        self.segments = SegmentSet(path / SEGMENTS)
        self.readers = Readers(call_from_thread)
        self._call_from_thread = call_from_thread
        self.restored: dict[str, Any] | None = None
        self._closing: Deferred[None] | None = None
        self._closed = False
        self._checkpointed = time.monotonic()
        self._waiting_close: list[Deferred[None]] = []
        EmbeddedNotices.__init__(self)
        EmbeddedBackups.__init__(self)
        #: Account -> its INBOX, until mailboxes or accounts change: every login of POP3 asks for it.
        self.inboxes: dict[int, int] = {}

    @classmethod
    def open(
        cls, path: Path | str, call_from_thread: Callable[..., Any], clock: Callable[[], float] = time.time, *,
        purge_after: float | None = PURGE_AFTER, segment_octets: int = SEGMENT_OCTETS, history: int = HISTORY,
    ) -> EmbeddedStore:
        """The store in the folder `path`, made when it is not there; blocks while it recovers.

        `call_from_thread(function, *arguments)` has a function called in the reactor thread; `clock` gives UTC
        epoch seconds.  Expunged content is gone from the disk after `purge_after` seconds (None: only `compact`
        removes it).  Raises InUse, StoreUnavailable, ConfigError with a text for the operator.
        """
        path = Path(path)
        try:
            (path / SEGMENTS).mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = Lock(path / LOCK)
        except OSError as cause:
            raise StoreUnavailable(f"The data folder {path} cannot be used: {cause}") from cause
        store = cls(path, call_from_thread, clock, lock)
        try:
            store._start(purge_after, segment_octets, history)
        except (StoreUnavailable, OSError) as cause:
            store.readers.close()
            lock.release()
            if isinstance(cause, OSError):
                raise StoreUnavailable(f"The data folder {path} cannot be used: {cause}") from cause
            raise
        return store

    def _start(self, purge_after: float | None, segment_octets: int, history: int) -> None:
        refuse_lost_index(self.path, self.path / INDEX, self.path / SEGMENTS)
        connection = schema.open_index(self.path / INDEX, self.report)
        log = SegmentLog(self.segments, segment_octets)
        self.report += recover(self.segments, log, connection, segment_octets, int(self.clock()))
        epoch = schema.value(connection, "epoch")
        doomed = [mailbox for (mailbox,) in connection.execute("SELECT mailbox FROM doomed")]
        self.restored = restored(connection)
        self._open_queue(connection)
        connection.close()
        self.log = log
        self.index = Index(self.path / INDEX)
        self.derived = Derived(self.path / DERIVED, epoch)
        self.openings = Openings(self.index, self.derived, self.ghosts, self._load, history)
        self.openings.abandoned = self._purge
        self.directory = EmbeddedDirectory(self.index, self.submit, self.clock)
        self.writer = Writer(
            lambda: schema.connect(self.path / INDEX), log, self.ghosts, self._call_from_thread, self._committed,
            self.clock, history,
        )
        self.writer.idle = self._idle
        self.compactor = Compactor(
            self.path / INDEX, self.segments, log, self.ghosts, self.derived, self.writer, self.clock, purge_after
        )
        self.writer.start()
        self.compactor.start()
        for mailbox in doomed:
            self._purge(mailbox)

    async def account(self, account_id: int) -> EmbeddedAccount:
        """The mailboxes of one account.  Raises AccessDenied when there is none."""
        if await self.directory.account(account_id) is None:
            raise AccessDenied()
        return EmbeddedAccount(self, account_id)

    async def deliver(self, delivery: NewDelivery) -> None:
        """Content once, a row for each placement and each destination, durable.  Raises StoreFull,
        StoreUnavailable; Refused for impossible rows of the queue."""
        if delivery.queued:
            check_delivery(delivery)
        await self.writer.submit(Deliver(delivery))

    async def usage(self, account_id: int) -> tuple[int, int]:
        """Octets and messages of an account.  Raises AccessDenied when there is none."""
        if await self.directory.account(account_id) is None:
            raise AccessDenied()
        sql = "SELECT coalesce(sum(octets), 0), coalesce(sum(exist), 0) FROM mailbox WHERE account=?"
        octets, messages = self.index.rows(sql, (account_id,))[0]
        return octets, messages

    async def check(self) -> list[str]:
        """What does not fit together, one line each."""
        stopped = self.compactor.stopping
        found: list[str] = await self.readers.run(check_files, self.path / INDEX, self.segments, stopped)
        return found

    async def compact(self) -> int:
        """Give back the room of expunged content now; the octets freed.  Raises StoreUnavailable."""
        return await self.readers.run(self._compact)

    def _compact(self) -> int:
        try:
            return self.compactor.compact(0)
        except (OSError, apsw.Error) as cause:
            raise StoreUnavailable(f"Compaction failed: {cause}") from cause

    async def close(self) -> None:
        """Finish what is queued, let go of files.  Idempotent; who calls meanwhile waits as well."""
        if self._closed:
            return
        if self._closing is not None:
            waiting: Deferred[None] = Deferred()
            self._waiting_close.append(waiting)
            await waiting
            return
        self._closing = Deferred()
        self.openings.close()
        self.compactor.stop()
        self.writer.refuse()
        for last in (WriteStates(CLOSE_ROWS), WriteCatalogue(), Barrier()):
            last.deferred = Deferred()
            self.writer.put(last)
            # A full disk is no reason not to close: the index has everything already.
            await last.deferred.addErrback(lambda failure: failure.trap(MailError) and None)
        self.stop_backup()
        self.compactor.join()
        self._finish()
        for deferred in self._waiting_close:
            deferred.callback(None)

    def _finish(self) -> None:
        """The writer has nothing left: end the threads, close the files."""
        self.readers.close()
        # Readers first: the last connection that closes puts the WAL into the database, if it may write.
        self.index.close()
        self.writer.stop()
        self.writer.join()
        self.derived.close()
        self.log.close()
        self.segments.close()
        self._lock.release()
        self._closed = True

    # For the other modules of this store, in the reactor thread.

    def submit(self, operation: Operation) -> Deferred[Any]:
        """Hand an operation to the writer.  Raises StoreFull, StoreUnavailable."""
        return self.writer.submit(operation)

    def put(self, operation: Operation) -> None:
        """Have something done that nobody waits for."""
        self.writer.put_lazily(operation)

    def wake(self) -> None:
        """There is derived data to be written."""
        self.writer.wake()

    def let_go(self, opened: Opened, handle: object) -> None:
        """A handle is done."""
        self.openings.release(opened, handle)
        if self.derived.waiting:
            self.writer.wake()

    def _purge(self, mailbox: int) -> None:
        self.writer.put_lazily(Purge(mailbox))

    def _load(self, mailbox: int, snapshot: Snapshot | None, look: bool) -> Deferred[Loaded | None]:
        return self.readers.run(_load_apart, self.path / INDEX, mailbox, snapshot, self.derived if look else None)

    def _committed(self, batch: list[Operation], transaction: Transaction | None) -> None:
        """A batch is durable, or refused (without a transaction): views first, then answers, then watchers."""
        changed: list[Opened] = []
        queued = False
        if transaction is not None:
            changed = self.openings.committed(transaction.deltas, transaction.gone)
            queued = self._queue_committed(transaction)
            if transaction.catalogue:
                self.inboxes.clear()
            if transaction.directory:
                self.directory.changed()
            if transaction.buried:
                self.compactor.wake()
        for operation in batch:
            operation.acknowledge()
        for opened in changed:
            opened.notify()
        if transaction is not None:
            self.tell(transaction)
        if queued:
            self._queue_changed()

    # In the writer thread.

    def _idle(self, connection: apsw.Connection) -> bool:
        """Nothing is queued: write what can be computed again."""
        if self.derived.waiting:
            self.derived.write()
        if time.monotonic() - self._checkpointed > CHECKPOINT_SECONDS:
            self._checkpointed = time.monotonic()
            self.writer.put(WriteStates())
        return False


def _load_apart(path: Path, mailbox: int, snapshot: Snapshot | None, derived: Derived | None) -> Loaded | None:
    """Read columns in a thread, with a connection of its own; `derived` may have a snapshot that was not looked for."""
    if derived is not None:
        snapshot = derived.snapshot_apart(mailbox)
    index = Index(path)
    try:
        return index.load(mailbox, snapshot)
    finally:
        index.close()
