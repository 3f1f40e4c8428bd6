"""CPU time of access lists: ``python bench/micro_access.py``; best of seven, microseconds for one client."""

from __future__ import annotations

import random
import socket
import sys
from time import perf_counter, process_time

from mailsrv.access.entries import parse_entry
from mailsrv.access.filter import AccessFilter
from mailsrv.access.lists import AccessList
from mailsrv.access.reverse import ReverseNames
from mailsrv.values import Peer

CLIENTS, ROUNDS = 20_000, 7


def networks(count: int, chance: random.Random) -> list[str]:
    """Different networks of all sizes from /12 to /32, some inside others; one in five is IPv6."""
    found: dict[str, None] = {}
    while len(found) < count:
        if chance.random() < 0.2:
            address = socket.inet_ntop(socket.AF_INET6, (0x20 << 120 | chance.getrandbits(120)).to_bytes(16, "big"))
            found[f"{address}/{chance.randint(24, 64)}"] = None
        else:
            address = socket.inet_ntop(socket.AF_INET, chance.getrandbits(32).to_bytes(4, "big"))
            found[f"{address}/{chance.randint(12, 32)}"] = None
    return list(found)


def client(number: int, chance: random.Random) -> str:
    """An address; one in five is IPv6."""
    if number % 5:
        return socket.inet_ntop(socket.AF_INET, chance.getrandbits(32).to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, (0x20 << 120 | chance.getrandbits(120)).to_bytes(16, "big"))


def main() -> None:
    """One line for each size of the list."""
    chance = random.Random(5)
    peers = [Peer(client(at, chance), 40000) for at in range(CLIENTS)]
    out = sys.stdout.write
    out("networks  parsed, ms  built, ms  decided, us  admitted, us  listed\n")
    for count in (10, 1_000, 10_000, 100_000):
        texts = networks(count, chance)
        began = perf_counter()
        entries = [parse_entry(text, 1) for text in texts]
        parsed = perf_counter() - began
        began = perf_counter()
        listed = AccessList("bench", "except", entries)
        built = perf_counter() - began
        one = AccessFilter(listed, ReverseNames(None), print)  # type: ignore[arg-type]
        decided = min(_decide(listed, peers) for _ in range(ROUNDS))
        admitted = min(_admit(one, peers) for _ in range(ROUNDS))
        hits = sum(not listed.by_address(peer.host).allowed for peer in peers)  # type: ignore[union-attr]
        out(
            f"{count:8}  {parsed * 1e3:10.1f}  {built * 1e3:9.1f}  {decided * 1e6 / CLIENTS:11.2f}  "
            f"{admitted * 1e6 / CLIENTS:12.2f}  {hits / CLIENTS:6.0%}\n"
        )


def _decide(listed: AccessList, peers: list[Peer]) -> float:
    began = process_time()
    for peer in peers:
        listed.by_address(peer.host)
    return process_time() - began


def _admit(one: AccessFilter, peers: list[Peer]) -> float:
    began = process_time()
    for peer in peers:
        try:
            one.admit(peer).send(None)
        except StopIteration:
            pass
    return process_time() - began


if __name__ == "__main__":
    main()
