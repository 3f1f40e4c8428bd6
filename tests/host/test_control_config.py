"""`config.apply`: a changed file in a running site (S-164)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailsrv.errors import ConfigError, Refused
from mailsrv.host.config.load import load
from mailsrv.host.control.config import apply
from mailsrv.serve.formatted import FormattedStore
from mailsrv.testing.loop import Loop

CONFIG = "[smtp.default]\n[imap.default]\n[pop3.default]\n"


class Server:
    """A running server: what it gives to new sessions."""

    def __init__(self, store: Any) -> None:
        self.services = self
        self.store = store


class Site:
    """What the operation looks at."""

    aside = staticmethod(lambda *arguments: None)
    clock = staticmethod(lambda: 1_800_000_000.0)

    def __init__(self, folder: Path) -> None:
        self.config_path: Path | None = folder / "mailsrv.toml"
        self.write("")
        (folder / "data").mkdir()
        self.options = load(folder / "mailsrv.toml")
        self.store: Any = object()
        self.servers = {name: Server(self.store) for name in self.options.servers}

    def write(self, more: str) -> None:
        assert self.config_path is not None
        self.config_path.write_text(CONFIG + more)

    def apply(self) -> dict[str, list[str]]:
        done: dict[str, list[str]] = Loop().run(apply(self))
        return done


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_s_164_a_format_is_in_effect_for_new_log_ins_without_a_restart(site: Site) -> None:
    site.write('[pop3.default.format]\nbody = "text"\n')
    assert site.apply() == {"applied": ["pop3.default.format.body"], "restart": []}
    shown: Any = site.servers["pop3/default"].store
    assert isinstance(shown, FormattedStore) and shown._shown.options.body == "text"
    assert site.servers["imap/default"].store is site.store and site.servers["smtp/default"].store is site.store
    assert site.options.servers["pop3/default"].format.body == "text"  # type: ignore[attr-defined]
    site.write("")
    assert site.apply()["applied"] == ["pop3.default.format.body"]
    assert site.servers["pop3/default"].store is site.store


def test_imap_clients_are_told_another_uidvalidity(site: Site) -> None:
    site.write('[imap.default.format]\nbody = "html"\n')
    site.apply()
    shown: Any = site.servers["imap/default"].store
    assert shown._shown.since == 1_800_000_000


def test_what_needs_a_restart_is_named_and_waits_for_it(site: Site) -> None:
    other = '[pop3.other]\nlisten = ["*:1110"]\n[site]\ndomains = ["b.example"]\n'
    site.write('[imap.default.format]\ncharset = "utf-8"\n' + other)
    done = site.apply()
    assert done["applied"] == ["imap.default.format.charset"]
    assert "site.domains" in done["restart"] and "pop3.other.listen" in done["restart"]
    assert site.options.site.domains != ("b.example",)


def test_nothing_changed(site: Site) -> None:
    assert site.apply() == {"applied": [], "restart": []}


def test_a_file_with_a_mistake_changes_nothing(site: Site) -> None:
    site.write('[pop3.default.format]\nbody = "words"\n')
    with pytest.raises(ConfigError, match="body"):
        site.apply()
    assert site.servers["pop3/default"].store is site.store


def test_a_site_without_a_file(site: Site) -> None:
    site.config_path = None
    with pytest.raises(Refused, match="no configuration file"):
        site.apply()
