"""The writer: one thread that takes whatever is queued, makes it durable with one commit, and answers all of it.

The size of a batch follows the load; one with nothing but what is in no hurry waits a moment for others.  A batch is
content to the segment, fdatasync, one SQLite transaction (decisions 1), then one call into the reactor thread.  A
failure answers the whole batch with a temporary error and the thread goes on: the next batch finds out whether there is
room again (decisions 4).
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

import apsw
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import MailError, StoreFull, StoreUnavailable
from . import schema
from .boxes import Boxes
from .ghosts import Ghosts
from .log import SegmentLog
from .operations import Operation
from .transaction import Transaction

#: The most of one batch; an operation that is larger by itself is alone in its batch.
BATCH_ROWS, BATCH_OCTETS = 2000, 16 * 2**20
#: The most that may wait; then StoreFull ("4.3.1").
QUEUE_ENTRIES, QUEUE_OCTETS = 10_000, 64 * 2**20
#: Seconds that operations which are in no hurry wait for others to share a commit with, from the first of them.
PATIENCE = 0.002
#: So long after the last batch the thread does what nobody waits for.
IDLE_SECONDS = 0.25

Acknowledge = Callable[[list[Operation], Transaction | None], None]


class _Wake(Operation):
    """Only ends a wait."""

    __slots__ = ()


_WAKE = _Wake()


class _Fence:
    """Ends an exception that nobody foresaw, so that one bug does not end the writer: it is logged and kept."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self.broken = False

    def __enter__(self) -> _Fence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self.broken = True
        self._log.failure("store writer: unforeseen; what was under way is refused", Failure(error, kind, trace))
        return True


class Writer:
    """`idle` is called in the thread when nothing has been queued for a while and says whether to call it again;
    `acknowledge` after each batch, in the reactor thread."""

    _log = Logger()

    def __init__(
        self, open_index: Callable[[], apsw.Connection], log: SegmentLog, ghosts: Ghosts,
        call_from_thread: Callable[..., Any], acknowledge: Acknowledge, clock: Callable[[], float], history: int,
    ) -> None:
        self._open_index, self._segments, self._ghosts = open_index, log, ghosts
        self._call_from_thread, self._acknowledge = call_from_thread, acknowledge
        self._clock, self._history = clock, history
        self._connection: apsw.Connection | None = None
        self._boxes = Boxes(self._connected())
        self._queue: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._ahead: Operation | None = None
        self._unfinished: deque[Operation] = deque()
        self._lazy: deque[Operation] = deque()
        self._stopping = False
        self._restless = self._ended = False
        self._wal_pages = 0
        self.idle: Callable[[apsw.Connection], bool] = lambda connection: False
        # Counted in the reactor thread alone.
        self.entries = self.octets = 0
        #: Since the start: commits, operations that shared them, batches that were refused.
        self.commits = self.operations = self.refused = 0
        self._thread = threading.Thread(target=self._run, name="store writer", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    # In the reactor thread

    def submit(self, operation: Operation) -> Deferred[Any]:
        """Queue an operation.  Raises StoreFull when too much waits already."""
        if self._stopping:
            raise StoreUnavailable("The store is closed")
        if self.entries >= QUEUE_ENTRIES or (self.octets and self.octets + operation.octets > QUEUE_OCTETS):
            raise StoreFull("Too much is waiting to be stored")
        self.entries += 1
        self.octets += operation.octets
        deferred: Deferred[Any] = Deferred()
        operation.deferred, operation.counted = deferred, True
        self._queue.put(operation)
        return deferred

    def _answer(self, batch: list[Operation], transaction: Transaction | None) -> None:
        for operation in batch:
            if operation.counted:
                self.entries -= 1
                self.octets -= operation.octets
        self._acknowledge(batch, transaction)

    def refuse(self) -> None:
        """Take nothing more but what `put` brings."""
        self._stopping = True

    def stop(self) -> None:
        """The thread ends when the queue is worked off."""
        self._stopping = True
        self._queue.put(None)

    def join(self) -> None:
        """Wait for the thread; after `stop`."""
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    # From any thread

    def put(self, operation: Operation) -> None:
        """Queue something that nobody waits for (or that waits by its own means); not counted."""
        self._queue.put(operation)

    def put_lazily(self, operation: Operation) -> None:
        """As `put`, for what should cause no commit of its own: done with the next batch, or when idle."""
        self._lazy.append(operation)
        self.wake()

    def wake(self) -> None:
        """Have `idle` called before long."""
        if not self._restless:
            self._queue.put(_WAKE)

    # In the writer thread

    def _run(self) -> None:
        while True:
            batch = self._collect()
            if batch:
                self._batch(batch)
            elif self._ended:
                self._take_lazy(batch)
                if not batch:
                    return
                self._batch(batch)
            elif self._lazy:
                self._take_lazy(batch)
                self._batch(batch)
            else:
                with _Fence(self._log) as fence:
                    self._checkpoint(1)
                    self._restless = self._connection is not None and self.idle(self._connection)
                if fence.broken:
                    self._restless = False

    def _next(self, wait: float | None) -> Operation | None:
        """The next queued operation, waited for so many seconds (None: until there is something to do); None: there is
        none (or the thread is to end)."""
        operation, self._ahead = self._ahead, None
        if operation is not None:
            return operation
        if self._ended:
            return None
        while True:
            try:
                if wait is not None and wait <= 0:
                    operation = self._queue.get_nowait()
                else:
                    operation = self._queue.get(timeout=IDLE_SECONDS if wait is None and self._restless else wait)
            except queue.Empty:
                return None
            if operation is not _WAKE:
                break
            self._restless = True
        if operation is None:
            self._ended = True
        return operation

    def _collect(self) -> list[Operation]:
        """The next batch: two slices of what is unfinished, then what is queued, within the bounds."""
        batch: list[Operation] = []
        rows = octets = 0
        for _ in range(min(2, len(self._unfinished))):
            operation = self._unfinished.popleft()
            batch.append(operation)
            rows += operation.rows
        until = 0.0
        while True:
            following = self._next(0.0 if batch else None)
            if following is None and batch and all(one.patient for one in batch):
                now = time.monotonic()
                until = until or now + PATIENCE
                following = self._next(until - now)
            if following is None:
                break
            rows += following.rows
            octets += following.octets
            if batch and (rows > BATCH_ROWS or octets > BATCH_OCTETS):
                self._ahead = following
                break
            batch.append(following)
        if batch:
            self._take_lazy(batch)
        return batch

    def _take_lazy(self, batch: list[Operation]) -> None:
        while self._lazy and len(batch) < BATCH_ROWS:
            batch.append(self._lazy.popleft())

    def _batch(self, batch: list[Operation]) -> None:
        """Run, commit, answer."""
        transaction: Transaction | None = None
        error: MailError | None = StoreUnavailable()
        start = self._segments.mark()
        finished = batch
        with _Fence(self._log):
            try:
                connection = self._connected()
                transaction = Transaction(
                    connection, self._segments, self._boxes, self._ghosts, self._clock(), self._history
                )
                finished = self._execute(connection, transaction, batch)
                error = None
            except OSError as cause:
                error = _refusal(cause.errno in (errno.ENOSPC, errno.EDQUOT), cause)
                self._segments.fail()
            except apsw.Error as cause:
                error = _refusal(isinstance(cause, apsw.FullError), cause)
        if error is not None:
            self.refused += 1
            self._segments.abandon(start)
            self._undo(transaction)
            transaction = None
            for operation in batch:
                operation.error, operation.result = error, None
            self._log.error("store: a batch of {count} was refused: {error!r}", count=len(batch),
                            error=error.__cause__ or error)
        self._restless = True
        for operation in finished:
            operation.settled()
        self._call_from_thread(self._answer, finished, transaction)
        self._checkpoint(schema.CHECKPOINT_PAGES)

    def _execute(
        self, connection: apsw.Connection, transaction: Transaction, batch: list[Operation]
    ) -> list[Operation]:
        """The batch up to its commit; gives the operations that are done."""
        finished, unfinished = [], []
        connection.execute("BEGIN IMMEDIATE")
        for operation in batch:
            mark = self._segments.mark()
            try:
                done = operation.run(transaction)
            except MailError as refused:
                self._segments.back(mark)
                operation.error, done = refused, True
            (finished if done else unfinished).append(operation)
        transaction.finish()
        self._segments.commit()
        connection.execute("COMMIT")
        self._boxes.committed()
        self.commits += 1
        self.operations += len(finished)
        self._unfinished.extend(unfinished)
        return finished

    def _connected(self) -> apsw.Connection:
        """The index; opened anew after it failed.  Raises apsw.Error."""
        if self._connection is None:
            self._connection = self._open_index()
            self._connection.set_wal_hook(self._wal_grew)
            self._boxes = Boxes(self._connection)
        return self._connection

    def _wal_grew(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, pages: int) -> None:
        """Copy the WAL into the database when it has grown; never waits for readers (decisions 4)."""
        if self._connection is not None and self._wal_pages >= pages:
            self._wal_pages = 0
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error as cause:
                # The WAL keeps everything; the next commit finds out whether writing works again.
                self._log.warn("store: checkpoint failed: {cause}", cause=cause)

    def _undo(self, transaction: Transaction | None) -> None:
        """Nothing of the batch happened; a connection that cannot say so is closed."""
        if transaction is not None:
            transaction.undo()
        self._boxes.rolled_back()
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            self._connection = None
            connection.close(True)


def _refusal(full: bool, cause: Exception) -> MailError:
    """The error of a whole batch."""
    error: MailError = StoreFull() if full else StoreUnavailable()
    error.__cause__ = cause
    return error

