"""`access.list`, `access.test`, `relay.test`: what the lists of a file say of a client, and which line says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.errors import TryLater
from mailsrv.host.access import Access
from mailsrv.host.changes import Changes
from mailsrv.host.config.load import load
from mailsrv.host.control.run import run
from mailsrv.testing.dns import NameTable
from mailsrv.testing.loop import Loop
from mailsrv.values import Peer

CONFIG = """\
[access.office]
mode = "only"
list = [
    "192.168.5/255.255.0.0",  # all of us
    "eng.example.com",  # builders
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
    monotonic = clock = float

    def __init__(self, folder: Path) -> None:
        file = folder / "mailsrv.toml"
        file.write_text(CONFIG)
        self.options = load(file)
        self.config_path: Path | None = file
        self.access = Access(self)
        self.changes = Changes(self, lambda: True)
        self.names = NameTable()
        self.access.resolver = self.names

    async def aside(self, function: Any, *arguments: Any) -> Any:
        """Here and now."""
        return function(*arguments)

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


def test_S_038_entries_are_added_and_removed_in_the_file_and_in_effect(site: Site) -> None:
    """Comments stay; the lines that are told are those of the file as it is then."""
    inside = site.access.filter_of(site.options.servers["imap/inside"], print)
    assert inside is not None

    def admitted(host: str) -> str:
        action: str = Loop().run(inside.admit(Peer(host))).action
        return action

    assert admitted("203.0.113.7") == "reject"
    done = site.ask("access.add", name="office", entry="203.0.113.7/24")
    assert done == {
        "name": "office", "mode": "only", "entry": "203.0.113.0/24",
        "warning": '"203.0.113.7/24" is taken as 203.0.113.0/24',
    }
    assert admitted("203.0.113.7") == "accept"
    assert decided(site.ask("access.test", address="203.0.113.7", server="imap/inside")) == {"imap/inside": (True, 7)}
    # As it is written in the file, or in another way.
    site.ask("access.remove", name="office", entry="192.168.0.0/16")
    assert admitted("192.168.5.50") == "reject"
    assert decided(site.ask("access.test", address="203.0.113.7", server="imap/inside")) == {"imap/inside": (True, 6)}
    file = site.options.file
    assert file is not None and file.read_text() == CONFIG.replace(
        '    "192.168.5/255.255.0.0",  # all of us\n', ""
    ).replace('    "2001:db8::/32",\n', '    "2001:db8::/32",\n    "203.0.113.7/24",\n')


def test_a_list_without_entries_gets_its_first(site: Site) -> None:
    site.ask("access.add", name="spare", entry="ENG.example.com")
    lists = {one["name"]: one for one in site.ask("access.list")}
    assert [entry["means"] for entry in lists["spare"]["entries"]] == ["eng.example.com"]


def test_S_035_S_036_the_mode_is_changed_in_effect(site: Site) -> None:
    """Both servers that name the list follow it."""
    before = decided(site.ask("relay.test", address="192.168.5.50"))["smtp/in"]
    done = site.ask("access.mode", name="office", mode="except")
    assert done["used"] == ["relay of smtp/in", "access of imap/inside"] and "OPEN RELAY" in done["warning"]
    assert (before, decided(site.ask("relay.test", address="192.168.5.50"))["smtp/in"]) == ((True, 4), (False, 4))
    assert decided(site.ask("access.test", address="10.0.0.1", server="imap/inside", host="x.org"))["imap/inside"][0]


@pytest.mark.parametrize(("operation", "arguments", "said"), [
    ("access.add", {"name": "offce", "entry": "10.0.0.1"}, 'did you mean "office"?'),
    ("access.add", {"name": "lab", "entry": "10.0.0.1"}, "for a new one: mailsrv config set access.lab.mode only"),
    ("access.add", {"name": "office", "entry": "10.0.0.256"}, "is no IP address"),
    ("access.add", {"name": "office", "entry": "::ffff:192.168.0.0/112"}, "in line 4 is that entry already"),
    ("access.remove", {"name": "office", "entry": "10.0.0.1"}, "[access.office] has no entry 10.0.0.1"),
    ("access.mode", {"name": "office", "mode": "nobody"}, 'must be one of "only", "except"'),
])
def test_changes_that_cannot_be_leave_the_file_as_it_is(
    site: Site, operation: str, arguments: dict[str, str], said: str
) -> None:
    assert said in site.ask(operation, **arguments)
    assert site.options.file is not None and site.options.file.read_text() == CONFIG


def test_a_site_without_a_file_has_the_lists_of_its_program(site: Site) -> None:
    site.config_path = None
    assert "has no configuration file" in site.ask("access.add", name="office", entry="10.0.0.1")


def test_changes_at_once_are_made_one_after_the_other(site: Site) -> None:
    waiting: list[Deferred[None]] = []

    async def aside(function: Any, *arguments: Any) -> Any:
        waiting.append(Deferred())
        await waiting[-1]
        return function(*arguments)

    site.aside = aside  # type: ignore[method-assign]
    done = [
        Deferred.fromCoroutine(run(site, "access.add", {"name": "office", "entry": entry}))
        for entry in ("10.0.0.1", "10.0.0.2")
    ]
    assert len(waiting) == 1
    for one in waiting:  # it grows
        one.callback(None)
    assert [one.called for one in done] == [True, True]
    assert [entry.text for entry in site.access.tables["office"].entries][-2:] == ["10.0.0.1", "10.0.0.2"]
