"""What is put above a message at the door, and when: trace, Delivered-To, what a submission lacks (RFC 6409)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface import implementer

from mailsrv.interfaces import IQueue
from mailsrv.message.content import MemoryContent
from mailsrv.testing.loop import Loop
from mailsrv.transfer.ids import IdMaker
from mailsrv.transfer.intake import Intake
from mailsrv.transfer.loops import comes_back
from mailsrv.transfer.submission import PLAIN, Submission
from mailsrv.values import Address, Identity, NewDelivery, Owner, Peer, Recipient, Transaction
from tests.properties import tries

ME, YOU = Address("me", "example.org"), Address("you", "example.org")


class Store:
    """Keeps what is delivered."""

    def __init__(self) -> None:
        self.deliveries: list[NewDelivery] = []

    async def deliver(self, delivery: NewDelivery) -> None:
        self.deliveries.append(delivery)


@implementer(IQueue)
class QueueStore(Store):
    """One with a queue."""


def door(octets: bytes, *, to: tuple[Address, ...] = (ME,), owners: int = 1, login: str = "", **more: Any) -> bytes:
    """The message as the store gets it."""
    store = Store()
    intake = Intake(store, IdMaker(lambda: 1_795_492_800.0, bytes), lambda: 1_795_492_800.0)  # type: ignore[arg-type]
    transaction = Transaction("smtp/default", Peer("192.0.2.1"), helo="c.example", protocol="ESMTP")
    anonymous = more.pop("identity", None)
    transaction.identity = Identity(1, login, mechanism="PLAIN") if login else anonymous
    transaction.recipients = [Recipient(address) for address in to]
    people = [Owner(number + 1) for number in range(owners)]
    Loop().run(intake.accept(transaction, MemoryContent(octets), people, hostname="mx.example.org", **more))
    return b"".join(store.deliveries[0].content.chunks())


def rows(kind: type[Store], sender: Address | None = YOU, **more: Any) -> list[tuple[str, list[Recipient]]]:
    """(destination, recipients) of the rows of the queue."""
    store = kind()
    intake = Intake(store, IdMaker(lambda: 1_795_492_800.0, bytes), lambda: 1_795_492_800.0)  # type: ignore[arg-type]
    transaction = Transaction("smtp/default", Peer("192.0.2.1"), reverse_path=sender, recipients=[Recipient(ME)])
    Loop().run(intake.accept(transaction, MemoryContent(b"\r\n"), [Owner(1)], hostname="mx", **more))
    return [(row.destination, list(row.recipients)) for row in store.deliveries[0].queued]


def names(message: bytes) -> list[str]:
    header = message.partition(b"\r\n\r\n")[0].decode()
    return [line.partition(":")[0].strip() for line in header.split("\r\n") if line[:1] not in " \t"]


PLAIN_MESSAGE = b"From: a@b\r\nSubject: x\r\n\r\nDate: no\r\nMessage-ID: no\r\n"
COMPLETE = Submission(complete=True)


@pytest.mark.parametrize(("to", "owners", "moved", "written"), [
    ((ME,), 1, False, True), ((ME, YOU), 1, False, False), ((ME, YOU), 2, False, False), ((ME,), 2, False, False),
    ((ME,), 1, True, False),
])  # fmt: skip
def test_delivered_to_only_where_it_is_true_and_tells_nobody_of_others(
    to: tuple[Address, ...], owners: int, moved: bool, written: bool
) -> None:
    message = door(PLAIN_MESSAGE, to=to, owners=owners, moved=moved)
    assert (b"\r\nDelivered-To: me@example.org\r\nReceived: from c.example" in message) is written
    assert written or b"Delivered-To" not in message


FAR, FURTHER = Address("far", "example.com"), Address("further", "example.net")


@pytest.mark.parametrize(("to", "owners", "onward", "written"), [
    ((ME,), 0, (FAR,), True), ((ME,), 1, (FAR,), True), ((ME,), 2, (FAR, FURTHER), True), ((ME, YOU), 0, (FAR,), False),
    ((ME,), 0, (ME,), False), ((ME,), 1, (FAR, Address("ME", "example.org")), False),
])  # fmt: skip
def test_an_alias_that_leads_elsewhere_says_so_that_a_loop_is_found(
    to: tuple[Address, ...], owners: int, onward: tuple[Address, ...], written: bool
) -> None:
    going = [(one.domain, one, Recipient(to[0])) for one in onward]
    for moved in (False, True):
        message = door(PLAIN_MESSAGE, to=to, owners=owners, onward=going, moved=moved)
        assert (b"Delivered-To: me@example.org\r\n" in message) is (written and not moved)


def test_what_is_to_be_told_of_success_is_a_row_of_the_same_commit() -> None:
    mine = Recipient(ME, {"NOTIFY": "SUCCESS"})
    twice = [("(delivered here)", mine), ("(delivered here)", mine), ("(expanded here)", Recipient(YOU))]
    onward = [("example.com", FAR, Recipient(YOU))]
    assert rows(QueueStore, arrivals=twice, onward=onward) == [
        ("example.com", [Recipient(FAR, {"ORCPT": "rfc822;you@example.org"})]),
        ("(delivered here)", [mine]), ("(expanded here)", [Recipient(YOU)]),
    ]  # fmt: skip
    # Nobody to tell, or nothing to keep it in.
    assert rows(QueueStore, None, arrivals=twice) == [] == rows(Store, arrivals=twice)


def test_rfc6409_8_date_and_message_id_are_added_above_and_nothing_else_is_touched() -> None:
    message = door(PLAIN_MESSAGE, login="me@example.org", submission=COMPLETE)
    assert names(message) == ["Return-Path", "Delivered-To", "Received", "Date", "Message-ID", "From", "Subject"]
    assert b"\r\nDate: Tue, 24 Nov 2026 04:00:00 +0000\r\nMessage-ID: <" in message and message.endswith(PLAIN_MESSAGE)
    received = message.partition(b"\tid ")[2][:13]
    assert b"Message-ID: <" + received + b"@mx.example.org>\r\n" in message


@pytest.mark.parametrize(("header", "added"), [
    (b"Date: x\r\n", ["Message-ID"]), (b"MESSAGE-ID: <x@y>\r\n", ["Date"]), (b"date:\r\nmessage-id :\r\n", []),
    (b"X: y\r\n Date: folded\r\n", ["Date", "Message-ID"]), (b"", ["Date", "Message-ID"]),
])  # fmt: skip
def test_only_what_is_missing_is_added(header: bytes, added: list[str]) -> None:
    message = door(header + b"\r\nbody", login="me", submission=COMPLETE)
    assert names(message)[3 : 3 + len(added)] == added and message.endswith(b"\r\n" + header + b"\r\nbody")
    assert len(names(message)) == 3 + len(added) + header.count(b":") - header.count(b"\r\n ")


@pytest.mark.parametrize(("login", "identity", "submission"), [
    ("", None, COMPLETE), ("", Identity(0, "trace", mechanism="ANONYMOUS"), COMPLETE), ("me", None, PLAIN),
])  # fmt: skip
def test_mail_that_is_nobodys_own_is_never_changed(login: str, identity: Any, submission: Submission) -> None:
    message = door(PLAIN_MESSAGE, login=login, identity=identity, submission=submission)
    assert names(message)[3:] == ["From", "Subject"]


def test_the_trace_hides_the_client_and_tells_the_user_where_it_shall() -> None:
    hidden = door(PLAIN_MESSAGE, login="me@example.org", submission=Submission(hide_client=True))
    assert b"\r\nReceived: by mx.example.org with ESMTPA\r\n\tid " in hidden
    assert b"192.0.2.1" not in hidden and b"c.example" not in hidden
    told = door(PLAIN_MESSAGE, login="me(@example.org\r\nX: y", submission=Submission(show_user=True))
    assert b"\r\n\t(authenticated as me?@example.org??X??y)\r\n\tid " in told
    outside = door(PLAIN_MESSAGE, submission=Submission(hide_client=True, show_user=True))
    assert b"Received: from c.example ([192.0.2.1])\r\n" in outside and b"authenticated" not in outside


@pytest.mark.parametrize(("header", "loop"), [
    (b"Delivered-To: me@example.org\r\n\r\n", True),
    (b"A: b\r\ndelivered-to :\r\n ME@EXAMPLE.org \r\n\r\n", True),
    (b'Delivered-To: "me"@example.org\r\n\r\n', True),
    (b"Delivered-To: x\r\nDelivered-To: me@example.org\r\n\r\n", True),
    (b"X-Delivered-To: me@example.org\r\n\r\n", False),
    (b"Delivered-To: me+tag@example.org\r\n\r\n", False),
    (b"Delivered-To: me@example.org, x\r\n\r\n", False),
    (b"Delivered-To:\r\n\r\n", False),
    (b"A: b\r\n\r\nDelivered-To: me@example.org\r\n", False),
])  # fmt: skip
def test_a_message_that_was_delivered_to_a_recipient_comes_back(header: bytes, loop: bool) -> None:
    assert comes_back(header, [Recipient(YOU), Recipient(ME)]) == (ME if loop else None)


@given(st.binary(max_size=60))
@settings(max_examples=tries(150), deadline=None)
def test_whatever_delivered_to_says_is_read(value: bytes) -> None:
    found = comes_back(b"Delivered-To: " + value + b"\r\n\r\n", [Recipient(ME)])
    assert found is None or b"me" in value.lower()


def test_what_we_write_is_what_we_find() -> None:
    """The loop is closed: also for addresses that need quotes or are not ASCII."""
    for address in (ME, Address("a b", "example.org"), Address("jörg", "bücher.example"), Address("a+b", "x.org")):
        message = door(b"\r\n", to=(address,))
        assert comes_back(message, [Recipient(address)]) == address
