"""Operations on bad mail (S-129..S-132)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsrv.errors import TryLater
from mailsrv.host.control.table import OPERATIONS
from mailsrv.testing.queue_site import START, TEXT, QueueSite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[QueueSite]:
    made = QueueSite(tmp_path)
    yield made
    made.close()


def keys(site: QueueSite, **arguments: Any) -> list[str]:
    return [one["key"] for one in site.ask("badmail.list", **arguments)["entries"]]


def test_s131_each_server_has_its_own_the_first_one_is_meant_when_none_is_named(site: QueueSite) -> None:
    assert site.ask("badmail.list") == {"server": "smtp/default", "entries": [], "next": ""}
    key, other = site.bad(), site.bad(2, "smtp/out")
    (entry,) = site.ask("badmail.list")["entries"]
    assert entry == {
        "key": key, "message": "0bad000000001", "when": START, "received_at": START - 9, "server": "smtp/default",
        "origin": "local", "sender": "<>", "size": len(TEXT), "recipient_count": 1,
        "recipients": [{
            "address": "bob@dest.example", "status": "5.1.1", "reply": "550 no such user", "host": "mx.dest.example",
        }],
    }  # fmt: skip
    assert keys(site, server="smtp/out") == [other]
    assert 'did you mean "smtp/out"' in site.ask("badmail.list", server="smtp/ou")
    assert "servers with bad mail: smtp/default, smtp/out" in site.ask("badmail.list", server="x")


def test_pages(site: QueueSite) -> None:
    made = [site.bad(number) for number in range(1, 6)]
    page = site.ask("badmail.list", limit=2)
    assert [one["key"] for one in page["entries"]] == made[:2] and page["next"] == made[1]
    last = site.ask("badmail.list", after=made[1], limit=3)
    assert [one["key"] for one in last["entries"]] == made[2:] and last["next"] == ""
    assert "limit must be" in site.ask("badmail.list", limit=0)


def test_show_tells_what_was_said_and_the_header(site: QueueSite) -> None:
    told = site.ask("badmail.show", key=site.bad())
    assert told["header"] == "From: Ann <ann@example.org>\nSubject: hello"
    assert told["parameters"] == {} and told["recipients"][0]["status"] == "5.1.1"
    for wrong in ("0bad000000009-9", "", "../x", "x" * 5000, "\ud800"):
        assert "no bad mail" in site.ask("badmail.show", key=wrong) or "no key of bad mail" in site.ask(
            "badmail.show", key=wrong
        )


def test_s130_resubmit_makes_a_new_message_of_what_stays_there_until_then(site: QueueSite) -> None:
    """decisions 38."""
    key = site.bad()
    told = site.ask("badmail.resubmit", keys=[key, key], to=[])
    assert told["failed"] == [] and len(told["sent"]) == 1 and keys(site) == []
    (row,) = site.rows()
    assert row.delivery == told["sent"][0]["message"] != "0bad000000001"
    assert (row.reverse_path, str(row.recipients[0].address)) == (None, "bob@dest.example")
    assert (row.origin, row.server, row.attempts, row.received_at) == ("local", "smtp/default", 0, START)
    content = b"".join(site.loop.run(site.queue.queue_content(row)).chunks())
    assert content.endswith(TEXT) and content != TEXT


def test_resubmit_to_somebody_else(site: QueueSite) -> None:
    told = site.ask("badmail.resubmit", keys=[site.bad()], to=["abuse@other.example", "x@third.example"])
    assert len(told["sent"]) == 1
    assert [str(row.recipients[0].address) for row in site.rows()] == ["abuse@other.example", "x@third.example"]
    key = site.bad()
    assert "is no address" in site.ask("badmail.resubmit", keys=[key], to=["abuse"]) and keys(site) == [key]


def test_what_is_not_accepted_stays(site: QueueSite, monkeypatch: pytest.MonkeyPatch) -> None:
    key, nobody = site.bad(), site.bad(2, to="nobody@example.org")
    told = site.ask("badmail.resubmit", keys=[nobody, "0none-1"], to=[])
    assert told["sent"] == [] and [one["key"] for one in told["failed"]] == [nobody, "0none-1"]
    assert keys(site) == [key, nobody]

    async def submit(*_: Any, **__: Any) -> str:
        """The disk is full."""
        raise TryLater("no room", "4.3.1")

    monkeypatch.setattr(site.site.delivery, "submit", submit)
    assert site.ask("badmail.resubmit", keys=[key], to=[])["failed"] == [{"key": key, "error": "no room"}]
    assert keys(site) == [key, nobody] and site.rows() == []


def test_delete(site: QueueSite) -> None:
    made = [site.bad(number) for number in range(1, 5)]
    assert site.ask("badmail.delete", keys=made[:1]) == {"server": "smtp/default", "deleted": 1}
    assert "there is no bad mail" in site.ask("badmail.delete", keys=made[:1])
    assert "say which" in site.ask("badmail.delete", keys=[])
    assert "say which" in site.ask("badmail.delete", keys=made[1:2], everything=True)
    assert keys(site) == made[1:]
    assert site.ask("badmail.delete", keys=[], everything=True)["deleted"] == 3 and keys(site) == []
    assert site.ask("badmail.delete", keys=[], everything=True)["deleted"] == 0


def test_s132_the_folder_is_the_one_of_the_moment(site: QueueSite, tmp_path: Path) -> None:
    key = site.bad()
    folder = tmp_path / "data" / "badmail" / "default"
    assert sorted(path.name for path in folder.iterdir()) == [f"{key}.eml", f"{key}.json"]
    (folder / f"{key}.json").write_text("{")
    assert keys(site) == [] and "cannot be read" in site.ask("badmail.show", key=key)
    assert site.ask("badmail.delete", keys=[key])["deleted"] == 1 and list(folder.iterdir()) == []


def test_who_administers_a_server_administers_its_bad_mail() -> None:
    for verb in ("list", "show", "resubmit", "delete"):
        found = OPERATIONS[f"badmail.{verb}"]
        assert found.resource({"server": "smtp/out"}) == "server/smtp/out" and found.resource({}) == ""
