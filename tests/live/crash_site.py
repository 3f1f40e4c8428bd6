"""`twistd` that kills itself at one step: python -m tests.live.crash_site POINT ARGUMENTS-OF-TWISTD...

For the steps of a delivery that no client and no other server can see.  `POINTS` names them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.scripts.twistd import run

from mailsrv.host.reports import Reporter
from mailsrv.store.embedded.queue import EmbeddedQueue
from mailsrv.store.embedded.queue_operations import Settle
from mailsrv.store.embedded.store import EmbeddedStore
from mailsrv.transfer import badmail


def die(*_: Any) -> None:
    """As the power does: nothing is written any more, nobody hears of it."""
    os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str, *, before: bool, when: Callable[..., bool] = lambda *_: True) -> None:
    """Have a coroutine method die when it begins, or when it has ended and before its caller knows."""
    whole = getattr(owner, name)

    async def dying(self: Any, *arguments: Any, **named: Any) -> Any:
        if not when(*arguments):
            return await whole(self, *arguments, **named)
        if before:
            die()
        result = await whole(self, *arguments, **named)
        if result or result is None:
            die()
        return result

    setattr(owner, name, dying)


def in_transaction() -> None:
    """The row is changed in the database, and that is not committed."""
    whole = Settle.run

    def dying(self: Settle, transaction: Any) -> bool:
        whole(self, transaction)
        die()
        return True

    Settle.run = dying  # type: ignore[method-assign]


def in_bad_mail(suffix: str) -> None:
    """One of the two files of bad mail is half written."""
    whole = badmail._write

    def dying(folder: Any, name: str, chunks: Any) -> None:
        if name.endswith(suffix):
            whole(folder, name, half(chunks))
        whole(folder, name, chunks)

    def half(chunks: Any) -> Any:
        for chunk in chunks:
            yield bytes(chunk)[: len(chunk) // 2]
            die()

    badmail._write = dying


#: At a step: before or after it happens.
POINTS: dict[str, Callable[[], None]] = {
    "before the commit": lambda: around(EmbeddedStore, "deliver", before=True),
    "after the commit": lambda: around(EmbeddedStore, "deliver", before=False),
    "after the lease": lambda: around(EmbeddedQueue, "lease", before=False),
    "before the row is settled": lambda: around(EmbeddedQueue, "settle", before=True),
    "while the row is settled": in_transaction,
    "after the row was settled": lambda: around(EmbeddedQueue, "settle", before=False),
    "before the report": lambda: around(Reporter, "report", before=True),
    "after the report": lambda: around(Reporter, "report", before=False),
    "while the message of bad mail is written": lambda: in_bad_mail(".eml"),
    "while the facts of bad mail are written": lambda: in_bad_mail(".json"),
    "after bad mail": lambda: around(Reporter, "keep_bad", before=False),
}

if __name__ == "__main__":
    POINTS[sys.argv[1]]()
    sys.argv = ["twistd", *sys.argv[2:]]
    run()
