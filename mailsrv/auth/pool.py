"""Threads for slow work with passwords (floor 2b), where each source gets its turn.

Whoever has many connections guess from one address fills the queue of that address alone: all others are worked on in
between, one job of each source after the other.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from ..errors import TryLater

Call = Callable[..., Any]


@define(eq=False)
class Job:
    """Work for a thread; `waiters` hear of the outcome in the reactor's thread."""

    work: Callable[[], Any] = field(repr=False)
    waiters: list[Deferred[Any]] = field(factory=list)
    key: bytes = b""


class Pool:
    """Daemon threads that start with the first job, so that nothing runs before `twistd` has forked.

    At most `threads` jobs run at once, `waiting` wait, and `share` of them for one source.  When there is no room left,
    a source with fewer jobs takes the last place of the one with most.  All methods are called in the reactor's thread.
    """

    def __init__(self, call_from_thread: Call, threads: int, waiting: int, share: int = 200) -> None:
        self._call_from_thread = call_from_thread
        self._wanted, self._room, self._share = threads, threads + waiting, share
        self._jobs: SimpleQueue[tuple[Job, Call] | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._open: set[Job] = set()
        self._running = 0
        #: Source -> its jobs that wait; whose turn is next stands first.
        self._sources: OrderedDict[str, deque[tuple[Job, Call]]] = OrderedDict()
        self.closed = False

    def submit(self, job: Job, done: Call, source: str = "") -> None:
        """Have the job worked on, then `done(job, outcome)` called in the reactor's thread; the outcome is None when it
        could not be.  Raises TryLater."""
        own = len(self._sources.get(source, ()))
        if self.closed or own >= self._share:
            raise TryLater()
        lost = self._lose(own) if len(self._open) >= self._room else None
        self._open.add(job)
        self._sources.setdefault(source, deque()).append((job, done))
        self._next()
        if lost is not None:
            lost[1](lost[0], None)

    def close(self) -> list[Job]:
        """Let the threads end after what they are at; gives the jobs whose outcome nobody will hear."""
        if self.closed:
            return []
        self.closed = True
        self._sources.clear()
        for _ in self._threads:
            self._jobs.put(None)
        lost, self._open = list(self._open), set()
        return lost

    def _lose(self, own: int) -> tuple[Job, Call]:
        """Take a job away from the source with most, if those are more than `own` and one.  Raises TryLater."""
        jobs = max(self._sources.values(), key=len, default=())
        if not isinstance(jobs, deque) or len(jobs) <= own + 1:
            raise TryLater()
        job, done = jobs.pop()
        self._open.discard(job)
        return job, done

    def _next(self) -> None:
        """Give the threads what they have room for."""
        while self._sources and self._running < self._wanted:
            source, jobs = self._sources.popitem(last=False)
            self._running += 1
            self._jobs.put(jobs.popleft())
            if jobs:
                self._sources[source] = jobs
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) < self._running:
            thread = Thread(target=self._work, name="mailsrv-hash", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            given = self._jobs.get()
            if given is None or self.closed:
                return
            job, done = given
            outcome = None
            try:
                outcome = job.work()
            finally:
                # Whatever happens here, nobody may wait for ever there.
                self._call_from_thread(self._finished, job, outcome, done)

    def _finished(self, job: Job, outcome: Any, done: Call) -> None:
        self._running -= 1
        if not self.closed:
            self._next()
        if job in self._open:
            self._open.discard(job)
            done(job, outcome)
