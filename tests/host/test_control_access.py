"""`access.list`, `access.test`, `relay.test`: what the lists of a file say of a client, and which line says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailsrv.errors import TryLater
from mailsrv.host.access import Access
from mailsrv.host.config.load import load
from mailsrv.host.control.run import run
from mailsrv.testing.dns import NameTable
from mailsrv.testing.loop import Loop

CONFIG = """\
[access.office]
mode = "only"
list = [
    "192.168.5/255.255.0.0",  # all of us
    "eng.example.com",
    "2001:db8::/32",
]
[access.bad]
list = ["192.0.2.66"]
[access.spare]
[smtp.in]
access = "bad"
relay = "office"
[smtp.out]
listen = ['*:26']
[imap.inside]
access = "office"
[pop3.all]
"""


class Site:
    """What the operations look at."""

    reactor = None
    monotonic = float

    def __init__(self, folder: Path) -> None:
        file = folder / "mailsrv.toml"
        file.write_text(CONFIG)
        self.options = load(file)
        self.access = Access(self)
        self.names = NameTable()
        self.access.resolver = self.names

    def ask(self, operation: str, **arguments: Any) -> Any:
        """The result, or the words of the refusal."""
        answer = Loop().run(run(self, operation, arguments))
        return answer.get("result", answer.get("error"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site that is not running."""
    return Site(tmp_path)


def decided(told: list[dict[str, Any]]) -> dict[str, tuple[bool, int]]:
    """Server -> (allowed, line)."""
    return {one["server"]: (one["allowed"], one["line"]) for one in told}


def test_S_043_access_of_every_server_by_its_own_list(site: Site) -> None:
    """S-044: denied at one server is not denied at another."""
    assert decided(site.ask("access.test", address="192.0.2.66")) == {
        "smtp/in": (False, 9), "smtp/out": (True, 0), "imap/inside": (False, 0), "pop3/all": (True, 0),
    }
    assert decided(site.ask("access.test", address="::ffff:192.168.77.1")) == {
        "smtp/in": (True, 0), "smtp/out": (True, 0), "imap/inside": (True, 4), "pop3/all": (True, 0),
    }


def test_one_server_with_rule_file_and_line(site: Site) -> None:
    told = site.ask("access.test", address="192.168.5.50", server="imap/inside")
    file = site.options.file
    assert told == [{
        "server": "imap/inside", "allowed": True, "failed": False, "line": 4,
        "rule": f'list "office" (only): "192.168.5/255.255.0.0" at {file}:4',
    }]
    told = site.ask("access.test", address="192.168.5.50", server="pop3/all")
    assert told[0]["rule"] == "no access list: everybody may connect"


def test_S_141_relaying_is_another_question(site: Site) -> None:
    assert decided(site.ask("relay.test", address="192.168.5.50")) == {"smtp/in": (True, 4), "smtp/out": (False, 0)}
    told = site.ask("relay.test", address="192.0.2.66")
    assert [one["rule"] for one in told] == [
        'list "office" (only): not listed', "no relay list: only who logs in may relay",
    ]


def test_names_are_looked_up_or_given(site: Site) -> None:
    site.names.host("198.51.100.7", "host.eng.example.com")
    told = site.ask("access.test", address="198.51.100.7", server="imap/inside")
    assert decided(told) == {"imap/inside": (True, 5)} and len(site.names.asked) == 2
    assert told[0]["rule"].endswith("mailsrv.toml:5 holds host.eng.example.com")
    site.names.asked.clear()
    for host, allowed in (("A.ENG.example.com.", True), ("eng.example.com", True), ("xeng.example.com", False)):
        told = site.ask("access.test", address="198.51.100.9", server="imap/inside", host=host)
        assert told[0]["allowed"] == allowed
    assert not site.names.asked


def test_what_cannot_be_decided_is_said(site: Site) -> None:
    site.names.table["7.100.51.198.in-addr.arpa PTR"] = TryLater
    told = site.ask("relay.test", address="198.51.100.7", server="smtp/in")[0]
    assert (told["allowed"], told["failed"]) == (False, True) and "cannot be looked up now" in told["rule"]


@pytest.mark.parametrize(("operation", "arguments", "said"), [
    ("access.test", {"address": "10.0.0.256"}, '"10.0.0.256" is no IP address'),
    ("access.test", {"address": "10.0.0.0/8"}, "is no IP address"),
    ("access.test", {"address": ""}, "is no IP address"),
    ("access.test", {"address": "10.0.0.1", "server": "imap/insid"}, 'did you mean "imap/inside"?'),
    ("relay.test", {"address": "10.0.0.1", "server": "imap/inside"}, 'no SMTP server "imap/inside"'),
    ("access.test", {"address": "10.0.0.1", "host": "a b"}, "must be a host or domain name"),
])
def test_questions_without_sense(site: Site, operation: str, arguments: dict[str, str], said: str) -> None:
    assert said in site.ask(operation, **arguments)


def test_the_lists_as_they_are_understood(site: Site) -> None:
    lists = {one["name"]: one for one in site.ask("access.list")}
    assert {name: one["used"] for name, one in lists.items()} == {
        "office": ["relay of smtp/in", "access of imap/inside"], "bad": ["access of smtp/in"], "spare": [],
    }
    assert lists["office"]["mode"] == "only"
    assert [(entry["line"], entry["kind"], entry["means"]) for entry in lists["office"]["entries"]] == [
        (4, "group", "192.168.0.0/16"), (5, "domain", "eng.example.com"), (6, "group", "2001:db8::/32"),
    ]


def test_S_034_a_server_without_a_list_has_no_filter_and_a_site_without_lists_no_resolver(tmp_path: Path) -> None:
    made = Site(tmp_path)
    del made.access.__dict__["resolver"]
    servers = made.options.servers
    assert made.access.filter_of(servers["pop3/all"], print) is None
    assert made.access.check_of(servers["smtp/in"]) is None  # type: ignore[arg-type]
    assert set(made.access.relay_lists) == {"smtp/in"}
    (tmp_path / "mailsrv.toml").write_text("[smtp.in]\n[imap.a]\n")
    made.options = load(tmp_path / "mailsrv.toml")
    plain = Access(made)
    assert [plain.filter_of(server, print) for server in made.options.servers.values()] == [None, None]
    assert plain.relay_lists == {} and not {"resolver", "names"} & set(vars(plain))
