"""A change of the configuration that fails in the middle leaves everything as it was (S-015)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.errors import ConfigError, StoreUnavailable
from mailsrv.host.config.load import load, loads
from mailsrv.host.control.run import run
from mailsrv.host.recipients import Recipients
from mailsrv.testing.queue_site import CONFIG, QueueSite

LISTS = CONFIG + '[access.office]\nlist = ["192.0.2.1"]\n'


class Bed:
    """A site whose store is open."""

    def __init__(self, folder: Path) -> None:
        self.queue = QueueSite(folder, LISTS)
        self.site, self.file = self.queue.site, folder / "mailsrv.toml"

    def ask(self, operation: str, **arguments: Any) -> Any:
        answer = self.queue.loop.run(run(self.site, operation, arguments))
        return answer["result"] if "result" in answer else answer["error"]

    def what(self) -> list[str]:
        return [one["what"] for one in self.ask("config.versions")]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    yield made
    made.queue.close()


def test_a_full_data_folder_refuses_a_change_and_the_file_is_as_it_was(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.ask("config.set", key="limits.quota", value="5M")
    before = bed.file.read_text()

    def full(*_: Any) -> None:
        raise ConfigError("cannot be written: No space left on device")

    monkeypatch.setattr("mailsrv.host.config.versions.write_atomically", full)
    assert "No space left" in bed.ask("config.set", key="limits.quota", value="6M")
    assert bed.file.read_text() == before


def test_a_file_that_cannot_be_written_makes_no_version(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.ask("config.set", key="limits.quota", value="5M")
    versions = bed.what()

    def full(*_: Any) -> None:
        raise ConfigError("cannot be written: Read-only file system")

    monkeypatch.setattr("mailsrv.host.changes.write_atomically", full)
    assert "Read-only" in bed.ask("config.set", key="limits.quota", value="6M")
    assert bed.what() == versions


def test_a_store_that_does_not_take_the_domains_leaves_the_options(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    before, logins, path = bed.site.options, bed.site.logins.domains, bed.file
    path.write_text(path.read_text().replace('"example.com"', '"example.net"') + '[auth.directory]\nkeep = []\n')

    async def full(_: Any) -> None:
        raise StoreUnavailable("no room")

    monkeypatch.setattr(bed.site.directory, "set_domains", full)
    with pytest.raises(StoreUnavailable):
        bed.queue.loop.run(bed.site.live.apply(load(path)))
    assert bed.site.options is before and bed.site.logins.domains is logins


def test_access_lists_are_changed_by_versions_which_are_taken_back_alone(bed: Bed) -> None:
    bed.ask("config.set", key="limits.quota", value="5M")
    bed.ask("access.add", name="office", entry="192.0.2.2")
    assert bed.what()[0] == "add 192.0.2.2 to access.office"
    bed.ask("config.rollback")
    assert "192.0.2.2" not in bed.file.read_text() and 'quota = "5M"' in bed.file.read_text()


def test_access_lists_stay_while_a_change_waits_to_be_confirmed(bed: Bed) -> None:
    bed.ask("config.set", key="limits.quota", value="5M", confirm=60)
    assert "waits to be confirmed" in bed.ask("access.add", name="office", entry="192.0.2.2")
    assert "192.0.2.2" not in bed.file.read_text()


def test_an_edit_by_hand_that_was_applied_is_his_who_applied_it_and_one_that_was_not_is_taken_back(bed: Bed) -> None:
    bed.ask("config.set", key="limits.quota", value="5M")
    kept = bed.file.read_text()
    bed.file.write_text(kept + "# by hand\n")
    bed.ask("config.rollback")
    assert bed.file.read_text() == kept
    bed.file.write_text(kept + "# again\n")
    bed.ask("config.apply")
    assert bed.what()[0] == "the file as it was edited"


def test_an_entry_and_an_option_changed_at_once_are_both_there(bed: Bed) -> None:
    """Each reads the file when it begins: one would write over the other."""
    waiting: list[Deferred[None]] = []

    async def aside(function: Any, *arguments: Any) -> Any:
        waiting.append(Deferred())
        await waiting[-1]
        return function(*arguments)

    bed.site.aside = aside
    done = [
        Deferred.fromCoroutine(run(bed.site, name, arguments))
        for name, arguments in (
            ("config.set", {"key": "limits.quota", "value": "5M"}),
            ("access.add", {"name": "office", "entry": "192.0.2.2"}),
        )
    ]
    for one in waiting:  # it grows
        one.callback(None)
    assert [one.called for one in done] == [True, True]
    assert 'quota = "5M"' in bed.file.read_text() and "192.0.2.2" in bed.file.read_text()


def test_a_site_that_stops_finishes_a_change_and_begins_none(bed: Bed) -> None:
    bed.queue.loop.run(bed.site.changes.end())
    assert "the site stops" in bed.ask("config.set", key="limits.quota", value="5M")


def test_a_binding_that_cannot_be_had_now_waits_for_the_next_start(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """decisions 22: a port below 1024 after the right to it was given up."""

    async def later(*_: Any) -> set[str]:
        return {"smtp/default"}

    async def site_of(options: Any) -> Any:
        return await bed.site.live.apply(options)

    monkeypatch.setattr("mailsrv.host.live.Bindings.move", later)
    monkeypatch.setattr(bed.site, "add_server", lambda *_: None)
    bed.site.recipients = Recipients(bed.site, {})
    was = bed.site.options.servers["smtp/default"].listen
    head, _, rest = bed.file.read_text().partition("[smtp.default]\n")
    bed.file.write_text(f'{head}[smtp.default]\nlisten = ["127.0.0.1:77"]\n{rest.partition(chr(10))[2]}')
    change = bed.queue.loop.run(site_of(load(bed.file)))
    assert change.restart == (("smtp", "default", "listen"),)
    assert bed.site.options.servers["smtp/default"].listen == was
    assert bed.ask("config.status")["keys"] == ["smtp.default.listen"]


def test_s179_a_change_that_cannot_be_taken_back_is_taken_back_later(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise ConfigError("cannot be written: Read-only file system")

    clock, before = bed.queue.clock, bed.file.read_text()
    bed.ask("config.set", key="limits.quota", value="5M", confirm=60)
    with monkeypatch.context() as broken:
        broken.setattr("mailsrv.host.changes.write_atomically", full)
        clock.advance(60)
        failed = bed.ask("config.status")["taking_back"]
        assert failed["tries"] == 1 and "Read-only" in failed["error"] and failed["again"] == clock.seconds() + 10
        clock.advance(10)
        assert bed.ask("config.status")["taking_back"]["again"] == clock.seconds() + 20
        for _ in range(12):
            clock.advance(600)  # never longer
        assert bed.ask("config.status")["taking_back"]["tries"] == 14
    clock.advance(600)
    facts = bed.ask("config.status")
    assert facts["taking_back"] is None and facts["confirm_until"] is None and facts["state"] == "applied"
    assert bed.file.read_text() == before and clock.getDelayedCalls() == []


def test_s179_who_confirms_a_change_that_cannot_be_taken_back_ends_the_trying(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise ConfigError("cannot be written: Read-only file system")

    bed.ask("config.set", key="limits.quota", value="5M", confirm=60)
    monkeypatch.setattr("mailsrv.host.changes.write_atomically", full)
    bed.queue.clock.advance(60)
    assert bed.ask("config.confirm")["taking_back"] is None
    assert 'quota = "5M"' in bed.file.read_text() and bed.queue.clock.getDelayedCalls() == []


def test_a_change_leaves_alone_what_has_nothing_to_do_with_it(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authorizer, and what servers offer, are made again only when options that they are made of have changed."""
    made: dict[str, Any] = {}
    monkeypatch.setattr(bed.site, "add_server", lambda options, services: made.update({options.id: services}))
    bed.site.recipients = Recipients(bed.site, {})

    def take_up(before: str, after: str) -> tuple[bool, list[bool]]:
        """Whether the authorizer is the same, and what smtp/default and smtp/out offer."""
        rules, offers = bed.site.logins.authorizer.current, {name: one.offers for name, one in made.items()}
        bed.queue.loop.run(bed.site.live.apply(loads(bed.file.read_text().replace(before, after), bed.file)))
        same = [offers.get(name) is made[name].offers for name in ("smtp/default", "smtp/out")]
        return bed.site.logins.authorizer.current is rules, same

    assert take_up("[imap", "[limits]\nquota = 1\n[imap") == (True, [False, False])  # there was nothing yet
    assert take_up("[imap", "[limits]\nquota = 2\n[imap") == (True, [True, True])
    assert take_up("[smtp.out]", "[smtp.out]\nmax_hops = 19") == (True, [True, False])
    assert take_up("[smtp.out]", "[smtp.out]\nusers = []\nmax_hops = 19") == (False, [True, False])
    assert take_up("[imap", "[auth.directory]\nkeep = [\"cram-md5\"]\n[imap") == (False, [False, False])


def test_a_change_keeps_ways_that_are_the_same_and_leaves_nothing_to_end_later(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of changes in a row leave nothing behind."""
    monkeypatch.setattr(bed.site, "add_server", lambda *_: None)
    bed.site.recipients = Recipients(bed.site, {})
    lanes: list[dict[str, Any]] = []
    for text in ('["a"]', '["a"]\n[limits]\nquota = 5', '["b"]', '["b"]\ntls = "require"'):
        routes = f"{LISTS}[routes.'dest.example']\nhost = {text}\n"
        bed.queue.loop.run(bed.site.live.apply(loads(routes, bed.file)))
        lanes.append(dict(bed.site.delivery.lanes))
    kept = [[one[name] is other[name] for name in one] for one, other in pairwise(lanes)]
    assert kept == [[True, True], [False, False], [False, False]]
    assert bed.queue.clock.getDelayedCalls() == []
