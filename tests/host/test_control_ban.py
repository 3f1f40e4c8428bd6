"""Operations on bans."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from mailsrv.auth.guard import Guard, GuardSettings
from mailsrv.errors import MailError, TryLater
from mailsrv.host.control import run as control
from mailsrv.host.control.table import OPERATIONS
from mailsrv.testing.loop import Loop

START = 1_795_492_800.0


def guard_on(clock: Clock) -> Guard:
    """A guard whose two clocks are one."""
    clock.advance(START)
    return Guard(GuardSettings(), monotonic=clock.seconds, wall=clock.seconds, random=lambda n: b"\x07" * n)


@define
class Site:
    """A site as far as these operations look at it."""

    clock: Clock = field(factory=Clock)
    guard: Guard = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.guard = guard_on(self.clock)

    def ask(self, name: str, **arguments: Any) -> Any:
        """The result, or the text of the refusal."""
        answer = Loop().run(control.run(self, name, arguments))
        return answer["result"] if "result" in answer else answer["error"]

    def guess(self, times: int, address: str, login: str) -> None:
        """Wrong guesses."""
        for number in range(times):
            self.guard.failed(address, login, b"%d" % number)


def test_bans_are_listed_and_lifted() -> None:
    site = Site()
    assert site.ask("ban.list") == []
    site.guess(30, "2001:db8::1", "me@example.org")
    site.guess(20, "192.0.2.1", "me@example.org")
    times = {"since": START, "until": START + 900}
    assert site.ask("ban.list") == [
        {"kind": "address", "subject": "2001:db8::/64", "failures": 30, **times},
        {"kind": "account", "subject": "me@example.org", "failures": 50, **times},
    ]
    assert site.ask("ban.lift", subject=" 2001:DB8::77 ") == {"subject": "2001:db8::77"}
    assert site.ask("ban.lift", subject="Me@Example.org") == {"subject": "me@example.org"}
    assert site.ask("ban.list") == []
    assert "'192.0.2.1' is not banned" in site.ask("ban.lift", subject="192.0.2.1")


def test_an_address_is_banned_by_hand() -> None:
    site = Site()
    banned = site.ask("ban.add", address=" 192.0.2.1 ", minutes=10)
    assert banned == {
        "kind": "address", "subject": "192.0.2.1", "since": START, "until": START + 600, "failures": 0,
    }
    with pytest.raises(TryLater):
        site.guard.admit("192.0.2.1")
    site.clock.advance(600)
    site.guard.admit("192.0.2.1")


@pytest.mark.parametrize(("address", "minutes", "said"), [
    ("", 5, "is no IP address"), ("me@example.org", 5, "is no IP address"), ("192.0.2.0/24", 5, "is no IP address"),
    ("192.0.2.1", 0, "minutes must be 1 to 43200"), ("192.0.2.1", 43201, "minutes must be"),
])
def test_what_cannot_be_banned(address: str, minutes: int, said: str) -> None:
    site = Site()
    assert said in site.ask("ban.add", address=address, minutes=minutes)
    assert site.ask("ban.list") == []


def test_who_looks_after_an_account_may_lift_its_ban_those_of_addresses_are_the_sites() -> None:
    of = {name: OPERATIONS[f"ban.{name}"].resource for name in ("list", "lift", "add")}
    assert of["lift"]({"subject": "Me@example.org"}) == "user/me@example.org"
    assert of["lift"]({"subject": "192.0.2.1"}) == "" == of["add"]({"address": "192.0.2.1"}) == of["list"]({})
    with pytest.raises(MailError):
        of["lift"]({"subject": "@"})


def test_bans_are_those_of_a_running_server() -> None:
    assert all(OPERATIONS[f"ban.{name}"].running for name in ("list", "lift", "add"))
