"""Run coroutines to their end without a reactor: for contract suites and benchmarks."""

from __future__ import annotations

import queue
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Loop:
    """A reactor's two needed halves: `call_from_thread`, and turning until a coroutine is done."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.SimpleQueue()

    def call_from_thread(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have `function` called by whoever turns this loop; safe from any thread."""
        self._calls.put((function, arguments))

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 30.0) -> Any:
        """The coroutine's result; raises what it raises, TimeoutError after `timeout` seconds of silence."""
        return self.gather([coroutine], timeout)[0]

    def gather(self, coroutines: list[Coroutine[Any, Any, Any]], timeout: float = 30.0) -> list[Any]:
        """Run several side by side; their results in order; the first failure is raised when all have ended."""
        results: dict[int, Any] = {}
        for number, coroutine in enumerate(coroutines):
            Deferred.fromCoroutine(coroutine).addBoth(lambda result, n: results.__setitem__(n, result), number)
        while len(results) < len(coroutines):
            try:
                function, arguments = self._calls.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError("nothing happened in time") from None
            function(*arguments)
        for number in range(len(coroutines)):
            if isinstance(results[number], Failure):
                results[number].raiseException()
        return [results[number] for number in range(len(coroutines))]

    def turn(self) -> None:
        """Make all calls that are waiting now."""
        while not self._calls.empty():
            function, arguments = self._calls.get()
            function(*arguments)
