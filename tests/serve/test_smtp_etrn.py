"""ETRN (RFC 1985): what is started, who may, and how much of it; replies are in tests/conversations/smtp-etrn.txt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.access.relay import RelayRight
from mailsrv.errors import StoreUnavailable, TryLater
from mailsrv.message.content import MemoryContent
from mailsrv.serve import smtp_etrn
from mailsrv.serve.smtp_etrn import MAX_NODES, PAUSE, Etrn, QueueStarts
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import Address, Envelope, Identity, NewDelivery, NewQueued, Peer, Recipient, Verdict
from mailsrv.wire.smtp_commands import SMTP
from mailsrv.wire.smtp_events import Plain, Wrong


def filled(*destinations: str, **settings: Any) -> Bed:
    """A bed with a row for each destination, none of them due for an hour."""
    bed = Bed(onward=True, **{"etrn": "on", **settings})
    rows = tuple(NewQueued(one, (Recipient(Address("x", one)),)) for one in destinations)
    delivery = NewDelivery("0000000000000", Envelope(None), MemoryContent(b"A: b\r\n\r\n"), (), 0.0, queued=rows)
    bed.loop.run(bed.store.deliver(delivery))
    for one in set(destinations):
        for row in bed.loop.run(bed.store.lease(one, 1000, "test", bed.clock.seconds(), 60)):
            bed.loop.run(bed.store.settle(row, row.recipients, due=bed.clock.seconds() + 3600))
    return bed


def hello(bed: Bed, *commands: bytes) -> MemoryTransport:
    client = bed.connect("smtp")
    client.send(b"EHLO c\r\n" + b"".join(commands))
    bed.settle()
    return client


def ask(bed: Bed, client: MemoryTransport, node: str) -> bytes:
    client.take()
    client.send(b"ETRN %b\r\n" % node.encode())
    bed.settle()
    return client.take()


def due(bed: Bed) -> list[str]:
    rows = bed.loop.run(bed.store.queued())
    return [row.destination for row in rows if row.due <= bed.clock.seconds()]


def test_held_rows_stay_held_and_what_is_tried_is_waiting() -> None:
    bed = filled("a.example", "a.example", "a.example")
    first, *_ = [row.id for row in bed.loop.run(bed.store.queued())]
    bed.loop.run(bed.store.alter([first], "hold"))
    client = hello(bed)
    assert ask(bed, client, "a.example").startswith(b"253 2.0.0 2 ")
    assert [(row.held, row.due <= bed.clock.seconds()) for row in bed.loop.run(bed.store.queued())] == [
        (True, False), (False, True), (False, True),
    ]  # fmt: skip
    bed.loop.run(bed.store.lease("a.example", 9, "test", bed.clock.seconds(), 999))
    bed.settle(PAUSE)
    assert ask(bed, client, "a.example") == b"250 2.0.0 Queuing for node a.example started\r\n"


def test_only_so_many_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_etrn, "MAX_ROWS", 4)
    monkeypatch.setattr(smtp_etrn, "PAGE", 2)
    bed = filled(*["a.example"] * 5)
    assert ask(bed, hello(bed), "a.example") == b"252 2.0.0 Pending messages for node a.example started\r\n"
    assert len(due(bed)) == 4


def test_a_domain_and_those_below_it_are_no_others() -> None:
    bed = filled("a.example", "b.a.example", "xa.example", "unresolved:smtp/default")
    client = hello(bed)
    assert ask(bed, client, "@a.example").startswith(b"253 2.0.0 2 ") and due(bed) == ["a.example", "b.a.example"]
    assert ask(bed, client, "#unresolved:smtp/default").startswith(b"253 2.0.0 1 ")


def test_nodes_rest_and_their_number_is_bounded() -> None:
    now = [0.0]
    starts = QueueStarts(None, None, lambda: now[0])  # type: ignore[arg-type]
    assert not starts.rests("a") and starts.rests("a")
    assert not any(starts.rests(f"n{number}") for number in range(MAX_NODES - 1))
    assert starts.rests("one more")
    now[0] = PAUSE
    assert not starts.rests("one more") and len(starts._last) == 1


def test_what_failed_gives_no_pause_and_the_pause_is_counted_from_the_end() -> None:
    bed = filled("a.example")
    client = hello(bed)
    working, queued = [False], bed.store.queued

    async def slow(**wanted: Any) -> Any:
        if not working[0]:
            raise StoreUnavailable()
        bed.clock.advance(PAUSE)
        return await queued(**wanted)

    bed.store.queued = slow  # type: ignore[method-assign]
    assert ask(bed, client, "a.example").startswith(b"458 4.3.0 ")
    working[0] = True
    assert ask(bed, client, "a.example").startswith(b"253 ")
    assert ask(bed, client, "a.example").startswith(b"458 4.3.2 ")


class Rules:
    """An authorizer that lets relay or not."""

    def __init__(self, action: str) -> None:
        self.action = action

    async def permits(self, identity: Identity | None, action: str, resource: str) -> Verdict:
        return Verdict(self.action if action == "server.relay" else "accept")


@pytest.mark.parametrize("action, offered", [("accept", True), ("reject", False)])
def test_s_137_who_has_logged_in_needs_the_right_to_relay(action: str, offered: bool) -> None:
    bed = filled("a.example", etrn="relay", authorizer=Rules(action))
    client = hello(bed, b"AUTH PLAIN AG1lAHNlY3JldA==\r\n", b"EHLO c\r\n")
    assert (b"250-ETRN\r\n" in client.take()) is offered
    assert ask(bed, client, "a.example").startswith(b"253 " if offered else b"550 5.7.1 ")


def test_s_140_a_domain_on_the_relay_list_is_looked_up_when_it_is_asked_for() -> None:
    bed = filled("a.example", etrn="relay", relay_list="only:friends.example")
    bed.names.host("192.0.2.1", "mx.friends.example")
    client = hello(bed)
    # For EHLO alone nobody asks the name system.
    assert b"ETRN" not in client.take() and not bed.names.asked
    assert ask(bed, client, "a.example").startswith(b"253 ")


def test_s_140_a_name_system_that_does_not_tell_refuses_for_now() -> None:
    bed = filled("a.example", etrn="relay", relay_list="only:friends.example")
    bed.names.host("192.0.2.1", "mx.friends.example")
    bed.names.table = dict.fromkeys(bed.names.table, TryLater)
    assert ask(bed, hello(bed), "a.example").startswith(b"458 4.3.0 Unable to queue messages for node a.example")
    assert due(bed) == []


def test_an_authorizer_that_cannot_tell_offers_nothing() -> None:
    class Broken(Rules):
        async def permits(self, identity: Identity | None, action: str, resource: str) -> Verdict:
            if action == "server.relay":
                raise TryLater()
            return Verdict()

    bed = filled("a.example", etrn="relay", authorizer=Broken(""))
    client = hello(bed, b"AUTH PLAIN AG1lAHNlY3JldA==\r\n", b"EHLO c\r\n")
    assert b"235 " in (said := client.take()) and b"ETRN" not in said
    assert ask(bed, client, "a.example").startswith(b"458 4.3.0 ")


def test_a_client_whom_a_proxy_does_not_name_has_no_right_by_its_address() -> None:
    async def offered() -> bool:
        right = RelayRight(Rules("reject"), "smtp/default", None)
        return await Etrn(QueueStarts(None, None, float), right).offered(  # type: ignore[arg-type]
            None, Peer("192.0.2.1", unknown=True)
        )

    assert not Bed().loop.run(offered())


@given(st.text(max_size=300))
def test_any_argument_is_a_node_or_a_mistake(text: str) -> None:
    event = SMTP["ETRN"]("ETRN", text)
    if isinstance(event, Wrong):
        assert (event.reply.code, event.reply.status) == (501, "5.5.4")
    else:
        assert isinstance(event, Plain) and 0 < len(event.argument) <= 257
        assert not set(event.argument) & set(" \r\n\t\0")
