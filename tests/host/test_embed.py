"""Mail from the program that embeds a site: into mailboxes and into the queue, for all recipients or for none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_site import child

from mailsrv.errors import MailError, Refused
from mailsrv.host.embed import deliver
from mailsrv.testing.queue_site import CONFIG, QueueSite, path

MESSAGE = b"Subject: hi\r\n\r\nhello\r\n"
ALONE = """\
[site]
hostname = "mail.example.org"
domains = ["example.org"]
[store]
use = "memory"
[pop3.default]
"""


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[QueueSite]:
    made = QueueSite(tmp_path, CONFIG.replace('role = "submission"', 'role = "submission"\nmax_hops = 10'))
    made.loop.run(made.site.directory.add_account(path("me@example.org"), "x"))
    yield made
    made.close()


def give(bed: QueueSite, message: bytes, *to: str, sender: str = "me@example.org", **more: Any) -> str:
    return str(bed.loop.run(deliver(bed.site, message, to, sender, **more)))


def refused(bed: QueueSite, message: bytes, *to: str, **more: Any) -> str:
    """Status and text."""
    with pytest.raises(MailError) as raised:
        give(bed, message, *to, **more)
    return f"{raised.value.status} {raised.value.text}"


def messages(bed: QueueSite) -> int:
    """In the one mailbox."""
    (account,) = bed.loop.run(bed.site.directory.accounts())
    return int(bed.loop.run(bed.site.store.usage(account.account_id))[1])


def test_who_is_here_has_it_and_for_who_is_elsewhere_it_is_in_the_queue(bed: QueueSite) -> None:
    number = give(bed, MESSAGE, "me@example.org", "a@dest.example", "b@dest.example", "c@other.example")
    assert messages(bed) == 1
    rows = {row.destination: row for row in bed.rows()}
    assert set(rows) == {"dest.example", "other.example"}
    assert [str(one.address) for one in rows["dest.example"].recipients] == ["a@dest.example", "b@dest.example"]
    # It is mail that began here: its delays are told as those of users (S-077).
    assert {(row.delivery, row.server, row.origin) for row in rows.values()} == {(number, "smtp/default", "local")}
    assert str(rows["dest.example"].reverse_path) == "me@example.org"


def test_it_goes_on_with_the_settings_of_the_server_that_is_named(bed: QueueSite) -> None:
    give(bed, MESSAGE, "a@dest.example", server="smtp/out")
    assert [row.server for row in bed.rows()] == ["smtp/out"]
    assert refused(bed, MESSAGE, "a@dest.example", server="smtp/ot") == (
        '5.0.0 no SMTP server "smtp/ot" (did you mean "smtp/out"?)'
    )
    assert refused(bed, MESSAGE, "a@dest.example", server="imap/default").startswith('5.0.0 no SMTP server "imap/')


@pytest.mark.parametrize(("message", "to", "words"), [
    (MESSAGE, ("a@dest.example", "nobody@example.org"), "5.1.1 "),
    (MESSAGE, ("a@dest.example", "no address"), "5.0.0 'no address' is no address"),
    (MESSAGE, (), "5.5.4 "),
    (b"Subject: hi\n\nhello\n", ("me@example.org",), "5.5.2 "),
    (b"Subject: hi\r\n\r\nhel\rlo\r\n", ("me@example.org",), "5.5.2 "),
    (b"Subject: hi\r\n\r\nhel\0lo\r\n", ("me@example.org",), "5.5.2 "),
    (b"Received: x\r\n" * 31 + MESSAGE, ("me@example.org",), "5.4.6 "),
])  # fmt: skip
def test_with_a_mistake_nobody_gets_it(bed: QueueSite, message: bytes, to: tuple[str, ...], words: str) -> None:
    assert refused(bed, message, *to).startswith(words)
    assert bed.rows() == [] and messages(bed) == 0


def test_s_080_hops_are_those_of_the_server(bed: QueueSite) -> None:
    give(bed, b"Received: x\r\n" * 10 + MESSAGE, "me@example.org", server="smtp/out")
    assert refused(bed, b"Received: x\r\n" * 11 + MESSAGE, "me@example.org", server="smtp/out").startswith("5.4.6 ")
    give(bed, b"Received: x\r\n" * 11 + MESSAGE, "me@example.org")


def test_a_message_that_was_delivered_before_has_one_return_path(bed: QueueSite) -> None:
    give(bed, b"Return-Path: <old@x.example>\r\n" + MESSAGE, "a@dest.example")
    (row,) = bed.rows()
    content = bed.loop.run(bed.queue.queue_content(row))
    octets = bed.loop.run(content.read(0, content.size))
    assert octets.startswith(b"Return-Path: <me@example.org>\r\nReceived: ") and octets.count(b"Return-Path:") == 1


@pytest.mark.parametrize(("message", "to", "utf8"), [
    (MESSAGE, "a@dest.example", False),
    ("Subject: hi\r\n\r\ngrün\r\n".encode(), "a@dest.example", False),
    ("Subject: grün\r\n\r\nhello\r\n".encode(), "a@dest.example", True),
    (MESSAGE, "jürgen@dest.example", True),
])  # fmt: skip
def test_rfc_6531_letters_beyond_ascii_are_told_to_the_next_server(
    bed: QueueSite, message: bytes, to: str, utf8: bool
) -> None:
    give(bed, message, to)
    assert [("SMTPUTF8" in row.parameters) for row in bed.rows()] == [utf8]


def test_s_136_a_site_without_smtp_would_never_send_it_on(tmp_path: Path) -> None:
    bed = QueueSite(tmp_path, ALONE)
    bed.loop.run(bed.site.directory.add_account(path("me@example.org"), "x"))
    with pytest.raises(Refused):
        give(bed, MESSAGE, "me@example.org", "a@dest.example")
    assert refused(bed, MESSAGE, "a@dest.example") == "5.7.1 Mail for dest.example is not sent on from here"
    assert bed.rows() == [] and messages(bed) == 0
    give(bed, MESSAGE, "me@example.org")
    assert messages(bed) == 1
    bed.close()


# ---------------------------------------------------------------- whole sites


ONWARD = """
async def main():
    far = site_from_text(text("far"), folder / "far", reactor)
    far.startService()
    await far.started
    routes = ('[routes."far.test"]\\nhost = ["127.0.0.1"]\\nport = %d\\n' % port_of(far, "smtp/default"))
    near = site_from_text(text("near", routes), folder / "near", reactor)
    near.startService()
    await near.started
    for site in (far, near):
        domain = next(iter(site.options.domains))
        await run(site, "user.add", {"address": f"me@{domain}", "password": "correct horse battery"})

    async def messages(site):
        (account,) = await site.directory.accounts()
        return (await site.store.usage(account.account_id))[1]

    async def until(site, number):
        for _ in range(400):
            if await messages(site) == number:
                return number
            await task.deferLater(reactor, 0.02)
        return await messages(site)

    to = ["me@near.test", "me@far.test", "nobody@far.test"]
    await deliver(near, b"Subject: x\\r\\n\\r\\nx\\r\\n", to, "me@near.test")
    results["far"] = await until(far, 1)
    # The message itself, and the report about nobody.
    results["near"] = await until(near, 2)
    for _ in range(400):
        # The report is there a moment before the row has ended.
        results["queue"] = (await run(near, "queue.list", {}))["result"]["rows"]
        if not results["queue"]:
            break
        await task.deferLater(reactor, 0.02)
    await far.stopService()
    await deliver(near, b"Subject: y\\r\\n\\r\\ny\\r\\n", ["me@far.test"], "me@near.test")
    await near.stopService()
    again = site_from_text(text("near", routes), folder / "near", reactor)
    again.startService()
    await again.started
    results["kept"] = [row["recipients"] for row in (await run(again, "queue.list", {}))["result"]["rows"]]
    await again.stopService()
"""


@pytest.mark.slow
def test_a_program_sends_through_its_site_to_another_server_and_hears_what_failed(tmp_path: Path) -> None:
    found = child(tmp_path, ONWARD)
    assert (found["far"], found["near"], found["queue"]) == (1, 2, [])
    # What waits is on the disk, and there at the next start.
    assert found["kept"] == [["me@far.test"]]
