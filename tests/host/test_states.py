"""What was said of servers, read again at the next start (S-017, S-025); servers put into the file and taken out."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.defer import Deferred

from mailsrv.errors import ConfigError, Refused
from mailsrv.host.config.load import loads
from mailsrv.host.config.servers import adding, removing, split_name, with_port
from mailsrv.host.states import FILE, STATES, Service, States
from tests.properties import tries


def states(folder: Path) -> States:
    async def work(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    site = SimpleNamespace(options=SimpleNamespace(data=folder), aside=work)
    return States(site, {"smtp": Service(), "imap": Service()})


def result(coroutine: Any) -> Any:
    out: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(out.append)
    return out[0]


def test_s_017_s_025_what_is_written_is_read_again(tmp_path: Path) -> None:
    first = states(tmp_path)
    first.said["smtp/a"] = "paused"
    first._services["smtp"].state = "stopped"
    first._services["smtp"].before["smtp/b"] = "running"
    assert result(first.keep()) == ""
    second = states(tmp_path)
    second.read()
    assert second.said == {"smtp/a": "paused"}
    assert second._services["smtp"] == Service("stopped", {"smtp/b": "running"})
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    assert "not kept for the next start" in result(states(tmp_path / "none").keep())


WRONG = ["", "{", "[]", "null", "1", "[" * 5000, '{"servers": []}', "\xff",
         '{"servers": {"a": "broken"}, "services": {}}',
         '{"servers": {}, "services": {"smtp": {"state": "gone", "before": {}}}}',
         '{"servers": {"smtp/a": "stopped"}, "services": {"smtp": {"state": "stopped"}}}']  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_file_that_is_no_such_file_is_forgotten_as_a_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    made = states(tmp_path)
    made.read()
    assert made.said == {} and made._services["smtp"] == Service()


_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=5) | some.sampled_from(STATES),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(
        some.sampled_from(["servers", "services", "smtp", "state", "before", "x/y"]), inner, max_size=4
    ),
)


@settings(max_examples=tries(40))
@given(_JSON)
def test_whatever_the_file_holds_nothing_is_raised(value: Any) -> None:
    made = states(Path("/nonexistent"))
    path = SimpleNamespace(exists=lambda: True, open=lambda mode: _Opened(json.dumps(value)))
    made._path = lambda: path  # type: ignore[assignment, method-assign, return-value]
    made.read()
    assert all(state in STATES for state in made.said.values())


class _Opened:
    """A file that is a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *why: object) -> None:
        pass

    def read(self, most: int) -> str:
        return self.text


# ---------------------------------------------------------------- servers in the file


@pytest.mark.parametrize("text, made", [
    ("192.0.2.1", "192.0.2.1:25"), ("*", "*:25"), ("::1", "[::1]:25"), ("[::1]", "[::1]:25"), ("*:26/tls", "*:26/tls"),
    ("unix:x", "unix:x"), ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
    ("mx.a.example", "mx.a.example"),
])
def test_s_012_an_address_alone_gets_the_usual_port(text: str, made: str) -> None:
    assert with_port(text, "smtp") == made


@pytest.mark.parametrize("name", ["smtp", "smtp/", "/a", "nntp/a", "smtp/a b", "smtp/a/b", "smtp/" + "x" * 65])
def test_what_is_no_name_of_a_server(name: str) -> None:
    with pytest.raises(Refused, match="is no name of a server"):
        split_name(name)


def changed(text: str, change: Any) -> str:
    document = tomlkit.parse(text)
    change(document)
    made = tomlkit.dumps(document)
    loads(made)
    return made


THREE = ["smtp/default", "imap/default", "pop3/default"]


def test_s_012_a_file_that_names_no_server_names_the_three_when_there_is_a_fourth() -> None:
    text = changed("# Mine\n[site]\ndata = 'x' # there\n", adding("imap", "b", {"listen": ["*:1143"]}, THREE))
    assert text.startswith("# Mine\n[site]\ndata = 'x' # there\n")
    assert sorted(loads(text).servers) == sorted([*THREE, "imap/b"])
    without = changed(text, removing("imap", "b", [*THREE, "imap/b"]))
    assert sorted(loads(without).servers) == sorted(THREE)


def test_one_of_the_three_that_no_file_names_can_be_removed() -> None:
    text = changed("", removing("pop3", "default", THREE))
    assert sorted(loads(text).servers) == ["imap/default", "smtp/default"] and "pop3" not in text


def test_comments_and_order_stay_and_a_server_goes_with_its_inner_tables() -> None:
    text = (
        "# first\n[smtp.a] # main\nlisten = ['*:25']\n[imap.a]\n[smtp.b]\nlisten = ['*:26']\n[smtp.b.delivery]\n"
        "retry = ['1m']\n[smtp.a.delivery]\nretry = ['2m'] # slow\n"
    )
    more = changed(text, adding("smtp", "c", {"title": "It's \"c\"", "listen": ["*:27"]}, ["smtp/a"]))
    assert loads(more).servers["smtp/c"].title == "It's \"c\""
    less = changed(more, removing("smtp", "b", ["smtp/a"]))
    assert sorted(loads(less).servers) == ["imap/a", "smtp/a", "smtp/c"]
    for kept in ("# first\n", "[smtp.a] # main\n", "retry = ['2m'] # slow\n"):
        assert kept in less
    with pytest.raises(ConfigError):
        changed(text, adding("smtp", "d", {"listen": ["*:25"]}, ["smtp/a"]))
