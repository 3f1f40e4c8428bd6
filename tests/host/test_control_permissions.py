"""Who may give orders: operations are checked on what they are done to, and the socket knows who asks."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailsrv.auth.authorizer import AccountsAuthorizer
from mailsrv.auth.roles import Role, owners, unix_identity, unix_login
from mailsrv.errors import ConfigError
from mailsrv.host.config.load import loads
from mailsrv.host.control import run as control
from mailsrv.host.control import wire
from mailsrv.host.control.client import Client, NotReachable
from mailsrv.host.control.run import IN_PROCESS, run
from mailsrv.host.control.table import OPERATIONS, resource_by, whole_site
from mailsrv.host.control.wire import ControlFactory, listen, peer_of
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.values import DomainFacts, Identity, Verdict

SERVER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from twisted.internet import reactor
from mailsrv.auth.authorizer import AccountsAuthorizer
from mailsrv.auth.roles import Role, owners
from mailsrv.host.control.wire import ControlFactory, listen
from mailsrv.store.memory import MemoryStore
from mailsrv.values import DomainFacts

directory = MemoryStore(domains=[DomainFacts("example.org"), DomainFacts("other.example")]).directory
helpers = Role("help", ["unix:nobody"], ["user.*"], ["domain/example.org"])
site = SimpleNamespace(directory=directory, authorizer=AccountsAuthorizer(directory, {}, [owners(), helpers]))
listen(reactor, Path(sys.argv[1]), ControlFactory(site, reactor), sys.argv[2])
sys.stdout.write("ready\\n")
sys.stdout.flush()
reactor.callLater(60, reactor.stop)
reactor.run()
"""
HELPER = Identity(0, "unix:helper", mechanism="UNIX")


class Site:
    """As far as these operations look at it; `helper` has the users of example.org and one server's sessions."""

    config_path = None

    def __init__(self) -> None:
        domains = [DomainFacts("example.org"), DomainFacts("other.example")]
        self.directory = MemoryStore(domains=domains).directory
        self.servers: dict[str, Any] = {
            name: SimpleNamespace(
                state="running", reason="", bindings=(), sessions=list, addresses=list,
                arrivals=SimpleNamespace(connections=list, present=()), services=SimpleNamespace(counters={}),
            )
            for name in ("imap/a", "imap/b")
        }
        self.options = SimpleNamespace(servers={})
        self.monotonic = lambda: 0.0
        self.hasher = SimpleNamespace(hash=self._hash)
        self.logins = SimpleNamespace(kept=frozenset())
        scope = ["domain/example.org", "server/imap/a"]
        actions = ["user.*", "alias.*", "session.list", "server.*"]
        self.authorizer: Any = AccountsAuthorizer(
            self.directory, {}, [owners(), Role("help", ["unix:helper"], actions, scope)]
        )

    async def _hash(self, password: str) -> str:
        return "$argon2id$"


@pytest.fixture
def site() -> Site:
    return Site()


def ask(site: Site, identity: Identity | None, name: Any, /, **arguments: Any) -> dict[str, Any]:
    """The whole answer."""
    answer: dict[str, Any] = Loop().run(run(site, name, arguments, identity, send=_forget))
    return answer


async def _forget(item: Any) -> None:
    """The items of a stream are nothing here."""


@pytest.mark.parametrize(("operation", "arguments", "allowed"), [
    ("user.add", {"address": "Bob@EXAMPLE.org", "password": "x"}, True),
    ("user.add", {"address": "bob@other.example", "password": "x"}, False),
    ("user.add", {"address": '"bob@example.org"@other.example', "password": "x"}, False),
    ("user.list", {"domain": "Example.ORG"}, True),
    ("user.list", {"domain": "other.example"}, False),
    ("user.list", {"domain": ""}, False),
    ("user.list", {}, False),
    ("user.import", {"accounts": [{"address": "a@example.org", "password": "x"}] * 2}, True),
    ("user.import", {"accounts": [{"address": f"a@{d}", "password": "x"} for d in ("example.org", "b.org")]}, False),
    ("user.import", {"accounts": []}, False),
    ("alias.add", {"address": "info@example.org", "targets": ["a@b.example"]}, True),
    ("alias.add", {"address": "info@other.example", "targets": ["a@example.org"]}, False),
    ("alias.list", {}, False),
    ("session.list", {"server": "imap/a"}, True),
    ("session.list", {"server": "imap/b"}, False),
    ("session.list", {}, False),
    ("server.show", {"name": "imap/a"}, True),
    ("server.show", {"name": "imap/b"}, False),
    ("server.list", {}, False),
    ("domain.list", {}, False),
    ("site.status", {}, False),
    ("store.compact", {}, False),
])
def test_a_role_covers_what_the_arguments_name(
    site: Site, operation: str, arguments: dict[str, Any], allowed: bool
) -> None:
    answer = ask(site, HELPER, operation, **arguments)
    assert ("result" in answer) == allowed, answer
    if not allowed:
        assert answer["status"] == "5.7.1" and answer["error"].startswith(f"unix:helper may not {operation} ")
        assert answer["error"].endswith(": no role grants it")
    # Nobody at all may nothing, who runs the server everything.
    assert ask(site, None, operation, **arguments)["status"] == "5.7.1"
    assert "may not" not in ask(site, unix_identity(os.geteuid()), operation, **arguments).get("error", "")


def test_the_refusal_names_who_what_and_to_what(site: Site) -> None:
    assert ask(site, HELPER, "user.remove", address="Bob@Other.example") == {
        "error": "unix:helper may not user.remove user/bob@other.example: no role grants it", "status": "5.7.1",
    }  # fmt: skip
    answer = ask(site, HELPER, "user.list")
    assert answer["error"] == "unix:helper may not user.list on the whole site: no role grants it"
    assert ask(site, None, "part.list")["error"].startswith("nobody may not part.list on the whole site")


def test_only_the_very_object_is_the_process_itself(site: Site) -> None:
    assert "result" in ask(site, IN_PROCESS, "user.list")
    alike = Identity(IN_PROCESS.account_id, IN_PROCESS.authcid, mechanism=IN_PROCESS.mechanism)
    assert alike == IN_PROCESS and ask(site, alike, "user.list")["status"] == "5.7.1"


def test_a_request_that_makes_no_sense_is_no_question_of_rights(site: Site) -> None:
    assert "no operation" in ask(site, HELPER, "user.ad")["error"]
    assert '"password" must be given' in ask(site, HELPER, "user.add", address="x@other.example")["error"]
    assert "is no address" in ask(site, HELPER, "user.remove", address="x@example.org> <y@other.example")["error"]
    assert "must be a host or domain name" in ask(site, HELPER, "user.list", domain="a b")["error"]


def test_an_authorizer_that_cannot_tell_now_is_no_refusal_for_good(site: Site) -> None:
    async def permits(*asked: Any) -> Verdict:
        """Not now."""
        return Verdict("tempfail", "later", "4.3.0")

    site.authorizer = SimpleNamespace(permits=permits)
    assert ask(site, HELPER, "user.list") == {"error": "later", "status": "4.3.0"}


def test_the_log_names_who_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(control.log, "info", lambda form, /, **fields: lines.append(form.format(**fields)))
    ask(site, HELPER, "user.add", address="bob@example.org", password="hunter2")
    ask(site, HELPER, "user.add", address="bob@other.example", password="hunter2")
    ask(site, None, "user.nope")
    ask(site, IN_PROCESS, "user.list")
    assert lines[0] == "operation user.add {'address': 'bob@example.org'} by unix:helper: done"
    assert lines[1].startswith("operation user.add by unix:helper: unix:helper may not user.add user/bob@other.example")
    assert lines[2].startswith("operation user.nope by nobody: no operation")
    assert lines[3] == "operation user.list {} by this process: done" and "hunter2" not in "".join(lines)


def test_what_an_operation_is_done_to_is_told_by_one_parameter_or_is_the_site() -> None:
    assert resource_by(["address", "password"])({"address": "B@example.org"}) == "user/b@example.org"
    assert resource_by(["domain"])({"domain": "Example.org."}) == "domain/example.org"
    assert resource_by(["server"])({"server": "imap/a"}) == "server/imap/a"
    assert resource_by(["domain"])({}) == resource_by(["server"])({"server": ""}) == ""
    # Which of two would count is not guessed.
    assert resource_by(["address", "server"]) is whole_site is resource_by(["name"])
    for name, found in OPERATIONS.items():
        # An address of a client is nobody's account.
        if "address" in found.parameters and name.partition(".")[0] in ("user", "alias", "app_password"):
            assert found.resource({"address": "x@example.org"}) == "user/x@example.org", name


# ---------------------------------------------------------------- the socket


class Reachable:
    """A folder that other users can reach, and a server on a socket in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.sock"

    def serve(self, group: str) -> subprocess.Popen[bytes]:
        """A process that listens; ready."""
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(self.path), group], stdout=subprocess.PIPE)
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        return server


@pytest.fixture
def reachable() -> Iterator[Reachable]:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    yield Reachable(folder)
    shutil.rmtree(folder)


def as_user(uid: int, gid: int, work: Callable[[], Any]) -> Any:
    """What `work` gives in a child that has become that user; it must be JSON."""
    inner, outer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            os.write(outer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(outer)
    with os.fdopen(inner, "rb") as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    return json.loads(answer)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_comes_through_the_groups_socket_with_the_rights_of_its_roles(reachable: Reachable) -> None:
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name

    def connect(*calls: tuple[str, dict[str, Any]]) -> Callable[[], Any]:
        """Ask for these operations."""

        def work() -> list[Any]:
            """The answers, or why not."""
            try:
                with Client(reachable.path) as client:
                    return [client.call(*call) for call in calls]
            except NotReachable as error:
                return [str(error)]

        return work

    with reachable.serve(group) as server:
        try:
            found = reachable.path.stat()
            assert stat.S_IMODE(found.st_mode) == 0o660 and found.st_gid == nobody.pw_gid
            ours, theirs = {"domain": "example.org"}, {"address": "bob@other.example"}
            work = connect(("user.list", ours), ("user.remove", theirs), ("part.list", {}))
            listed, other, parts = as_user(nobody.pw_uid, nobody.pw_gid, work)
            assert listed == {"result": []}
            assert other == {
                "error": "unix:nobody may not user.remove user/bob@other.example: no role grants it", "status": "5.7.1",
            }  # fmt: skip
            assert parts["status"] == "5.7.1"
            # Of the group, without a role: nothing.  Of neither: not even a connection.
            (answer,) = as_user(54_321, nobody.pw_gid, connect(("user.list", {"domain": "example.org"})))
            assert answer["error"].startswith("unix:54321 may not user.list domain/example.org")
            (answer,) = as_user(54_321, 54_321, connect(("user.list", {})))
            assert "Permission denied" in answer
            # Root may everything.
            assert connect(("user.list", {}))() == [{"result": []}]
        finally:
            server.terminate()


class Reactor:
    """Makes the socket, as listenUNIX does."""

    def __init__(self) -> None:
        self.stopped = 0

    def listenUNIX(self, path: str, factory: Any, mode: int) -> Any:
        """A port."""
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path)
        os.chmod(path, mode)
        return self

    def stopListening(self) -> None:
        """Count it."""
        self.stopped += 1


def test_a_group_that_cannot_be_is_a_mistake_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reactor, path = Reactor(), tmp_path / "s"
    factory = ControlFactory(object(), reactor)
    with pytest.raises(ConfigError, match=r'site\.control_group: there is no UNIX group "no-such-group"'):
        listen(reactor, path, factory, "no-such-group")
    assert not path.exists()

    def chown(path: Any, uid: int, gid: int) -> None:
        """As for a user who is no member."""
        raise PermissionError(1, "Operation not permitted")

    group = grp.getgrgid(os.getegid()).gr_name
    with monkeypatch.context() as patched:
        patched.setattr(os, "chown", chown)
        with pytest.raises(ConfigError, match="Operation not permitted; the server must be a member"):
            listen(reactor, path, factory, group)
    assert reactor.stopped == 1 and stat.S_IMODE(path.stat().st_mode) == 0o600
    with monkeypatch.context() as patched:
        patched.setattr(wire, "TELLS", False)
        with pytest.raises(ConfigError, match="does not tell who opens"):
            listen(reactor, path, factory, group)


def test_a_folder_that_keeps_the_group_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(wire.log, "warn", lambda text, **fields: told.append(text.format(**fields)))
    group = grp.getgrgid(os.getegid()).gr_name
    for mode, warnings in ((0o700, 1), (0o750, 1), (0o711, 1)):
        tmp_path.chmod(mode)
        os.chown(tmp_path, -1, os.getegid())
        listen(Reactor(), tmp_path / "s", ControlFactory(object(), Reactor()), group)
        assert len(told) == warnings, oct(mode)
    assert "cannot reach" in told[0]


def test_a_socket_in_the_data_folder_is_of_no_use_to_a_group() -> None:
    group = '[site]\nhostname = "a.example"\ncontrol_group = "mailadm"\n'
    (warning,) = loads(group).warnings
    assert warning.key == "site.control_group" and "set site.control" in warning.text
    assert loads(group + 'control = "/run/mailsrv/control.sock"\n').warnings == ()


def test_who_cannot_be_told_is_nobody() -> None:
    assert peer_of(object()) is None
    one, other = socket.socketpair()
    with one, other:
        assert peer_of(SimpleNamespace(getHandle=lambda: one)) == unix_identity(os.geteuid())
    assert peer_of(SimpleNamespace(getHandle=lambda: one)) is None
    assert wire.own_user(None).authcid == unix_login(os.geteuid())
