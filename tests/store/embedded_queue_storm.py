"""A child process for the kill test of the queue: python embedded_queue_storm.py FOLDER FIRST.  It delivers to others,
takes, settles and deletes as fast as it can, with compaction all the time, until it is killed.

    Q n          message n was delivered: one row for a<w>, one for b<w>; when it is odd also to INBOX
    B n d what   about to settle, cut (one of two recipients is done) or delete the row of message n for d
    E n d what   that was acknowledged
"""

from __future__ import annotations

import sys
from pathlib import Path

from attrs import evolve
from embedded_storm import say, size_of
from embedded_tools import Bed, body

from mailsrv.values import Address, NewQueued, Recipient

START = 1.7e9


def rows_of(worker: int) -> tuple[NewQueued, ...]:
    """The rows of a delivery of this worker."""
    return tuple(
        NewQueued(name, tuple(Recipient(Address(local, name), {"NOTIFY": "NEVER"}) for local in ("x", "y")))
        for name in (f"a{worker}", f"b{worker}")
    )


def main(folder: Path, first: int) -> None:
    """Never ends by itself (well: after very many messages)."""
    bed = Bed(folder, segment_octets=100_000, purge_after=0)
    store = bed.store

    async def relay(worker: int) -> None:
        for number in range(worker, worker + 10**6, 10):
            new = evolve(bed.delivery(number, size_of(number)), queued=rows_of(worker), received_at=START)
            await store.deliver(new if number % 2 else evolve(new, placements=()))
            say(f"Q {number}")
            for queued in new.queued:
                name = queued.destination
                (row,) = await store.lease(name, 1, "storm", START, 300.0)
                content = await store.queue_content(row)
                assert await content.read(0, 10**6) == body(number, size_of(number))
                content.close()
                what = ("settle", "cut", "delete", "postpone")[number // 10 % 4]
                if what in ("delete", "postpone"):
                    await store.release(row)
                say(f"B {number} {name} {what}")
                if what == "settle":
                    assert await store.settle(row, (), due=START)
                elif what == "cut":
                    assert await store.settle(row, row.recipients[1:], due=START + 10**6)
                elif what == "delete":
                    assert await store.alter([row.id], "delete") == 1
                else:
                    assert await store.postpone(name, START, (10.0**6,), "451 later") == 1
                say(f"E {number} {name} {what}")

    async def compaction() -> None:
        while True:
            await store.compact()

    say("ready")
    bed.loop.gather([relay(first + n) for n in range(8)] + [compaction()])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
