"""A whole site: who may have others sent reports of success, and how many (RFC 3461; no bounce to a forged sender)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house_network import DSN, House
from mail_network import HOUR, delivery

from mailsrv.serve.smtp_dsn import MESSAGES
from mailsrv.transfer.success import DELIVERED, EXPANDED

Make = Callable[..., House]
BOB = "bob@home.test NOTIFY=SUCCESS"
RELAY = '[access.ours]\nmode = "only"\nlist = ["192.0.2.99"]\n'


def settings(keys: str = "") -> str:
    """The server's own keys go before its table of delivery."""
    return keys + delivery()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A site whose queue waits until it is asked to go."""
    made: list[House] = []

    def house(keys: str = "") -> House:
        made.append(House(tmp_path, settings(keys), monkeypatch))
        made[-1].wait(made[-1].site.delivery.runner.stop())
        return made[-1]

    yield house
    for one in made:
        one.close()


def test_a_message_of_a_stranger_makes_one_report_of_success(make: Make) -> None:
    net = make()
    net.alias("all", "ann@home.test", "bob@home.test")
    net.alias("away", "me@one.test")
    net.send("x@two.test", "ann@home.test NOTIFY=SUCCESS", BOB, "all@home.test NOTIFY=SUCCESS",
             "away@home.test NOTIFY=SUCCESS,FAILURE")  # fmt: skip
    assert {row.destination: [one.parameters["NOTIFY"] for one in row.recipients] for row in net.rows()} == {
        DELIVERED: ["SUCCESS", "SUCCESS"], "one.test": ["FAILURE"],
    }  # fmt: skip


def test_of_what_goes_on_alone_one_address_is_told_of(make: Make) -> None:
    net = make()
    net.alias("away", "me@one.test")
    net.alias("far", "you@one.test")
    net.remote("192.0.2.1", DSN)
    net.send("x@two.test", "away@home.test NOTIFY=SUCCESS", "far@home.test NOTIFY=SUCCESS")
    assert [one.parameters["NOTIFY"] for one in net.row().recipients] == ["SUCCESS", "NEVER"]


def test_an_address_outside_has_so_many_an_hour_and_its_mail_is_taken_as_ever(make: Make) -> None:
    net = make()
    for _ in range(MESSAGES + 2):
        assert net.send("x@two.test", BOB, host="192.0.2.7")[1].startswith("250 ")
    assert len(net.rows()) == MESSAGES and len(net.inbox("bob")) == MESSAGES + 2
    # Whoever else comes has his own, and so has the same an hour later.
    net.send("x@two.test", BOB, host="192.0.2.8")
    assert len(net.rows()) == MESSAGES + 1
    net.settle(HOUR)
    net.send("x@two.test", BOB, host="192.0.2.7")
    assert len(net.rows()) == MESSAGES + 2


def test_who_is_on_the_relay_list_is_told_all_that_was_asked(make: Make) -> None:
    net = make('relay = "ours"\n' + RELAY)
    net.alias("all", "ann@home.test", "bob@home.test")
    for _ in range(MESSAGES + 2):
        net.send("x@two.test", BOB, "all@home.test NOTIFY=SUCCESS")
    assert len(net.rows()) == 2 * (MESSAGES + 2)
    assert {row.destination for row in net.rows()} == {DELIVERED, EXPANDED}


@pytest.mark.parametrize(("keys", "told"), [
    ('dsn = "authenticated"\n', 0), ('dsn = "authenticated"\nrelay = "ours"\n' + RELAY, 1),
    ('dsn = "off"\nrelay = "ours"\n' + RELAY, 0), ('dsn = "on"\n', 1),
])  # fmt: skip
def test_to_whom_dsn_is_not_offered_success_is_not_told(make: Make, keys: str, told: int) -> None:
    net = make(keys)
    client = net.connect()
    client.send(b"EHLO c.test\r\n")
    net.settle()
    assert (b"DSN" in client.take()) is bool(told)
    net.send("x@two.test", BOB)
    assert len(net.rows()) == told and len(net.inbox("bob")) == 1
