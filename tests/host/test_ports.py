"""Bindings on real sockets: paused ports, all addresses beside one, changes while running (S-029..S-033)."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor

from mailsrv.errors import ConfigError
from mailsrv.host.config.values import Binding, binding
from mailsrv.host.places import CLOSED, HELD, OPEN, SHUT, Ground, plain
from mailsrv.host.ports import Ports
from mailsrv.values import Peer
from tests.ports import free_ports

REFUSED = "refused"


class Host(Protocol):
    """Greets with the name of its server."""

    def __init__(self, name: str) -> None:
        self.name = name

    def connectionMade(self) -> None:
        self.transport.write(self.name.encode())  # type: ignore[union-attr]


class World:
    """A reactor that tests turn, and servers by name; one that is not in `open` closes who comes."""

    def __init__(self, reactor: SelectReactor) -> None:
        self.reactor, self.ground = reactor, Ground(reactor)
        self.open: set[str] = set()
        self.lost: list[str] = []
        self.peers: list[Peer] = []

    def server(self, name: str, *texts: str, mode: str = OPEN) -> Ports:
        def accept(peer: Peer, tls: bool) -> Protocol | None:
            self.peers.append(peer)
            return Host(name + "/tls" * tls) if name in self.open else None

        made = Ports(
            self.ground, name, [binding(text) for text in texts], accept, lambda error: self.lost.append(error.text)
        )
        if mode != CLOSED:
            made.take()
            self.turn(name, made, mode)
        return made

    def turn(self, name: str, ports: Ports, mode: str) -> None:
        (self.open.add if mode == OPEN else self.open.discard)(name)
        ports.turn(mode)

    def until(self, ready: Callable[[], Any]) -> None:
        end = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < end, "nothing came"
            self.reactor.iterate(0.01)

    def greeting(self, host: str, port: int) -> str:
        """What a client at that address reads: a server's name, "" when it is closed at once, or REFUSED."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as client:
            client.setblocking(False)
            found = client.connect_ex((host, port))
            said: list[bytes] = []

            def read() -> bool:
                try:
                    said.append(client.recv(100))
                except BlockingIOError:
                    return False
                except ConnectionResetError:
                    said.append(b"")
                return True

            if found == errno.ECONNREFUSED or client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return REFUSED
            try:
                self.until(read)
            except ConnectionRefusedError:
                return REFUSED
            return said[0].decode()


@pytest.fixture
def world() -> Iterator[World]:
    reactor = SelectReactor()
    yield World(reactor)
    reactor.removeAll()
    reactor.fireSystemEvent("shutdown")


@pytest.fixture
def port() -> int:
    """A number that nobody has at any address."""
    return free_ports(1)[0]


# ---------------------------------------------------------------- one server


def test_a_port_is_held_opened_and_closed(world: World, port: int) -> None:
    ports = world.server("a", f"127.0.0.1:{port}", mode=HELD)
    with socket.create_connection(("127.0.0.1", port)) as early:
        world.turn("a", ports, OPEN)
        early.setblocking(False)
        world.until(lambda: world.peers)
        assert world.greeting("127.0.0.1", port) == "a"
    assert ports.addresses() == [f"127.0.0.1:{port}"]
    ports.close()
    assert world.greeting("127.0.0.1", port) == REFUSED and ports.addresses() == []
    # At once, while the old socket waits for the reactor to close it.
    ports.take()
    world.turn("a", ports, OPEN)
    assert world.greeting("127.0.0.1", port) == "a"


def test_s_019_s_027_a_paused_port_refuses_keeps_its_connections_and_resumes(world: World, port: int) -> None:
    ports = world.server("a", f"127.0.0.1:{port}")
    with socket.create_connection(("127.0.0.1", port)) as client:
        world.until(lambda: world.peers)
        world.turn("a", ports, SHUT)
        for _ in range(3):
            assert world.greeting("127.0.0.1", port) == REFUSED
            world.reactor.iterate(0)
        client.settimeout(5)
        assert client.recv(10) == b"a"
        world.turn("a", ports, OPEN)
        assert world.greeting("127.0.0.1", port) == "a"
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(10)
    assert ports.addresses() == [f"127.0.0.1:{port}"]


TAKE = """
import os, socket, sys
if os.geteuid() == 0:
    os.setuid(65534)
for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
    one = socket.socket()
    if option is not None:
        one.setsockopt(socket.SOL_SOCKET, option, 1)
    for host in ("127.0.0.1", "0.0.0.0"):
        try:
            one.bind((host, int(sys.argv[1])))
            one.listen()
        except OSError:
            continue
        sys.exit("taken")
"""


def test_s_019_nobody_else_can_have_a_paused_port(world: World, port: int) -> None:
    ports = world.server("a", f"127.0.0.1:{port}")
    with socket.create_connection(("127.0.0.1", port)):
        world.until(lambda: world.peers)
        world.turn("a", ports, SHUT)
        done = subprocess.run([sys.executable, "-c", TAKE, str(port)], capture_output=True, timeout=20, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        world.turn("a", ports, OPEN)
        assert world.greeting("127.0.0.1", port) == "a"


def test_what_cannot_refuse_accepts_and_closes_while_paused(world: World, tmp_path: Path) -> None:
    ports = world.server("a", "127.0.0.1:0", f"unix:{tmp_path}/s")
    chosen, path = ports.addresses()
    number = int(chosen.rpartition(":")[2])
    world.turn("a", ports, SHUT)
    assert world.greeting("127.0.0.1", number) == ""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path.removeprefix("unix:"))
        before = len(world.peers)
        world.until(lambda: len(world.peers) > before)
        client.settimeout(5)
        assert client.recv(10) == b""
    world.turn("a", ports, OPEN)
    assert world.greeting("127.0.0.1", number) == "a"


def test_s_014_s_033_what_cannot_be_had_is_told_and_nothing_is_kept(world: World, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))
        other.listen()
        ports = world.server("a", f"127.0.0.1:{port}", f"127.0.0.2:{port}", mode=CLOSED)
        with pytest.raises(ConfigError, match="another process has this port"):
            ports.take()
        assert world.greeting("127.0.0.1", port) == REFUSED and ports.mode == CLOSED
    ports.take()
    with pytest.raises(ConfigError, match="no such address"):
        world.server("b", f"192.0.2.1:{port}")
    # Also where there is a socket of all addresses.
    (another,) = free_ports(1)
    world.server("c", f"*:{another}")
    for host in ("192.0.2.1", "[2001:db8::1]"):
        with pytest.raises(ConfigError, match="no such address"):
            world.server("d", f"{host}:{another}")


# ---------------------------------------------------------------- all addresses beside one


@pytest.mark.parametrize("first", ["a", "b"])
def test_s_030_an_address_with_a_server_is_that_one_s_whatever_its_state(world: World, port: int, first: str) -> None:
    texts = {"a": f"127.0.0.2:{port}", "b": f"*:{port}"}
    made = {name: world.server(name, texts[name]) for name in (first, "ab".replace(first, ""))}

    def found() -> list[str]:
        return [world.greeting(host, port) for host in ("127.0.0.2", "127.0.0.1", "127.0.0.3", "::1")]

    assert found() == ["a", "b", "b", "b"]
    for change in (lambda: world.turn("a", made["a"], SHUT), made["a"].close):
        change()
        assert found()[0] in ("", REFUSED)
        assert found()[1:] == ["b", "b", "b"]
    made["a"].take()
    world.turn("a", made["a"], OPEN)
    assert found() == ["a", "b", "b", "b"]
    world.turn("b", made["b"], SHUT)
    assert found()[:3] == ["a", "", ""]
    world.open.discard("b")
    made["b"].close()
    # The socket of all addresses stays, since without privileges it could not be had again.
    assert found()[:3] == ["a", "", ""]
    world.turn("a", made["a"], SHUT)
    assert found() == [REFUSED] * 4
    made["a"].close()
    assert found() == [REFUSED] * 4


def test_s_030_the_client_of_a_shared_port_is_known_and_tls_is_by_binding(world: World, port: int) -> None:
    world.server("a", f"*:{port}", f"127.0.0.2:{port}/tls")
    assert [world.greeting(host, port) for host in ("127.0.0.1", "127.0.0.2")] == ["a", "a/tls"]
    assert len(world.peers) == 2 and all(peer.host.startswith("127.0.0.") and peer.port for peer in world.peers)


def test_s_030_without_a_neighbour_a_port_is_not_shared(world: World, port: int) -> None:
    world.server("b", f"*:{port}")
    (place,) = [one for (family, _), one in world.ground._places.items() if family == socket.AF_INET]
    assert type(place._sockets[""]._port.factory).__name__ == "Accepting"
    world.server("a", f"127.0.0.2:{port}")
    assert type(place._sockets[""]._port.factory).__name__ == "_Sorter"


@pytest.mark.parametrize("said, meant", [
    ("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("::1", "::1"), ("192.0.2.1", "192.0.2.1"),
])
def test_s_030_addresses_mapped_into_ipv6_are_those_of_ipv4(said: str, meant: str) -> None:
    assert plain(said) == meant


@pytest.mark.parametrize("one, other", [
    ("127.0.0.1:{}", "127.0.0.1:{}/tls"), ("*:{}", "*:{}"), ("*:{}", "0.0.0.0:{}"), ("[::]:{}", "*:{}"),
    ("[::1]:{}", "[0::1]:{}"),
])
def test_s_032_an_address_and_port_have_one_server_and_its_name_is_told(
    world: World, port: int, one: str, other: str
) -> None:
    world.server("smtp/first", one.format(port), mode=CLOSED)
    with pytest.raises(ConfigError, match="is a binding of smtp/first already"):
        world.server("b", other.format(port), mode=CLOSED)
    # What could be had of it was given back.
    world.server("c", "127.0.0.9:" + str(port), mode=CLOSED)


def test_s_032_all_addresses_of_either_family_may_have_servers_of_their_own(world: World, port: int) -> None:
    world.server("a", f"0.0.0.0:{port}")
    world.server("b", f"[::]:{port}")
    assert [world.greeting(host, port) for host in ("127.0.0.1", "::1")] == ["a", "b"]


def test_what_could_not_be_had_again_is_kept_while_its_server_is_stopped(
    world: World, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"a": world.server("a", f"127.0.0.1:{port}"), "b": world.server("b", f"127.0.0.2:{port}")}
    monkeypatch.setattr("mailsrv.host.places.may_bind", lambda number: False)
    made["a"].close()
    assert [world.greeting(host, port) for host in ("127.0.0.1", "127.0.0.2")] == [REFUSED, "b"]
    assert made["a"].addresses() == []
    monkeypatch.setattr("mailsrv.host.places.listen", lambda *_: pytest.fail("it is bound"))
    made["a"].take()
    world.turn("a", made["a"], OPEN)
    assert world.greeting("127.0.0.1", port) == "a"
    for one in made.values():
        one.give_up()
    world.reactor.iterate(0)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", port))


def test_all_addresses_are_kept_likewise(world: World, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsrv.host.places.may_bind", lambda number: False)
    ports = world.server("a", f"*:{port}")
    ports.close()
    assert [world.greeting(host, port) for host in ("127.0.0.1", "::1")] == [REFUSED] * 2
    ports.take()
    world.turn("a", ports, OPEN)
    assert [world.greeting(host, port) for host in ("127.0.0.1", "::1")] == ["a"] * 2


def test_all_addresses_serve_for_one_where_that_could_not_be_had(
    world: World, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = world.server("a", f"0.0.0.0:{port}")
    monkeypatch.setattr("mailsrv.host.places.may_bind", lambda number: False)
    monkeypatch.setattr("mailsrv.host.places.listen", lambda *_: pytest.fail("it could not be had"))
    ports.rebind([binding(f"127.0.0.1:{port}")])
    assert ports.addresses() == [f"127.0.0.1:{port}"]
    assert [world.greeting(host, port) for host in ("127.0.0.1", "127.0.0.2")] == ["a", ""]
    ports.close()
    assert world.greeting("127.0.0.1", port) == REFUSED
    ports.take()
    world.turn("a", ports, OPEN)
    ports.rebind([binding(f"0.0.0.0:{port}")])
    assert world.greeting("127.0.0.2", port) == "a"


DROPPED = """
import os, sys
from mailsrv.net.listen import may_bind
before = may_bind(25), may_bind(25025)
if os.geteuid() == 0:
    os.setuid(65534)
print(before, may_bind(25), may_bind(25025), os.path.exists("/proc/sys/net/ipv4/ip_unprivileged_port_start"))
"""


def test_who_has_dropped_the_right_to_a_port_knows_it() -> None:
    done = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, timeout=20, check=True)
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    everybody = first.exists() and int(first.read_text()) <= 25
    assert done.stdout.split(") ")[1].startswith(f"{everybody} True")


# ---------------------------------------------------------------- other bindings while running


def test_s_016_s_031_bindings_are_changed_while_running_and_connections_stay(world: World, port: int) -> None:
    ports = world.server("a", f"127.0.0.1:{port}", "127.0.0.1:0")
    kept = ports.addresses()[1]
    with socket.create_connection(("127.0.0.1", port)) as client:
        world.until(lambda: world.peers)
        ports.rebind([binding(f"127.0.0.2:{port}"), Binding("127.0.0.1", 0)])
        assert [world.greeting(host, port) for host in ("127.0.0.1", "127.0.0.2")] == [REFUSED, "a"]
        assert ports.addresses() == [f"127.0.0.2:{port}", kept]
        client.settimeout(5)
        assert client.recv(10) == b"a"
    ports.rebind([])
    assert world.greeting("127.0.0.2", port) == REFUSED and ports.addresses() == []


def test_s_016_when_a_new_one_cannot_be_had_the_old_ones_stay(world: World, port: int) -> None:
    ports = world.server("a", f"127.0.0.1:{port}")
    world.server("b", f"127.0.0.3:{port}")
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))
        other.listen()
        wanted = [f"127.0.0.4:{port}", f"127.0.0.2:{port}"]
        for texts, why in ((wanted, "another process"), ([f"*:{port}"], "another"), ([f"127.0.0.3:{port}"], "of b")):
            with pytest.raises(ConfigError, match=why):
                ports.rebind([binding(text) for text in texts])
            hosts = ("127.0.0.1", "127.0.0.3", "127.0.0.4")
            assert [world.greeting(host, port) for host in hosts] == ["a", "b", REFUSED]
    # Nobody has 127.0.0.4 now.
    world.server("c", f"127.0.0.4:{port}")
    assert world.greeting("127.0.0.4", port) == "c"


def test_s_016_from_one_address_to_all_and_back(world: World, port: int) -> None:
    ports = world.server("a", f"127.0.0.1:{port}")
    world.server("b", f"127.0.0.2:{port}")
    for text, third in ((f"*:{port}/tls", "a/tls"), (f"127.0.0.1:{port}", REFUSED), (f"*:{port}", "a")):
        ports.rebind([binding(text)])
        found = [world.greeting(host, port) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")]
        assert found == ["a/tls" if "tls" in text else "a", "b", third]


def test_s_016_from_all_addresses_of_a_family_to_all_and_back(world: World, port: int) -> None:
    ports = world.server("a", f"0.0.0.0:{port}")
    for text, sixth in ((f"*:{port}", "a"), (f"0.0.0.0:{port}", REFUSED), (f"*:{port}", "a")):
        ports.rebind([binding(text)])
        assert [world.greeting(host, port) for host in ("127.0.0.1", "::1")] == ["a", sixth]


def test_s_016_a_binding_that_becomes_tls_stays_open(world: World, port: int) -> None:
    ports = world.server("a", f"127.0.0.1:{port}")
    ports.rebind([binding(f"127.0.0.1:{port}/tls")])
    assert world.greeting("127.0.0.1", port) == "a/tls" and ports.addresses() == [f"127.0.0.1:{port}/tls"]


def test_a_paused_server_takes_new_bindings_paused(world: World, port: int) -> None:
    ports = world.server("a", f"127.0.0.1:{port}")
    world.turn("a", ports, SHUT)
    ports.rebind([binding(f"127.0.0.2:{port}")])
    assert world.greeting("127.0.0.2", port) == REFUSED and ports.addresses() == [f"127.0.0.2:{port}"]
    world.turn("a", ports, OPEN)
    assert world.greeting("127.0.0.2", port) == "a"


# ---------------------------------------------------------------- endpoints


def test_an_endpoint_of_twisted_is_a_binding(world: World, port: int) -> None:
    ports = world.server("a", f"tcp:{port}:interface=127.0.0.1", "tcp:0:interface=127.0.0.1/tls")
    assert world.greeting("127.0.0.1", port) == "a"
    assert ports.addresses()[0] == f"127.0.0.1:{port}" and ports.addresses()[1].endswith("/tls")
    world.turn("a", ports, SHUT)
    assert world.greeting("127.0.0.1", port) == ""
    ports.close()
    world.reactor.iterate(0)
    assert world.greeting("127.0.0.1", port) == REFUSED
    for text, why in ((f"tcp:{port}:interface=192.0.2.1", "assign requested address"), ("tcp:x", "ValueError")):
        with pytest.raises(ConfigError, match=why):
            world.server("b", text)


def test_a_socket_of_systemd_outlives_a_stop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted.internet import endpoints
    from twisted.python.systemd import ListenFDs

    passed = socket.socket()
    passed.bind(("127.0.0.1", 0))
    passed.listen()
    number = passed.getsockname()[1]
    monkeypatch.setattr(endpoints._SystemdParser, "_sddaemon", ListenFDs([passed.detach()]))
    ports = world.server("a", "systemd:domain=INET:index=0")
    assert world.greeting("127.0.0.1", number) == "a" and ports.addresses() == [f"127.0.0.1:{number}"]
    world.open.clear()
    ports.close()
    # It could not be had again, so it is kept, and nobody waits in it.
    assert world.greeting("127.0.0.1", number) == "" and ports.addresses() == []
    ports.take()
    world.turn("a", ports, OPEN)
    assert world.greeting("127.0.0.1", number) == "a"
    ports.give_up()
    world.reactor.iterate(0)
    assert world.greeting("127.0.0.1", number) == REFUSED


@pytest.mark.parametrize("fails", [False, True])
def test_an_endpoint_may_take_its_time(world: World, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    waiting: Deferred[Any] = Deferred()
    monkeypatch.setattr("mailsrv.host.ports.listen_endpoint", lambda *_: waiting)
    ports = world.server("a", "tcp:1")
    assert ports.mode == OPEN and ports.addresses() == [] and world.lost == []
    if fails:
        waiting.errback(ConfigError("no"))
        assert world.lost == ["no"]
    else:
        waiting.callback(world.reactor.listenTCP(0, Factory(), interface="127.0.0.1"))
        assert len(ports.addresses()) == 1
