"""Profiles load without a mistake and hold the numbers they promise (decisions 29, S-060, S-117, S-121, S-123)."""

from __future__ import annotations

import pytest

from mailsrv.host.config.derive import limits_of
from mailsrv.host.config.load import loads
from mailsrv.host.config.profiles import PROFILES, ports_from, toml, write_profile

ANY = {"auth.any": {"password_file": "data/test-password"}}


def made(name: str, **more: object):  # type: ignore[no-untyped-def]
    """The options of a profile."""
    tables = ANY if name == "test" else {}
    return loads(write_profile(name, "mail.example.org", ["example.org"], tables=tables, **more), "/srv/mailsrv.toml")


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_loads_clean(name: str) -> None:
    options = made(name)
    warnings = [warning.key for warning in options.warnings]
    # Profile test warns, loudly, about its one password and nothing else.
    assert warnings == (["auth.use"] if name == "test" else [])
    assert list(options.servers) == list(PROFILES[name].servers)
    assert options.site.hostname == "mail.example.org" and list(options.domains) == ["example.org"]


@pytest.mark.parametrize("name", PROFILES)
def test_no_default_moves_later_every_limit_is_written_out(name: str) -> None:
    options = made(name)
    for server in options.servers.values():
        table = tuple(server.id.split("/"))
        limits = ["idle_timeout", "login_timeout", "failed_login_delay", "max_connections", "listen"]
        limits += ["login_without_tls", "authentication"]
        if server.protocol == "smtp":
            limits += ["role", "max_message_size", "max_session_size", "max_recipients", "max_hops"]
        assert {(*table, key) for key in limits} <= options.given


def test_the_profile_default_is_what_the_defaults_are() -> None:
    options, empty = made("default"), loads("[site]\nhostname='mail.example.org'\ndomains=['example.org']")
    for name, server in empty.servers.items():
        assert options.servers[name] == server
    assert options.servers["smtp/submission"].authentication == {"basic", "sasl"}


def test_exchange2003_is_the_chapter() -> None:
    options = made("exchange2003")
    limits = limits_of(options.servers["smtp/default"], options)
    assert list(options.servers) == ["smtp/default", "imap/default", "pop3/default"]
    assert (limits.message_octets, limits.session_octets) == (4096 * 1024, 10240 * 1024)
    assert (limits.recipients, limits.hops, limits.connections) == (64000, 30, None)
    assert {limits_of(server, options).idle_timeout for server in options.servers.values()} == {1800.0}
    methods = {name: set(server.authentication) for name, server in options.servers.items()}
    # S-098 and X-6, S-143, S-151.
    assert methods == {
        "smtp/default": {"anonymous", "basic", "ntlm"},
        "imap/default": {"basic", "ntlm"},
        "pop3/default": {"basic", "ntlm"},
    }
    assert options.authenticators[0].options.keep == ("ntlm",)


def test_s105_where_people_submit_mail_nobody_is_anonymous() -> None:
    submission = made("default").servers["smtp/submission"]
    assert submission.authentication == {"basic", "sasl"}
    assert loads("[smtp.s]\nrole = 'submission'").servers["smtp/s"].authentication == {"basic", "sasl"}


def test_test_is_for_the_loopback_alone() -> None:
    options = made("test", host="*", ports=ports_from(24000))
    for server in options.servers.values():
        assert server.login_without_tls and all(one.loopback for one in server.listen)
        limits = limits_of(server, options)
        assert (limits.idle_timeout, limits.failed_login_delay) == (1800.0, 0.0)
    smtp = limits_of(options.servers["smtp/default"], options)
    assert (smtp.message_octets, smtp.session_octets) == (2 * 2**20, None)
    assert [choice.use for choice in options.authenticators] == ["any"]
    # Who is at this machine relays without a login.
    for name in ("smtp/default", "smtp/submission"):
        assert options.access[options.servers[name].relay].list == ("127.0.0.0/8", "::1")


def test_port_base_is_n_plus_the_last_two_digits() -> None:
    options = made("default", ports=ports_from(20000), host="127.0.0.1")
    ports = {name: [(one.port, one.tls) for one in server.listen] for name, server in options.servers.items()}
    assert ports == {
        "smtp/default": [(20025, False)], "smtp/submission": [(20087, False), (20065, True)],
        "imap/default": [(20043, False), (20093, True)], "pop3/default": [(20010, False), (20095, True)],
    }


@pytest.mark.parametrize("value", ['plain', 'quo"te\\', "tab\there", "ünï", True, False, 5, ["a", "b"], []])
def test_values_written_are_read_back(value: object) -> None:
    import tomllib

    assert tomllib.loads(f"x = {toml(value)}") == {"x": value}
