"""Rows of the Exchange 2003 model that the configuration alone proves, and the table of all rows."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import pytest

from mailsrv.errors import ConfigError
from mailsrv.host.config.derive import limits_of
from mailsrv.host.config.load import loads, machine_name
from mailsrv.host.config.options import SERVER_TABLES, SmtpOptions

from . import s_rows

SITE = 'site.hostname = "mx.example.test"\nsite.domains = ["example.test"]\n'


def listening(name: str, text: str = SITE) -> list[str]:
    return [str(binding) for binding in loads(text).servers[name].listen]  # type: ignore[attr-defined]


def test_the_table_of_rows_fits_the_tests_and_is_up_to_date() -> None:
    assert s_rows.problems() == []
    assert s_rows.PAGE.read_text(encoding="utf-8") == s_rows.page(), "python -m tests.s_rows"


def test_a_proven_row_has_a_test_that_is_there() -> None:
    tested = s_rows.proofs()
    text_of = cache(partial(Path.read_text, encoding="utf-8"))
    for row in s_rows.claims():
        if isinstance(row, s_rows.Row) and row.state == "whole":
            for test in tested[row.number]:
                path, _, name = test.partition("::")
                text = text_of(s_rows.TESTS / path)
                assert not name or f"def {name}(" in text


def test_s_002_s_029_a_fresh_site_is_one_server_per_protocol_on_any_address() -> None:
    options = loads(SITE)
    assert list(options.servers) == ["smtp/default", "imap/default", "pop3/default"]
    assert {binding.host for server in options.servers.values() for binding in server.listen} == {"*"}  # type: ignore


def test_s_003_s_006_smtp_is_on_25_and_has_no_port_with_tls_from_the_start() -> None:
    assert listening("smtp/default") == ["*:25"]


def test_s_004_imap4_is_on_143_and_993() -> None:
    assert listening("imap/default") == ["*:143", "*:993/tls"]


def test_s_005_pop3_is_on_110_and_995() -> None:
    assert listening("pop3/default") == ["*:110", "*:995/tls"]


def test_s_007_a_binding_is_a_protocols_plain_or_secure_port() -> None:
    text = SITE + 'imap.other.listen = ["127.0.0.1:1143", "[::1]:1993/tls"]\n'
    assert listening("imap/other", text) == ["127.0.0.1:1143", "[::1]:1993/tls"]


def test_s_032_a_pair_of_address_and_port_is_used_once() -> None:
    text = SITE + 'smtp.default.listen = ["127.0.0.1:2525"]\nimap.default.listen = ["127.0.0.1:{}"]\n'
    with pytest.raises(ConfigError) as refused:
        loads(text.format(2525))
    assert "127.0.0.1:2525 is a binding of smtp/default already" in str(refused.value)
    assert refused.value.key == "imap.default.listen"
    assert listening("imap/default", text.format(2143)) == ["127.0.0.1:2143"]
    # The same port on another address is another pair.
    both = SITE + 'smtp.default.listen = ["127.0.0.1:2525"]\nsmtp.other.listen = ["127.0.0.2:2525"]\n'
    assert listening("smtp/other", both) == ["127.0.0.2:2525"]


def test_s_047_connections_without_tls_are_allowed() -> None:
    assert not any(server.require_tls for server in loads(SITE).servers.values())


def test_s_057_connections_are_unlimited_until_somebody_says_otherwise() -> None:
    options = loads(SITE)
    assert {limits_of(server, options).connections for server in options.servers.values()} == {None}


@pytest.mark.parametrize("protocol", SERVER_TABLES)
def test_s_062_connection_limit_and_time_out_are_per_server_of_every_protocol(protocol: str) -> None:
    text = SITE + f'[{protocol}.one]\nmax_connections = 5\nidle_timeout = "40m"\n[{protocol}.two]\nlisten = []\n'
    options = loads(text)
    one, two = (limits_of(options.servers[f"{protocol}/{name}"], options) for name in ("one", "two"))
    assert (one.connections, one.idle_timeout) == (5, 2400.0)
    assert two.connections is None and two.idle_timeout != 2400.0


def test_s_082_hop_limits_are_10_to_256() -> None:
    for hops in (9, 257):
        with pytest.raises(ConfigError) as refused:
            loads(SITE + f"smtp.default.max_hops = {hops}\n")
        assert refused.value.key == "smtp.default.max_hops" and "10 to 256" in refused.value.text
    for hops in (10, 256):
        options = loads(SITE + f"smtp.default.max_hops = {hops}\n")
        assert limits_of(options.servers["smtp/default"], options).hops == hops


def test_s_087_the_default_name_is_the_machines() -> None:
    options = loads("")
    assert options.site.hostname == machine_name()
    assert {server.hostname for server in options.servers.values()} == {machine_name()}


def test_s_119_messages_of_8_mb_are_taken_by_default() -> None:
    options = loads(SITE)
    assert (limits_of(options.servers["smtp/default"], options).message_octets or 0) >= 8192 * 1024


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("max_message_size", "message_octets"), ("max_session_size", "session_octets"),
        ("max_recipients", "recipients"),
    ],
)
def test_s_124_each_limit_can_be_switched_off_alone(key: str, limit: str) -> None:
    on = {"max_message_size": '"4096K"', "max_session_size": '"10240K"', "max_recipients": "64000"}
    lines = "".join(f"smtp.default.{name} = {value}\n" for name, value in (on | {key: '"off"'}).items())
    options = loads(SITE + lines)
    server = options.servers["smtp/default"]
    assert isinstance(server, SmtpOptions)
    limits = limits_of(server, options)
    found = {name: getattr(limits, name) for name in ("message_octets", "session_octets", "recipients")}
    assert found.pop(limit) is None and None not in found.values()
