"""The relay rule: rights of who logged in, and relay lists (S-136..S-141); whose mail is ours (decisions 32)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from mailsrv.access.entries import parse_entry
from mailsrv.access.lists import AccessList
from mailsrv.access.policy import Policy
from mailsrv.access.relay import DEADLINE, DENIED, RelayList, relay_policy
from mailsrv.access.reverse import ReverseNames
from mailsrv.errors import TryLater
from mailsrv.testing.dns import NameTable
from mailsrv.values import ACCEPT, Address, DomainFacts, Identity, Peer, Recipient, Transaction, Verdict

from .test_reverse import HOST, PTR, named, result_of

OURS, FOREIGN = Recipient(Address("me", "example.org")), Recipient(Address("x", "elsewhere.example"))


class Directory:
    """Knows one domain."""

    async def domain(self, name: str) -> DomainFacts | None:
        """Facts of ours."""
        return DomainFacts(name) if name == "example.org" else None


class Authorizer:
    """Lets everybody relay but bob."""

    async def permits(self, identity: Identity | None, action: str, resource: str) -> Verdict:
        """See IAuthorizer."""
        assert (action, resource) == ("server.relay", "smtp/default")
        if identity is None or identity.authcid == "bob":
            return Verdict("reject", "Relay access denied", "5.7.1", "accounts", "relay_users")
        return ACCEPT


class Bed:
    """The policy of one connection."""

    def __init__(self, entries: list[str] | None, mode: str = "only", table: NameTable | None = None) -> None:
        self.clock, self.table = Clock(), table or NameTable()
        self.lists = lists = dict[str, RelayList]()
        if entries is not None:
            listed = AccessList("relays", mode, [parse_entry(text, 5) for text in entries], "m.toml")
            lists["smtp/default"] = RelayList(listed, ReverseNames(self.table), self.clock)
        self.policy = relay_policy(Directory(), Authorizer(), lists)  # type: ignore[arg-type]

    def mail(self, host: str = HOST, user: str = "") -> Transaction:
        """MAIL from somebody."""
        identity = Identity(1, user, mechanism="PLAIN") if user else None
        self.transaction = Transaction(
            "smtp/default", Peer(host), identity=identity, origin="local" if user else "outside"
        )
        assert result_of(self.policy.on_sender(self.transaction)) == [ACCEPT]
        return self.transaction

    def rcpt(self, recipient: Recipient = FOREIGN) -> list[Any]:
        """The verdict, when it is there."""
        return result_of(self.policy.on_recipient(self.transaction, recipient))

    def asked_to_relay(self, host: str = HOST, user: str = "") -> tuple[str, str]:
        """(action, origin)"""
        transaction = self.mail(host, user)
        return self.rcpt()[0].action, transaction.origin


def test_S_136_without_a_list_nobody_relays_without_a_login() -> None:
    bed = Bed(None)
    assert bed.asked_to_relay() == ("reject", "outside")
    assert bed.rcpt(OURS) == [ACCEPT]
    assert bed.rcpt(Recipient(Address("postmaster", ""))) == [ACCEPT]


def test_S_137_who_logged_in_relays_with_the_right_alone() -> None:
    for entries in (None, [], ["10.0.0.0/8"]):
        assert Bed(entries).asked_to_relay(user="alice") == ("accept", "local")
        assert Bed(entries).asked_to_relay(user="bob") == ("reject", "local")
    # The list lets that computer relay, whoever uses it.
    assert Bed([HOST]).asked_to_relay(user="bob") == ("accept", "local")


KINDS = {"computer": ["192.0.2.1"], "group": ["192.0.2/255.255.255.0"], "domain": ["client.example"]}


@pytest.mark.parametrize("kind", KINDS)
def test_relay_lists_of_every_kind_in_both_modes(kind: str) -> None:
    """S-138, S-139, S-140: as for access; whoever is let relay sends mail of ours."""
    for mode in ("only", "except"):
        listed, other = ("accept", "local"), ("reject", "outside")
        if mode == "except":
            listed, other = other, listed
        assert Bed(KINDS[kind], mode, named("mx.client.example")).asked_to_relay() == listed
        assert Bed(KINDS[kind], mode, named("mx.client.example")).asked_to_relay("198.51.100.7") == other


def test_S_138_an_empty_list_is_nobody() -> None:
    assert Bed([]).asked_to_relay() == ("reject", "outside")


def test_the_rule_and_the_line_that_decided_are_told() -> None:
    bed = Bed(["192.0.2.0/24"], "except")
    bed.mail()
    verdict = bed.rcpt()[0]
    assert (verdict.text, verdict.status, verdict.part) == ("Relay access denied", "5.7.1", "relay")
    assert verdict.rule == 'list "relays" (except): "192.0.2.0/24" at m.toml:5'
    bed = Bed(["10.0.0.1"])
    bed.mail()
    assert bed.rcpt()[0].rule == 'list "relays" (only): not listed'


def test_a_list_is_of_its_server() -> None:
    bed = Bed([HOST])
    bed.mail()
    bed.transaction.server = "smtp/other"
    assert bed.rcpt()[0].action == "reject"


def test_a_list_that_goes_while_its_client_is_looked_up_decides_nothing() -> None:
    bed = Bed(["client.example"], table=named("mx.client.example"))
    transaction = bed.mail()
    bed.lists.clear()
    assert result_of(bed.policy.on_content(transaction, None)) == [ACCEPT]  # type: ignore[arg-type]
    assert bed.rcpt() == [DENIED]


def test_a_list_that_comes_holds_for_who_is_connected() -> None:
    bed, other = Bed(None), Bed([HOST])
    assert bed.asked_to_relay() == ("reject", "outside")
    bed.lists.update(other.lists)
    assert bed.asked_to_relay() == ("accept", "local")


def test_where_nobody_has_a_list_only_recipients_are_looked_at() -> None:
    for moment in ("on_sender", "on_content"):
        assert getattr(type(Bed(None).policy), moment) is getattr(Policy, moment)
        assert getattr(type(Bed([HOST]).policy), moment) is not getattr(Policy, moment)


def test_a_unix_socket_is_on_no_list() -> None:
    for mode in ("only", "except"):
        assert Bed([], mode).asked_to_relay("") == ("reject", "outside")


def test_S_140_names_are_looked_up_once_for_a_connection_and_only_for_a_list_with_a_domain() -> None:
    table = named("mx.client.example")
    for entries, questions in ((["10.0.0.0/8"], 0), ([HOST, "client.example"], 0), (["client.example"], 2)):
        bed = Bed(entries, table=table)
        for _ in range(3):
            bed.mail()
            bed.rcpt()
            bed.rcpt(OURS)
            bed.rcpt()
        assert len(table.asked) == questions


def test_names_are_looked_up_beside_the_conversation() -> None:
    table = named("mx.client.example")
    table.held[PTR] = []
    bed = Bed(["client.example"], table=table)
    transaction = bed.mail()
    # Mail for us does not wait; a foreign recipient does.
    assert bed.rcpt(OURS) == [ACCEPT]
    foreign = bed.rcpt()
    content = result_of(bed.policy.on_content(transaction, None))  # type: ignore[arg-type]
    assert foreign == content == [] and transaction.origin == "outside"
    table.release(PTR)
    assert foreign == content == [ACCEPT] and transaction.origin == "local"
    # The next transaction knows it at once.
    assert bed.mail().origin == "local"


def test_where_nobody_waits_for_names_the_origin_is_settled_with_the_content() -> None:
    table = named("mx.client.example")
    table.held[PTR] = []
    bed = Bed(["client.example"], table=table)
    transaction = bed.mail()
    table.release(PTR)
    assert transaction.origin == "outside"
    assert result_of(bed.policy.on_content(transaction, None)) == [ACCEPT]  # type: ignore[arg-type]
    assert transaction.origin == "local"


@pytest.mark.parametrize("mode", ["only", "except"])
def test_a_look_up_that_fails_relays_for_nobody_and_may_be_tried_again(mode: str) -> None:
    table = named("mx.client.example")
    table.table[PTR] = TryLater
    bed = Bed(["client.example"], mode, table)
    transaction = bed.mail()
    verdict = bed.rcpt()[0]
    assert (verdict.action, verdict.status, transaction.origin) == ("tempfail", "4.4.3", "outside")
    assert result_of(bed.policy.on_content(transaction, None)) == [ACCEPT]  # type: ignore[arg-type]
    table.host(HOST, "mx.client.example")
    assert bed.rcpt()[0].action == ("accept" if mode == "only" else "reject")


def test_a_look_up_that_never_ends_is_waited_for_until_the_deadline() -> None:
    table = named("mx.client.example")
    table.held[PTR] = []
    bed = Bed(["client.example"], table=table)
    bed.mail()
    verdict = bed.rcpt()
    bed.clock.advance(DEADLINE - 1)
    assert verdict == []
    bed.clock.advance(1)
    assert verdict[0].action == "tempfail" and not bed.clock.getDelayedCalls()


def test_another_client_of_the_same_connection_is_asked_about_anew() -> None:
    """A proxy tells of one client after the other (XCLIENT)."""
    bed = Bed(["client.example"], table=named("mx.client.example"))
    assert bed.asked_to_relay() == ("accept", "local")
    assert bed.asked_to_relay("198.51.100.7") == ("reject", "outside")
    assert bed.asked_to_relay() == ("accept", "local")
