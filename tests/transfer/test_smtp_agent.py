"""Messages to other servers: hops, connections used again, limits, TLS, logins, and what becomes of recipients."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smtp_network import CONTENT, MX, BedWire, Network, Post, server

from mailsrv.auth.outbound import OutboundLogin
from mailsrv.errors import MailError, StoreUnavailable, TryLater
from mailsrv.message.content import MemoryContent
from mailsrv.transfer.smtp_agent import MAX_ADDRESSES
from mailsrv.values import Hop, Outcome
from tests.properties import tries

OTHER = Hop("backup.example.org", ("192.0.2.26",))
PIPELINING = b"250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n"


def actions(outcomes: list[Outcome]) -> list[str]:
    return [f"{outcome.action} {outcome.status}" for outcome in outcomes]


# ---------------------------------------------------------------- our own server


@pytest.fixture
def whole() -> tuple[Network, Post]:
    network = Network(BedWire)
    return network, Post(network)


def arrived(network: Network) -> list[bytes]:
    bed = network.bed
    account = bed.loop.run(bed.store.account(bed.accounts["me"]))
    mailbox = bed.loop.run(account.open("INBOX"))
    found = []
    for uid in mailbox.columns().uids:
        (content,) = bed.loop.run(mailbox.contents([uid]))
        found.append(b"".join(content.chunks()))
    return found


def test_a_message_arrives_at_a_server_of_our_own_with_its_dots(whole: tuple[Network, Post]) -> None:
    network, post = whole
    assert actions(post.send(["me@example.org", "nobody@example.org"])) == ["delivered 2.0.0", "failed 5.1.1"]
    (message,) = arrived(network)
    assert message.endswith(CONTENT)
    assert network.made[0].tls, "STARTTLS is used where it is offered"


def test_all_commands_of_a_transaction_go_in_one_piece_rfc2920(whole: tuple[Network, Post]) -> None:
    network, post = whole
    pieces: list[bytes] = []
    post.send()
    wire = network.made[0]
    wire.write, write = lambda octets: (pieces.append(octets), write(octets)), wire.write  # type: ignore[method-assign,assignment]
    post.send()
    assert len(pieces) == 2 and pieces[0].endswith(b"DATA\r\n") and pieces[1].endswith(b"\r\n.\r\n")


@pytest.mark.parametrize("method", ["basic", "sasl", "ntlm", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "LOGIN"])
def test_logins_at_a_server_of_our_own_S109_S110(method: str) -> None:
    network = Network(BedWire, kinds="scram-sha-256,scram-sha-1,cram-md5,ntlm")
    post = Post(network)
    login = OutboundLogin(method, "me@example.org", "secret", plain=True)
    hop = Hop("mx.example.org", ("192.0.2.25",), tls="off")
    assert actions(post.send(["you@example.org"], hops=(hop,), login=login)) == ["delivered 2.0.0"]
    assert b"AUTH " in network.made[0].said and b"secret" not in network.made[0].said


def test_no_login_no_auth_S108(whole: tuple[Network, Post]) -> None:
    network, post = whole
    post.send(login=OutboundLogin("anonymous"))
    assert b"AUTH" not in network.made[0].said


def test_a_refused_login_stops_the_destination_and_nothing_is_sent_without_it() -> None:
    network = Network(BedWire)
    post = Post(network)
    login = OutboundLogin("basic", "me@example.org", "wrong", plain=True)
    hops = tuple(Hop(name, ("192.0.2.25",), tls="off") for name in ("a", "b"))
    with pytest.raises(TryLater) as caught:
        post.send(hops=hops, login=login)
    assert "Login by PLAIN failed" in caught.value.text and "wrong" not in caught.value.text
    assert len(network.made) == 1 and b"MAIL" not in network.made[0].said


def test_a_login_that_nobody_offers_is_a_reason_to_wait() -> None:
    network = Network()
    with pytest.raises(TryLater) as caught:
        Post(network).send(login=OutboundLogin("ntlm", "me", "secret"))
    assert "offers no way to log in by ntlm" in caught.value.text and caught.value.status == "4.7.4"


# ---------------------------------------------------------------- hops


def test_hops_and_addresses_are_tried_in_order_rfc5321_5_1() -> None:
    network = Network()
    network.refuse = {"192.0.2.1", "192.0.2.2"}
    outcomes = Post(network).send(hops=(Hop("one", ("192.0.2.1", "192.0.2.2")), Hop("two", ("192.0.2.3",))))
    assert outcomes[0].host == "two" and outcomes[0].action == "delivered"


@pytest.mark.parametrize(
    "bad",
    [
        {"greeting": b"554 no\r\n"}, {"greeting": b"421 busy\r\n"}, {"greeting": None}, {"greeting": b"?\r\n"},
        {"ehlo": b"451 later\r\n"}, {"ehlo": None}, {"ehlo": b"500 x\r\n", "helo": b"550 x\r\n"},
        {"mail": b"451 4.3.2 full\r\n"}, {"rcpt": b"450 4.2.0 greylisted\r\n"}, {"data": None}, {"data": b"451 x\r\n"},
        {"dot": b"451 x\r\n"}, {"mail": b"421 4.3.2 bye\r\n"},
    ],
)  # fmt: skip
def test_a_server_that_will_not_now_is_followed_by_the_next(bad: dict[str, bytes | None]) -> None:
    network = Network()
    network.scripts["192.0.2.25"] = server(**bad)
    outcomes = Post(network).send(hops=(MX, OTHER))
    assert actions(outcomes) == ["delivered 2.0.0"] and outcomes[0].host == "backup.example.org"


def test_only_recipients_who_wait_are_told_to_the_next_server() -> None:
    network = Network()
    network.scripts["192.0.2.25"] = lambda line: (
        {b"RCPT TO:<a@x.org>": b"550 5.1.1 no\r\n", b"RCPT TO:<b@x.org>": b"450 4.2.1 later\r\n"}.get(line)
        or server()(line)
    )
    outcomes = Post(network).send(["a@x.org", "b@x.org", "c@x.org"], hops=(MX, OTHER))
    assert [(one.action, one.host) for one in outcomes] == [
        ("failed", "mx.example.org"), ("delivered", "backup.example.org"), ("delivered", "mx.example.org")
    ]  # fmt: skip
    assert [one for one in network.wires[1].commands if one.startswith(b"RCPT")] == [b"RCPT TO:<b@x.org>"]


def test_after_the_message_was_sent_no_other_server_gets_it_in_this_attempt() -> None:
    network = Network()
    network.scripts["192.0.2.25"] = server(dot=None)
    outcomes = Post(network).send(hops=(MX, OTHER))
    assert actions(outcomes) == ["delayed 4.4.2"] and len(network.made) == 1


def test_nobody_can_be_reached_so_the_destination_waits() -> None:
    network = Network()
    network.refuse = {"192.0.2.25", "192.0.2.26"}
    post = Post(network)
    with pytest.raises(TryLater) as caught:
        post.send(hops=(MX, OTHER))
    assert caught.value.status == "4.4.1" and "backup.example.org [192.0.2.26]" in caught.value.text
    with pytest.raises(TryLater):
        post.send(hops=())
    assert not len(post.connections)


def test_attempts_are_bounded() -> None:
    network = Network()
    network.script = server(greeting=b"554 no\r\n")
    with pytest.raises(TryLater):
        Post(network).send(hops=(Hop("many", tuple(f"192.0.2.{n}" for n in range(1, 100))),))
    assert len(network.made) == MAX_ADDRESSES


# ---------------------------------------------------------------- connections


def test_fifty_messages_take_three_connections_S122() -> None:
    network = Network()
    post = Post(network)
    for _ in range(50):
        assert actions(post.send()) == ["delivered 2.0.0"]
    assert [wire.commands.count(b".") for wire in network.wires] == [20, 20, 10]
    assert [wire.commands.count(b"QUIT") for wire in network.wires] == [1, 1, 0] and network.peak == 1


def test_2500_recipients_at_a_limit_of_1000_take_three_connections_S123() -> None:
    network = Network()
    network.script = server(ehlo=PIPELINING)
    post = Post(network, recipients=1000)
    outcomes = post.send([f"r{n}@example.org" for n in range(2500)])
    assert len(outcomes) == 2500 and {one.action for one in outcomes} == {"delivered"}
    counts = [sum(line.startswith(b"RCPT") for line in wire.commands) for wire in network.wires]
    assert counts == [1000, 1000, 500]


def test_a_server_that_takes_few_at_a_time_gets_the_rest_at_once_rfc5321_4_5_3_1_10() -> None:
    network = Network()
    state = {"count": 0}

    def script(line: bytes) -> bytes | None:
        state["count"] = 0 if line.startswith(b"MAIL") else state["count"] + line.startswith(b"RCPT")
        full = line.startswith(b"RCPT") and state["count"] > 3
        return b"452 4.5.3 too many\r\n" if full else server()(line)

    network.script = script
    outcomes = Post(network).send([f"r{n}@example.org" for n in range(10)])
    assert {one.action for one in outcomes} == {"delivered"}
    assert network.wires[0].commands.count(b".") == 4 and len(network.wires) == 1


def test_a_connection_is_kept_for_a_few_seconds() -> None:
    network = Network()
    post = Post(network)
    post.send()
    network.settle(4)
    post.send()
    assert len(network.made) == 1
    for _ in range(7):
        network.settle(1)
    assert network.wires[0].closed and network.wires[0].commands[-1] == b"QUIT" and not len(post.connections)
    post.send()
    assert len(network.made) == 2


@pytest.mark.parametrize("how", ["dropped", "421", "dropped when used"])
def test_a_kept_connection_that_has_gone_costs_nothing_but_another(how: str) -> None:
    network = Network()
    post = Post(network)
    post.send()
    wire = network.wires[0]
    if how == "dropped":
        wire.lose()
    elif how == "421":
        wire.inbox += b"421 4.4.2 idle\r\n"
        network.settle()
    else:
        wire.answer = lambda line: None
    assert actions(post.send()) == ["delivered 2.0.0"] and len(network.made) == 2


def test_other_logins_and_levels_of_tls_have_other_connections() -> None:
    network = Network()
    network.script = server(ehlo=b"250-mx\r\n250 AUTH PLAIN\r\n", auth=b"235 ok\r\n")
    post = Post(network)
    post.send()
    post.send(login=OutboundLogin("basic", "a", "b", plain=True))
    post.send(login=OutboundLogin("basic", "a", "c", plain=True))
    post.send(hops=(Hop("mx.example.org", ("192.0.2.25",), tls="off"),))
    post.send(hops=(Hop("mx.example.org", ("192.0.2.25",), port=587),))
    assert len(network.made) == 5
    post.send()
    assert len(network.made) == 5


class Held:
    """A script that answers the message only when it is let go."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.answered: list[Any] = []
        network.script = server(dot=b"")

    def waiting(self) -> list[Any]:
        """Connections whose message is not answered."""
        return [
            wire for wire in self.network.wires
            if not wire.closed and wire.commands.count(b".") > self.answered.count(wire)
        ]  # fmt: skip

    def let_go(self) -> None:
        wire = self.waiting()[0]
        self.answered.append(wire)
        wire.inbox += b"250 ok\r\n"
        self.network.settle()


def test_no_more_connections_than_the_limits_S113_S114() -> None:
    network = Network()
    held = Held(network)
    post = Post(network, total=3, per_domain=2)
    done = [network.start(post.sending(destination=name, hops=(Hop(name, ("192.0.2.9",)),))) for name in "aaaabbcc"]
    network.settle()
    # Two of a; then one of b, for a is at its own limit and holds up nobody.
    assert post.connections.counts() == {"a": 2, "b": 1}
    while not all(done):
        held.let_go()
    assert network.peak == 3
    assert all(actions(one[0]) == ["delivered 2.0.0"] for one in done)


def test_who_waits_for_the_same_server_goes_on_over_the_connection_that_is_free() -> None:
    network = Network()
    held = Held(network)
    post = Post(network, per_domain=1)
    done = [network.start(post.sending()) for _ in range(5)]
    network.settle()
    for _ in range(5):
        held.let_go()
    assert all(done) and len(network.made) == 1


def test_a_connection_without_work_makes_room_for_others() -> None:
    network = Network()
    post = Post(network, total=1)
    for name in ("a", "b", "a"):
        post.send(destination=name, hops=(Hop(name, ("192.0.2.9",)),))
    assert len(network.made) == 3 and network.peak == 1
    post = Post(network := Network(), per_domain=1, recipients=1)
    assert actions(post.send(["a@x", "b@x", "c@x"])) == ["delivered 2.0.0"] * 3
    assert len(network.made) == 3 and network.peak == 1


def test_who_gives_up_waiting_takes_nobodys_turn() -> None:
    network = Network()
    held = Held(network)
    post = Post(network, total=1)
    from twisted.internet.defer import Deferred

    first = network.start(post.sending())
    second = Deferred.fromCoroutine(post.sending(hops=(OTHER,)))
    third = network.start(post.sending())
    network.settle()
    second.addErrback(lambda failure: None)
    second.cancel()
    held.let_go()
    held.let_go()
    assert first and third and len(network.made) == 1


def test_at_the_end_no_connection_is_kept() -> None:
    network = Network()
    post = Post(network)
    post.send()
    post.connections.close()
    network.settle()
    assert network.wires[0].closed and network.wires[0].commands[-1] == b"QUIT"
    post.send()
    assert network.wires[1].closed and not len(post.connections) and not post.connector.on_tick


def test_a_server_that_talks_without_end_is_left() -> None:
    network = Network()
    post = Post(network)
    post.send()
    network.wires[0].inbox += b"250 blah\r\n" * 20_000
    network.settle()
    assert network.wires[0].closed and not len(post.connections)


def test_an_attempt_that_is_cancelled_leaves_no_connection() -> None:
    from twisted.internet.defer import Deferred

    network = Network()
    Held(network)
    post = Post(network)
    done = Deferred.fromCoroutine(post.sending())
    done.addErrback(lambda failure: None)
    network.settle()
    done.cancel()
    network.settle()
    assert not len(post.connections) and network.wires[0].closed


# ---------------------------------------------------------------- what is sent


def test_eight_bits_to_a_server_that_takes_them_rfc6152() -> None:
    network = Network()
    Post(network).send(content="Subject: x\r\n\r\né\r\n".encode())
    assert network.wires[0].commands[1] == b"MAIL FROM:<a@example.com> BODY=8BITMIME"
    assert network.wires[0].said.endswith("\r\n\r\né\r\n.\r\n".encode())


def test_eight_bits_are_converted_for_a_server_that_does_not() -> None:
    network = Network()
    network.script = server(ehlo=b"250 mx\r\n")
    post = Post(network)
    assert actions(post.send(content="Subject: x\r\n\r\né\r\n".encode())) == ["delivered 2.0.0"]
    assert b"quoted-printable" in network.wires[0].said and b"=C3=A9\r\n.\r\n" in network.wires[0].said
    outcomes = post.send(content="DKIM-Signature: x\r\n\r\né\r\n".encode())
    assert actions(outcomes) == ["failed 5.6.3"] and "signed" in outcomes[0].reply
    assert actions(post.send(content=b"Subject: x\r\n\r\n" + b"a" * 100_000 + "é".encode())) == ["delivered 2.0.0"]


def test_long_messages_are_converted_in_a_thread() -> None:
    asked: list[int] = []

    async def aside(function: Any, octets: bytes) -> Any:
        asked.append(len(octets))
        return function(octets)

    network = Network()
    network.script = server(ehlo=b"250-mx\r\n250 SMTPUTF8\r\n")
    post = Post(network)
    post.agent._aside = aside
    for size in (1000, 100_000):
        content = b"Subject: x\r\n\r\n" + b"a" * size + "é".encode()
        assert actions(post.send(content=content, parameters={"SMTPUTF8": ""})) == ["delivered 2.0.0"]
    assert len(asked) == 1 and asked[0] > 100_000
    assert len(network.made) == 1


def test_smtputf8_where_the_message_needs_it_rfc6531_3_4() -> None:
    network = Network()
    post = Post(network)
    utf8 = {"SMTPUTF8": ""}
    assert actions(post.send(content="Subject: é\r\n\r\n".encode(), parameters=utf8)) == ["failed 5.6.7"]
    assert actions(post.send(content=b"Subject: e\r\n\r\n", parameters=utf8)) == ["delivered 2.0.0"]
    assert actions(post.send(content="Subject: e\r\n\r\né".encode(), parameters=utf8)) == ["delivered 2.0.0"]
    inner = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nSubject: é\r\n\r\n--b--\r\n".encode()
    assert actions(post.send(content=inner, parameters=utf8)) == ["failed 5.6.7"]
    assert all(b"SMTPUTF8" not in line for line in network.wires[0].commands)
    network.script = server(ehlo=b"250-mx\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
    post = Post(network)
    post.send(content="Subject: é\r\n\r\n".encode(), parameters=utf8)
    post.send(content=b"Subject: e\r\n\r\n", parameters=utf8)
    assert [b"SMTPUTF8" in line for line in network.wires[1].commands if line.startswith(b"MAIL")] == [True, False]


def test_binary_by_bdat_or_as_base64_rfc3030() -> None:
    content = b"Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\r\n.\r\n\n\xff" + b"\r" * 100_000
    network = Network(BedWire)
    post = Post(network)
    features = network.bed
    assert features is not None
    outcomes = post.send(content=content, parameters={"BODY": "BINARYMIME"})
    assert actions(outcomes) == ["delivered 2.0.0"]
    said = network.made[0].said
    assert (b"BDAT %d LAST\r\n" % len(content) in said) is (b"BINARYMIME" in said)
    network = Network()
    Post(network).send(content=content, parameters={"BODY": "BINARYMIME"})
    assert b"base64" in network.wires[0].said and b"BINARYMIME" not in network.wires[0].said


def test_lmtp_has_an_answer_for_everybody() -> None:
    network = Network(BedWire)
    network.protocol = "lmtp"
    hop = Hop("mx.example.org", ("192.0.2.25",), port=24, tls="off", protocol="lmtp")
    outcomes = Post(network).send(["me@example.org", "nobody@example.org", "you@example.org"], hops=(hop,))
    assert actions(outcomes) == ["delivered 2.0.0", "failed 5.1.1", "delivered 2.0.0"]
    assert network.made[0].said.startswith(b"LHLO")


class Fading(MemoryContent):
    """Cannot be read beyond the first piece."""

    async def read(self, offset: int, length: int) -> bytes:
        if offset:
            raise StoreUnavailable()
        return await super().read(offset, length)


def test_a_message_that_cannot_be_read_is_never_ended_with_a_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp_network.MemoryContent", Fading)
    network = Network()
    post = Post(network)
    outcomes = post.send(content=b"a\r\n" * 50_000)
    assert actions(outcomes) == ["delayed 4.3.0"] and not network.wires[0].said.endswith(b".\r\n")
    assert network.wires[0].closed and not len(post.connections)


# ---------------------------------------------------------------- patience


@pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "data", "dot"])
def test_a_server_that_falls_silent_is_left_S115(stage: str) -> None:
    network = Network()
    network.script = server(**{stage: b""})
    post = Post(network)
    try:
        outcomes = post.send(seconds=605)
    except TryLater as error:
        assert stage in ("greeting", "ehlo") and "did not answer in time" in error.text
    else:
        assert actions(outcomes) == ["delayed 4.4.2"] and "in time" in outcomes[0].reply
    assert not len(post.connections) and network.wires[0].closed


def test_the_idle_time_may_be_shorter_S115() -> None:
    network = Network()
    network.script = server(dot=b"")
    post = Post(network)
    post.connector.idle = 30.0
    done = network.start(post.sending())
    network.settle()
    for _ in range(28):
        network.settle(1)
    assert not done
    for _ in range(4):
        network.settle(1)
    assert done


# ---------------------------------------------------------------- anything at all

ANSWERS = st.sampled_from(
    [None, b"", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"450 no\r\n", b"550 no\r\n", b"421 bye\r\n",
     b"x\r\n", b"220 hi\r\n", b"220 hi\r\n", b"250-a\r\n250 PIPELINING\r\n", b"250 ok\r\n250 ok\r\n"]
)  # fmt: skip


@settings(max_examples=tries(150), deadline=None)
@given(st.lists(ANSWERS, max_size=24))
def test_whatever_servers_say_everybody_has_an_outcome_and_nothing_is_left_open(answers: list[bytes | None]) -> None:
    network = Network()
    left = iter(answers)
    network.script = lambda line: next(left, b"250 ok\r\n")
    post = Post(network)
    done = network.start(post.sending(["a@x.org", "b@x.org"], hops=(MX, OTHER)))
    for seconds in (0, *[30] * 120):
        network.settle(seconds)
        if done:
            break
    assert done, "it waits for ever"
    if isinstance(done[0], list):
        assert [one.recipient.address.local for one in done[0]] == ["a", "b"]
        if any(one.action == "delivered" for one in done[0]):
            assert any(b"." in wire.commands for wire in network.wires)
    else:
        assert done[0].check(MailError) is MailError, done[0]
    for _ in range(20):
        network.settle(1)
    assert not len(post.connections) and all(wire.closed for wire in network.wires)
