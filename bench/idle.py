"""What open connections cost that say nothing: memory per connection, and of the whole process.

    python -m bench.idle [--connections 10000] [--protocol smtp,imap,pop3] [--login]

Each protocol has a site of its own.  Clients connect from several loopback addresses, so that ports do not run out,
and read the greeting; `--login` logs each of them in as well.  "look" is how long the process is busy in a second
with nothing but looking at them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import socket
import tempfile
import time
from pathlib import Path

from .__main__ import DOMAIN, PASSWORD, make_site, start

#: Connections from one address, and connections under way at a time.
PER_ADDRESS, TOGETHER = 2000, 200
GREETINGS = {"smtp": b"220 ", "imap": b"* OK ", "pop3": b"+OK "}
LOGINS = {
    "smtp": "EHLO c\r\nNOOP\r\n",
    "imap": "a LOGIN u0000@{domain} {password}\r\n",
    "pop3": "USER u{n:04d}@{domain}\r\nPASS {password}\r\n",
}
SETTINGS = 'max_connections = "off"\nmax_connections_per_address = "off"\nlogin_timeout = "off"\nidle_timeout = "off"\n'
SECONDS = 120.0


def status(pid: int, key: str) -> int:
    """A figure of /proc/PID/status in octets."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def busy(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def plain_port(folder: Path, protocol: str) -> int:
    """Where the server of a site listens without TLS."""
    ready = json.loads((folder / "site" / "data" / "ready.json").read_text())
    plain = next(at for at in ready["servers"][f"{protocol}/default"]["addresses"] if not at.endswith("/tls"))
    return int(plain.rpartition(":")[2])


def connect(port: int, number: int) -> socket.socket:
    """A connection under way from one of several addresses."""
    made = socket.socket()
    made.setblocking(False)
    # The port is chosen when the address of the other end is known, so each address has all of them.
    made.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    made.bind((f"127.0.1.{1 + number // PER_ADDRESS}", 0))
    made.connect_ex(("127.0.0.1", port))
    return made


def open_all(port: int, count: int, greeting: bytes) -> list[socket.socket]:
    """`count` connections whose greeting was read."""
    held: list[socket.socket] = []
    waiting = selectors.DefaultSelector()
    until = time.monotonic() + SECONDS
    made = 0
    while len(held) < count:
        while made < count and made - len(held) < TOGETHER:
            waiting.register(connect(port, made), selectors.EVENT_READ)
            made += 1
        if time.monotonic() > until:
            raise TimeoutError(f"only {len(held)} of {count} connections have a greeting")
        for key, _ in waiting.select(1):
            client: socket.socket = key.fileobj  # type: ignore[assignment]
            said = client.recv(512)
            assert said.startswith(greeting), f"no greeting: {said!r}"
            waiting.unregister(client)
            held.append(client)
    return held


def log_in(protocol: str, clients: list[socket.socket], pid: int) -> None:
    """Each of them, a few at a time; until the server has nothing to do."""
    for at in range(0, len(clients), TOGETHER):
        some = clients[at : at + TOGETHER]
        for n, client in enumerate(some, at):
            client.sendall(LOGINS[protocol].format(domain=DOMAIN, password=PASSWORD, n=n).encode())
        for client in some:
            client.settimeout(SECONDS)
            client.recv(4096)
    until = time.monotonic() + SECONDS
    used = -1.0
    while busy(pid) - used > 0.2 and time.monotonic() < until:
        used = busy(pid)
        time.sleep(1)


def measure(protocol: str, count: int, login: bool, port_base: int) -> None:
    """One line of figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_site(folder, port_base, count if login and protocol == "pop3" else 1)
        config = folder / "site" / "mailsrv.toml"
        out = []
        for line in config.read_text().splitlines():
            if line.split(" ")[0] not in ("max_connections", "max_connections_per_address", "login_timeout",
                                          "idle_timeout"):  # fmt: skip
                out.append(line)
            if line == f"[{protocol}.default]":
                out.append(SETTINGS)
        config.write_text("\n".join(out) + "\n")
        process = start(folder)
        try:
            before = status(process.pid, "VmRSS")
            began = time.monotonic()
            clients = open_all(plain_port(folder, protocol), count, GREETINGS[protocol])
            took = time.monotonic() - began
            if login:
                log_in(protocol, clients, process.pid)
            used, since = busy(process.pid), time.monotonic()
            time.sleep(5)
            look = (busy(process.pid) - used) / (time.monotonic() - since)
            after = status(process.pid, "VmRSS")
            print(
                f"{protocol}{' logged in' if login else ''}: {len(clients)} connections, {count / took:.0f}/s; process "
                f"{before / 2**20:.1f} -> {after / 2**20:.1f} MiB, {(after - before) / count:.0f} octets each; "
                f"look {look * 1000:.0f} ms/s",
                flush=True,
            )
            for client in clients:
                client.close()
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--protocol", default="smtp,imap,pop3")
    parser.add_argument("--login", action="store_true")
    parser.add_argument("--port-base", type=int, default=21000)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < given.connections + 300:
        raise SystemExit(f"this process may open only {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for number, protocol in enumerate(given.protocol.split(",")):
        measure(protocol, given.connections, given.login, given.port_base + 1000 * number)


if __name__ == "__main__":
    main()
