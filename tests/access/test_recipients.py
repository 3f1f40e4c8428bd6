"""Recipients of domains whose mailboxes another host has: who does not exist is refused at RCPT."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mailsrv.access.recipients import LOOK, KnownRecipients, RecipientFile, read_names
from mailsrv.errors import ConfigError, TryLater
from mailsrv.host.config.load import loads
from mailsrv.testing.bed import Bed
from mailsrv.testing.loop import Loop
from mailsrv.values import Address

DOMAIN = "branch.example"


def rcpt(checks: dict[str, Callable[[Address], Awaitable[bool]]], *names: str) -> list[bytes]:
    """The answers to RCPT."""
    bed = Bed(onward=True, domains=f"{DOMAIN}:relay")
    policy = KnownRecipients(checks)
    services = bed.server("smtp").services
    services.policies = [*services.policies, policy.for_connection]  # type: ignore[attr-defined]
    client = bed.connect("smtp")
    client.send(b"HELO c\r\nMAIL FROM:<a@c.example>\r\n" + b"".join(b"RCPT TO:<%b>\r\n" % n.encode() for n in names))
    bed.settle()
    return client.take().split(b"\r\n")[3:-1]


async def nobody(address: Address) -> bool:
    return False


async def later(address: Address) -> bool:
    raise TryLater("Ask later")


def test_who_does_not_exist_is_refused_and_postmaster_always_does() -> None:
    assert rcpt({DOMAIN: nobody}, f"x@{DOMAIN}", f"Postmaster@{DOMAIN}", "me@example.org", "x@elsewhere.example") == [
        b"550 5.1.1 No such user here", b"250 2.1.5 Recipient OK", b"250 2.1.5 Recipient OK",
        b"550 5.7.1 Relay access denied",
    ]  # fmt: skip


def test_who_cannot_be_asked_about_now_is_refused_for_now() -> None:
    assert rcpt({DOMAIN: later}, f"x@{DOMAIN}") == [b"451 4.3.0 Ask later"]


class List:
    """A list in a file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.clock, self.loop, self.reads = path, Clock(), Loop(), 0
        path.write_text(text)
        self.list = RecipientFile(path, DOMAIN, self.aside, self.clock.seconds)

    async def aside(self, function: Any, *arguments: Any) -> Any:
        self.reads += 1
        return function(*arguments)

    def has(self, local: str) -> bool:
        found: bool = self.loop.run(self.list.takes(Address(local, DOMAIN)))
        return found


def test_a_list_of_names_and_addresses(tmp_path: Path) -> None:
    made = List(tmp_path / "list", "# who is there\nanna\nBo@Branch.example   # Bo\n\n  büro\r\nwith+plus\n")
    assert all(made.has(name) for name in ("anna", "ANNA", "bo", "büro", "anna+list", "with+plus"))
    assert not any(made.has(name) for name in ("", "#", "eve", "with", "bo@branch.example"))


def test_a_list_that_changes_is_read_again_and_one_that_breaks_stays(tmp_path: Path) -> None:
    events: list[LogEvent] = []
    made = List(tmp_path / "list", "anna\n")
    made.path.write_text("anna\nbo\n")
    assert not made.has("bo")
    made.clock.advance(LOOK)
    assert made.has("bo") and made.reads == 1
    globalLogPublisher.addObserver(events.append)
    try:
        for text in (None, "eve@other.example\n"):
            made.path.unlink() if text is None else made.path.write_text(text)
            made.clock.advance(LOOK)
            assert made.has("bo") and not made.has("eve")
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert [formatEvent(event).partition(":")[0] for event in events] == ["the list of recipients stays as it was"] * 2
    made.clock.advance(LOOK)
    assert made.has("bo") and made.reads == 3


@pytest.mark.parametrize("octets, text", [
    (b"\xff\n", "it is not UTF-8"), (b"a\nx@other.example\n", "x@other.example is in another domain"),
])
def test_mistakes_of_a_list_are_told(tmp_path: Path, octets: bytes, text: str) -> None:
    (tmp_path / "list").write_bytes(octets)
    with pytest.raises(ConfigError, match=text):
        read_names(tmp_path / "list", DOMAIN)
    with pytest.raises(ConfigError, match="No such file"):
        read_names(tmp_path / "none", DOMAIN)


HEAD = "[site]\ndomains = ['example.org', 'branch.example']\n[domain.'branch.example']\n"


@pytest.mark.parametrize("lines, key, text", [
    ("verify = 'callout'", 'domain."branch.example".verify', "only recipients of kind"),
    ("kind = 'relay'\nverify = 'list'", 'domain."branch.example".recipients_file', "belong together"),
    ("kind = 'relay'\nrecipients_file = 'x'", 'domain."branch.example".recipients_file', "belong together"),
])
def test_what_contradicts_itself_is_refused(lines: str, key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        loads(HEAD + lines)
    assert error.value.key == key


def test_lmtp_has_no_xclient() -> None:
    with pytest.raises(ConfigError, match="LMTP has no XCLIENT"):
        loads('[smtp.a]\nrole = "lmtp"\nxclient_from = ["127.0.0.1"]')


@pytest.mark.parametrize("verify, warned", [("off", True), ("callout", False)])
def test_a_domain_that_takes_every_recipient_is_warned_of(verify: str, warned: bool) -> None:
    warnings = [str(one) for one in loads(f"{HEAD}kind = 'relay'\nverify = '{verify}'").warnings]
    assert any("every recipient is taken" in text for text in warnings) is warned
