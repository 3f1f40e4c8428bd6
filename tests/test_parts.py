"""Parts: found by contract and name, options named in every mistake, drop-ins that import nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from attrs import NOTHING, define, field, frozen
from zope.interface import implementer

from mailsrv.errors import ConfigError
from mailsrv.interfaces import IAuthenticator, IMessageStore, IPart, ISaslMechanism
from mailsrv.parts import (
    DURATION,
    FLAG,
    SIZE,
    TEXTS,
    WHOLE,
    Part,
    Place,
    all_parts,
    choice,
    find,
    option,
    or_off,
    whole,
)

DROP_IN = """
from mailsrv.interfaces import IAuthenticator
from mailsrv.parts import Part
acme = Part(IAuthenticator, {name!r}, None, "acme_auth:Acme")
"""


@define
class Options:
    """As a part's author would write them: plain attrs fields and ours side by side."""

    url: str
    retries: int = 3
    strict: bool = False
    hosts: tuple[str, ...] = ()
    level: int = field(default=1, converter=int)
    timeout: float = option(DURATION, 5.0, "how long")
    folder: str = option(choice("a", "b"), "a", "where")


@implementer(IAuthenticator)
class Accepting:
    """Provides the contract."""

    schemes = frozenset({"password"})

    def __init__(self, options: object, site: object) -> None:
        self.options, self.site = options, site

    async def authenticate(self, credentials: object, context: object) -> None:
        """Nobody is ours."""


PART = Part(IAuthenticator, "accepting", Options, Accepting)
PLACE = Place(("auth", "accepting"), "site.toml", lambda path: {("auth", "accepting", "url"): 7}.get(path, 6))


def test_the_built_in_parts_are_found_by_contract_and_name() -> None:
    found = {(part.contract.__name__, part.name) for part in all_parts()}
    assert {
        ("IMessageStore", "sqlite"), ("IMessageStore", "memory"), ("IAuthenticator", "directory"),
        ("IAuthenticator", "any"), ("ISaslMechanism", "plain"), ("ISaslMechanism", "login"),
        ("IMessagePolicy", "relay"),
    } <= found
    part = find(IMessageStore, "memory")
    assert IPart.providedBy(part) and part.name == "memory" and part.source.endswith("mailsrv_parts.py")


@pytest.mark.parametrize("part", all_parts(), ids=lambda part: f"{part.contract.__name__}-{part.name}")
def test_every_built_in_part_has_options_and_a_builder_that_can_be_loaded(part: Part) -> None:
    assert part.options.__doc__
    assert callable(part.builder)


def test_a_name_that_is_none_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r'no part "sqlit" provides IMessageStore .did you mean "sqlite"'):
        find(IMessageStore, "sqlit")
    with pytest.raises(ConfigError, match=r'installed: .*"login", .*"plain"'):
        find(ISaslMechanism, "xyz")
    with pytest.raises(ConfigError):
        find(IAuthenticator, "sqlite")


def test_a_drop_in_of_another_distribution_is_found_and_a_double_name_cites_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import twisted.plugins

    plugins = tmp_path / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "acme_one.py").write_text(DROP_IN.format(name="acme"))
    monkeypatch.setattr(twisted.plugins, "__path__", [*twisted.plugins.__path__, str(plugins)])
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "acme_auth.py").write_text("class Acme:\n    def __init__(self, options, site): pass\n")
    part = find(IAuthenticator, "acme")
    assert part.source == str(plugins / "acme_one.py")
    with pytest.raises(ConfigError, match="does not keep its contract"):
        # Its class has neither schemes nor authenticate.
        part.build(None, None)
    (plugins / "acme_two.py").write_text(DROP_IN.format(name="acme"))
    with pytest.raises(ConfigError, match=r"defined twice: in .*acme_\w+\.py and in .*acme_\w+\.py"):
        all_parts()


def test_the_drop_in_imports_nothing_but_contracts() -> None:
    code = (
        "import sys; import twisted.plugins.mailsrv_parts, twisted.plugins.mailsrv_service;"
        "print([m for m in sys.modules if m.startswith('mailsrv.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    allowed = (
        "interfaces", "interfaces_sharing", "interfaces_transfer", "parts", "errors", "values", "identity", "queueing",
        "notices", "numbers", "query",
    )
    assert set(eval(done.stdout)) == {f"mailsrv.{name}" for name in allowed}


def test_options_from_a_table() -> None:
    table = {"url": "ldap://x", "retries": 5, "hosts": ["a", "b"], "level": "9", "timeout": "2m", "folder": "b"}
    options = PART.read(table)
    assert options == Options("ldap://x", 5, False, ("a", "b"), 9, 120.0, "b")
    provider = PART.build(options, "the site")
    assert provider.options is options and provider.site == "the site"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, 'site.toml:6: auth.accepting: the key "url" must be given'),
        ({"url": 5}, "site.toml:7: auth.accepting.url: must be text in quotes"),
        ({"urll": "x"}, 'site.toml:6: auth.accepting.urll: unknown key (did you mean "url"?)'),
        ({"url": "x", "zzz": 1}, 'auth.accepting.zzz: unknown key; known here: "folder", "hosts", "level"'),
        ({"url": "x", "retries": "5"}, "auth.accepting.retries: must be a whole number"),
        ({"url": "x", "retries": True}, "auth.accepting.retries: must be a whole number"),
        ({"url": "x", "strict": 1}, "auth.accepting.strict: must be true or false"),
        ({"url": "x", "hosts": "a"}, "auth.accepting.hosts: must be a list of texts"),
        ({"url": "x", "level": "many"}, "site.toml:6: auth.accepting: invalid literal"),
        ({"url": "x", "timeout": 5}, "auth.accepting.timeout: must be a duration"),
        ({"url": "x", "folder": "c"}, 'auth.accepting.folder: must be one of "a", "b", not \'c\''),
    ],
)
def test_every_mistake_in_a_table_names_its_key(table: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PART.read(table, PLACE)
    assert said in str(caught.value)


def test_a_part_without_options_takes_none() -> None:
    part = Part(IAuthenticator, "plain", None, Accepting)
    part.read({})
    with pytest.raises(ConfigError, match="unknown key; there are no options here"):
        part.read({"x": 1})


def test_a_part_that_cannot_be_loaded_says_which_and_why() -> None:
    part = Part(IAuthenticator, "lost", "no.such.module:Options", "no.such.module:build")
    for call in (lambda: part.options, lambda: part.build(None, None)):
        with pytest.raises(ConfigError, match=r"'lost' of .*test_parts.py cannot be loaded: No module named 'no'"):
            call()


def test_a_provider_that_lacks_a_method_is_refused_when_built() -> None:
    @implementer(IAuthenticator)
    class Half:
        """Claims the contract, has only the attribute."""

        schemes = frozenset({"password"})

    with pytest.raises(ConfigError, match="does not keep its contract"):
        Part(IAuthenticator, "half", None, lambda options, site: Half()).build(None, None)


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        (DURATION, "30s", 30.0), (DURATION, "10m", 600.0), (DURATION, "12h", 43200.0), (DURATION, "2d", 172800.0),
        (SIZE, "4096K", 4096 * 1024), (SIZE, "10M", 10 * 2**20), (SIZE, "1G", 2**30), (SIZE, 500, 500),
        (SIZE, "500", 500), (or_off(SIZE), "off", None), (or_off(SIZE), 0, None), (or_off(whole(1, 9)), 9, 9),
        (or_off(DURATION), "off", None), (FLAG, True, True), (WHOLE, 3, 3), (TEXTS, ["x"], ("x",)),
    ],
)
def test_values_are_read(kind: object, value: object, kept: object) -> None:
    assert kind.read(value) == kept  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DURATION, "30"), (DURATION, "m"), (DURATION, "-3m"), (DURATION, "1.5h"), (DURATION, ""), (DURATION, 30),
        (DURATION, "0s"), (DURATION, "9" * 40 + "s"), (DURATION, "²s"), (SIZE, "10X"), (SIZE, -1), (SIZE, True),
        (SIZE, 1.5), (SIZE, 0), (or_off(SIZE), False), (or_off(whole(1, 9)), 10), (or_off(DURATION), "on"),
    ],
)
def test_what_is_no_value_is_refused(kind: object, value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        kind.read(value)  # type: ignore[attr-defined]


def test_a_needed_option_has_no_default() -> None:
    @frozen
    class Needed:
        """One key."""

        path: str = option(TEXTS, NOTHING, "which files")

    with pytest.raises(ConfigError, match='the key "path" must be given: which files'):
        Part(IAuthenticator, "x", Needed, None).read({})
