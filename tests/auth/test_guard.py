"""The guard against guessing passwords, as an administrator sees it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mailsrv.auth import guard_tables
from mailsrv.auth.guard import Guard, GuardSettings
from mailsrv.auth.guard_tables import FAMILIAR_PER_ACCOUNT, PACE, PLACES, Bans, Familiar, Guesses, Rates
from mailsrv.errors import Refused, TryLater
from mailsrv.net.addresses import subject_of
from tests.properties import tries

#: 2026-11-24 04:00:00 UTC.
START = 1_795_492_800.0
ME, YOU = "me@example.org", "you@example.org"
HOME, ATTACKER = "192.0.2.7", "203.0.113.66"
DAY = 86400.0


class Watch:
    """A guard on clocks that only the test moves."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.wall = START
        self.guard = Guard(
            GuardSettings(**options),
            monotonic=self.clock.seconds,
            wall=lambda: self.wall,
            random=random.Random(7).randbytes,
        )
        self.slept: list[float] = []

    def later(self, seconds: float) -> None:
        """Time goes by, and who waits for a moment of it wakes at that moment."""
        self.wall += seconds
        end = self.clock.seconds() + seconds
        while calls := [call for call in self.clock.getDelayedCalls() if call.getTime() <= end]:
            self.clock.advance(max(0.0, min(call.getTime() for call in calls) - self.clock.seconds()))
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    def guess(self, times: int, address: str = ATTACKER, login: str = ME, first: int = 0) -> None:
        """So many different wrong passwords."""
        for number in range(first, first + times):
            self.guard.failed(address, login, b"guess %d" % number)

    def admitted(self, address: str = ATTACKER) -> bool:
        """Whether it may try."""
        try:
            self.guard.admit(address)
        except TryLater as error:
            assert error.status == "4.7.0"
            return False
        return True

    def attempt(self, address: str, login: str = ME) -> list[str]:
        """Ask for an account; the list gets "passed" or the refusal as soon as it is known."""
        heard: list[str] = []

        async def ask() -> None:
            try:
                await self.guard.account(login, address, self._sleep)
                heard.append("passed")
            except TryLater as error:
                heard.append(error.text)

        Deferred.fromCoroutine(ask())
        return heard

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        slept: Deferred[None] = Deferred()
        self.clock.callLater(seconds, slept.callback, None)
        await slept

    def told(self) -> list[tuple[str, str]]:
        """Kind and subject of the bans."""
        return [(ban.kind, ban.subject) for ban in self.guard.bans()]

    def slow(self, login: str = ME) -> None:
        """Guesses from so many addresses that the account is slowed and no address is banned."""
        for number in range(50):
            self.guess(1, f"198.51.100.{number}", login)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines of the log."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


# ---------------------------------------------------------------- addresses


def test_thirty_wrong_guesses_ban_an_address_for_a_quarter_of_an_hour() -> None:
    watch = Watch()
    watch.guess(29)
    assert watch.admitted()
    watch.guess(1, first=29)
    assert not watch.admitted() and watch.admitted(HOME)
    watch.later(899)
    assert not watch.admitted()
    watch.later(1)
    assert watch.admitted() and watch.guard.bans() == []
    assert watch.guard.refused == 2


def test_a_ban_is_told_and_is_one_line_of_the_log(logged: list[str]) -> None:
    watch = Watch()
    watch.guess(35)
    (ban,) = watch.guard.bans()
    assert (ban.kind, ban.subject, ban.since, ban.until) == ("address", ATTACKER, START, START + 900)
    # Five that were under way already.
    assert ban.failures == 35
    assert logged == [f"banned the address {ATTACKER} until 2026-11-24 04:15:00 UTC: 30 failed logins"]


def test_wrong_guesses_count_for_a_window_that_moves_along() -> None:
    watch = Watch()
    watch.guess(15)
    watch.later(400)
    watch.guess(14, first=15)
    watch.later(200)
    watch.guess(15, first=29)  # the first fifteen are ten minutes old
    assert watch.admitted()
    watch.guess(1, first=44)
    assert not watch.admitted()


def test_a_phone_with_an_old_password_is_never_banned() -> None:
    watch = Watch()
    for _ in range(24 * 60):
        watch.guard.failed(HOME, ME, b"last year's")
        assert watch.admitted(HOME)
        watch.later(60)
    for _ in range(1000):
        watch.guard.failed(HOME, ME, b"last year's")
    assert watch.guard.bans() == []


def test_what_cannot_be_told_apart_counts_each_time() -> None:
    watch = Watch()
    for _ in range(30):
        watch.guard.failed(ATTACKER, ME, b"")
    assert not watch.admitted()


def test_one_password_at_many_accounts_is_as_many_guesses() -> None:
    watch = Watch()
    for number in range(30):
        watch.guard.failed(ATTACKER, f"user{number}@example.org", b"summer2026")
    assert not watch.admitted()


def test_guesses_without_a_name_count_for_the_address_alone() -> None:
    watch = Watch(per_account=1)
    watch.guess(30, login="")
    assert watch.told() == [("address", ATTACKER)]


def test_a_right_login_forgives_the_wrong_ones_at_that_account_from_that_address() -> None:
    watch = Watch()
    for _ in range(3):
        watch.guess(29, HOME)
        watch.guard.succeeded(HOME, ME)
        watch.later(600)
    watch.guess(29, HOME)
    watch.guard.succeeded(ATTACKER, ME)
    watch.guess(1, HOME, first=29)
    assert not watch.admitted(HOME)


def test_who_has_an_account_cannot_wipe_away_guesses_at_others() -> None:
    watch = Watch()
    for number in range(30):
        watch.guess(1, login=ME, first=number)
        watch.guard.succeeded(ATTACKER, YOU)
    assert not watch.admitted()


def test_who_shares_an_address_with_the_owner_cannot_guess_for_ever() -> None:
    watch = Watch()
    before = [watch.admitted(HOME)]
    for number in range(100):
        watch.guess(1, HOME, first=number)
        watch.guard.succeeded(HOME, ME)  # the owner's phone
        before.append(watch.admitted(HOME))
    assert before.index(False) == 30 + 30


def test_a_slower_neighbour_of_the_owner_does_not_get_the_owner_banned() -> None:
    watch = Watch()
    for number in range(200):
        watch.guess(1, HOME, first=number)
        watch.guard.succeeded(HOME, ME)
        watch.later(20)  # 30 in a window, all forgiven
        assert watch.admitted(HOME)


def test_each_further_ban_of_a_day_is_twice_as_long_up_to_a_day() -> None:
    watch = Watch()
    watch.guard.ban(HOME, 30 * DAY)
    lengths = []
    for number in range(9):
        watch.guess(30, first=100 * number)
        _, ban = watch.guard.bans()
        lengths.append(ban.until - ban.since)
        watch.later(lengths[-1])
        assert watch.admitted()
    assert lengths == [900, 1800, 3600, 7200, 14400, 28800, 57600, DAY, DAY]
    watch.later(DAY)
    watch.guess(30)
    assert watch.guard.bans()[1].until == watch.wall + 900


def test_after_a_ban_that_is_shorter_than_the_window_counting_begins_anew() -> None:
    watch = Watch(ban=60.0)
    watch.guess(30)
    watch.later(60)
    watch.guess(29, first=30)
    assert watch.admitted()


def test_a_ban_does_not_follow_the_calendar_clock() -> None:
    watch = Watch()
    watch.guess(30)
    watch.wall += 10 * DAY
    assert not watch.admitted()
    watch.wall -= 20 * DAY
    watch.later(900)
    assert watch.admitted()


@pytest.mark.parametrize(("address", "subject"), [
    ("192.0.2.1", "192.0.2.1"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"),
    ("::1", "::/64"),
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::ffff:c000:201", "192.0.2.1"),
    ("64:ff9b::192.0.2.1", "192.0.2.1"),
    ("64:ff9b:1::192.0.2.1", "64:ff9b:1::/64"),
    ("", ""), ("no address", "no address"), ("no:address", "no:address"), ("::\0", "::\0"), ("::\udc80", "::\udc80"),
])
def test_an_address_is_one_of_ipv4_or_a_64_of_ipv6(address: str, subject: str) -> None:
    assert subject_of(address) == subject


def test_a_network_of_ipv6_is_banned_as_one() -> None:
    watch = Watch(per_account=None)
    for number in range(30):
        watch.guess(1, f"2001:db8:0:1::{number:x}", first=number)
    assert not watch.admitted("2001:db8:0:1:ffff::1") and watch.admitted("2001:db8:0:2::1")
    watch.guess(30, "::ffff:192.0.2.9")
    assert not watch.admitted("192.0.2.9")
    assert watch.told() == [("address", "2001:db8:0:1::/64"), ("address", "192.0.2.9")]


def test_a_unix_socket_is_neither_banned_nor_slowed() -> None:
    watch = Watch()
    watch.guess(1000, "")
    watch.slow()
    assert watch.admitted("") and watch.attempt("") == ["passed"] == watch.attempt("")
    assert watch.told() == [("account", ME)]


def test_hosts_that_are_never_banned() -> None:
    never = tuple(ip_network(text) for text in ("192.0.2.0/28", "2001:db8::25/128", "::1/128"))
    watch = Watch(never=never, per_account=None)
    for address in (HOME, "::ffff:192.0.2.8", "2001:db8::25", "::1"):
        watch.guess(200, address)
        assert watch.admitted(address), address
    assert watch.guard.bans() == []
    # Another host of its /64 is banned, that one is not.
    watch.guess(30, "2001:db8::26", first=500)
    assert not watch.admitted("2001:db8::26") and watch.admitted("2001:db8::25")
    watch.guess(30, "192.0.2.16")
    assert not watch.admitted("192.0.2.16")


def test_loopback_is_an_address_like_others() -> None:
    watch = Watch()
    watch.guess(30, "127.0.0.1")
    assert not watch.admitted("127.0.0.1")


def test_both_can_be_switched_off() -> None:
    watch = Watch(per_address=None, per_account=None)
    watch.guess(5000)
    assert watch.guard.bans() == []
    watch = Watch(per_address=None)
    watch.guess(5000)
    assert watch.told() == [("account", ME)]
    watch = Watch(per_account=None)
    watch.guess(5000)
    assert watch.told() == [("address", ATTACKER)]


def test_without_a_limit_for_addresses_a_repeated_guess_still_counts_once() -> None:
    watch = Watch(per_address=None)
    for _ in range(500):
        watch.guard.failed(HOME, ME, b"last year's")
    assert watch.guard.bans() == []


# ---------------------------------------------------------------- accounts


def test_fifty_wrong_guesses_at_an_account_slow_it_for_strangers(logged: list[str]) -> None:
    watch = Watch()
    watch.guard.succeeded(HOME, ME)
    watch.slow()
    assert watch.told() == [("account", ME)]
    assert logged == [f"slowed logins to the account {ME} until 2026-11-24 04:15:00 UTC: 50 failed logins"]
    strangers = [watch.attempt(f"203.0.113.{number}") for number in range(PLACES + 2)]
    assert strangers[0] == ["passed"] and strangers[1] == []
    # No more than may wait; the refusal has the same status as a ban.
    assert strangers[-1] == ["Too many failed logins, try again later"]
    for number in range(1, PLACES + 1):
        assert strangers[number] == []
        assert watch.attempt(HOME) == ["passed"]  # the owner at home notices nothing
        watch.later(PACE)
        assert strangers[number] == ["passed"]
    assert watch.slept == [PACE * number for number in range(1, PLACES + 1)]


def test_other_accounts_are_not_slowed() -> None:
    watch = Watch()
    watch.slow()
    assert [watch.attempt(ATTACKER, YOU) for _ in range(3)] == [["passed"]] * 3


def test_one_address_cannot_take_all_the_places() -> None:
    watch = Watch()
    watch.slow()
    assert watch.attempt(ATTACKER) == ["passed"]
    assert watch.attempt(ATTACKER) == []
    assert len(watch.attempt(ATTACKER)[0]) > len("passed")
    hotel = watch.attempt("198.18.0.1")
    watch.later(2 * PACE)
    assert hotel == ["passed"]


def test_a_stranger_who_knows_the_password_is_a_stranger_no_more() -> None:
    watch = Watch()
    watch.slow()
    assert watch.attempt("198.18.0.1") == ["passed"]
    watch.guard.succeeded("198.18.0.1", ME)
    assert [watch.attempt("198.18.0.1") for _ in range(20)] == [["passed"]] * 20
    assert watch.attempt("198.18.0.2") == []


def test_an_address_is_familiar_for_thirty_days_and_for_its_account_alone() -> None:
    watch = Watch()
    watch.guard.succeeded(HOME, ME)
    watch.later(30 * DAY - 1)
    watch.slow()
    watch.slow(YOU)
    assert [watch.attempt(HOME) for _ in range(2)] == [["passed"]] * 2
    assert [watch.attempt(HOME, YOU) for _ in range(2)] == [["passed"], []]
    watch.later(1)
    assert [watch.attempt(HOME) for _ in range(2)] == [["passed"], []]


def test_an_attack_that_goes_on_is_slowed_for_twice_as_long() -> None:
    watch = Watch()
    watch.slow()
    for number in range(60):
        watch.later(15)  # 15 minutes; what is let through counts
        watch.guess(1, f"203.0.113.{number}")
    (ban,) = watch.guard.bans()
    assert ban.until - ban.since == 1800 and ban.kind == "account"


def test_who_waits_and_is_banned_meanwhile_is_not_let_through() -> None:
    watch = Watch()
    watch.slow()
    watch.attempt(HOME)
    waiting = watch.attempt(ATTACKER)
    watch.guess(30, login=YOU)
    watch.later(PACE)
    assert waiting == ["Too many failed logins from your address, try again later"]


def test_a_connection_held_open_since_before_the_ban_is_refused_too() -> None:
    watch = Watch()
    watch.guess(30)
    assert watch.attempt(ATTACKER, YOU) == ["Too many failed logins from your address, try again later"]


def test_a_client_that_goes_away_while_it_waits_leaves_its_place() -> None:
    watch = Watch()
    watch.slow()
    watch.attempt(HOME)
    gone = Deferred.fromCoroutine(watch.guard.account(ME, ATTACKER, watch._sleep))
    gone.addErrback(lambda failure: None)
    gone.cancel()
    assert watch.attempt(ATTACKER) == []


def test_the_account_counts_by_an_estimate_over_two_windows() -> None:
    rates = Rates(600)
    assert [rates.add(b"me", 0.0) for _ in range(3)] == [1, 2, 3]
    assert rates.add(b"me", 599.0) == 4
    assert rates.add(b"me", 900.0) == 1 + 4 * 0.5
    assert rates.add(b"me", 1800.0) == 1
    rates.add(b"you", 5000.0)
    assert len(rates) == 1


# ---------------------------------------------------------------- by hand


def test_lifting_a_ban_forgets_the_failures_and_the_doubling() -> None:
    watch = Watch()
    watch.guess(30)
    watch.later(900)
    watch.guess(29)
    assert watch.guard.lift(ATTACKER) is False  # none in effect, but forgotten
    watch.guess(29, first=50)
    assert watch.admitted()
    watch.guess(1, first=90)
    assert watch.guard.bans()[0].until == watch.wall + 900
    assert watch.guard.lift(ATTACKER) is True and watch.admitted()
    assert watch.guard.lift("nobody") is False and watch.guard.lift("") is False


def test_a_network_is_lifted_by_any_of_its_addresses_and_an_account_by_its_login() -> None:
    watch = Watch()
    for subject in ("2001:db8::/64", "2001:DB8::77"):
        watch.guess(30, "2001:db8::1")
        assert watch.guard.lift(subject) and watch.admitted("2001:db8::1")
    watch.slow()
    assert watch.guard.lift(ME) and watch.guard.bans() == []
    watch.guess(1)
    assert watch.guard.bans() == []


def test_a_ban_by_hand() -> None:
    watch = Watch(never=(ip_network("192.0.2.0/24"),))
    ban = watch.guard.ban("2001:db8::1", 120.0)
    assert (ban.subject, ban.until - ban.since, ban.failures) == ("2001:db8::/64", 120, 0)
    assert watch.guard.ban("2001:db8::/64", 60.0).until == START + 60  # in place of the first
    assert not watch.admitted("2001:db8::2")
    watch.later(60)
    assert watch.admitted("2001:db8::2")
    for text in ("", "host.example", "192.0.2", "2001:db8::/32", "::1::"):
        with pytest.raises(Refused, match="is no IP address"):
            watch.guard.ban(text, 60.0)
    with pytest.raises(Refused, match="never banned"):
        watch.guard.ban(HOME, 60.0)


# ---------------------------------------------------------------- bounds


def octets_of(thing: Any, seen: set[int]) -> Iterator[bytes]:
    """All octets and texts that hang on a thing."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, str | bytes):
        yield thing.encode() if isinstance(thing, str) else thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from octets_of(key, seen)
            yield from octets_of(value, seen)
    elif isinstance(thing, tuple | list | set):
        for one in thing:
            yield from octets_of(one, seen)
    elif type(thing).__module__.startswith("mailsrv"):
        names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
        for name in names:
            yield from octets_of(getattr(thing, name, None), seen)


def test_nothing_that_was_typed_is_kept() -> None:
    watch = Watch(per_account=1)
    watch.guard.failed(ATTACKER, ME, b"hunter2")
    held = list(octets_of(watch.guard, set()))
    assert ATTACKER.encode() in held and ME.encode() in held
    assert not any(b"hunter2" in octets for octets in held)


def test_wrong_guesses_are_bounded_by_addresses_and_in_all() -> None:
    guesses = Guesses(600, random.Random(1).randbytes, 30, addresses=10, guesses=70)
    for number in range(1000):
        guesses.add(f"10.0.0.{number}", b"login...", b"%d" % number, 1.0)
    assert len(guesses) == 10 and "10.0.0.999" in guesses and "10.0.0.989" not in guesses
    for number in range(29):
        assert guesses.add("10.0.0.999", b"login...", b"more%d" % number, 2.0) == number + 2
    for number in range(200):
        guesses.add("10.0.0.1", b"login...", b"%d" % number, 3.0)
        assert len(guesses) <= 70
    assert "10.0.0.1" in guesses and "10.0.0.999" not in guesses


def test_what_left_the_window_gives_its_room_back() -> None:
    watch = Watch()
    for number in range(1000):
        watch.guess(1, f"10.0.{number >> 8}.{number & 255}", f"user{number}")
    watch.later(1200)
    for number in range(510):
        watch.guess(1, "10.9.9.9", "x", first=number)
        watch.guard.lift("10.9.9.9")
    assert len(watch.guard._guesses) <= 1 and len(watch.guard._rates) <= 1


def test_accounts_and_bans_are_bounded_the_oldest_goes_first() -> None:
    rates = Rates(600, accounts=10)
    for number in range(100):
        rates.add(b"%d" % number, 0.0)
    assert len(rates) == 10 and rates.add(b"99", 0.0) == 2 and rates.add(b"0", 0.0) == 1
    bans = Bans("address", bound=10)
    for number in range(100):
        bans.begin(str(number), 1, 900.0, 0.0, START)
    assert [ban.subject for ban in bans.told(1.0, 100)] == [str(number) for number in range(90, 100)]
    assert [ban.subject for ban in bans.told(1.0, 2)] == ["98", "99"] and bans.told(900.0, 2) == []


def test_guesses_from_everywhere_push_out_no_ban() -> None:
    watch = Watch()
    watch.guard._guesses = Guesses(600, random.Random(1).randbytes, 30, addresses=10)
    watch.guess(30)
    for number in range(1000):
        watch.guess(1, f"10.0.{number >> 8}.{number & 255}", f"user{number}")
    assert not watch.admitted()


def test_logging_in_from_everywhere_makes_nobody_else_a_stranger() -> None:
    familiar = Familiar(pairs=100)
    familiar.add(HOME, ME, 0.0)
    for number in range(1000):
        familiar.add(f"10.0.0.{number}", YOU, 1.0 + number)
    assert familiar.knows(HOME, ME, 1001.0) and len(familiar) == 1 + FAMILIAR_PER_ACCOUNT
    assert familiar.knows("10.0.0.999", YOU, 1001.0) and not familiar.knows("10.0.0.0", YOU, 1001.0)
    for number in range(1000):
        familiar.add("10.0.0.1", f"user{number}", 1.0)
    assert len(familiar) == 100 and not familiar.knows(HOME, ME, 2.0)


# ---------------------------------------------------------------- any order of events

ADDRESSES = ["192.0.2.1", "2001:db8::1", ""]
LOGINS = ["me", "you", ""]
#: Most events are at one address: only what is there in numbers has consequences.
WHERE, WHO = st.sampled_from([ADDRESSES[0]] * 4 + ADDRESSES), st.sampled_from(["me", "me", "you"])
FAIL = st.tuples(st.just("fail"), WHERE, st.sampled_from(["me", *LOGINS]), st.integers(0, 9))
LOG_IN = st.tuples(st.just("log in"), WHERE, WHO)
EVENTS = st.one_of(
    FAIL, FAIL, LOG_IN, LOG_IN,
    st.tuples(st.just("burst"), WHERE),
    st.tuples(st.just("ask"), WHERE, WHO),
    st.tuples(st.just("wait"), st.sampled_from([1, 1, 10, 59, 60, 100, 200, 86400])),
    st.tuples(st.just("lift"), st.sampled_from(ADDRESSES[:2])),
)


class Model:
    """The same rules, told at length: all guesses in one list, nothing bounded."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.guesses: list[list[Any]] = []  # [when, address, login, guess, counts]
        self.until: dict[str, float] = {}
        self.length: dict[str, float] = {}
        self.known: set[tuple[str, str]] = set()

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self.watch.clock.seconds()

    def banned(self, address: str) -> bool:
        """Whether it has to be turned away."""
        return self.now < self.until.get(address, 0.0)

    def fail(self, address: str, login: str, guess: int) -> None:
        """A wrong guess: the third that counts in a minute bans for 100 seconds, then 200 ..."""
        mine = [one for one in self.guesses if one[1] == address and one[0] > self.now - 60]
        if not address or any(one[2:4] == [login, guess] for one in mine):
            return
        self.guesses.append([self.now, address, login, guess, True])
        if sum(one[4] for one in mine) + 1 >= 3:
            self.guesses = [one for one in self.guesses if one[1] != address]
            if not self.banned(address):
                again = address in self.until and self.now - self.until[address] < DAY
                self.length[address] = min(DAY, 2 * self.length[address]) if again else 100.0
                self.until[address] = self.now + self.length[address]

    def log_in(self, address: str, login: str) -> None:
        """Forgives at most three in a window."""
        self.known.add((address, login))
        mine = [one for one in self.guesses if one[1] == address and one[0] > self.now - 60]
        left = 3 - sum(not one[4] for one in mine)
        for one in [one for one in mine if one[2] == login and one[4]][:left]:
            one[4] = False

    def lift(self, address: str) -> None:
        """All is forgotten."""
        self.guesses = [one for one in self.guesses if one[1] != address]
        self.until.pop(address, None)


@settings(max_examples=tries(80), deadline=None)
@given(st.lists(EVENTS, min_size=20, max_size=60))
def test_in_any_order_of_events_exactly_the_banned_are_turned_away(events: list[tuple[Any, ...]]) -> None:
    watch = Watch(per_address=3, per_account=4, window=60.0, ban=100.0)
    model = Model(watch)
    for what, *details in events:
        if what == "burst":
            for number in range(3):
                watch.guard.failed(details[0], "me", b"%d" % number)
                model.fail(details[0], "me", number)
        elif what == "fail":
            address, login, number = details
            watch.guard.failed(address, login, b"%d" % number)
            model.fail(address, login, number)
        elif what == "log in":
            watch.guard.succeeded(*details)
            model.log_in(*details)
        elif what == "ask":
            address, login = details
            heard = watch.attempt(address, login)
            if not model.banned(address) and ((address, login) in model.known or not address):
                assert heard == ["passed"]
            elif model.banned(address):
                assert heard == ["Too many failed logins from your address, try again later"]
        elif what == "wait":
            watch.later(details[0])
        else:
            watch.guard.lift(details[0])
            model.lift(details[0])
        for address in ADDRESSES:
            assert watch.admitted(address) is not model.banned(address), address
        assert len(watch.guard._guesses) <= 2 * 2 * 3


@settings(max_examples=tries(40), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a", "b"]), st.floats(0, 20)), max_size=80))
def test_attempts_of_strangers_at_a_slowed_account_keep_their_distance(asked: list[tuple[int, str, float]]) -> None:
    watch = Watch()
    watch.slow("a")
    watch.slow("b")
    passed: dict[str, list[float]] = {"a": [], "b": []}
    waiting: Counter[tuple[str, str]] = Counter()

    async def ask(login: str, address: str) -> None:
        waiting[login, address] += 1
        try:
            await watch.guard.account(login, address, watch._sleep)
            passed[login].append(watch.clock.seconds())
        except TryLater:
            pass
        finally:
            waiting[login, address] -= 1

    for number, login, pause in asked:
        Deferred.fromCoroutine(ask(login, f"203.0.113.{number}"))
        assert sum(waiting[key] for key in waiting if key[0] == login) <= PLACES
        watch.later(pause)
    watch.later(PACE * PLACES)
    assert not +waiting
    for moments in passed.values():
        assert all(second - first >= PACE - 1e-6 for first, second in pairwise(moments))


def test_limits_are_what_the_operators_page_says() -> None:
    assert (guard_tables.MAX_ADDRESSES, guard_tables.MAX_ACCOUNTS, guard_tables.MAX_BANS) == (100_000,) * 3
