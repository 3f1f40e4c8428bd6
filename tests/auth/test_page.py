"""The page about users shows configurations that are accepted, and names every authenticator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailsrv.host.config.load import loads
from mailsrv.interfaces import IAuthenticator
from mailsrv.parts import all_parts

PAGE = (Path(__file__).resolve().parents[2] / "docs/users.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.S | re.M)


@pytest.mark.parametrize("text", BLOCKS, ids=range(len(BLOCKS)))
def test_configurations_that_are_shown_are_accepted(text: str) -> None:
    loads('[site]\ndomains = ["example.org"]\n\n' + text)


def test_every_authenticator_is_named() -> None:
    ours = {part.name for part in all_parts() if part.contract is IAuthenticator and "/mailsrv_parts" in part.source}
    named = set(re.findall(r"^\| `(\w+)`", PAGE, re.M))
    # `any` is for test beds alone.
    assert len(BLOCKS) >= 4 and named == ours - {"any"}
