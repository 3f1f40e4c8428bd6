"""The formats of a site: which server shows what, and since when (S-154, S-156, S-164; decisions 30)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailsrv.errors import ConfigError
from mailsrv.host.config.load import load, loads
from mailsrv.host.formats import FILE, Formats
from mailsrv.host.recipients import Recipients
from mailsrv.serve.formatted import FormattedStore
from mailsrv.testing.queue_site import CONFIG, QueueSite

TEXT = '[imap.default.format]\nbody = "text"\n'


def formats(folder: Path, config: str, now: float = 1_800_000_000.5) -> Formats:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "mailsrv.toml").write_text(config)
    made = Formats(load(folder / "mailsrv.toml"), lambda *arguments: None, lambda: now)
    made.keep()
    return made


def since(made: Formats, server: str = "imap/default") -> int:
    store: Any = made.store_of(server, object())  # type: ignore[arg-type]
    return store._shown.since if isinstance(store, FormattedStore) else 0


def test_without_a_format_the_store_is_the_store(tmp_path: Path) -> None:
    store: Any = object()
    made = formats(tmp_path, "[imap.default]\n[pop3.default]\n[smtp.default]\n")
    assert all(made.store_of(server, store) is store for server in ("imap/default", "pop3/default", "smtp/default"))
    assert not (tmp_path / "data" / FILE).exists()


def test_a_changed_format_has_an_instant_that_stays(tmp_path: Path) -> None:
    assert since(formats(tmp_path, TEXT)) == 1_800_000_000
    assert since(formats(tmp_path, TEXT, 1_900_000_000)) == 1_800_000_000


def test_going_back_is_a_change_too_and_one_in_the_same_second(tmp_path: Path) -> None:
    formats(tmp_path, TEXT)
    assert since(formats(tmp_path, "[imap.default]\n")) == 1_800_000_001
    assert since(formats(tmp_path, "[imap.default]\n", 1_900_000_000)) == 1_800_000_001


def test_fast_retrieval_is_a_part_of_the_format(tmp_path: Path) -> None:
    formats(tmp_path, TEXT)
    assert since(formats(tmp_path, "[imap.default]\nfast_retrieval = true\n" + TEXT)) == 1_800_000_001


def test_s_156_imap4_has_mime_alone() -> None:
    with pytest.raises(ConfigError, match="encoding"):
        loads('[imap.a.format]\nencoding = "uuencode"')


def test_s_154_s_161_each_server_has_a_format_and_what_is_stored_by_default(tmp_path: Path) -> None:
    made = formats(tmp_path, "[imap.a]\nlisten = ['127.0.0.1:1143']\n[imap.b]\n[imap.b.format]\nbody = 'html'\n")
    store: Any = object()
    assert made.store_of("imap/a", store) is store and made.store_of("imap/b", store) is not store


def test_pop3_has_no_uidvalidity_to_change(tmp_path: Path) -> None:
    made = formats(tmp_path, '[pop3.default.format]\nencoding = "uuencode"\nbinhex = true\n')
    store: Any = made.store_of("pop3/default", object())  # type: ignore[arg-type]
    assert store._shown.options.attachments == "binhex" and store._shown.since == 0
    assert not (tmp_path / "data" / FILE).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"imap/default": 1}'])
def test_a_file_that_cannot_be_read_stops_the_site(tmp_path: Path, text: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / FILE).write_text(text)
    with pytest.raises(ConfigError, match="cannot be read: restore it"):
        formats(tmp_path, TEXT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[pop3.a.format]\nbinhex = true', 'pop3.a.format.binhex: binhex needs encoding = "uuencode"'),
        ('[imap.a.format]\ncharset = "utf-7"', "must be a character set for mail"),
    ],
    ids=["binhex", "charset"],
)
def test_what_contradicts_itself_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as told:
        loads(text)
    assert words in str(told.value)


def test_s_164_deliveries_are_measured_while_some_server_has_a_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nowhere(*_: Any) -> set[str]:
        return set()

    monkeypatch.setattr("mailsrv.host.live.Bindings.move", nowhere)
    bed = QueueSite(tmp_path, CONFIG)
    try:
        site = bed.site
        monkeypatch.setattr(site, "add_server", lambda *_: None)
        site.recipients = Recipients(site, {})
        for config, measured in (("[pop3.default]\n", False), ('[pop3.default.format]\nbody = "text"\n', True),
                                 ("[pop3.default]\n", False)):  # fmt: skip
            (tmp_path / "mailsrv.toml").write_text(CONFIG + config)
            bed.loop.run(site.live.apply(load(tmp_path / "mailsrv.toml")))
            assert (site.intake.delivered is not None) == measured
    finally:
        bed.close()
