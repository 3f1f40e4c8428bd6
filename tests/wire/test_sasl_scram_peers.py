"""SCRAM against an implementation that is not ours: `scramp`, as client and as server."""

from __future__ import annotations

from typing import Any

import pytest
import scramp
from attrs import evolve
from sasl_drive import BINDINGS, CLIENT, SECURE, fails, serve

from mailsrv.wire.sasl import ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus, scram

BOUND = ("tls-server-end-point", BINDINGS["tls-server-end-point"])
EVERY = (ScramSha256Plus(), ScramSha1Plus(), ScramSha256(), ScramSha1())
#: Signs that SASLprep changes, or leaves alone.
PASSWORDS = ["pencil", "pässwört €", "Ⅸ\u00a0\u00adx", "pa\u0308ss"]


def their_client(mechanism: Any, password: str) -> Any:
    bound = BOUND if mechanism.channel == "binding" else None
    return scramp.ScramClient([mechanism.name], "user", password, channel_binding=bound)


def let_in(mechanism: Any, kept: str, password: str) -> Any:
    """Their client at our server."""
    client = their_client(mechanism, password)

    def answer(challenge: bytes) -> bytes:
        text = challenge.decode("ascii")
        if text.startswith("v="):
            client.set_server_final(text)
            return b""
        client.set_server_first(text)
        return client.get_client_final().encode()  # type: ignore[no-any-return]

    return serve(mechanism, client.get_client_first().encode(), answer, SECURE, kept={"user": kept}).identity


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("mechanism", EVERY, ids=lambda m: m.name)
def test_their_client_logs_in_at_our_server(mechanism: Any, password: str) -> None:
    kept = scram.keep(mechanism.hash_name, password, lambda n: b"s" * n, iterations=4096)
    assert let_in(mechanism, kept, password) is not None
    assert fails(lambda: let_in(mechanism, kept, password + "x"))


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("mechanism", EVERY, ids=lambda m: m.name)
def test_our_client_logs_in_at_their_server(mechanism: Any, password: str) -> None:
    theirs = scramp.ScramMechanism(mechanism.name)
    info = theirs.make_auth_info(password, iteration_count=4096)
    bound = mechanism.channel == "binding"
    server = theirs.make_server(lambda name: info, channel_binding=BOUND if bound else None)
    bindings = {BOUND[0]: BOUND[1]} if bound else {}
    talk = mechanism.respond(evolve(CLIENT, password=password, bindings=bindings))
    server.set_client_first(next(talk).octets.decode())
    server.set_client_final(talk.send(server.get_server_first().encode()).octets.decode())
    last = talk.send(server.get_server_final().encode())
    assert (last.octets, last.final) == (b"", True)
