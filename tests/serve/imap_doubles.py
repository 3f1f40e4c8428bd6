"""A store whose every answer takes two turns of the reactor: what waits in the middle of a command is seen there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Slow:
    """Passes everything on; coroutines wait `delay` seconds before and after.

    `wrap` names methods whose result is slow too.
    """

    delay = 0.0

    def __init__(self, inner: Any, clock: IReactorTime, wrap: frozenset[str] = frozenset()) -> None:
        self._inner, self._clock, self._wrap = inner, clock, wrap

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _ASYNC:
            return found

        async def slow(*arguments: Any, **keywords: Any) -> Any:
            await self._turn()
            result = await found(*arguments, **keywords)
            await self._turn()
            return Slow(result, self._clock, _WRAP[name]) if name in self._wrap else result

        return slow

    async def _turn(self) -> None:
        turn: Deferred[None] = Deferred()
        self._clock.callLater(self.delay, turn.callback, None)
        await turn


_WRAP = {"account": frozenset({"open"}), "open": frozenset()}
_ASYNC = frozenset(
    "account mailboxes status open create delete rename subscribe state changes claim_recent append update expunge "
    "copy facts keep_summaries contents search".split()
)


class SlowStore(Slow):
    """A message store; deliveries are not slowed, they come from outside the session."""

    def __init__(self, inner: Any, clock: IReactorTime) -> None:
        super().__init__(inner, clock, frozenset({"account"}))


async def _nothing(uids: Any, names: Any) -> None:
    """So that `facts` is asked."""


class Hooked:
    """A mailbox that calls `hooks[name]` before its method of that name; what it raises the caller gets."""

    def __init__(self, inner: Any, hooks: dict[str, Callable[..., Any]]) -> None:
        self._inner, self._hooks = inner, hooks

    def __getattr__(self, name: str) -> Any:
        hook = self._hooks.get(name)
        found = getattr(self._inner, name)
        if name == "at_hand" and "facts" in self._hooks:
            return _nothing
        if hook is None:
            return found

        async def hooked(*arguments: Any, **keywords: Any) -> Any:
            changed = hook(*arguments, **keywords)
            return await found(*arguments, **keywords) if changed is None else changed

        return hooked
