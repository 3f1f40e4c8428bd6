"""The documents say what is: generated pages are up to date, files and commands that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import generate
from mailsrv.cli.main import parser
from mailsrv.errors import ConfigError
from mailsrv.host.config import unbuilt
from mailsrv.host.config.load import loads
from mailsrv.host.config.options import SERVER_TABLES
from mailsrv.parts import fields_of

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
#: Made by measuring, not by writing.
PROMISED = {"docs/performance.md"}
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


@pytest.mark.parametrize(("key", "value"), generate.VALUES_LATER)
def test_values_that_are_not_built_are_refused_as_such(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match="not in this version"):
        loads(f'site.domains = ["example.org"]\n{key.replace("NAME", "one")} = {value}\n')


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
        assert {name for name in named if not (ROOT / name).exists()} <= PROMISED


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_are_shown_can_be_parsed(path: Path) -> None:
    """`mailsrv NOUN VERB ...` in blocks of code: the noun and verb exist."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)
    for line in "\n".join(blocks).splitlines():
        found = re.match(r"(?:\$ |# |sudo -u \w+ )*(?:\S*/)?mailsrv ([a-z]+)(?: ([a-z]+))?", line)
        if found:
            nouns = _commands()
            assert found[1] in nouns, line
            assert not nouns[found[1]] or found[2] in nouns[found[1]], line


def _commands() -> dict[str, set[str]]:
    """Noun -> its verbs; a command without verbs has none."""
    found = {}
    for action in parser()._actions:
        for noun, sub in (action.choices or {}).items() if isinstance(action.choices, dict) else ():
            verbs = [set(a.choices) for a in sub._actions if isinstance(a.choices, dict)]
            found[noun] = verbs[0] if verbs else set()
    assert "store" in found and "check" in found["store"]
    return found
