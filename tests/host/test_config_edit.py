"""Editing the file: comments and order stay, nothing that does not load is written, a crash leaves a whole file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailsrv.errors import ConfigError, Refused
from mailsrv.host.config.edit import edit, set_domains, set_value, unsetting, write_atomically
from mailsrv.host.config.load import load

TEXT = """\
# the office
[site]   # who we are
hostname = "mail.example.org"  # FQDN
domains = [
    "example.org",  # the first
    "old.example",  # goes away
]

# mail from outside
[smtp.default]
max_hops = 30     # loops
listen = ["*:25"]

[domain."old.example"]
subaddress = "-"

[imap.default]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    path = tmp_path / "mailsrv.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def test_one_value_changes_and_all_else_stays(file: Path) -> None:
    options = set_value(file, ("smtp", "default", "max_hops"), 40)
    assert file.read_text() == TEXT.replace("max_hops = 30", "max_hops = 40")
    assert options == load(file) and options.servers["smtp/default"].max_hops == 40  # type: ignore[attr-defined]


def test_a_new_key_and_a_new_table(file: Path) -> None:
    set_value(file, ("smtp", "default", "max_recipients"), 5)
    set_value(file, ("pop3", "second", "listen"), ["127.0.0.1:0"])
    text = file.read_text()
    assert "[pop3.second]" in text and "[pop3]\n" not in text
    for line in TEXT.splitlines():
        assert line in text
    assert edit(file, unsetting(("pop3", "second"))) == load(file)
    assert "second" not in file.read_text()
    before = file.read_text()
    with pytest.raises(Refused, match="not in the file"):
        edit(file, unsetting(("pop3", "third", "listen")))
    assert file.read_text() == before


def test_domains_are_changed_in_place(file: Path) -> None:
    options = set_domains(file, ["example.org", "new.example"])
    text = file.read_text()
    assert list(options.domains) == ["example.org", "new.example"]
    assert '"example.org",  # the first' in text and "old.example" not in text and "# loops" in text


def test_domains_without_a_list(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text("# empty\n")
    assert list(set_domains(path, ["a.org"]).domains) == ["a.org"]
    assert path.read_text().startswith("# empty\n")


@pytest.mark.parametrize(("keys", "value", "said"), [
    (("smtp", "default", "max_hops"), 5, "must be 10 to 256"),
    (("smtp", "default", "nonsense"), 5, "unknown key"),
    (("smtp", "default", "max_hops", "deeper"), 5, "is no table"),
    (("site", "domains"), ["example.org"], "not in site.domains"),
])
def test_an_edit_that_does_not_load_is_refused(file: Path, keys: tuple[str, ...], value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        set_value(file, keys, value)
    assert caught.value.file == str(file)
    assert file.read_text() == TEXT and os.listdir(file.parent) == ["mailsrv.toml"]


def test_a_file_with_a_mistake_is_not_edited(file: Path) -> None:
    file.write_text(TEXT + "nonsense = 1\n")
    with pytest.raises(ConfigError, match="unknown key"):
        edit(file, lambda document: None)
    assert file.read_text() == TEXT + "nonsense = 1\n"


def test_the_mode_stays_and_a_link_is_followed(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    set_value(link, ("smtp", "default", "max_hops"), 40)
    assert link.is_symlink() and file.stat().st_mode & 0o777 == 0o640 and "max_hops = 40" in file.read_text()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        """No room."""
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
        set_value(file, ("smtp", "default", "max_hops"), 40)
    assert file.read_text() == TEXT and os.listdir(file.parent) == ["mailsrv.toml"]


def test_the_file_is_replaced_only_when_its_content_is_on_the_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    write_atomically(file, b"x", 0o600)
    assert calls == ["fsync", "replace", "fsync"] and file.stat().st_mode & 0o777 == 0o600
