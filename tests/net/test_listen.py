"""UNIX sockets: their mode, one that is left over, one that is taken; real transports, and what waits in them."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor

from mailsrv.errors import ConfigError
from mailsrv.net.accepted import Accepted
from mailsrv.net.listen import listen, listen_endpoint, listen_unix
from mailsrv.net.send import unsent


@pytest.fixture
def reactor() -> Iterator[SelectReactor]:
    made = SelectReactor()
    yield made
    made.removeAll()
    made.fireSystemEvent("shutdown")


def test_it_is_for_user_and_group_and_gone_after_the_stop(tmp_path: Path, reactor: SelectReactor) -> None:
    path = tmp_path / "lmtp"
    port = listen_unix(reactor, str(path), Factory())
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    port.stopListening()
    reactor.iterate(0)
    assert not path.exists()


def test_a_stop_ends_when_somebody_removed_or_replaced_the_socket(tmp_path: Path, reactor: SelectReactor) -> None:
    path = tmp_path / "lmtp"
    for replaced in (False, True):
        ended: list[object] = []
        port = listen_unix(reactor, str(path), Factory())
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            if replaced:
                (tmp_path / "room").touch()  # so that the number of ours is not given to theirs
                other.bind(str(path))
            port.stopListening().addBoth(ended.append)
            reactor.iterate(0)
            assert ended == [None] and path.exists() is replaced


def test_one_that_is_left_over_is_replaced(tmp_path: Path, reactor: SelectReactor) -> None:
    path = tmp_path / "lmtp"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    before = path.stat().st_ino
    listen_unix(reactor, str(path), Factory())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert path.stat().st_ino != before or stat.S_IMODE(path.stat().st_mode) == 0o660


def test_one_that_somebody_listens_to_is_left_alone(tmp_path: Path, reactor: SelectReactor) -> None:
    path = tmp_path / "lmtp"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        # Its queue may be full.
        for _ in range(3):
            with pytest.raises(ConfigError, match=r"lmtp: another process listens there"):
                listen_unix(reactor, str(path), Factory())
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path, reactor: SelectReactor) -> None:
    path = tmp_path / "letter"
    path.write_text("dear")
    with pytest.raises(ConfigError, match="no socket"):
        listen_unix(reactor, str(path), Factory())
    assert path.read_text() == "dear"
    with pytest.raises(ConfigError, match="no such folder"):
        listen_unix(reactor, str(tmp_path / "none" / "lmtp"), Factory())


def test_s_061_what_the_peer_has_not_taken_is_seen_down_to_the_kernel(tmp_path: Path, reactor: SelectReactor) -> None:
    made: list[Protocol] = []
    factory = Factory.forProtocol(Protocol)
    build = factory.buildProtocol
    factory.buildProtocol = lambda address: made.append(build(address)) or made[-1]  # type: ignore[method-assign]
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
        while not made:
            reactor.iterate(0.01)
        transport = made[0].transport
        assert unsent(transport) == 0
        size = 2**24
        transport.write(b"x" * size)  # type: ignore[union-attr]
        for _ in range(50):
            reactor.iterate(0)
        held = unsent(transport)
        assert 2**20 < held < size
        taken = 0
        while taken < 8 * 2**20:
            taken += len(client.recv(2**16))
            reactor.iterate(0)
        assert unsent(transport) < held - 2**20
        transport.abortConnection()  # type: ignore[union-attr]
        for _ in range(3):
            reactor.iterate(0)
        assert unsent(transport) == 0


def test_tcp_ports_of_whatever_making_have_connections_of_our_kind(tmp_path: Path, reactor: SelectReactor) -> None:
    ports = [listen(reactor, "127.0.0.1", 0, Factory())]
    for text in ("tcp:0:interface=127.0.0.1", f"unix:{tmp_path / 'socket'}"):
        listen_endpoint(reactor, text, Factory()).addCallback(ports.append)
    assert [port.transport is Accepted for port in ports] == [True, True, False]
    for port in ports:
        port.stopListening()
    reactor.iterate(0)
