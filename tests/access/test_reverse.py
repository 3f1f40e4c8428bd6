"""Who a client is: reverse DNS confirmed forward, compared with HELO (S-090..S-093), asked beside the conversation."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailsrv.access.reverse import DEADLINE, Client, ClientCheck, Once, ReverseNames, look_up
from mailsrv.errors import TryLater
from mailsrv.testing.dns import NameTable

HOST, PTR = "192.0.2.1", "1.2.0.192.in-addr.arpa PTR"


def result_of(coroutine: Any) -> list[Any]:
    """A list that holds the result, or the error, when it is there."""
    out: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(
        lambda result: out.append(result.value if isinstance(result, Failure) else result)
    )
    return out


def named(*names: str, **more: Any) -> NameTable:
    """HOST has these names, each confirmed."""
    table = NameTable()
    table.host(HOST, *names)
    return table


@pytest.mark.parametrize(("helo", "verified"), [
    ("mx.client.example", True),
    ("MX.Client.Example.", True),
    # Another name whose own address is the client's.
    ("alias.example", True),
    ("elsewhere.example", False),
    ("nobody.example", False),
    ("client.example", False),
    ("x.mx.client.example", False),
    ("[192.0.2.1]", True),
    ("[192.0.2.2]", False),
    ("[IPv6:2001:db8::1]", False),
    ("[nonsense]", False),
    ("", False),
    ("a b", False),
])
def test_S_091_what_helo_says_against_the_address(helo: str, verified: bool) -> None:
    table = named("mx.client.example")
    table.table |= {"alias.example A": [HOST], "elsewhere.example A": ["192.0.2.99"]}
    assert result_of(look_up(ReverseNames(table), HOST, helo)) == [Client("mx.client.example", verified)]


def test_helo_with_other_letters_is_compared_in_a_labels() -> None:
    names = ReverseNames(named("xn--bcher-kva.example"))
    assert result_of(look_up(names, HOST, "bücher.example"))[0].verified
    assert result_of(look_up(ReverseNames(named("xn--fa-hia.example")), HOST, "faß.example"))[0].verified
    assert not result_of(look_up(ReverseNames(named("fass.example")), HOST, "faß.example"))[0].verified


def test_ipv6_clients_and_ipv4_inside_ipv6() -> None:
    table = NameTable()
    table.host("2001:db8::1", "six.example")
    found = result_of(look_up(ReverseNames(table), "2001:db8::1", "[IPv6:2001:db8::1]"))
    assert found == [Client("six.example", True)]
    # The same address in another spelling is the same.
    table.table["six.example AAAA"] = ["2001:DB8:0::1"]
    assert result_of(look_up(ReverseNames(table), "2001:db8::1", "six.example"))[0].verified
    assert result_of(look_up(ReverseNames(named("four.example")), f"::ffff:{HOST}", "four.example"))[0].verified


def test_a_name_that_is_not_confirmed_is_no_name() -> None:
    table = named("bank.example")
    table.table["bank.example A"] = ["192.0.2.99"]
    assert result_of(look_up(ReverseNames(table), HOST, "bank.example")) == [Client("", False)]


@pytest.mark.parametrize("fails", [[PTR], ["mx.client.example A"], [PTR, "mx.client.example A"]])
def test_no_answer_is_not_verified(fails: list[str]) -> None:
    table = named("mx.client.example")
    table.table |= dict.fromkeys(fails, TryLater)
    found = result_of(look_up(ReverseNames(table), HOST, "mx.client.example"))[0]
    # The forward way alone is enough for HELO, not for a name.
    assert found == Client("", fails == [PTR])


def test_the_first_name_that_is_confirmed_counts() -> None:
    table = named("a.example", "b.example", "c.example")
    table.table["a.example A"] = TryLater
    assert result_of(ReverseNames(table).name(HOST)) == ["b.example"]
    table.table |= {"b.example A": [], "c.example A": []}
    assert isinstance(result_of(ReverseNames(table).name(HOST))[0], TryLater)


class Checked:
    """A check of one connection, its names and its clock."""

    def __init__(self, table: NameTable) -> None:
        self.clock, self.table = Clock(), table
        self.check = ClientCheck(ReverseNames(table), self.clock)


def test_it_is_asked_beside_the_conversation_and_waited_for_at_the_end() -> None:
    table = named("mx.client.example")
    table.held[PTR] = []
    one = Checked(table)
    one.check.begin(HOST, "mx.client.example")
    assert one.check.known is None
    outs = [result_of(one.check.result()), result_of(one.check.result())]
    assert outs == [[], []]
    table.release(PTR)
    assert outs == [[Client("mx.client.example", True)]] * 2 == [[one.check.known]] * 2
    assert not one.clock.getDelayedCalls()


def test_once_for_a_connection_and_again_for_another_helo() -> None:
    one = Checked(named("mx.client.example"))
    for helo, questions in (("mx.client.example", 2), ("mx.client.example", 2), ("other.example", 5)):
        one.check.begin(HOST, helo)
        assert len(one.table.asked) == questions
    assert one.check.known == Client("mx.client.example", False)


def test_who_never_gets_an_answer_waits_for_the_deadline_alone() -> None:
    table = named("mx.client.example")
    table.held[PTR] = []
    one = Checked(table)
    one.check.begin(HOST, "mx.client.example")
    one.clock.advance(DEADLINE - 1)
    out = result_of(one.check.result())
    assert out == []
    one.clock.advance(1)
    assert out == [Client("", False)] == result_of(one.check.result())


def test_the_connection_may_end_meanwhile() -> None:
    table = named("mx.client.example")
    table.held[PTR] = []
    one = Checked(table)
    one.check.close()
    one.check.begin(HOST, "mx.client.example")
    one.check.close()
    assert not one.clock.getDelayedCalls()
    table.release(PTR)
    assert one.table.asked == [PTR]


def test_a_unix_socket_and_who_never_said_helo_are_not_asked_about() -> None:
    one = Checked(named())
    assert result_of(one.check.result()) == [None]
    one.check.begin("", "client.example")
    assert result_of(one.check.result()) == [None] and one.check.known is None and not one.table.asked


def test_a_bug_in_a_look_up_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr("mailsrv.access.reverse.log.failure", lambda *given, **more: said.append(given))

    async def broken() -> None:
        raise ZeroDivisionError

    assert result_of(Once(broken(), "otherwise", 1.0, Clock()).result()) == ["otherwise"] and len(said) == 1
