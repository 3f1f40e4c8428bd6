"""The page about policies: its configuration is accepted, its policy works, and it names every policy there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mailsrv.host.config.load import loads
from mailsrv.interfaces import IConnectionPolicy, IMessagePolicy
from mailsrv.parts import all_parts
from mailsrv.testing.bed import Bed

PAGE = (Path(__file__).resolve().parents[2] / "docs/policies.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


@pytest.mark.parametrize("text", blocks("toml"), ids=range(len(blocks("toml"))))
def test_configurations_that_are_shown_are_accepted(text: str) -> None:
    assert loads('[site]\ndomains = ["example.org"]\n\n' + text).warnings == ()


def test_the_policy_that_is_shown_greylists() -> None:
    (code,) = blocks("python")
    assert len(code.splitlines()) < 40
    names: dict[str, Any] = {}
    exec(compile(code, "docs/policies.md", "exec"), names)
    bed = Bed()

    class Site:
        monotonic = bed.clock.seconds

    bed.settings["policies"] = [names["build"](None, Site).for_connection]
    answers = []
    for seconds in (0, 299, 1):
        bed.settle(seconds)
        client = bed.connect("smtp")
        client.send(b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\nQUIT\r\n")
        bed.settle()
        answers.append(client.take().decode().splitlines()[3])
    assert answers == ["451 4.7.1 Greylisted, try again in 5 minutes"] * 2 + ["250 2.1.5 Recipient OK"]


def test_every_policy_and_every_moment_is_named() -> None:
    ours = {part.name for part in all_parts() if part.contract is IMessagePolicy and "/mailsrv_parts" in part.source}
    assert ours == set(re.findall(r"^\| `(\w+)` \| ", PAGE, re.M)) - {
        "accept", "discard", "quarantine", "redirect"
    }
    moments = {*IMessagePolicy.names(), *IConnectionPolicy.names()}
    assert moments == set(re.findall(r"`(on_\w+)\(", PAGE))
