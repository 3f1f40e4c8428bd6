"""Micro benchmark of the embedded store: python bench/micro_store.py [FOLDER] [seconds per row].

Prints, for deliveries of 4 KiB with 1, 20 and 100 in flight (and 20 with ten recipients): deliveries per second,
CPU microseconds per delivery and per row of the whole process, and the machine's own sync time beside them; then how
long it takes to open a mailbox of 100,000 messages, from the rows and from the snapshot.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from mailsrv.message.content import MemoryContent
from mailsrv.store.embedded.store import EmbeddedStore
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, DomainFacts, Envelope, NewDelivery, NewMessage, Placement, Recipient

ACCOUNTS = 100
LINE = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
BODY = (b"From: a@example.org\r\nSubject: bench\r\n\r\n" + LINE * 60)[:4096]


def sync_seconds(folder: Path) -> float:
    """The median of appending 4 KiB and fdatasync."""
    fd = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        os.write(fd, BODY)
        os.fdatasync(fd)
        times.append(time.perf_counter() - begin)
    os.close(fd)
    return median(times)


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def deliveries(
    store: EmbeddedStore, loop: Loop, accounts: list[int], clients: int, recipients: int, seconds: float
) -> str:
    """One row of the table."""
    done = 0
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal done
        while time.perf_counter() < until:
            at = number + done
            placements = tuple(Placement(accounts[(at + n) % len(accounts)]) for n in range(recipients))
            envelope = Envelope(Address("sender", "foreign.example"), (Recipient(Address("user1", "example.org")),))
            await store.deliver(NewDelivery(f"id{at}", envelope, MemoryContent(BODY), placements, time.time()))
            done += 1

    wall, cpu = time.perf_counter(), time.process_time()
    loop.gather([client(number * recipients) for number in range(clients)])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    micros = cpu / done * 1e6
    return (f"{clients:4d} in flight, {recipients:2d} recipients: {done / wall:8.0f} deliveries/s"
            f"  {micros:6.0f} us CPU each  {micros / recipients:6.0f} us a row")


def columns(path: Path, messages: int = 100_000) -> None:
    """Open a large mailbox: from the rows, then from the snapshot."""
    loop = Loop()
    store = EmbeddedStore.open(path, loop.call_from_thread)
    account = loop.run(store.directory.add_account(Address("large", "example.org"), ""))

    async def fill() -> None:
        box = await (await store.account(account.account_id)).open("INBOX")
        content = MemoryContent(b"Subject: x\r\n\r\n")
        for _ in range(messages // 10_000):
            await box.append([NewMessage(content)] * 10_000)

    loop.run(fill())
    loop.run(store.close())
    (path / "derived.db").unlink()

    def timed(label: str) -> Any:
        begin, cpu = time.perf_counter(), time.process_time()
        handle = loop.run(opening())
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
        say(f"open {len(handle.columns().uids)} messages {label}: {wall * 1e3:.1f} ms, {cpu * 1e3:.1f} ms CPU")
        return handle

    async def opening() -> Any:
        return await (await store.account(account.account_id)).open("INBOX")

    store = EmbeddedStore.open(path, loop.call_from_thread)
    for label in ("from the rows", "again", "once more"):
        handle = timed(label)
        if label == "once more":
            reads(loop, handle)
        begin = time.perf_counter()
        handle.release()
        say(f"    release {(time.perf_counter() - begin) * 1e3:.1f} ms")
    loop.run(store.close())
    store = EmbeddedStore.open(path, loop.call_from_thread)
    timed("after a restart").release()
    loop.run(store.close())


async def octets(contents: Any) -> None:
    """Read all of them."""
    for content in contents:
        await content.read(0, content.size)


def reads(loop: Loop, handle: Any) -> None:
    """Facts, contents and octets of blocks of 500 messages, contiguous and scattered."""
    uids = handle.columns().uids
    for label, block in (("contiguous", uids[5000:5500]), ("scattered", uids[:: len(uids) // 500][:500])):
        begin = time.perf_counter()
        for _ in range(20):
            loop.run(handle.facts(block, frozenset({"size", "dates", "ids", "summary"})))
        facts = (time.perf_counter() - begin) / 20
        begin = time.perf_counter()
        for _ in range(20):
            contents = loop.run(handle.contents(block))
        opened = (time.perf_counter() - begin) / 20

        begin = time.perf_counter()
        loop.run(octets(contents))
        read = time.perf_counter() - begin
        say(f"    500 {label}: facts {facts * 1e3:.2f} ms, contents {opened * 1e3:.2f} ms, octets {read * 1e3:.2f} ms")


def main(folder: str | None, seconds: float) -> None:
    """Run all of it in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch)
        loop = Loop()
        store = EmbeddedStore.open(path / "deliveries", loop.call_from_thread)
        loop.run(store.directory.set_domains([DomainFacts("example.org")]))
        accounts = [
            loop.run(store.directory.add_account(Address(f"user{number}", "example.org"), "")).account_id
            for number in range(ACCOUNTS)
        ]
        for clients, recipients in ((1, 1), (20, 1), (100, 1), (20, 10)):
            sync = sync_seconds(path)
            say(f"sync {sync * 1e3:.2f} ms; " + deliveries(store, loop, accounts, clients, recipients, seconds))
        loop.run(store.close())
        columns(path / "columns")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None, float(sys.argv[2]) if len(sys.argv) > 2 else 3.0)
