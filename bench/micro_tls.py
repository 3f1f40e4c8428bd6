"""CPU time of TLS handshakes, the server's half alone, and of folders with many certificates.

python bench/micro_tls.py [PAIRS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from mailsrv.host.certificates import Certificates
from mailsrv.host.config.load import loads
from mailsrv.net.certificate import self_signed
from mailsrv.net.tls import Certificate, Named

ROUNDS = 300
VERSIONS = {"TLS 1.3": SSL.TLS1_3_VERSION, "TLS 1.2": SSL.TLS1_2_VERSION}


def handshake(context: Any, version: int, after: SSL.Connection | None = None) -> tuple[float, SSL.Connection]:
    """(CPU microseconds of the server, the client)."""
    if after is None:
        made = SSL.Context(SSL.TLS_CLIENT_METHOD)
        made.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
        made.set_min_proto_version(version)
        made.set_max_proto_version(version)
        client = SSL.Connection(made, None)
    else:
        client = SSL.Connection(after.get_context(), None)
        session = after.get_session()
        assert session is not None
        client.set_session(session)
    client.set_connect_state()
    client.set_tlsext_host_name(b"mx.example.test")
    began = time.thread_time()
    server = context.serverConnectionForTLS(None)
    server.set_accept_state()
    spent = time.thread_time() - began
    for _ in range(3):
        step(client.do_handshake)
        step(lambda: server.bio_write(client.bio_read(1 << 16)))
        began = time.thread_time()
        step(server.do_handshake)
        spent += time.thread_time() - began
        step(lambda: client.bio_write(server.bio_read(1 << 16)))
    step(lambda: client.recv(1))
    return spent * 1e6, client


def step(work: Callable[[], Any]) -> None:
    try:
        work()
    except SSL.WantReadError:
        pass


def handshakes(folder: Path) -> None:
    """Full and resumed, one certificate and chosen by name, one after the other."""
    for path, octets in zip((folder / "a.crt", folder / "a.key"), self_signed(["mx.example.test"]), strict=True):
        path.write_bytes(octets)
    one = Certificate(folder / "a.crt", folder / "a.key", time.monotonic).context()
    contexts = {"one certificate": one, "chosen by name": Named(one, lambda _: one)}
    for version, number in VERSIONS.items():
        full: dict[str, list[float]] = {name: [] for name in contexts}
        again: dict[str, list[float]] = {name: [] for name in contexts}
        for _ in range(ROUNDS):
            for name, context in contexts.items():
                spent, client = handshake(context, number)
                full[name].append(spent)
                again[name].append(handshake(context, number, client)[0])
        for name in contexts:
            print(f"{version}, {name}: full {statistics.median(full[name]):.0f} us, "
                  f"resumed {statistics.median(again[name]):.0f} us")  # fmt: skip


def many(folder: Path, pairs: int) -> None:
    """A folder as certbot leaves it."""
    for at in range(pairs):
        place = folder / "live" / f"mail.c{at}.test"
        place.mkdir(parents=True)
        for name, octets in zip(("fullchain.pem", "privkey.pem"), self_signed([place.name]), strict=True):
            (place / name).write_bytes(octets)
    options = loads('[site]\nhostname="mail.c0.test"\n[tls.all]\ndirectory="live"\n[imap.a]\ncertificate="all"\n',
                    folder / "mailsrv.toml")  # fmt: skip
    began = time.thread_time()
    made = Certificates(options, folder, time.monotonic)
    print(f"{pairs} pairs: start {(time.thread_time() - began) * 1e3:.0f} ms")
    for what in ("reading names", "looking again"):
        began = time.thread_time()
        made.look()
        print(f"{what} (in a thread) {(time.thread_time() - began) * 1e3:.0f} ms")
    shelf, spent = made.shelves["all"], []
    for at in range(min(pairs, 1000)):
        began = time.thread_time()
        shelf.find(f"mail.c{at}.test", False)
        spent.append((time.thread_time() - began) * 1e6)
    print(f"first use of a certificate {statistics.median(spent):.0f} us, at worst {max(spent):.0f} us")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        handshakes(Path(name))
        many(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
