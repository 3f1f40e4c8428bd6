"""Nobody from outside gets mail sent on (S-136), now that there is a queue: every attempt ends without a row in it."""

from __future__ import annotations

from typing import Any

import pytest

from mailsrv.testing.bed import DOMAIN, Bed
from mailsrv.transfer.router import LocalRouter
from mailsrv.values import Address, DomainFacts

ELSEWHERE = "<x@elsewhere.example>"
PLAIN = "AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA=="
WRONG = "AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHdyb25n"
ANONYMOUS = "AUTH ANONYMOUS eA=="


class Site:
    """A bed whose router sends on; domains of every kind."""

    def __init__(self, protocol: str = "smtp", **settings: Any) -> None:
        self.bed = Bed(**settings)
        self.bed.limit(bad_commands=99)
        directory = self.bed.store.directory
        self.bed.loop.run(directory.set_domains([
            DomainFacts(DOMAIN), DomainFacts("relay.example", "relay"), DomainFacts("shared.example", "shared"),
            DomainFacts("bücher.example"),
        ]))  # fmt: skip
        self.bed.settings["router"] = LocalRouter(
            directory, lambda: DOMAIN, onward=True, unresolved=lambda server: "unresolved:" + server
        )
        self.protocol = protocol
        self.client = self.bed.connect(protocol)
        self.client.take()

    def say(self, *lines: str) -> str:
        """The code and status of the last answer."""
        for line in lines:
            self.client.send(line.encode() + b"\r\n")
            self.bed.settle()
        return " ".join(self.client.take().decode().strip().split("\r\n")[-1].split()[:2])

    def mail(self, *first: str, sender: str = "<a@b.example>") -> None:
        """A transaction begins, after other commands."""
        self.say("LHLO c.example" if self.protocol == "lmtp" else "EHLO c.example", *first, f"MAIL FROM:{sender}")

    def rcpt(self, path: str) -> str:
        return self.say(f"RCPT TO:{path}")

    def queued(self) -> list[str]:
        """Destinations of what is sent on."""
        self.say("DATA", "Subject: x", "", ".")
        return [one.destination for one in self.bed.loop.run(self.bed.store.due(self.bed.clock.seconds() + 1))]


FOREIGN = [
    ELSEWHERE, "<X@ELSEWHERE.EXAMPLE.>", "<me%example.org@elsewhere.example>", '<"me@example.org"@elsewhere.example>',
    "<example.org!x@elsewhere.example>", "<x@[127.0.0.1]>", "<x@[IPv6:::1]>", "<postmaster@[192.0.2.7]>",
    "<postmaster@elsewhere.example>", "<x@localhost>", "<x@mx.example.org>", "<x@sub.example.org>",
    "<x@sub.relay.example>", "<x@xn--bcher-kva.elsewhere.example>",
]  # fmt: skip
#: The addresses are ours, but a server that trusts us could read in them where to send the mail.
ROUTED = [
    "<x%elsewhere.example@relay.example>", '<"x@elsewhere.example"@relay.example>',
    "<elsewhere.example!x@relay.example>", '<"x%elsewhere.example"@shared.example>',
    "<x%elsewhere.example@shared.example>", "<elsewhere.example!x@SHARED.example.>",
]  # fmt: skip


@pytest.mark.parametrize("path", [*FOREIGN, *ROUTED])
@pytest.mark.parametrize("sender", ["<a@b.example>", "<>", "<me@example.org> AUTH=me@example.org"])
def test_S_136_nobody_from_outside_has_mail_sent_on(path: str, sender: str) -> None:
    site = Site()
    site.mail(sender=sender)
    assert site.rcpt(path) == "550 5.7.1"
    assert site.queued() == []


@pytest.mark.parametrize("path", [
    "<x%elsewhere.example@example.org>", '<"x@elsewhere.example"@example.org>', "<elsewhere.example!x@example.org>",
    "<x%elsewhere.example>", '<"x@elsewhere.example">', "<elsewhere.example!x>", "<x+elsewhere.example@example.org>",
    "<x@xn--bcher-kva.example>",
])  # fmt: skip
def test_S_136_in_a_domain_whose_mailboxes_are_here_tricks_are_names_that_nobody_has(path: str) -> None:
    site = Site()
    site.mail()
    assert site.rcpt(path) == "550 5.1.1"


@pytest.mark.parametrize("before", [
    (WRONG,), (ANONYMOUS,), (PLAIN, "STARTTLS", "EHLO c.example"), ("PROXY TCP4 127.0.0.1 127.0.0.1 1 25",),
    ("XCLIENT ADDR=127.0.0.1 LOGIN=me@example.org",),
])  # fmt: skip
def test_S_137_a_login_that_failed_names_nobody_or_was_taken_back_is_none(before: tuple[str, ...]) -> None:
    site = Site()
    site.mail(*before)
    assert site.rcpt(ELSEWHERE) == "550 5.7.1"


def test_S_137_a_login_without_the_right_sends_nothing_on_and_one_with_it_does() -> None:
    site = Site(relay_users="you@example.org")
    site.mail(PLAIN)
    assert site.rcpt(ELSEWHERE) == "550 5.7.1"
    site = Site()
    site.mail(PLAIN)
    assert site.rcpt(ELSEWHERE) == site.rcpt("<x%y.example@relay.example>") == "250 2.1.5"
    assert sorted(site.queued()) == ["elsewhere.example", "relay.example"]


@pytest.mark.parametrize("path", [ELSEWHERE, *ROUTED])
def test_lmtp_sends_nothing_on(path: str) -> None:
    site = Site("lmtp")
    site.mail()
    assert site.rcpt(path) == "550 5.7.1"


def test_what_the_administrator_sends_on_is_sent_on() -> None:
    """Domains of other hosts, recipients of shared domains (S-133), aliases that lead out: for everybody."""
    site = Site()
    site.bed.loop.run(site.bed.store.directory.add_alias(Address("out", DOMAIN), [Address("x", "elsewhere.example")]))
    site.mail()
    for path in ("<x@relay.example>", "<nobody@shared.example>", "<out@example.org>"):
        assert site.rcpt(path) == "250 2.1.5"
    assert sorted(site.queued()) == ["elsewhere.example", "relay.example", "unresolved:smtp/default"]


def test_RFC_5321_3_5_3_vrfy_does_not_vouch_for_other_servers() -> None:
    site = Site(vrfy="on")
    site.mail()
    assert site.say("VRFY <me@example.org>") == "250 2.1.5"
    assert site.say(f"VRFY {ELSEWHERE}") == site.say("VRFY <x@relay.example>") == "252 2.1.5"


def test_postmaster_of_a_site_without_domains_is_nobody_and_not_looked_for_elsewhere() -> None:
    site = Site()
    site.bed.loop.run(site.bed.store.directory.set_domains([]))
    site.mail()
    assert site.rcpt("<postmaster>") == "550 5.1.1"
