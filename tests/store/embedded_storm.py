"""A child process for the kill test: python embedded_storm.py FOLDER FIRST.  It stores as fast as it can and prints
one line for everything that was acknowledged, until it is killed.

    D n        message n was delivered to INBOX          A n uid    message n was appended to Drafts
    F uid      \\Flagged was set in Drafts                X uid      expunged from Drafts
    M n        message n was moved from Drafts to Archive
"""

from __future__ import annotations

import sys
from pathlib import Path

from embedded_tools import Bed, new_message

from mailsrv.numbers import UidSet
from mailsrv.values import FlagChange


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def size_of(number: int) -> int:
    """How large message `number` is: the first six of ten are delivered, the others appended."""
    return 100 + (number * 37 % 9000 if number % 10 < 6 else number * 53 % 3000)


def main(folder: Path, first: int) -> None:
    """Never ends by itself (well: after very many messages)."""
    bed = Bed(folder, segment_octets=200_000, purge_after=0)
    store = bed.store
    work, archive = bed.open("Drafts"), bed.open("Archive")

    async def deliverer(start: int) -> None:
        for number in range(start, start + 10**6, 10):
            await store.deliver(bed.delivery(number, size_of(number)))
            say(f"D {number}")

    async def worker(start: int) -> None:
        for number in range(start, start + 10**6, 10):
            (uid,) = (await work.append([new_message(number, size=size_of(number))])).uids
            say(f"A {number} {uid}")
            chosen = UidSet.of([uid])
            await work.update(chosen, FlagChange("add", frozenset({b"\\Flagged"})))
            say(f"F {uid}")
            if number % 3 == 0:
                await work.expunge(chosen)
                say(f"X {uid}")
            elif number % 3 == 1:
                await work.copy(chosen, archive.mailbox_id, True)
                say(f"M {number}")

    say("ready")
    bed.loop.gather([deliverer(first + n) for n in range(6)] + [worker(first + n) for n in range(6, 10)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
