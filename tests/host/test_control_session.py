"""Sessions as administrators see, end and follow them: the operations on a site in memory (S-064..S-068)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred

from mailsrv.host.control.run import run
from mailsrv.host.events import MAX_WAITING
from mailsrv.host.sessions import ENDED, FAREWELL
from mailsrv.host.slices import SLICE
from mailsrv.net.overhear import overheard
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport

LOGIN = {
    "smtp": b"EHLO c\r\nAUTH PLAIN %b\r\n",
    "imap": b"a LOGIN %b secret\r\n",
    "pop3": b"USER %b\r\nPASS secret\r\n",
}
_PLAIN = {"me": b"AG1lAHNlY3JldA==", "you": b"AHlvdQBzZWNyZXQ="}


@define
class Site:
    """What the operations know of a site; its servers are those of a bed."""

    bed: Bed = field(factory=Bed)
    logins: Any = field(factory=lambda: SimpleNamespace(kept=frozenset()))
    #: Each look at the clock is so much later than the last.
    step: float = 0.0
    turns: int = 0
    items: list[Any] = field(factory=list)

    @property
    def servers(self) -> dict[str, Any]:
        return {server.name: server for server in self.bed.servers.values()}

    @property
    def directory(self) -> Any:
        return self.bed.store.directory

    @property
    def reactor(self) -> Any:
        return self.bed.clock

    @property
    def hasher(self) -> Any:
        return self

    async def hash(self, password: str) -> str:
        return "$argon2id$"

    def clock(self) -> float:
        return self.bed.clock.seconds()

    def monotonic(self) -> float:
        self.bed.clock.advance(self.step)
        return self.bed.clock.seconds()

    async def sleep(self, seconds: float) -> None:
        self.turns += 1

    def login(self, protocol: str, name: str = "me", host: str = "192.0.2.1") -> MemoryTransport:
        """A client that has logged in."""
        client = self.bed.connect(protocol, host=host)
        client.send(LOGIN[protocol] % (_PLAIN[name] if protocol == "smtp" else name.encode()))
        self.bed.settle()
        client.take()
        return client

    def ask(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """The whole answer; the items of a stream are kept in `items`."""
        answers: list[dict[str, Any]] = []
        self.items = []

        async def send(item: Any) -> None:
            self.items.append(item)

        Deferred.fromCoroutine(run(self, name, arguments, send=send)).addCallback(answers.append)
        self.bed.settle()
        return answers[0]

    def done(self, name: str, /, **arguments: Any) -> Any:
        """The result."""
        answer = self.ask(name, **arguments)
        assert "error" not in answer, answer
        return answer["result"]

    def listed(self, **arguments: str) -> list[int]:
        """The ids of a list."""
        assert self.done("session.list", **arguments) == {"items": len(self.items)}
        self.items = [dict(zip(lot["keys"], row)) for lot in self.items for row in lot["rows"]]
        return [one["id"] for one in self.items]


@pytest.fixture
def site() -> Site:
    return Site()


def test_s063_a_session_begins_with_the_connection_and_ends_with_it(site: Site) -> None:
    client = site.bed.connect("imap")
    assert site.listed() == [1]
    client.drop()
    assert site.listed() == []


def test_s064_the_list_of_one_server_does_not_show_another(site: Site) -> None:
    for protocol in ("smtp", "imap", "pop3", "imap"):
        site.bed.connect(protocol)
    assert site.listed(server="imap/default") == [2, 4]
    assert site.listed(server="smtp/default") == [1]
    assert sorted(site.listed()) == [1, 2, 3, 4]
    assert site.ask("session.list", server="imap/defalt")["error"] == (
        'there is no server imap/defalt (did you mean "imap/default"?)'
    )


def test_s065_the_list_shows_who_from_where_and_how_long(site: Site) -> None:
    site.login("imap", "me", "192.0.2.9")
    site.bed.settle(90)
    assert site.listed() == [1]
    one, = site.items
    assert (one["user"], one["peer"], one["age"], one["idle"]) == ("me@example.org", "192.0.2.9", 90, 90)
    assert one == site.done("session.show", id=1)


def test_s065_the_list_can_be_of_a_user_or_of_a_network(site: Site) -> None:
    site.login("imap", "me", "192.0.2.9")
    site.login("pop3", "you", "198.51.100.7")
    site.bed.connect("smtp", host="2001:db8::5")
    assert site.listed(user="me@example.org") == site.listed(user="ME@Example.ORG") == [1]
    assert site.listed(user="nobody@example.org") == []
    assert site.listed(peer="192.0.2.0/24") == site.listed(peer="192.0.2.9") == [1]
    assert site.listed(peer="2001:db8::/32") == [3]
    assert site.listed(peer="::ffff:198.51.100.7", user="you@example.org") == [2]
    assert "is no IP network" in site.ask("session.list", peer="x/8")["error"]


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
def test_s066_one_session_is_terminated_at_once_and_told_so(site: Site, protocol: str) -> None:
    client, other = site.login(protocol), site.login(protocol)
    ended = site.done("session.terminate", id=1)
    assert (ended["id"], ended["user"]) == (1, "me@example.org")
    assert client.closed and not other.closed
    assert client.take() == {
        "smtp": b"421 4.3.2 Session terminated by an administrator\r\n",
        "imap": b"* BYE Session terminated by an administrator\r\n",
        "pop3": b"-ERR [SYS/TEMP] The session was terminated, nothing was deleted\r\n",
    }[protocol]
    assert site.listed() == [2]


def test_s066_an_id_is_never_given_again(site: Site) -> None:
    site.bed.connect("smtp")
    site.done("session.terminate", id=1)
    site.bed.connect("smtp")
    assert site.listed() == [2]
    answer = site.ask("session.terminate", id=1)
    assert answer["error"] == "there is no session 1 now; `mailsrv session list` tells which there are"


def test_s066_who_names_the_server_ends_sessions_of_no_other(site: Site) -> None:
    site.bed.connect("smtp")
    site.bed.connect("imap")
    assert "no session 1 on imap/default" in site.ask("session.terminate", id=1, server="imap/default")["error"]
    assert site.done("session.terminate", id=1, server="smtp/default")["server"] == "smtp/default"


def test_s066_a_client_that_reads_nothing_is_cut_off(site: Site) -> None:
    site.bed.deliver(b"Subject: x\r\n\r\n" + b"x" * 200_000)
    client = site.bed.connect("imap", window=1000)
    client.send(b"a LOGIN me secret\r\nb SELECT INBOX\r\nc FETCH 1 BODY[]\r\n")
    site.bed.settle()
    # A socket that takes nothing: what the transport holds is never gone.
    client.loseConnection = lambda: None  # type: ignore[method-assign]
    site.done("session.terminate", id=1)
    assert not client.closed
    site.bed.settle(FAREWELL)
    assert client.closed and client.aborted and site.listed() == []


def test_s066_a_command_under_way_is_not_waited_for(site: Site) -> None:
    held: Deferred[None] = Deferred()

    async def slow(*_: Any) -> None:
        await held

    client = site.login("imap")
    client.protocol.session.account.open = slow
    client.send(b"b SELECT INBOX\r\n")
    site.done("session.terminate", id=1)
    assert client.closed and b"* BYE" in client.take()
    held.callback(None)
    site.bed.settle()
    assert site.listed() == []


def test_s067_all_sessions_of_a_server_are_terminated_together_and_it_goes_on(site: Site) -> None:
    clients, other = [site.bed.connect("imap") for _ in range(3)], site.bed.connect("pop3")
    assert site.done("session.terminate_all", server="imap/default") == {"terminated": 3}
    assert all(client.closed for client in clients) and not other.closed
    assert site.bed.connect("imap").take().startswith(b"* OK")
    assert site.done("session.terminate_all", server="pop3/default") == {"terminated": 1}


def test_s067_those_who_wait_for_the_access_list_go_too() -> None:
    site = Site(Bed(access="accept"))
    site.bed.server("imap").services.access.hold = Deferred()  # type: ignore[union-attr]
    client = site.bed.connect("imap")
    assert site.done("session.terminate_all", server="imap/default") == {"terminated": 1}
    assert client.closed


def test_s067_all_sessions_of_a_user_are_terminated_on_all_servers(site: Site) -> None:
    mine, others = [site.login(one) for one in LOGIN], [site.login(one, "you") for one in LOGIN]
    stranger = site.bed.connect("smtp")
    assert site.done("session.terminate_user", address="me@example.org") == {"terminated": 3}
    assert all(client.closed for client in mine)
    assert not any(client.closed for client in [*others, stranger])
    assert site.done("session.terminate_user", address="nobody@example.org") == {"terminated": 0}


@pytest.mark.parametrize(("operation", "more"), [
    ("user.disable", {}), ("user.remove", {}), ("user.password", {"password": "new"}),
])
def test_who_is_disabled_removed_or_has_a_new_password_is_logged_out(
    site: Site, operation: str, more: dict[str, str]
) -> None:
    mine, other = site.login("imap"), site.login("imap", "you")
    site.done(operation, address="me@example.org", **more)
    assert mine.closed and not other.closed


def test_who_had_an_app_password_that_is_removed_is_logged_out(site: Site) -> None:
    site.done("app_password.add", address="me@example.org", name="phone", scopes=[])
    mine, other = site.login("imap"), site.login("imap", "you")
    site.done("app_password.remove", address="me@example.org", name="phone")
    assert mine.closed and not other.closed


def test_who_may_use_a_protocol_no_more_is_logged_out_there(site: Site) -> None:
    imap, pop3 = site.login("imap"), site.login("pop3")
    site.__class__.options = SimpleNamespace(servers={"imap/default": None})  # type: ignore[attr-defined]
    site.logins.changing = SimpleNamespace(acquire=_nothing, release=lambda: None)
    site.done("user.deny", address="me@example.org", what=["pop3"])
    assert pop3.closed and not imap.closed


async def _nothing() -> None:
    pass


def test_s068_the_number_of_sessions_is_the_load_of_a_server(site: Site) -> None:
    clients = [site.bed.connect("imap") for _ in range(3)]
    assert len(site.servers["imap/default"].arrivals.present) == 3
    clients[0].drop()
    assert len(site.servers["imap/default"].arrivals.present) == 2


def test_whoever_goes_through_many_sessions_lets_others_have_their_turn(site: Site) -> None:
    for _ in range(250):
        site.bed.connect("imap")
    site.step = SLICE
    assert len(site.listed()) == 250 and site.turns == 3
    site.step, site.turns = 0, 0
    assert site.done("session.terminate_all", server="imap/default") == {"terminated": 250}
    assert site.turns == 250 // ENDED


# ---------------------------------------------------------------- reading along


@define
class Reader:
    """Somebody who follows a session."""

    site: Site
    items: list[Any] = field(factory=list)
    answers: list[Any] = field(factory=list)
    #: What the wire waits for when the reader is slow.
    slow: Deferred[None] | None = None
    task: Any = None

    def follow(self, **arguments: Any) -> Reader:
        async def send(item: Any) -> None:
            self.items.append(item)
            if self.slow is not None:
                await self.slow

        self.task = Deferred.fromCoroutine(run(self.site, "session.transcript", arguments, send=send))
        self.task.addCallback(self.answers.append)
        self.site.bed.settle()
        return self

    def texts(self) -> list[str]:
        """What was read."""
        return [f"{one['who']}: {one['text']}" for one in self.items if "text" in one]


def test_an_administrator_reads_along_in_one_session(site: Site) -> None:
    client, other = site.login("pop3"), site.login("pop3", "you")
    reader = Reader(site).follow(id=1)
    for one in (client, other):
        one.send(b"STAT\r\nPASS hunter2\r\n")
    site.bed.settle()
    assert reader.texts() == [
        "client: STAT", "server: +OK 0 0", "client: PASS ***", "server: -ERR Not after login",
    ]  # fmt: skip
    assert reader.items[0]["at"] == site.clock() and reader.answers == []
    client.send(b"QUIT\r\n")
    site.bed.settle()
    assert reader.answers == [{"result": {"lines": 6, "why": "session"}}]


def test_a_transcript_ends_after_its_time_and_leaves_the_session_alone(site: Site) -> None:
    client = site.login("imap")
    reader = Reader(site).follow(id=1, seconds=30)
    assert "somebody follows this session already" in site.ask("session.transcript", id=1)["error"]
    site.bed.settle(30)
    assert reader.answers == [{"result": {"lines": 0, "why": "time"}}]
    client.send(b"b NOOP\r\n")
    site.bed.settle()
    assert client.take() == b"b OK NOOP completed\r\n" and reader.items == []
    assert not overheard(client.protocol)
    assert "1 to 3600 seconds" in site.ask("session.transcript", id=1, seconds=5000)["error"]


def test_whoever_leaves_a_transcript_is_not_told_any_more(site: Site) -> None:
    client = site.login("imap")
    reader = Reader(site).follow(id=1)
    reader.task.cancel()
    site.bed.settle()
    assert "error" in reader.answers[0] and not overheard(client.protocol)
    assert [call for call in site.bed.clock.getDelayedCalls() if call.getTime() > site.clock() + 1000] == []


def test_a_slow_reader_loses_lines_and_is_told_how_many(site: Site) -> None:
    client = site.login("imap")
    reader = Reader(site, slow=Deferred()).follow(id=1)
    for _ in range(30):
        client.send(b"b NOOP\r\n" * 50)
        site.bed.settle()
    held, reader.slow = reader.slow, None
    assert held is not None
    held.callback(None)
    site.bed.settle()
    assert len(reader.items) == MAX_WAITING + 2
    assert reader.items[-1] == {"lost": 3000 - MAX_WAITING - 1}
    client.send(b"c NOOP\r\n")
    site.bed.settle()
    assert reader.texts()[-2:] == ["client: c NOOP", "server: c OK NOOP completed"]


def test_a_transcript_has_a_size(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsrv.host.following.MAX_TEXT", 50)
    client = site.login("imap")
    reader = Reader(site).follow(id=1)
    client.send(b"b NOOP\r\n" * 20)
    site.bed.settle()
    assert reader.answers == [{"result": {"lines": len(reader.items), "why": "size"}}] and len(reader.items) < 8
    assert client.take().count(b"b OK") == 20
