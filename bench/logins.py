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

from mailsrv.auth.attempt import Attempt, Door
from mailsrv.auth.authorizer import AccountsAuthorizer, ServerRules
from mailsrv.auth.directory import DirectoryAuthenticator
from mailsrv.auth.guard import Guard, GuardSettings
from mailsrv.auth.hashing import PasswordHasher
from mailsrv.auth.secrets import make_secrets
from mailsrv.store.parts import SqliteOptions, build_sqlite
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, AuthContext, Challenge, ClientContext, DomainFacts, NeedSecrets, Peer
from mailsrv.wire.ntlm import Ntlm
from mailsrv.wire.sasl import mechanisms

KINDS = ("scram-sha-1", "scram-sha-256", "cram-md5", "ntlm")
NAME, PASSWORD = "u0001@example.test", "a password"
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

    def login(self, mechanism: Any) -> None:
        """Once, both sides."""
        attempt = Attempt(self.door, self.context)
        talk = mechanism.respond(ClientContext(NAME, PASSWORD, hostname="bench.example", random=os.urandom, now=time.time))
        said = next(talk)

        async def ask(challenge: bytes) -> bytes | None:
            """What the client says."""
            return talk.send(challenge).octets or b""

        identity = run(attempt.run(mechanism, said.octets, ask))
        assert identity is not None
        attempt.succeeded()

    def server_side(self, mechanism: Any, times: int) -> float:
        """Seconds of CPU of the mechanism alone, one login, without the client's: recorded answers are not possible,
        so the client's part is timed and left out."""
        secrets = self.loop.run(self.door.authenticators[0].secrets(mechanism.secret, NAME, self.context))  # type: ignore[attr-defined]
        spent = 0.0
        for _ in range(times):
            client = mechanism.respond(
                ClientContext(NAME, PASSWORD, hostname="bench.example", random=os.urandom, now=time.time)
            )
            spent += _one_exchange(mechanism.exchange(self.context, next(client).octets), client, secrets)
        return spent / times


def _one_exchange(server: Any, client: Any, secrets: Any) -> float:
    """Seconds of CPU of the server's steps."""
    clock, spent, answer = time.perf_counter, 0.0, None
    with suppress(StopIteration):
        while True:
            began = clock()
            try:
                wish = server.send(answer)
            finally:
                spent += clock() - began
            if isinstance(wish, Challenge):
                answer = client.send(wish.octets).octets or b""
            else:
                answer = secrets if isinstance(wish, NeedSecrets) else _somebody()
    return spent


def _somebody() -> Any:
    """An identity."""
    from mailsrv.values import Identity

    return Identity(1, NAME)


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
            best = min(room.server_side(mechanism, 300) for _ in range(rounds))
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


async def attempt(port: int, user: str, password: str, mechanism: str = "PLAIN") -> tuple[float, bytes]:
    """Seconds from the command to its answer on a new connection, and the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
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


async def storm(port: int, guessers: int, seconds: float) -> dict[str, list[float]]:
    """Latencies of honest logins while so many connections guess."""
    stop = asyncio.Event()
    guesses = 0

    async def guess(number: int) -> None:
        """Wrong passwords, one after the other."""
        nonlocal guesses
        while not stop.is_set():
            with suppress(OSError):
                await attempt(port, f"u{(number * 7 + guesses) % 100}@example.test", f"wrong {number} {guesses}")
            guesses += 1

    tasks = [asyncio.create_task(guess(number)) for number in range(guessers)]
    await asyncio.sleep(1.0 if guessers else 0.0)
    found: dict[str, list[float]] = {"known password": [], "new password": [], "SCRAM-SHA-256": []}
    await attempt(port, "u299@example.test", PASSWORD)
    until, fresh = time.perf_counter() + seconds, 100 if guessers else 200
    while time.perf_counter() < until and fresh < 298:
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
    print(f"{guessers} guessers, {guesses} guesses answered in {seconds:.0f} s")
    return found


def main(rounds: int) -> None:
    """Both tables."""
    micro(rounds)
    with tempfile.TemporaryDirectory() as name:
        process, port = make_site(Path(name))
        try:
            for guessers in (0, 50, 400):
                for what, all_of_them in asyncio.run(storm(port, guessers, 8.0)).items():
                    if all_of_them:
                        middle, most = statistics.median(all_of_them) * 1000, max(all_of_them) * 1000
                        print(f"  {what}: p50 {middle:.1f} ms, longest {most:.1f} ms, {len(all_of_them)} logins")
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
