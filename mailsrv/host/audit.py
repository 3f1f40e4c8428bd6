"""The audit log (floor 4): who changed what, when, from where, and what came of it.

Before an operation changes anything, its record is on the disk; another line tells what came of it.  So nothing that
was done is missing: a crash leaves a record whose outcome is "unknown".

What cannot be written keeps everybody from changing anything, but for the owner of the files (root and the server's
user): whoever can write the data folder is not bound by a log in it, and must be able to make room on a full disk.
Then the answer, and the log of the server, tell that the record is missing.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import MailError
from .audit_files import KEPT, AuditFiles, Record

log = Logger()

#: Characters of one text, texts of one list, octets of one record: what is more is told, and left out.
MAX_TEXT, MAX_LIST, MAX_RECORD = 500, 20, 16 * 2**10
#: Ends of records that could not be written and are tried again with the next.
MAX_OWED = 1000
#: Repetitions of the same thing by the same one within so many seconds are one record; how many are remembered.
REPEATED, MAX_REPEATED = 600.0, 1000


class NotAudited(MailError):
    """The audit log cannot be written."""

    status = "4.3.0"


@define(eq=False)
class _Waiting:
    """A line that is to be written."""

    line: bytes
    done: Deferred[None] = field(factory=Deferred)


class Audit:
    """The audit log in one folder; `size` octets in all.

    `aside(function, *arguments)` runs what blocks in a thread; `new_id()` makes ids that rise.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        clock: Callable[[], float],
        aside: Callable[..., Awaitable[Any]],
        new_id: Callable[[], str],
    ) -> None:
        self._files = AuditFiles(folder, max(size // KEPT, MAX_RECORD))
        self._clock, self._aside, self._new_id = clock, aside, new_id
        self._waiting: list[_Waiting] = []
        self._owed: deque[bytes] = deque(maxlen=MAX_OWED)
        self._idle: Deferred[None] | None = None
        self._seen: dict[tuple[str, ...], float] = {}
        self._closed = False

    # ------------------------------------------------------------ writing

    async def note(self, operation: str, who: str = "", peer: str = "", **facts: Any) -> None:
        """One record of something that has happened: on the disk when this returns.

        `facts` are what JSON can hold, for example ``changed=["smtp.default.max_hops"]``.  Raises NotAudited.
        """
        await self._write(self._record(operation, who, peer, facts=facts, outcome="done"))

    async def begin(self, operation: str, arguments: Mapping[str, Any], who: str, peer: str = "") -> str:
        """The id of a record of what will be done now; on the disk when this returns.  Raises NotAudited."""
        record = self._record(operation, who, peer, arguments=arguments)
        await self._write(record)
        number: str = record["id"]
        return number

    def end(self, number: str, outcome: str, text: str = "", **facts: Any) -> None:
        """What came of it: "done", "refused", "failed", and facts that are not empty; written soon."""
        record = {"end": number, "at": self._now(), "outcome": outcome}
        record |= {name: shown(value) for name, value in {"text": text, **facts}.items() if value}
        Deferred.fromCoroutine(self._write(record)).addErrback(self._owe, _line(record))

    async def denied(self, operation: str, arguments: Mapping[str, Any], who: str, peer: str, why: str) -> None:
        """Somebody may not do what was asked for: one record for each operation in ten minutes."""
        if self.new(who, operation, "denied"):
            try:
                await self._write(
                    self._record(operation, who, peer, arguments=arguments, outcome="denied", text=shown(why))
                )
            except NotAudited as error:
                log.error("{reason}", reason=str(error))

    def new(self, *what: str) -> bool:
        """Whether that is no repetition."""
        now = self._clock()
        if 0 <= now - self._seen.get(what, float("-inf")) < REPEATED:
            return False
        self._seen.pop(what, None)
        while len(self._seen) >= MAX_REPEATED:
            del self._seen[next(iter(self._seen))]
        self._seen[what] = now
        return True

    def _record(self, operation: str, who: str, peer: str, **more: Any) -> Record:
        about = {"id": self._new_id(), "at": self._now(), "who": who, **({"peer": peer} if peer else {})}
        return {**about, "operation": operation, **{key: shown(value) for key, value in more.items()}}

    def _now(self) -> str:
        return moment(self._clock())

    async def _write(self, record: Record) -> None:
        """With all others that wait: they share a write and a sync.  Raises NotAudited."""
        mine = _Waiting(_line(record))
        self._waiting.append(mine)
        if self._idle is None:
            self._idle = Deferred()
            Deferred.fromCoroutine(self._work())
        await mine.done

    async def _work(self) -> None:
        """Until nothing waits."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            owed = list(self._owed)
            self._owed.clear()
            try:
                await self._append(b"".join([*owed, *(one.line for one in batch)]))
            except OSError as error:
                self._owed.extendleft(reversed(owed))
                reason = f"the audit log cannot be written: {error.strerror or error}"
                for one in batch:
                    one.done.errback(NotAudited(reason))
            else:
                for one in batch:
                    one.done.callback(None)
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.callback(None)

    async def _append(self, octets: bytes) -> None:
        """In a thread while there are any."""
        if self._closed:
            self._files.append(octets)
            self._files.close()
        else:
            await self._aside(self._files.append, octets)

    def _owe(self, failure: Any, line: bytes) -> None:
        """Keep the end of a record for the next write."""
        failure.trap(NotAudited)
        self._owed.append(line)
        log.error("{reason}; missing: {line}", reason=str(failure.value), line=line.decode("utf-8").rstrip())

    async def close(self) -> None:
        """All that waits is written.  What an operation says that ends after this is written without a thread."""
        if self._idle is not None:
            await self._idle
        self._closed = True
        self._files.close()

    # ------------------------------------------------------------ reading

    async def page(
        self, *, since: str = "", who: str = "", operation: str = "", limit: int = 100, after: str = ""
    ) -> tuple[list[Record], str]:
        """Records, the newest first, and the `after` of the next page ("": there is none).

        `since` is an instant as in records, or its beginning; `operation` "noun.verb" or "noun".  Raises OSError,
        ValueError for an `after` that no page gave.
        """

        def wanted(record: Record) -> bool:
            """Whether it fits."""
            named = record.get("operation", "")
            return (not who or record.get("who") == who) and operation in ("", named, named.partition(".")[0])

        found: tuple[list[Record], str] = await self._aside(self._files.page, wanted, since, limit, after)
        return found


def moment(seconds: float) -> str:
    """UTC with milliseconds, so that texts sort by time."""
    whole, thousandths = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{thousandths:03}Z"


def shown(value: Any) -> Any:
    """What is kept of a value: all of it unless it is large."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}... ({len(value)} characters)"
    if isinstance(value, Mapping):
        kept = {str(key)[:MAX_TEXT]: shown(one) for key, one in list(value.items())[:MAX_LIST]}
        return kept if len(value) <= MAX_LIST else {**kept, "...": f"{len(value)} in all"}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        kept_few = [shown(one) for one in value[:MAX_LIST]]
        return kept_few if len(value) <= MAX_LIST else [*kept_few, f"... ({len(value)} in all)"]
    return value if isinstance(value, bool | int | float | None) else str(value)[:MAX_TEXT]


def _line(record: Record) -> bytes:
    """One line; what is too long for one keeps its beginning and end."""
    octets = json.dumps(record, separators=(",", ":")).encode("ascii")
    if len(octets) > MAX_RECORD:
        kept = {key: value for key, value in record.items() if key not in ("arguments", "facts", "text")}
        octets = json.dumps({**kept, "left_out": len(octets)}, separators=(",", ":")).encode("ascii")
    return octets + b"\n"
