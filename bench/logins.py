"""What a login costs: python -m bench.logins [rounds].

First the CPU of one login without network, by mechanism: guard, authenticator with its account in an SQLite store,
authorizer, everything but the session.  Goals: cached PLAIN 50 us, the server's side of SCRAM 30 us and of NTLM 150 us
beyond what the client's side of the same process costs.  Then a site under a storm of wrong passwords: how long others
wait whose password is known, whose is not, and who come with SCRAM.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import evolve

from mailsrv.auth.attempt import Attempt, Door
from mailsrv.auth.authorizer import AccountsAuthorizer, ServerRules
from mailsrv.auth.directory import DirectoryAuthenticator
from mailsrv.auth.guard import Guard, GuardSettings
from mailsrv.auth.hashing import PasswordHasher
from mailsrv.auth.secrets import make_secrets
from mailsrv.store.parts import SqliteOptions, build_sqlite
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, AuthContext, Challenge, ClientContext, DomainFacts, Identity, NeedSecrets, Peer
from mailsrv.wire.ntlm import Ntlm
from mailsrv.wire.sasl import mechanisms

KINDS = ("scram-sha-1", "scram-sha-256", "cram-md5", "ntlm")
NAME, PASSWORD = "u0001@example.test", "a password"
#: (guessing connections, their addresses) -> the first account whose password the server has not seen.
FIRST_FRESH = {(0, 1): 100, (50, 1): 146, (400, 1): 192, (400, 200): 238}
SOMEBODY = Identity(1, NAME)
TWISTD = Path(sys.executable).with_name("twistd")
CONFIG = """
[site]
hostname = "bench.example"
domains = ["example.test"]
[limits]
failed_logins_per_address = "off"
failed_logins_per_account = "off"
[auth.directory]
keep = ["scram-sha-256"]
[imap.default]
listen = ["127.0.0.1:0"]
login_without_tls = true
[smtp.default]
listen = ["127.0.0.1:0"]
"""


def run(coroutine: Any) -> Any:
    """A coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class Room:
    """A door with an SQLite store behind it."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        site = SimpleNamespace(
            options=SimpleNamespace(data=folder), call_from_thread=self.loop.call_from_thread, clock=time.time,
            monotonic=time.monotonic, hasher=None,
        )  # fmt: skip
        self.store = build_sqlite(SqliteOptions(), site)
        self.hasher = PasswordHasher(self.loop.call_from_thread)
        directory: Any = self.store.directory
        self.loop.run(directory.set_domains([DomainFacts("example.test")]))
        secrets = self.loop.run(make_secrets(self.hasher, KINDS, PASSWORD, os.urandom))
        encoded = self.loop.run(self.hasher.hash(PASSWORD))
        self.loop.run(directory.add_account(Address("u0001", "example.test"), encoded, secrets))
        for number in range(2000):
            self.loop.run(directory.add_account(Address(f"x{number}", "example.test"), ""))
        guard = Guard(GuardSettings(), monotonic=time.monotonic, wall=time.time, random=os.urandom)
        authenticator = DirectoryAuthenticator(directory, self.hasher, KINDS)
        authorizer = AccountsAuthorizer(directory, {"imap/default": ServerRules("imap")})
        self.door = Door(
            server="imap/default", authenticators=[authenticator], authorizer=authorizer, directory=directory,
            sleep=None, guard=guard,  # type: ignore[arg-type]
        )  # fmt: skip
        self.context = AuthContext(
            "imap", "imap/default", Peer("192.0.2.1"), "bench.example", "example.test", os.urandom, time.time,
            {"example": "example.test"}, lambda octets: bytes(32),
        )  # fmt: skip

    def server_side(self, mechanism: Any, times: int) -> float:
        """Seconds of CPU of the server's steps of one exchange: a real one is recorded, then replayed (chance and
        time stand still, so the answers stay right)."""
        secrets = self.loop.run(self.door.authenticators[0].secrets(mechanism.secret, NAME, self.context))  # type: ignore[attr-defined]
        context = evolve(self.context, random=lambda n: b"\x07" * n, now=lambda: 1_795_000_000.0)
        client = mechanism.respond(
            ClientContext(NAME, PASSWORD, hostname="bench.example", random=os.urandom, now=time.time)
        )
        initial, answers = next(client).octets, list[bytes]()
        server, answer = mechanism.exchange(context, initial), None
        with suppress(StopIteration):
            while True:
                wish = server.send(answer)
                if isinstance(wish, Challenge):
                    answers.append(client.send(wish.octets).octets or b"")
                answer = answers[-1] if isinstance(wish, Challenge) else _granted(wish, secrets)

        def replay() -> None:
            """The server's steps."""
            said = iter(answers)
            server, answer = mechanism.exchange(context, initial), None
            with suppress(StopIteration):
                while True:
                    wish = server.send(answer)
                    answer = next(said) if isinstance(wish, Challenge) else _granted(wish, secrets)

        return timed(replay, times)


def _granted(wish: Any, secrets: Any) -> Any:
    """What a door says to a mechanism."""
    return secrets if isinstance(wish, NeedSecrets) else SOMEBODY


def timed(work: Callable[[], None], times: int) -> float:
    """Seconds of CPU for one."""
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def micro(rounds: int) -> None:
    """The first table."""
    known = mechanisms()
    with tempfile.TemporaryDirectory() as folder:
        room = Room(Path(folder))
        plain = known["PLAIN"]
        initial = f"\0{NAME}\0{PASSWORD}".encode()

        async def nothing(challenge: bytes) -> bytes | None:
            """PLAIN asks nothing."""
            return None

        def cached() -> None:
            """PLAIN with a password that was right a moment ago."""
            attempt = Attempt(room.door, room.context)
            assert run(attempt.run(plain, initial, nothing)) is not None
            attempt.succeeded()

        room.loop.run(Attempt(room.door, room.context).run(plain, initial, nothing))
        figures = [timed(cached, 5000) for _ in range(rounds)]
        print(f"PLAIN, password known: {min(figures) * 1e6:.1f} us, all of it but the session")
        for mechanism in (known["SCRAM-SHA-256"], known["SCRAM-SHA-1"], Ntlm(), known["CRAM-MD5"]):
            best = min(room.server_side(mechanism, 3000) for _ in range(rounds))
            print(f"{mechanism.name}: {best * 1e6:.1f} us, the server's steps")
        room.hasher.close()
        room.loop.run(room.store.close())


# ---------------------------------------------------------------- the storm


def make_site(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A running site and its IMAP4 port."""
    config = folder / "mailsrv.toml"
    config.write_text(CONFIG)
    accounts = (json.dumps({"address": f"u{n}@example.test", "password": PASSWORD}) for n in range(300))
    (folder / "accounts").write_text("\n".join(accounts) + "\n")
    line = [sys.executable, "-m", "mailsrv", "user", "add", "--config", str(config), "--from", str(folder / "accounts")]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [str(TWISTD), "-n", "--pidfile=", "mailsrv", "--config", str(config)], cwd=folder, stdout=log, stderr=log
        )
    ready = folder / "data" / "ready.json"
    until = time.monotonic() + 30
    while not ready.exists():
        if time.monotonic() > until or process.poll() is not None:
            sys.exit((folder / "log").read_text())
        time.sleep(0.05)
    address = json.loads(ready.read_text())["servers"]["imap/default"]["addresses"][0]
    return process, int(address.rpartition(":")[2])


async def attempt(
    port: int, user: str, password: str, mechanism: str = "PLAIN", address: str = "127.0.0.1"
) -> tuple[float, bytes]:
    """Seconds from the command to its answer on a new connection from that address, and the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    await reader.readline()
    began = time.perf_counter()
    client: Any = mechanisms()[mechanism].respond(  # type: ignore[attr-defined]
        ClientContext(user, password, service="imap", random=os.urandom, now=time.time)
    )
    writer.write(b"a AUTHENTICATE %b %b\r\n" % (mechanism.encode(), base64.b64encode(next(client).octets)))
    while not (line := await reader.readline()).startswith(b"a "):
        if not line:
            break
        if line.startswith(b"+"):
            writer.write(base64.b64encode(client.send(base64.b64decode(line[2:])).octets or b"") + b"\r\n")
    spent = time.perf_counter() - began
    writer.close()
    return spent, line


async def storm(port: int, guessers: int, addresses: int, seconds: float) -> dict[str, list[float]]:
    """Latencies of honest logins, from an address of their own, while so many connections guess from so many."""
    stop = asyncio.Event()
    guesses = 0

    async def guess(number: int) -> None:
        """Wrong passwords, one after the other."""
        nonlocal guesses
        while not stop.is_set():
            with suppress(OSError):
                user, where = f"u{(number * 7 + guesses) % 100}@example.test", number % addresses
                await attempt(
                    port, user, f"wrong {number} {guesses}", address=f"127.1.{where // 250}.{where % 250 + 1}"
                )
            guesses += 1

    tasks = [asyncio.create_task(guess(number)) for number in range(guessers)]
    await asyncio.sleep(1.0 if guessers else 0.0)
    found: dict[str, list[float]] = {"known password": [], "new password": [], "SCRAM-SHA-256": []}
    await attempt(port, "u299@example.test", PASSWORD)
    until, fresh = time.perf_counter() + seconds, FIRST_FRESH[guessers, addresses]
    last = fresh + 45
    while time.perf_counter() < until and fresh < last:
        for what, user, mechanism in (
            ("known password", "u299@example.test", "PLAIN"),
            ("new password", f"u{fresh}@example.test", "PLAIN"),
            ("SCRAM-SHA-256", "u299@example.test", "SCRAM-SHA-256"),
        ):
            spent, answer = await attempt(port, user, PASSWORD, mechanism)
            if answer.startswith(b"a OK"):
                found[what].append(spent)
            else:
                found.setdefault(f"{what}, refused: {answer[2:30].decode()}", []).append(spent)
        fresh += 1
        await asyncio.sleep(0.05)
    stop.set()
    for task in tasks:
        task.cancel()
    print(f"{guessers} guessing connections from {addresses} addresses, {guesses} guesses answered")
    return found


def main(rounds: int) -> None:
    """Both tables."""
    micro(rounds)
    with tempfile.TemporaryDirectory() as name:
        process, port = make_site(Path(name))
        try:
            for guessers, addresses in FIRST_FRESH:
                for what, all_of_them in asyncio.run(storm(port, guessers, addresses, 8.0)).items():
                    if all_of_them:
                        middle, most = statistics.median(all_of_them) * 1000, max(all_of_them) * 1000
                        print(f"  {what}: p50 {middle:.1f} ms, longest {most:.1f} ms, {len(all_of_them)} logins")
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
