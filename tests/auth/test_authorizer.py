"""The authorizer `accounts`: every action, who gets it, and that nothing else is given."""

from __future__ import annotations

import os
import pwd
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from mailsrv.auth.authorizer import MAX_TARGETS, AccountsAuthorizer, Options, ServerRules, build
from mailsrv.auth.patterns import EVERYBODY, NOBODY, Patterns, fold, read_pattern
from mailsrv.auth.roles import (
    Role,
    owners,
    read_action,
    read_member,
    read_scope,
    unix_identity,
    unix_login,
)
from mailsrv.errors import ConfigError
from mailsrv.host.config.load import loads
from mailsrv.interfaces import IAuthorizer
from mailsrv.store.memory import MemoryStore
from mailsrv.values import Address, DomainFacts, Identity, Verdict

ROLES = (
    Role("owner", ["unix:0"], ["*"]),
    Role("help", ["anna@example.org", "unix:mailhelp"], ["user.*", "alias.list"], ["domain/Example.ORG"]),
    Role("watch", ["@other.example", "!bad@other.example"], ["session.list", "server.show"], ["server/smtp/default"]),
    Role("proxy", ["anna@example.org", "dora@example.org"], ["login.as"],
         ["domain/example.org", "user/x@other.example"]),
    Role("desk", ["bob@example.org"], ["send.as"], ["user/desk@example.org", "domain/lists.example"]),
    Role("all", ["chef@example.org"], ["*"]),
    Role("all but users", ["*", "!anna@example.org", "!bob@example.org"], ["part.list"]),
)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns; nothing here waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class Site:
    """Accounts anna, bob, dora, chef of example.org; dora is disabled.  Aliases: info (anna and bob), bobby (bob),
    far (elsewhere), nested (bobby); everything else of catch.example is bob's."""

    def __init__(self) -> None:
        catch = DomainFacts("catch.example", catch_all="bob@example.org")
        self.directory = MemoryStore(
            domains=[DomainFacts("example.org"), DomainFacts("other.example"), catch]
        ).directory
        add, names = self.directory.add_account, ("Anna", "bob", "dora", "chef")
        self.ids = {name: run(add(Address(name, "example.org"), "x")).account_id for name in names}
        run(self.directory.set_enabled(self.ids["dora"], False))
        for alias, targets in (
            ("info", ("anna", "bob")), ("bobby", ("bob",)), ("far", ("x@elsewhere.example",)), ("nested", ("bobby",)),
            ("plus", ("bob+lists",)),
        ):
            goals = [Address(*(t if "@" in t else f"{t}@example.org").split("@")) for t in targets]
            run(self.directory.add_alias(Address(alias, "example.org"), goals))
        rules = {
            "smtp/default": ServerRules("smtp", EVERYBODY, Patterns(["@example.org", "!anna@example.org"])),
            "smtp/in": ServerRules("smtp"),
            "smtp/few": ServerRules("smtp", Patterns(["bob@example.org"]), EVERYBODY),
            "imap/default": ServerRules("imap", Patterns(["*", "!BOB@example.org"])),
            "pop3/none": ServerRules("pop3", NOBODY),
        }
        self.authorizer = AccountsAuthorizer(self.directory, rules, ROLES)

    def who(self, name: str | None) -> Identity | None:
        """By a short name: an account, "unix:NAME", "anonymous", "bob as anna", or a login of another directory."""
        if name is None or name.startswith("unix:"):
            return name and Identity(0, name, mechanism="UNIX")  # type: ignore[return-value]
        if name == "anonymous":
            return Identity(0, "bob@example.org", mechanism="ANONYMOUS")  # its trace may say anything
        login, _, acted = name.partition(" as ")
        address = login if "@" in login else f"{login}@example.org"
        return Identity(self.ids.get(acted or login, 0), address, acted and f"{acted}@example.org".lower(), "PLAIN")

    def verdict(self, identity: Identity | None, action: str, resource: str) -> Verdict:
        """The verdict, which is accept or a reject that says nothing of why to clients."""
        found: Verdict = run(self.authorizer.permits(identity, action, resource))
        if found.action != "accept":
            assert (found.action, found.status) == ("reject", "5.7.1")
            assert found.text == ("Relay access denied" if found.rule == "relay_users" else "Access denied")
        return found

    def permits(self, name: str | None, action: str, resource: str) -> bool:
        """Yes or no."""
        return self.verdict(self.who(name), action, resource).action == "accept"


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


TABLE: tuple[tuple[str, str, tuple[str | None, ...], tuple[str | None, ...]], ...] = (
    # action, resource, who may, who may not
    ("server.use", "smtp/default", ("Anna", "bob", "x@foreign.example", "anonymous"), (None, "unix:root")),
    ("server.use", "smtp/in", ("Anna", "anonymous"), (None,)),
    ("server.use", "smtp/few", ("bob", "anonymous"), ("Anna", "bob as Anna", "Anna as bob")),
    (
        "server.use", "imap/default",
        ("Anna", "chef", "x@foreign.example"), ("bob", "bob as Anna", "Anna as bob", "anonymous"),
    ),
    ("server.use", "pop3/none", (), ("Anna", "bob", "anonymous", None)),
    ("server.use", "smtp/other", (), ("Anna", "anonymous", None, "unix:root")),
    ("server.use", "", (), ("Anna", None)),
    ("server.relay", "smtp/default", ("bob", "chef"), ("Anna", "bob as Anna", "x@foreign.example", "anonymous", None)),
    ("server.relay", "smtp/in", (), ("bob", "chef", "anonymous", None)),
    ("server.relay", "smtp/few", ("bob",), ("Anna", "chef", "anonymous", "unix:root", None)),
    ("server.relay", "imap/default", (), ("Anna", "chef")),
    ("send.as", "bob@example.org", ("bob", "Anna as bob"), ("Anna", "anonymous", None, "unix:bob", "unix:root")),
    ("send.as", "Bob@Example.org", ("bob",), ("Anna",)),
    ("send.as", "bob+lists@example.org", ("bob",), ("Anna",)),
    ("send.as", "info@example.org", ("Anna", "bob"), ("chef", "x@foreign.example")),
    ("send.as", "bobby@example.org", ("bob", "Anna as bob"), ("Anna",)),
    ("send.as", "nested@example.org", ("bob",), ("Anna",)),
    ("send.as", "plus@example.org", ("bob",), ("Anna",)),
    ("send.as", "far@example.org", (), ("bob", "Anna", "chef")),
    ("send.as", "nobody@example.org", (), ("bob", "Anna", "chef")),
    ("send.as", "sales@catch.example", ("bob",), ("Anna",)),
    ("send.as", "x@foreign.example", ("x@foreign.example",), ("bob", "chef")),
    ("send.as", "desk@example.org", ("bob",), ("Anna", "chef")),
    ("send.as", "any@lists.example", ("bob",), ("Anna", "chef")),
    ("send.as", "lists.example", (), ("bob", "Anna")),
    ("send.as", "", (), ("bob", "Anna", "anonymous", None)),
    ("login.as", "bob@example.org", ("Anna",), ("bob", "chef", "dora", "anonymous", None, "unix:root", "unix:anna")),
    ("login.as", "x@other.example", ("Anna",), ("bob", "dora")),
    ("login.as", "y@other.example", (), ("Anna", "bob")),
    ("login.as", "example.org", (), ("Anna",)),
    ("login.as", "", (), ("Anna", "chef")),
    (
        "admin.user.remove", "user/bob@example.org",
        ("Anna", "chef", "unix:root", "unix:mailhelp"), ("bob", "dora", None, "anonymous"),
    ),
    ("admin.user.remove", "user/z@other.example", ("chef", "unix:root"), ("Anna", "unix:mailhelp", "w@other.example")),
    ("admin.user.list", "", ("chef", "unix:root"), ("Anna", "unix:mailhelp")),
    ("admin.user.list", "domain/example.org", ("Anna", "chef", "unix:mailhelp"), ("bob", "unix:somebody")),
    ("admin.user.list", "domain/sub.example.org", ("chef",), ("Anna",)),
    ("admin.alias.list", "domain/example.org", ("Anna", "chef"), ("bob",)),
    ("admin.alias.add", "user/x@example.org", ("chef", "unix:root"), ("Anna", "unix:mailhelp")),
    ("admin.session.list", "server/smtp/default", ("w@other.example", "chef"), ("bad@other.example", "Anna")),
    ("admin.session.list", "server/smtp/in", ("chef",), ("w@other.example",)),
    ("admin.session.list", "", ("chef",), ("w@other.example",)),
    ("admin.server.show", "server/smtp/default", ("w@other.example",), ("Anna",)),
    ("admin.part.list", "", ("chef", "w@other.example"), ("Anna", "bob", "unix:mailhelp", "dora", "anonymous", None)),
    ("admin.login.as", "user/bob@example.org", (), ("bob", "anonymous")),
    ("admin", "", (), ("chef", "unix:root")),
    ("admin.", "", (), ("chef", "unix:root")),
    ("admin.user", "", (), ("chef", "unix:root")),
    *(
        (f"mailbox.{right}", "2/INBOX", ("bob", "Anna as bob"), ("Anna", "chef", "anonymous", None, "unix:root"))
        for right in "lrswipkxtea"
    ),
    ("mailbox.r", "2", ("bob",), ("Anna",)),
    ("mailbox.r", "22/INBOX", (), ("bob",)),
    ("mailbox.r", "0/INBOX", (), ("x@foreign.example", "unix:root", "anonymous")),
    ("mailbox.rw", "2/INBOX", (), ("bob",)),
    ("mailbox.", "2/INBOX", (), ("bob",)),
    *(
        (action, "smtp/default", (), ("bob", "chef", None))
        for action in ("", "server", "server.use.more", "server.", "x.y")
    ),
)  # fmt: skip


@pytest.mark.parametrize(("action", "resource", "may", "not_"), TABLE, ids=[f"{row[0]} {row[1]}" for row in TABLE])
def test_decisions_15_who_may_what(
    site: Site, action: str, resource: str, may: tuple[str | None, ...], not_: tuple[str | None, ...]
) -> None:
    assert [name for name in may if not site.permits(name, action, resource)] == []
    assert [name for name in not_ if site.permits(name, action, resource)] == []


@pytest.mark.parametrize(("denied", "scopes", "use"), [
    ((), (), {"smtp/default", "imap/default"}),
    (("smtp",), (), {"imap/default"}),
    (("smtp/default",), (), {"imap/default"}),
    (("smtp/other", "pop3"), (), {"smtp/default", "imap/default"}),
    ((), ("imap",), {"imap/default"}),
    ((), ("imap", "smtp"), {"smtp/default", "imap/default"}),
    (("imap",), ("imap",), set()),
])
def test_s104_what_is_taken_from_an_account_and_what_credentials_are_good_for(
    site: Site, denied: tuple[str, ...], scopes: tuple[str, ...], use: set[str]
) -> None:
    somebody = Identity(site.ids["chef"], "chef@example.org", denied=frozenset(denied), scopes=frozenset(scopes))
    servers = ("smtp/default", "imap/default")
    assert {name for name in servers if site.verdict(somebody, "server.use", name).action == "accept"} == use
    # Who may not use a server does not relay through it (S-137).
    relays = site.verdict(somebody, "server.relay", "smtp/default").action == "accept"
    assert relays == ("smtp/default" in use)


def test_an_alias_as_authzid_is_the_own_account(site: Site) -> None:
    own = Identity(site.ids["Anna"], "Anna@example.org", "info@example.org")
    assert site.verdict(own, "server.use", "imap/default").action == "accept"
    # The pattern names the account, whatever it is called in this login.
    bob = Identity(site.ids["bob"], "bob@example.org", "bobby@example.org")
    assert site.verdict(bob, "server.use", "imap/default").rule == "users"


def test_who_is_disabled_has_no_role(site: Site) -> None:
    dora = site.who("dora")
    assert site.verdict(dora, "login.as", "bob@example.org").rule == "the account is disabled"
    # Not either under the name of somebody else, and not when the account is gone.
    acting = Identity(site.ids["bob"], "dora@example.org", "bob@example.org")
    assert site.verdict(acting, "login.as", "bob@example.org").rule == "the account is disabled"
    gone = Identity(999, "anna@example.org")
    assert site.verdict(gone, "login.as", "bob@example.org").rule == "the account is disabled"


def test_a_unix_user_and_a_login_are_never_taken_for_each_other(site: Site) -> None:
    for forged in (Identity(1, "unix:root"), Identity(0, "unix:root", mechanism="PLAIN"), Identity(0, "UNIX:root")):
        assert site.verdict(forged, "admin.user.list", "").action == "reject"
    member = Identity(0, "chef@example.org", mechanism="UNIX")
    assert site.verdict(member, "admin.user.list", "").action == "reject"
    nameless = Identity(0, "", mechanism="PLAIN")
    for action, resource in (("server.use", "smtp/default"), ("admin.part.list", ""), ("send.as", "")):
        assert site.verdict(nameless, action, resource).action == "reject"


def test_a_long_alias_is_looked_through_by_text_and_resolved_only_so_far(site: Site) -> None:
    asked: list[Address] = []

    class Counting:
        """The directory, and what was resolved."""

        def __getattr__(self, name: str) -> Any:
            return getattr(site.directory, name)

        async def resolve(self, address: Address) -> Any:
            """See IDirectory."""
            asked.append(address)
            return await site.directory.resolve(address)

    everybody = [Address(f"u{n}", "elsewhere.example") for n in range(5 * MAX_TARGETS)]
    run(site.directory.add_alias(Address("all", "example.org"), [*everybody, Address("bob", "example.org")]))
    authorizer = AccountsAuthorizer(Counting(), {})  # type: ignore[arg-type]
    assert run(authorizer.permits(site.who("bob"), "send.as", "all@example.org")).action == "accept"
    assert len(asked) == 1
    assert run(authorizer.permits(site.who("Anna"), "send.as", "all@example.org")).action == "reject"
    assert len(asked) == 2 + MAX_TARGETS


def test_mailboxes_of_others_are_left_to_a_hook(site: Site) -> None:
    asked = []

    async def shared(identity: Identity, right: str, resource: str) -> bool:
        """Reading is open to bob."""
        asked.append((identity.authcid, right, resource))
        return right == "r"

    authorizer = AccountsAuthorizer(site.directory, {}, (), shared)
    bob = site.who("bob")
    assert run(authorizer.permits(bob, "mailbox.r", "1/Shared/x")).action == "accept"
    assert run(authorizer.permits(bob, "mailbox.w", "1/Shared/x")).action == "reject"
    assert run(authorizer.permits(bob, "mailbox.w", "2/INBOX")).action == "accept"
    assert asked == [("bob@example.org", "r", "1/Shared/x"), ("bob@example.org", "w", "1/Shared/x")]


# ---------------------------------------------------------------- patterns

NAMES = ("bob@example.org", "Anna@Example.org", "bob@other.example", "jürgen@bücher.example", "x")
PATTERNS = st.sampled_from([
    sign + name
    for sign in ("", "!")
    for name in ("*", "@example.org", "@OTHER.example", "bob@example.org", "ANNA@example.org", "bob@other.example",
                 "@xn--bcher-kva.example", "J\u00dcRGEN@b\u00fccher.example", "ju\u0308rgen@b\u00fccher.example")
])  # fmt: skip


def means(pattern: str, login: str) -> bool:
    """Whether a pattern is about a login, spelt out."""
    pattern, login = fold(pattern).replace("xn--bcher-kva", "bücher"), fold(login)
    return pattern == "*" or pattern == login or (pattern.startswith("@") and login.endswith(pattern))


@given(st.lists(PATTERNS, max_size=12), st.sampled_from(NAMES))
def test_s104_the_last_pattern_that_matches_holds(texts: list[str], login: str) -> None:
    answer = False
    for text in texts:
        if means(text.lstrip("!"), login):
            answer = not text.startswith("!")
    compiled = Patterns(texts)
    assert compiled.match(login) is answer
    if compiled.everybody:
        assert answer and all(compiled.match(name) for name in NAMES)


@given(st.text(max_size=60) | st.text("!*@.abx-\\ ", max_size=20))
def test_a_pattern_is_read_or_refused_and_reads_as_itself(text: str) -> None:
    try:
        key, adds = read_pattern(text)
    except ValueError as error:
        assert "must be NAME@DOMAIN" in str(error)
        return
    assert (key == "*" or "@" in key) and adds == (not text.startswith("!"))
    assert read_pattern(key) == (key, True)


def test_a_domain_pattern_means_no_login_without_a_domain() -> None:
    assert not Patterns(["@bob"]).match("bob") and Patterns(["@bob"]).match("x@bob")
    assert Patterns(["*"]).match("bob") and not Patterns(["*", "!@example.org"]).match("a@b@EXAMPLE.org")


def test_thousands_of_names_cost_what_one_does() -> None:
    many = Patterns(f"u{n}@example.org" for n in range(20_000))
    assert many.match("U19999@example.org") and not many.match("u20000@example.org") and not many.everybody
    # What stands before a "*" is forgotten.
    assert Patterns([*(f"!u{n}@example.org" for n in range(100)), "*"]).everybody
    assert not Patterns(["*", "!u@example.org"]).everybody and Patterns(["*", "u@example.org"]).everybody


# ---------------------------------------------------------------- roles and configuration


@pytest.mark.parametrize(
    "text", ["", "@", "!", "bob", "bob@", "@a b", "a b@c", "**", "*@x", "!!*", "b\nob@x", "x" * 500 + "@y"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be NAME@DOMAIN, @DOMAIN or"):
        read_pattern(text)


@pytest.mark.parametrize(("read", "good", "bad"), [
    (read_member, ("*", "unix:bob", "unix:1000", "!@x.example"), ("unix:", "unix:a b", "unix:*", "!unix:bob", "bob")),
    (
        read_action, ("*", "user.*", "user.add", "login.as", "app_password.add"),
        ("", "user", "*.add", "user.", "User.add"),
    ),
    (
        read_scope, ("site", "domain/example.org", "server/imap/default", "user/bob@example.org"),
        ("", "domain/", "domain/a@b", "domain/*", "server/x/y", "server/imap", "user/", "user/@x", "user/!a@x", "t/1"),
    ),
])  # fmt: skip
def test_words_of_a_role(read: Any, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    assert [read(text) for text in good] == list(good)
    for text in bad:
        with pytest.raises(ValueError, match="must be"):
            read(text)


def test_a_domain_is_no_other_one_that_looks_alike_without_case_rfc5891() -> None:
    role = Role("r", ["@xn--fa-hia.example"], ["user.*"], ["domain/FAß.example", "user/Strauß@faß.example"])
    assert role.covers("domain/faß.example") and role.covers("user/x@faß.example") and role.covers("user/x@FAß.example")
    assert not role.covers("domain/fass.example") and not role.covers("user/x@fass.example")
    assert role.has(Identity(1, "me@faß.example")) and not role.has(Identity(1, "me@fass.example"))
    assert fold("STRASSE@FAß.example") == fold("Straße@faß.example") != fold("strasse@fass.example")


def test_unix_users_are_found_by_name_and_number() -> None:
    nobody = pwd.getpwnam("nobody")
    for member in ("unix:nobody", f"unix:{nobody.pw_uid}"):
        role = Role("r", [member], ["*"])
        assert role.has(unix_identity(nobody.pw_uid)) and not role.has(unix_identity(0))
    unnamed = next(uid for uid in range(54_321, 60_000) if unix_login(uid) == f"unix:{uid}")
    assert Role("r", [f"unix:{unnamed}"], ["*"]).has(unix_identity(unnamed))
    assert Role("r", ["unix:nosuchuser"], ["*"]).has(Identity(0, "unix:nosuchuser", mechanism="UNIX"))
    # "*" means logins: whoever can reach the socket is named one by one.
    assert not Role("r", ["*"], ["*"]).has(unix_identity(nobody.pw_uid))
    assert owners().has(unix_identity(0)) and owners().has(unix_identity(os.geteuid()))


def test_a_user_whose_name_is_a_number_is_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = SimpleNamespace(pw_name="0", pw_uid=4711)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    assert unix_login(4711) == "unix:4711"


def test_s104_s137_built_from_the_configuration() -> None:
    options = loads(
        '[site]\nhostname = "a.example"\n[smtp.out]\nrole = "submission"\nusers = ["@example.org"]\nrelay_users = []\n'
        '[imap.x]\n[role.help]\nmembers = ["anna@example.org"]\nactions = ["user.*"]\nscope = ["domain/example.org"]\n'
    )
    assert options.authorizer.use == "accounts" and options.authorizer.options == Options()
    made = build(options.authorizer.options, SimpleNamespace(options=options, directory=Site().directory))
    assert verifyObject(IAuthorizer, made)
    anna, other = Identity(0, "anna@example.org", mechanism="PLAIN"), Identity(0, "o@x.example", mechanism="PLAIN")
    for identity, action, resource, said in (
        (anna, "server.use", "smtp/out", "accept"), (other, "server.use", "smtp/out", "reject"),
        (anna, "server.relay", "smtp/out", "reject"), (other, "server.use", "imap/x", "accept"),
        (anna, "admin.user.add", "user/x@example.org", "accept"), (anna, "admin.user.add", "", "reject"),
        (unix_identity(os.geteuid()), "admin.site.status", "", "accept"),
    ):  # fmt: skip
        assert run(made.permits(identity, action, resource)).action == said, (identity, action, resource)


def test_a_mistake_in_options_made_by_a_program_is_a_config_error() -> None:
    options = loads('[site]\nhostname = "a.example"\n')
    servers = {name: evolve(server, users=("bob",)) for name, server in options.servers.items()}
    with pytest.raises(ConfigError, match="must be NAME@DOMAIN"):
        build(Options(), SimpleNamespace(options=evolve(options, servers=servers), directory=None))


@pytest.mark.parametrize(("text", "said"), [
    ("[smtp.a]\nusers = ['bob']", r"mailsrv.toml:2: smtp.a.users: \"bob\" must be NAME@DOMAIN, @DOMAIN or \*"),
    ("[imap.a]\nrelay_users = []", "imap.a.relay_users: unknown key"),
    ("[role.a]\nactions = ['adduser']", "role.a.actions: \"adduser\" must be NOUN.VERB"),
    ("[role.a]\nscope = []", "role.a.scope: must have 1 to"),
    ("[role.a]\nmembers = 'unix:bob'", "role.a.members: must be a list"),
    ("[role]\nmembers = []", "the table needs a name"),
    ("[authorizer]\nuse = 'acounts'", "no part \"acounts\" provides IAuthorizer .did you mean \"accounts\""),
    ("[authorizer]\nx = 1", "authorizer.x: unknown key"),
])
def test_mistakes_in_the_file_are_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text, "mailsrv.toml")
    assert caught.match(said)
