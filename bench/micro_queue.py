"""Micro benchmark of the queue of the embedded store: python bench/micro_queue.py [--rows N] [--destinations N].

A queue of so many messages is made, and opened by a process of its own: how long that takes and how much memory it has
then; how long the choice of what is next takes with 1 %, 10 % and all of the rows; what leases, settlements and
postponements cost; how long each filter of `mailsrv queue list` takes when it must look at every row.  "Stall" is the
longest time that the reactor did nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mailsrv.message.content import MemoryContent
from mailsrv.store.embedded.store import EmbeddedStore
from mailsrv.store.queue_index import QueueIndex
from mailsrv.tap import turn_quickly
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, Envelope, NewDelivery, NewQueued, Recipient, Wanted

LINE = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
BODY = (b"From: a@example.org\r\nSubject: bench\r\n\r\n" + LINE * 30)[:2048]
#: Deliveries under way at a time while the queue is filled.
AT_ONCE = 500
HOUR = 3600.0
#: Seconds between two looks at the reactor.
TICK = 0.001


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def resident() -> float:
    """Megabytes of memory that this process holds."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


# ---------------------------------------------------------------- filling


def deliveries(rows: int, destinations: int, now: float) -> Iterator[NewDelivery]:
    """Messages of 2 KiB from 500 senders, accepted within the last two days."""
    content = MemoryContent(BODY)
    for number in range(rows):
        to = (Recipient(Address(f"user{number}", f"d{number % destinations}.example")),)
        yield NewDelivery(
            f"id{number:011d}", Envelope(Address(f"sender{number % 500}", f"s{number % 50}.example"), to), content, (),
            now - 48 * HOUR * (rows - number) / rows, server=f"smtp/{('default', 'out')[number % 2]}",
            queued=(NewQueued(to[0].address.domain, to, held=number % 1000 == 0),),
        )  # fmt: skip


def fill(folder: Path, rows: int, destinations: int) -> None:
    """Make the queue; each row has been tried in vain."""
    loop, now = Loop(), time.time()
    store = EmbeddedStore.open(folder, loop.call_from_thread)
    some: list[NewDelivery] = []
    began = time.perf_counter()
    for delivery in deliveries(rows, destinations, now):
        some.append(delivery)
        if len(some) == AT_ONCE:
            loop.gather([store.deliver(one) for one in some])
            some.clear()
    loop.gather([store.deliver(one) for one in some])
    for number in range(destinations):
        words = f"mx{number}.example: 451 4.7.1 Greylisted, please come again in {number} seconds"
        loop.run(store.postpone(f"d{number}.example", now, (float(number % 900),), words))
    loop.run(store.close())
    say(f"made {rows} rows for {destinations} destinations in {time.perf_counter() - began:.1f} s")


# ---------------------------------------------------------------- in a process of its own


class Measured:
    """An opened queue under a reactor, and a watch on how long the reactor does nothing else."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.reactor, before = reactor, resident()
        began, cpu = time.perf_counter(), time.process_time()
        self.store = EmbeddedStore.open(folder, reactor.callFromThread)
        say(f"opened in {time.perf_counter() - began:.2f} s ({time.process_time() - cpu:.2f} s CPU);"
            f" memory {before:.0f} -> {resident():.0f} MB")  # fmt: skip
        # As a server does when all is loaded.
        turn_quickly()
        self._last, self.stall = time.perf_counter(), 0.0
        self._tick()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.stall = max(self.stall, now - self._last)
        self._last = now
        self.reactor.callLater(TICK, self._tick)

    async def timed(self, label: str, work: Awaitable[Any], count: int = 0) -> Any:
        """One line; per piece if there are `count`."""
        await self.pause()
        self._last, self.stall = time.perf_counter(), 0.0
        began, cpu = time.perf_counter(), time.process_time()
        result = await work
        wall = time.perf_counter() - began
        stall, cpu = max(self.stall, time.perf_counter() - self._last) - TICK, time.process_time() - cpu
        each = f" ({cpu / count * 1e6:.0f} us each)" if count else ""
        say(f"  {label:<52} {wall * 1e3:7.0f} ms, {cpu * 1e3:6.0f} ms CPU{each}; stall {stall * 1e3:.1f} ms")
        return result

    async def pause(self, seconds: float = 0.05) -> None:
        """Let the reactor turn."""
        from twisted.internet.defer import Deferred

        waiting: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waiting.callback, None)
        await waiting


async def listing(bed: Measured, rows: int) -> None:
    """Every filter, and every row looked at."""
    from mailsrv.host.control.queue_rows import scan

    async def matching(wanted: Wanted, most: int) -> int:
        found = 0
        async for _ in scan(bed.store, wanted):
            found += 1
            if found == most:
                break
        return found

    now = time.time()
    wishes = {
        "server": Wanted(server="smtp/none"), "sender": Wanted(sender="sender7@s7.example"),
        "sender's domain": Wanted(sender="@s7.example"), "recipient": Wanted(recipient="user77@d77.example"),
        "recipient's domain": Wanted(recipient="@d77.example"), "domain": Wanted(destination="d77.example"),
        "age": Wanted(before=now - 47 * HOUR), "state": Wanted(state="held"), "reply": Wanted(reply="in 77 seconds"),
    }  # fmt: skip
    await bed.timed("list the first 100", matching(Wanted(), 100))
    for label, wanted in wishes.items():
        await bed.timed(f"list by {label}", matching(wanted, rows))
    await bed.timed("list everything", matching(Wanted(), rows))


async def working(bed: Measured, rows: int, destinations: int) -> None:
    """What the runner does."""
    store, now, names = bed.store, time.time() + HOUR, [f"d{number}.example" for number in range(destinations)]
    each = rows // destinations

    async def pick(times: int) -> None:
        for _ in range(times):
            (first, *_) = await store.due(now, 400)
            await store.release(*await store.lease(first.destination, 20, "bench", now, HOUR))
            await bed.pause(0)

    async def settle(name: str, end: bool) -> None:
        for row in await store.lease(name, 20, "bench", now, HOUR):
            await store.settle(row, () if end else row.recipients, due=now + HOUR, reply="451 later")

    async def postpone(some: list[str]) -> None:
        for name in some:
            await store.postpone(name, now, (900.0,), "Cannot connect: refused")

    first, second, third = names[:100], names[100:200], names[200:300]
    await bed.timed("choose among all what is due, lease 20, release", pick(100), 100)
    await bed.timed("settle 20 rows of 100 destinations: later", together([settle(one, False) for one in first]), 2000)
    await bed.timed("settle 20 rows of 100 destinations: ended", together([settle(one, True) for one in second]), 2000)
    await bed.timed("postpone 100 destinations", postpone(third), 100 * each)
    ids = [row.id for row in await store.queued(most=rows)]
    left = len(ids)
    await bed.timed("hold everything", store.alter(ids, "hold"), left)
    await bed.timed("release everything", store.alter(ids, "release"), left)
    await bed.timed("reroute everything", store.alter(ids, "reroute", destination="one.example"), left)
    await bed.timed("postpone everything", store.postpone("one.example", now + HOUR, (9.0,), ""), left)
    await bed.timed("recall everything", store.recall(now, now), left)
    await unreachable(bed, left, now)
    await outage(bed, names, now)


async def outage(bed: Measured, names: list[str], now: float) -> None:
    """The whole runner when no server of the world answers: one interval of everything that waits."""
    from mailsrv.errors import TryLater
    from mailsrv.transfer.attempts import Lane
    from mailsrv.transfer.runner import Runner
    from mailsrv.transfer.schedule import Ages, Policy

    rows = [row.id for row in await bed.store.queued(most=10**6)]
    for at, name in enumerate(names):
        await bed.store.alter(rows[at :: len(names)], "reroute", destination=name)
    tried = 0

    class World:
        """Routes and servers."""

        async def hops(self, destination: str) -> Any:
            nonlocal tried
            tried += 1
            raise TryLater("Cannot connect: no answer")

    async def masked(row: Any, content: Any) -> Any:
        return row

    lanes = {
        name: Lane(
            server=name, policy=Policy((900.0,), Ages(None, None), Ages(None, None)), routes=World(),  # type: ignore
            agent=None, reporter=None, outgoing=masked,  # type: ignore[arg-type]
        )
        for name in ("smtp/default", "smtp/out")
    }  # fmt: skip
    await bed.store.recall(now, now)
    runner = Runner(bed.store, lanes, lambda: now + 1, bed.reactor.callLater)  # type: ignore[arg-type]

    async def interval() -> None:
        runner.start()
        while await bed.store.due(now + 1, 1) or runner.shares.workers:
            await bed.pause(0.01)

    await bed.timed(f"no server answers: an interval of {len(names)} destinations", interval(), len(rows))
    say(f"  {tried} attempts for {len(rows)} rows")
    await runner.stop()


async def together(work: list[Any]) -> None:
    """Side by side, as workers are."""
    from twisted.internet.defer import Deferred, DeferredList

    await DeferredList([Deferred.fromCoroutine(one) for one in work], fireOnOneErrback=True)


async def unreachable(bed: Measured, rows: int, now: float) -> None:
    """What an attempt at a destination that is dead costs when everything waits for it."""
    from mailsrv.transfer.attempts import Attempts, Down, Lane
    from mailsrv.transfer.schedule import Ages, Policy
    from mailsrv.transfer.unreachable import Turns, put_off

    never = Policy(notice=Ages(None, None), expiration=Ages(None, None))
    lane: Any = Lane(server="smtp/default", policy=never, routes=None, agent=None, reporter=None)  # type: ignore
    attempts = Attempts(bed.store, {"smtp/default": lane}, lambda: now)  # type: ignore[arg-type]
    attempts._down["one.example", "smtp/default"] = Down(now, 900.0, "Cannot connect")
    (row,) = await bed.store.lease("one.example", 1, "bench", now, HOUR)

    def lease(destination: str, count: int, at: float) -> Any:
        return bed.store.lease(destination, count, "bench", at, HOUR)

    waiting = put_off(bed.store, attempts, lease, Turns(bed.reactor.callLater), row, [row])
    await bed.timed("an attempt in vain at the destination of everything", waiting, rows)


def measure(folder: Path, rows: int, destinations: int) -> None:
    """In this process."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    bed = Measured(reactor, folder)

    async def everything() -> None:
        await listing(bed, rows)
        say(f"memory after listing {resident():.0f} MB")
        await working(bed, rows, destinations)
        say(f"memory at the end {resident():.0f} MB")
        await bed.store.close()

    def over(result: Any) -> None:
        reactor.stop()  # type: ignore[attr-defined]
        if hasattr(result, "printTraceback"):
            result.printTraceback()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(everything()).addBoth(over))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


def choosing(rows: int, destinations: int) -> None:
    """The index in memory alone, with more and more rows."""
    for share in (100, 10, 1):
        index = QueueIndex("bench")
        for number in range(rows // share):
            index.add(number, f"d{number % destinations}.example", float(number % 5000), False)
        took = clock(partial(index.due, 1.0, 1), 2000), clock(partial(leased, index), 2000)
        say(f"  {rows // share:7d} rows: next due {took[0]:.1f} us, lease and give back 20 rows {took[1]:.1f} us")


def leased(index: QueueIndex) -> None:
    """One worker's lot."""
    destination = index.due(5000.0, 1)[0].destination
    index.release(*index.lease(destination, 20, "bench", 5000.0, HOUR))


def clock(work: Callable[[], Any], times: int) -> float:
    """Microseconds of one call."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times * 1e6


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description="Measure the queue of the embedded store.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--destinations", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where the queue is made (default: a temporary folder)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.rows, args.destinations)
        return
    choosing(args.rows, args.destinations)
    with tempfile.TemporaryDirectory(prefix="mailsrv-queue-", dir=args.folder) as name:
        folder = Path(name) / "store"
        fill(folder, args.rows, args.destinations)
        say(f"load {os.getloadavg()[0]:.1f}")
        line = [sys.executable, __file__, "--rows", str(args.rows), "--destinations", str(args.destinations)]
        subprocess.run([*line, "--measure", str(folder)], check=True, timeout=600)


if __name__ == "__main__":
    main()
