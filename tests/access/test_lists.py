"""Access lists: who is let in by which entry (S-034..S-044), and when a name is looked up."""

from __future__ import annotations

from typing import Any

import pytest

from mailsrv.access.entries import parse_entry
from mailsrv.access.filter import AccessFilter
from mailsrv.access.lists import AccessList, Decision
from mailsrv.access.reverse import MAX_POINTERS, ReverseNames
from mailsrv.errors import TryLater
from mailsrv.interfaces import IAccessFilter
from mailsrv.testing.dns import NameTable
from mailsrv.values import ACCEPT, Peer

LIST = ["192.168.5.50", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "eng.example.com", "example.net"]


def made(mode: str, entries: list[str] = LIST) -> AccessList:
    """A list whose entries stand in the lines 10, 11 ... of a file."""
    return AccessList("office", mode, [parse_entry(text, 10 + at) for at, text in enumerate(entries)], "/etc/m.toml")


def answer(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits for something")


def decide(listed: AccessList, host: str, table: NameTable | None = None) -> Decision:
    """What the list says."""
    decision: Decision = answer(listed.decide(host, ReverseNames(table or NameTable())))
    return decision


#: kind of the entry -> (a client that it speaks of, the entry)
CLIENTS = {
    "computer": ("192.168.5.50", "192.168.5.50"),
    "group": ("10.9.9.9", "10.0.0.0/8"),
    "group inside another": ("10.1.2.3", "10.1.0.0/16"),
    "group of IPv6": ("2001:db8:5::1", "2001:db8::/32"),
    "IPv4 inside IPv6": ("::ffff:192.168.5.50", "192.168.5.50"),
    "domain": ("192.0.2.1", "eng.example.com"),
    "domain itself": ("192.0.2.2", "eng.example.com"),
    "domain, IPv6": ("2001:db9::1", "example.net"),
    "not listed, no name": ("192.0.2.3", ""),
    "not listed, another name": ("192.0.2.4", ""),
    "a name that only looks like it": ("192.0.2.5", ""),
    "a name that is not confirmed": ("192.0.2.6", ""),
    "several names, one listed": ("192.0.2.7", "example.net"),
}


def names() -> NameTable:
    """Who is who."""
    table = NameTable()
    table.host("192.0.2.1", "host.eng.example.com")
    table.host("192.0.2.2", "eng.example.com")
    table.host("2001:db9::1", "a.b.c.example.net")
    table.host("192.0.2.4", "example.com")
    table.host("192.0.2.5", "evileng.example.com")
    table.host("192.0.2.6", "liar.eng.example.com")
    table.table["liar.eng.example.com A"] = ["192.0.2.99"]
    table.host("192.0.2.7", "www.example.org", "x.example.net")
    return table


@pytest.mark.parametrize("mode", ["only", "except"])
@pytest.mark.parametrize("kind", CLIENTS)
def test_every_kind_of_entry_in_both_modes(mode: str, kind: str) -> None:
    """S-035, S-036, S-037, S-041: what is listed is granted, or denied; the rule names the line of the entry."""
    host, entry = CLIENTS[kind]
    decision = decide(made(mode), host, names())
    assert decision.allowed == ((mode == "only") == bool(entry)) and not decision.failed
    if entry:
        assert decision.entry is not None and decision.entry.text == entry
        assert f'"office" ({mode}): "{entry}" at /etc/m.toml:{10 + LIST.index(entry)}' in decision.rule
    else:
        assert decision.entry is None and decision.rule.endswith("not listed")


@pytest.mark.parametrize("mode", ["only", "except"])
def test_an_empty_list_is_everybody_or_nobody(mode: str) -> None:
    """S-034: all but an empty list are granted."""
    assert decide(made(mode, []), "192.0.2.1").allowed == (mode == "except")


def test_of_entries_inside_each_other_the_smallest_decides_in_any_order() -> None:
    for entries in (["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1"], ["10.1.1.1", "10.1.0.0/16", "10.0.0.0/8"]):
        for host, entry in (("10.2.0.0", "10.0.0.0/8"), ("10.1.1.2", "10.1.0.0/16"), ("10.1.1.1", "10.1.1.1")):
            decision = decide(made("only", entries), host)
            assert decision.entry is not None and decision.entry.text == entry
    table = names()
    found = decide(made("only", ["com", "example.com", "eng.example.com"]), "192.0.2.1", table).entry
    assert found is not None and found.text == "eng.example.com"


def test_S_042_no_look_up_without_a_domain_on_the_list() -> None:
    for mode in ("only", "except"):
        table = names()
        for host in ("192.168.5.50", "10.0.0.1", "192.0.2.1", "2001:db9::1"):
            decide(made(mode, LIST[:4]), host, table)
        assert table.asked == []


def test_S_042_no_look_up_where_an_address_entry_decides() -> None:
    table = names()
    decide(made("only"), "10.0.0.1", table)
    assert table.asked == []
    decide(made("only"), "192.0.2.4", table)
    # A name that is in no domain of the list is not asked about.
    assert table.asked == ["4.2.0.192.in-addr.arpa PTR"]
    table.asked.clear()
    decide(made("only"), "192.0.2.1", table)
    assert table.asked == ["1.2.0.192.in-addr.arpa PTR", "host.eng.example.com A"]
    table.asked.clear()
    decide(made("only"), "2001:db9::1", table)
    assert [question.rpartition(" ")[2] for question in table.asked] == ["PTR", "AAAA"]
    assert table.asked[0].endswith(".9.b.d.0.1.0.0.2.ip6.arpa PTR")


@pytest.mark.parametrize("mode", ["only", "except"])
@pytest.mark.parametrize("question", ["1.2.0.192.in-addr.arpa PTR", "host.eng.example.com A"])
def test_a_look_up_that_fails_lets_nobody_in(mode: str, question: str) -> None:
    """Else who is denied by a domain would have the look-up fail."""
    table = names()
    table.table[question] = TryLater
    decision = decide(made(mode), "192.0.2.1", table)
    assert not decision.allowed and decision.failed and "192.0.2.1 cannot be looked up" in decision.rule


def test_a_name_that_fails_does_not_hide_one_that_is_confirmed() -> None:
    table = NameTable()
    table.host("192.0.2.7", "a.example.net", "b.example.net")
    table.table["a.example.net A"] = TryLater
    decision = decide(made("only"), "192.0.2.7", table)
    assert decision.allowed and "holds b.example.net" in decision.rule


def test_a_host_of_very_many_names_is_asked_for_few() -> None:
    table = NameTable({"1.2.0.192.in-addr.arpa PTR": [f"h{n}.eng.example.com" for n in range(500)]})
    assert not decide(made("only"), "192.0.2.1", table).allowed
    assert len(table.asked) == 1 + MAX_POINTERS


class Filtered:
    """A filter with a name table and counters."""

    def __init__(self, mode: str = "only", table: NameTable | None = None) -> None:
        self.counted: list[str] = []
        self.table = table or names()
        self.filter = AccessFilter(made(mode), ReverseNames(self.table), self.counted.append)


def test_the_filter_keeps_its_contract() -> None:
    from zope.interface.verify import verifyObject

    verifyObject(IAccessFilter, Filtered().filter)


def test_verdicts_of_the_filter() -> None:
    one = Filtered()
    assert answer(one.filter.admit(Peer("10.0.0.1"))) is ACCEPT
    assert answer(one.filter.admit(Peer("192.0.2.1"))) is ACCEPT
    verdict = answer(one.filter.admit(Peer("192.0.2.3")))
    assert (verdict.action, verdict.status, verdict.part) == ("reject", "5.7.1", "access")
    assert "not listed" in verdict.rule and not one.counted
    one.table.table["3.2.0.192.in-addr.arpa PTR"] = TryLater
    verdict = answer(one.filter.admit(Peer("192.0.2.3")))
    assert (verdict.action, verdict.status) == ("tempfail", "4.4.3") and one.counted == ["access not decided"]


def test_a_unix_socket_is_let_in() -> None:
    for mode in ("only", "except"):
        assert answer(Filtered(mode).filter.admit(Peer(""))) is ACCEPT


def test_what_is_said_to_a_client_does_not_tell_the_list() -> None:
    verdict = answer(Filtered("except").filter.admit(Peer("10.0.0.1")))
    assert verdict.text == "Access denied" and "10.0.0.0/8" in verdict.rule
