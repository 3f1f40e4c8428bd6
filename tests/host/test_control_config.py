"""The configuration of a site that does not serve: the file changes, and holds from the next start on (S-015, S-179).

What a running site takes up at once is in tests/live/test_config.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsrv.host.config.explain import listed
from mailsrv.host.config.load import loads
from mailsrv.host.config.pages import PAGES
from mailsrv.host.config.show import flatten
from mailsrv.host.config.versions import MAX_KEPT, Versions
from mailsrv.host.control.run import run
from mailsrv.testing.queue_site import CONFIG, QueueSite


class Bed:
    """A site whose store is open, asked as a command without a server asks."""

    def __init__(self, folder: Path) -> None:
        self.queue = QueueSite(folder, CONFIG)
        self.file = folder / "mailsrv.toml"
        self.file.write_text(CONFIG)
        self.queue.site.config_path = self.file

    def ask(self, name: str, **arguments: Any) -> Any:
        answer = self.queue.loop.run(run(self.queue.site, name, arguments))
        assert "error" not in answer, answer
        return answer["result"]

    def refuse(self, name: str, **arguments: Any) -> str:
        return str(self.queue.loop.run(run(self.queue.site, name, arguments))["error"])


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    yield made
    made.queue.close()


def test_a_change_waits_for_the_start(bed: Bed) -> None:
    done = bed.ask("config.set", key="limits.quota", value="5M")
    assert done["applied"] == [] and done["restart"] == ["limits.quota"]
    assert 'quota = "5M"' in bed.file.read_text()


def test_values_are_what_toml_says_or_texts(bed: Bed) -> None:
    for value, written in (("5M", '"5M"'), ('"6M"', '"6M"'), ("7340032", "7340032"), ("off", '"off"')):
        bed.ask("config.set", key="limits.quota", value=value)
        assert f"quota = {written}" in bed.file.read_text()
    bed.ask("config.set", key="smtp.default.title", value="2026")
    assert 'title = "2026"' in bed.file.read_text()


def test_a_file_that_would_be_wrong_is_not_written(bed: Bed) -> None:
    before = bed.file.read_text()
    assert "limits.quota" in bed.refuse("config.set", key="limits.quota", value="much")
    assert "not TOML" in bed.refuse("config.put", text="[")
    assert "the text is empty" in bed.refuse("config.put", text=" \n")
    assert bed.file.read_text() == before


def test_versions_tell_who_changed_what_and_can_be_had_again(bed: Bed) -> None:
    before = bed.file.read_text()
    bed.ask("config.set", key="limits.quota", value="5M")
    bed.ask("config.unset", key="limits.quota")
    found = bed.ask("config.versions")
    assert [one["what"] for one in found] == ["unset limits.quota", "set limits.quota", "as it was found"]
    assert found[1]["keys"] == ["limits.quota"] and found[1]["who"] == "this process"
    assert 'quota = "5M"' in bed.ask("config.text", number=2)["text"]
    bed.ask("config.rollback", number=2)
    assert 'quota = "5M"' in bed.file.read_text()
    bed.ask("config.rollback", number=1)
    assert bed.file.read_text() == before


def test_an_edit_by_hand_is_a_version_too(bed: Bed) -> None:
    bed.ask("config.set", key="limits.quota", value="5M")
    bed.file.write_text(bed.file.read_text() + "# by hand\n")
    assert bed.ask("config.status")["state"] == "edited"
    bed.ask("config.set", key="limits.quota", value="6M")
    assert [one["what"] for one in bed.ask("config.versions")][:2] == ["set limits.quota", "as it was found"]
    assert "# by hand" in bed.ask("config.text", number=3)["text"]


def test_a_change_on_a_file_that_was_read_before_another_change_is_refused(bed: Bed) -> None:
    read = bed.ask("config.text")["version"]
    bed.ask("config.set", key="limits.quota", value="5M", if_version=read)
    assert "changed meanwhile" in bed.refuse("config.set", key="limits.quota", value="6M", if_version=read)


def test_while_a_change_waits_to_be_confirmed_there_is_no_other(bed: Bed) -> None:
    before = bed.file.read_text()
    bed.ask("config.set", key="limits.quota", value="5M", confirm=60)
    assert bed.ask("config.status")["confirm_until"] is not None
    assert "config confirm" in bed.refuse("config.set", key="limits.quota", value="6M")
    bed.ask("config.rollback")
    assert bed.file.read_text() == before and bed.ask("config.status")["confirm_until"] is None
    assert "no change waits" in bed.refuse("config.confirm")
    assert "5 to 86400 seconds" in bed.refuse("config.set", key="limits.quota", value="5M", confirm=1)


def test_the_oldest_versions_go(tmp_path: Path) -> None:
    kept = Versions(tmp_path / "config", lambda: 1_800_000_000.0)
    for number in range(MAX_KEPT + 5):
        kept.keep(f"# {number}\n", "me", "more")
    assert kept.numbers() == list(range(6, MAX_KEPT + 6))
    # A version that cannot be read is none.
    (tmp_path / "config" / f"{MAX_KEPT + 5:06}.json").write_text("{")
    last = kept.last()
    assert last is not None and last.number == MAX_KEPT + 4
    (tmp_path / "config" / f"{MAX_KEPT + 4:06}.json").write_text(json.dumps({"number": 1}))
    assert kept.get(MAX_KEPT + 4) is None


def test_a_key_is_explained(bed: Bed) -> None:
    facts = bed.ask("config.explain", key="smtp.default.max_message_size")
    assert facts["default"] == "50M" and facts["origin"] == "default" and facts["effect"] == "at once"
    assert bed.ask("config.explain", key="store.use")["effect"] == "at the next start"
    assert "did you mean" in bed.refuse("config.explain", key="smtp.default.max_hop")
    assert bed.ask("config.get", key="smtp.default.max_hops")["value"] == 30
    assert any(one["key"] == "site.hostname" for one in bed.ask("config.show"))


@pytest.mark.parametrize("server, pages", [
    ("smtp/default", ["General", "Access", "Messages", "Delivery"]),
    ("imap/default", ["General", "Access", "Message Format"]),
    ("pop3/default", ["General", "Access", "Message Format"]),
])  # fmt: skip
def test_s173_properties_are_shown_by_their_pages(server: str, pages: list[str]) -> None:
    shown = listed(loads(""), server)
    assert list(dict.fromkeys(one["page"] for one in shown)) == pages


@pytest.mark.parametrize("page, groups, keys", [
    ("General", ["Server", "Bindings", "Connections"], ["title", "listen", "max_connections", "idle_timeout"]),  # S-174
    ("Access", ["Authentication", "Certificate", "Communication", "Connection", "Relay"],
     ["authentication", "certificate", "require_tls", "access", "relay"]),  # S-175
    ("Messages", ["Limits", "Undeliverable"],
     ["max_message_size", "max_session_size", "delivery.messages_per_connection", "max_recipients", "delivery.ndr_copy",
      "delivery.badmail", "delivery.forward_unresolved"]),  # S-176
    ("Delivery", ["Times", "Outbound Security", "Outbound Connections", "Advanced"],
     ["delivery.retry", "delivery.expiration", "delivery.auth", "delivery.max_connections", "max_hops",
      "delivery.masquerade_domain", "hostname", "reverse_lookup", "delivery.dns_servers"]),  # S-177
])  # fmt: skip
def test_s174_s175_s176_s177_a_page_has_what_administrators_look_for_there(
    page: str, groups: list[str], keys: list[str]
) -> None:
    shown = [one for one in listed(loads(""), "smtp/default") if one["page"] == page]
    found = [one["key"].removeprefix("smtp.default.") for one in shown]
    assert [key for key in found if key in keys] == keys
    assert [group for group in dict.fromkeys(one["group"] for one in shown) if group in groups] == groups


def test_s174_imap4_has_its_folders_there() -> None:
    keys = [one["key"] for one in listed(loads(""), "imap/default") if one["group"] == "Folders"]
    assert "imap.default.public_folders" in keys and "imap.default.fast_retrieval" in keys


def test_every_key_of_a_server_has_its_place() -> None:
    known = {key for groups in PAGES.values() for keys in groups.values() for key in keys}
    shown = {".".join(one.path[2:]) for one in flatten(loads("")) if one.path[0] in ("smtp", "imap", "pop3")}
    assert known == shown
