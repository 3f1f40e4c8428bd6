"""The documents say what is: generated pages are up to date, files and commands that they name are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from docs import generate
from mailsrv.cli.main import parser
from mailsrv.host.config import unbuilt
from mailsrv.host.config.load import loads
from mailsrv.host.config.options import SERVER_TABLES
from mailsrv.interfaces import IAuthenticator
from mailsrv.parts import all_parts, fields_of
from mailsrv.serve.imap.extensions import TABLE
from mailsrv.wire.sasl import mechanisms

from .serve.test_imap_capabilities import PROOFS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == generate.PAGES[name](), "python -m docs.generate"


def test_the_page_of_configuration_has_every_key_and_every_name_that_is_not_built() -> None:
    text = generate.configuration()
    for protocol, options in SERVER_TABLES.items():
        section = text.split(f"### `[{protocol}.NAME]`")[1].split("\n#")[0]
        assert {f"`{key}`" for key in fields_of(options)} <= set(re.findall(r"^\| (`\w+`)", section, re.M))
    later = text.split("## Names known, but not in this version")[1]
    for name in unbuilt.TABLES.union(*unbuilt.KEYS.values()):
        assert re.search(rf"`\[?{name}\]?`", later), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in link and not link.startswith("#"):
            assert (path.parent / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_are_there(path: Path) -> None:
    named = re.findall(r"`((?:mailsrv|tests|docs|examples|bench|twisted)/[\w./-]+)`", path.read_text(encoding="utf-8"))
    # Plans speak of files to come; what is built does not.
    if path.name != "0001-needs-and-contracts.md":
        assert not {name for name in named if not (ROOT / name).exists()}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_are_shown_can_be_parsed(path: Path) -> None:
    """`mailsrv NOUN VERB ...` in blocks of code: the noun and verb exist."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)
    for line in "\n".join(blocks).splitlines():
        found = re.match(r"(?:\$ |# |sudo -u \w+ )*(?:\S*/)?mailsrv ([a-z]+)(?: ([a-z-]+))?", line)
        if found:
            nouns = _commands()
            assert found[1] in nouns, line
            assert not nouns[found[1]] or found[2] in nouns[found[1]], line


@cache
def _commands() -> dict[str, set[str]]:
    """Noun -> its verbs; a command without verbs has none."""
    found = {}
    for action in parser()._actions:
        for noun, sub in (action.choices or {}).items() if isinstance(action.choices, dict) else ():
            verbs = [set(a.choices) for a in sub._actions if isinstance(a.choices, dict)]
            found[noun] = verbs[0] if verbs else set()
    assert "store" in found and "check" in found["store"]
    return found


# ---------------------------------------------------------------- docs/rfcs.md


def rfc_rows() -> list[list[str]]:
    """The cells of every row about an RFC."""
    text = (DOCS / "rfcs.md").read_text(encoding="utf-8")
    return [line.strip("|").split(" | ") for line in text.splitlines() if re.match(r"\| \d{3,5} \|", line)]


def test_no_standard_is_called_done_without_a_file_and_a_test() -> None:
    rows = [[cell.strip() for cell in row] for row in rfc_rows()]
    assert len({row[0] for row in rows}) == len(rows) > 50
    for number, _, status, *rest in rows:
        assert status.partition(":")[0].partition(",")[0] in ("done", "part", "not yet"), number
        proven = [name for cell in rest for name in re.findall(r"`(tests/[\w./-]+)`", cell)]
        lives = [name for cell in rest for name in re.findall(r"`(mailsrv/[\w./-]+)`", cell)]
        assert status.startswith("not yet") != bool(proven and lives), number
        assert all((ROOT / name).is_file() for name in proven + lives), number


def test_every_advertised_capability_of_imap_names_its_conversation() -> None:
    text = (DOCS / "rfcs.md").read_text(encoding="utf-8").split("### What IMAP4 advertises")[1].split("\n## ")[0]
    found = re.findall(r"^\| (\S+) \| (RFC [^|]+) \| `(tests/conversations/[^`]+)` \|$", text, re.M)
    assert [(name.encode(), defined) for name, defined, _ in found] == [(row.name, row.defined) for row in TABLE]
    for name, _, path in found:
        # The conversation that docs name is one of those that prove the capability.
        assert any(path == f"tests/conversations/{file}.txt" for file, _, _ in PROOFS[name.encode()]), name
        assert (ROOT / path).is_file()


def test_every_capability_has_its_standard_in_the_table() -> None:
    numbers = {row[0].strip(): row[2].strip() for row in rfc_rows()}
    for row in TABLE:
        number = row.defined.split()[1]
        assert numbers[number].startswith(("done", "part")), row.name


# ---------------------------------------------------------------- docs/authentication.md


def blocks(name: str, kind: str) -> list[str]:
    """The blocks of code of that kind on a page."""
    return re.findall(rf"^```{kind}\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.parametrize("text", blocks("authentication.md", "toml"))
def test_configurations_of_logins_are_taken_as_they_are_shown(text: str) -> None:
    options = loads('site.domains = ["example.org", "example.net"]\n' + text)
    assert not [str(warning) for warning in options.warnings if '"any"' not in str(warning)]


def test_every_authenticator_has_a_configuration_on_the_page_of_logins() -> None:
    shown = "\n".join(blocks("authentication.md", "toml"))
    used = {name for names in re.findall(r"^use = (.+)$", shown, re.M) for name in re.findall(r'"(\w+)"', names)}
    ours = {part.name for part in all_parts() if part.contract is IAuthenticator and "mailsrv_parts" in part.source}
    assert ours <= used


def test_every_mechanism_is_in_the_table_of_the_page_of_logins() -> None:
    text = (DOCS / "authentication.md").read_text(encoding="utf-8").split("### Which for whom")[1].split("\n###")[0]
    named = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| "))
    for name in (*mechanisms(), "NTLM"):
        assert re.search(rf"\b{name.removesuffix('-PLUS')}\b", named), name


def test_the_authenticator_that_is_shown_is_the_one_of_the_examples() -> None:
    shown, _ = blocks("authentication.md", "python")
    assert shown in (ROOT / "examples" / "own_authenticator.py").read_text(encoding="utf-8")
    assert len(shown.splitlines()) <= 40


@pytest.mark.live
def test_the_suite_runs_as_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(blocks("authentication.md", "python")[1], encoding="utf-8")
    path = os.pathsep.join([str(ROOT), str(ROOT / "examples")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout


# ---------------------------------------------------------------- docs/smtp.md and the pages of its groups

RECEPTION = sorted(str(path.relative_to(DOCS)) for path in (DOCS / "smtp").glob("*.md"))


@pytest.mark.parametrize("name", ["smtp.md", *RECEPTION])
def test_configurations_of_receiving_mail_are_taken_as_they_are_shown(name: str) -> None:
    """The blocks of a page make one file."""
    text = "\n".join(blocks(name, "toml"))
    assert loads(text if "[site]" in text else 'site.domains = ["example.org"]\n' + text).warnings == ()


@pytest.mark.parametrize("name", RECEPTION)
def test_a_page_of_a_group_tells_what_why_what_clients_see_and_how_to_test_it(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[0].startswith("What ") and {"Why", "What clients see", "How to test it"} <= set(headings)
    assert blocks(name, "toml") and blocks(name, "smtp")


def test_every_key_of_an_smtp_server_is_on_the_page_of_one_group() -> None:
    """tests/live/test_reception_pages.py holds the conversations of these pages."""
    text = (DOCS / "smtp.md").read_text(encoding="utf-8").split("| group |")[1].split("\n\n")[0]
    found: list[str] = []
    for page, keys in re.findall(r"^\| [^|]+ \| \[[\w.]+\]\(([\w./]+)\) \| (.+) \|$", text, re.M):
        named = re.findall(r"`(\w+)`", keys)
        found += named
        shown = (DOCS / page).read_text(encoding="utf-8")
        assert not [key for key in named if key not in shown], page
    assert sorted(found) == sorted(fields_of(SERVER_TABLES["smtp"]))


@pytest.mark.parametrize("text", blocks("operator.md", "toml"))
def test_configurations_for_operators_are_taken_as_they_are_shown(text: str) -> None:
    start = "" if "[site]" in text else '[site]\ndomains = ["example.org"]\n'
    assert not [str(warning) for warning in loads(start + text).warnings if "office" not in str(warning)]


# ---------------------------------------------------------------- docs/deployments.md


@pytest.mark.parametrize("text", blocks("deployments.md", "toml"))
def test_each_machine_has_the_whole_file_that_is_shown(text: str) -> None:
    options = loads(text)
    assert options.warnings == () and "example.org" in options.domains
