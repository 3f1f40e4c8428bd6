"""CPU time of receiving mail of 4 KiB over sockets: ``python bench/smtp_sockets.py [--beside FOLDER]``.

The servers and the messages of `micro_smtp.py`, each server in a process of its own with the usual reactor, on
loopback; the clients, so many connections side by side, are in this process.  Of the servers the CPU time of their
process counts, user and system, as the kernel knows it; of so many rounds in turn the best.  `--beside`: a folder with
another version of mailsrv, which is measured in the same run.  `nothing but answers` is what no server can go below:
the reactor and the kernel.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

from micro_smtp import SERVERS, WAYS, peer_of
from twisted.internet.protocol import Factory, Protocol

from mailsrv.net.send import send

CONNECTIONS, ROUNDS, MESSAGES = 16, 7, 3000
FLOOR = "nothing but answers"
#: Replies to each piece of `WAYS`.
REPLIES = {"plain": (1, 1, 1, 1), "pipelined": (3, 1), "BDAT": (3,)}


class Answering(Protocol):
    """Answers by the look of what comes, and reads nothing: what is left is the reactor and the kernel."""

    def connectionMade(self) -> None:
        """Twisted: greet."""
        send(self.transport, b"220 here\r\n")

    def dataReceived(self, data: bytes) -> None:
        """Twisted: answer."""
        commands = data.partition(b"From:")[0].count(b"\r\n")
        send(self.transport, b"250 yes\r\n" * (commands or 1))


def serve(who: str) -> None:
    """Be one of the servers; prints its port."""
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner

    globalLogBeginner.beginLoggingTo([lambda event: None], redirectStandardIO=False, discardBuffer=True)
    factory, make = Factory(), Answering if who == FLOOR else SERVERS[who]()
    factory.buildProtocol = lambda address: make()  # type: ignore[method-assign, assignment]
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    sys.stdout.write(f"{port.getHost().port}\n")
    sys.stdout.flush()
    reactor.run()  # type: ignore[attr-defined]


class Server:
    """One of them in its process."""

    def __init__(self, who: str, folder: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", who],
            env={**os.environ, "PYTHONPATH": folder}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def cpu(self) -> float:
        """CPU seconds so far."""
        # The first field: nanoseconds on a processor; there is one thread that works.
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0]) / 1e9

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()


class Client:
    """One connection, transaction after transaction."""

    def __init__(self, port: int, way: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pieces, self._replies = WAYS[way], REPLIES[way]
        self._at, self._awaited = 0, 0
        self.socket.recv(4096)
        self.socket.sendall(b"EHLO c.example\r\n")
        while b"\r\n250 " not in b"\r\n" + self.socket.recv(4096):
            pass

    def begin(self) -> None:
        """Say the next piece."""
        self._awaited = self._replies[self._at]
        self.socket.sendall(self._pieces[self._at])

    def heard(self) -> bool:
        """Replies came: whether a message is done."""
        said = self.socket.recv(4096)
        if not said or said[:1] not in b"23":
            raise SystemExit(f"refused: {said!r}")
        self._awaited -= said.count(b"\r\n")
        if self._awaited:
            return False
        self._at = (self._at + 1) % len(self._pieces)
        if self._at:
            self.begin()
        return not self._at


def run(clients: list[Client], messages: int) -> None:
    """So many messages, all connections at once."""
    selector = selectors.DefaultSelector()
    left, coming = messages - len(clients), messages
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.begin()
    while coming:
        for key, _ in selector.select():
            if key.data.heard():
                coming -= 1
                if left:
                    left -= 1
                    key.data.begin()
    selector.close()


def measure(way: str, servers: dict[str, Server], connections: int) -> dict[str, list[float]]:
    """For each server CPU and wall seconds of a message, the best of the rounds."""
    clients = {who: [Client(server.port, way) for _ in range(connections)] for who, server in servers.items()}
    best = {who: [1e9, 1e9] for who in servers}
    for _ in range(ROUNDS):
        for who, server in servers.items():
            before, began = server.cpu(), monotonic()
            run(clients[who], MESSAGES)
            took = server.cpu() - before, monotonic() - began
            best[who] = [min(old, new / MESSAGES) for old, new in zip(best[who], took, strict=True)]
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--beside", metavar="FOLDER", default="")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    given: Any = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    folders = {"": str(Path(__file__).resolve().parent.parent), **({" (beside)": given.beside} if given.beside else {})}
    servers = {
        who + mark: Server(who, folder)
        for who in [FLOOR, *SERVERS] for mark, folder in folders.items()
        if not mark or who.startswith("mailsrv")
    }  # fmt: skip
    base: dict[str, float] = {}
    try:
        for way in WAYS:
            chosen = {who: one for who, one in servers.items() if way != "BDAT" or not who.startswith("twisted")}
            best = measure(way, chosen, given.connections)
            base.update((who, took) for who, (took, _) in best.items() if who.startswith("twisted"))
            for who, (cpu, wall) in best.items():
                times = f"{base[peer_of(who)] / cpu:5.2f} times"
                sys.stdout.write(
                    f"{way:10} {who:36} {cpu * 1e6:6.1f} us CPU {1 / cpu:8.0f}/cpu-s {times} {1 / wall:8.0f}/s\n"
                )
    finally:
        for server in servers.values():
            server.end()


if __name__ == "__main__":
    main()
