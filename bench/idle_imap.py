"""IMAP4 sessions in IDLE: memory of each, and how soon a delivery is told.

    python -m bench.idle_imap [--connections 10000] [--tls] [--users 200] [--deliveries 60]

Each session has logged in, selected INBOX and said IDLE; the users share them evenly.  A delivery goes in over SMTP on
a connection of its own, and the time from connecting to EXISTS in one of the user's sessions is taken.
"""

from __future__ import annotations

import argparse
import json
import resource
import selectors
import socket
import ssl
import statistics
import tempfile
import time
from pathlib import Path

from .__main__ import DOMAIN, PASSWORD, disk_sync, make_site, start
from .idle import PER_ADDRESS, SETTINGS

WAIT = 60.0
OWN = ("max_connections", "max_connections_per_address", "login_timeout", "idle_timeout")


def settle(config: Path) -> None:
    """No limits that thousands of sessions of one machine would meet."""
    kept = [line for line in config.read_text().splitlines() if line.split(" ")[0] not in OWN]
    config.write_text("\n".join(line + ("\n" + SETTINGS if line == "[imap.default]" else "") for line in kept) + "\n")


def ports(folder: Path) -> tuple[int, int, int]:
    """(IMAP4 plain, IMAP4 with TLS, SMTP)."""
    servers = json.loads((folder / "site" / "data" / "ready.json").read_text())["servers"]

    def port(name: str, tls: bool) -> int:
        found = [at for at in servers[name]["addresses"] if at.endswith("/tls") == tls]
        return int(found[0].removesuffix("/tls").rpartition(":")[2]) if found else 0

    return port("imap/default", False), port("imap/default", True), port("smtp/default", False)


def idling(port: int, number: int, users: int, context: ssl.SSLContext | None) -> socket.socket:
    """One more session."""
    made = socket.create_connection(("127.0.0.1", port), WAIT, (f"127.0.1.{1 + number // PER_ADDRESS}", 0))
    if context is not None:
        made = context.wrap_socket(made)
    until(made, b"* OK")
    for line, end in (
        (f"a LOGIN u{number % users:04d}@{DOMAIN} {PASSWORD}\r\n", b"a OK"),
        ("b SELECT INBOX\r\n", b"b OK"),
        ("c IDLE\r\n", b"+ "),
    ):
        made.sendall(line.encode())
        until(made, end)
    return made


def until(client: socket.socket, start: bytes) -> None:
    """Read up to a line that begins so."""
    said = b""
    while not any(line.startswith(start) for line in said.split(b"\r\n")[:-1]):
        more = client.recv(65536)
        if not more:
            raise ConnectionError(said)
        said += more


def deliver(port: int, user: int) -> None:
    """One message of 4 KiB over a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), WAIT) as client:
        until(client, b"220")
        for line in ("HELO c", "MAIL FROM:<>", f"RCPT TO:<u{user:04d}@{DOMAIN}>"):
            client.sendall(line.encode() + b"\r\n")
            until(client, b"250")
        client.sendall(b"DATA\r\n")
        until(client, b"354")
        client.sendall(b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 58 + b".\r\nQUIT\r\n")


def told(port: int, user: int, client: socket.socket) -> float:
    """Milliseconds from connecting to EXISTS."""
    began = time.perf_counter()
    deliver(port, user)
    said = b""
    while b" EXISTS\r\n" not in said:
        said += client.recv(65536)
    return (time.perf_counter() - began) * 1000


def pss(pid: int) -> float:
    """KiB of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise KeyError("Pss")


def drain(clients: list[socket.socket]) -> None:
    """Take what the other sessions of these users were told."""
    waiting = selectors.DefaultSelector()
    for client in clients:
        client.setblocking(False)
        waiting.register(client, selectors.EVENT_READ)
    while ready := waiting.select(0.05):
        for key, _ in ready:
            try:
                key.fileobj.recv(65536)  # type: ignore[union-attr]
            except ssl.SSLWantReadError:
                continue
    waiting.close()
    for client in clients:
        client.settimeout(WAIT)


def measure(folder: Path, given: argparse.Namespace) -> None:
    """Print the figures."""
    make_site(folder, given.port_base, given.users)
    settle(folder / "site" / "mailsrv.toml")
    process = start(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if given.tls else None
    if context is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        plain, secure, smtp = ports(folder)
        clients = [idling(secure if given.tls else plain, n, given.users, context) for n in range(given.users)]
        before = pss(process.pid)
        clients += [
            idling(secure if given.tls else plain, n, given.users, context)
            for n in range(given.users, given.connections)
        ]
        # What was needed to make the connections alone is given back meanwhile.
        time.sleep(3)
        each = (pss(process.pid) - before) / (given.connections - given.users)
        took = []
        for number in range(given.deliveries):
            user = number * 7 % given.users
            took.append(told(smtp, user, clients[user]))
            drain(clients[user :: given.users])
        took.sort()
        print(f"{len(clients)} sessions{' with TLS' if given.tls else ''}: {each:.1f} KiB each; EXISTS p50 "
              f"{statistics.median(took):.1f}, p99 {took[len(took) * 99 // 100]:.1f} ms; disk sync "
              f"{disk_sync(folder):.2f} ms")  # fmt: skip
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle_imap")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--deliveries", type=int, default=60)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--port-base", type=int, default=24000)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < given.connections + 300:
        raise SystemExit(f"this process may open only {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), given)


if __name__ == "__main__":
    main()
