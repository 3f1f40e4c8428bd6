"""Every option is read: changing one gives another tree, and other limits where it is a limit."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from mailsrv.errors import ConfigError
from mailsrv.host.config.delivery import DeliveryTable, policy_of
from mailsrv.host.config.derive import (
    domain_facts,
    guard_settings,
    limits_of,
    login_domains,
    policies_of,
    submission_of,
)
from mailsrv.host.config.load import loads
from mailsrv.host.config.options import (
    SERVER_TABLES,
    AccessTable,
    CertificateTable,
    DomainTable,
    LimitsTable,
    PolicyTable,
    SiteOptions,
    SiteTable,
)
from mailsrv.host.config.profiles import toml
from mailsrv.host.config.routes import RouteTable
from mailsrv.host.config.service import ServiceTable
from mailsrv.host.config.show import flatten
from mailsrv.limits import Limits
from mailsrv.parts import dotted, fields_of, kind_of
from mailsrv.transfer.schedule import Ages
from mailsrv.transfer.submission import Submission
from mailsrv.values import DomainFacts

#: Key -> (value as TOML, the field of Limits it is, what that holds then).  Every key of a server must be here.
CHANGED: dict[str, tuple[Any, str, Any]] = {
    "users": (["*", "!bob@example.org"], "", None),
    "relay_users": ([], "", None),
    "access": ("office", "", None),
    "relay": ("office", "", None),
    "reverse_lookup": (True, "", None),
    "title": ("A title", "", None),
    "startup": ("manual", "", None),
    "listen": (["127.0.0.1:2525"], "", None),
    "hostname": ("other.example.org", "", None),
    "login_domain": ("example.org", "", None),
    "certificate": ("second", "", None),
    "certificates": (["second"], "", None),
    "require_tls": (True, "", None),
    "require_strong_tls": (True, "", None),
    "login_without_tls": (True, "", None),
    "ntlm_v1": (True, "", None),
    "fast_retrieval": (True, "", None),
    "public_account": ("public@example.org", "", None),
    "public_folders": (False, "", None),
    "literal_minus": (True, "imap_unasked_octets", 4096),
    "separator": (".", "", None),
    "ntlm_ok": (True, "", None),
    "apop": (True, "", None),
    "maildrop_lock": (False, "", None),
    "login_delay": ("15m", "", None),
    "uidl_format": ("%v.%u", "", None),
    "trusted_proxies": (["192.0.2.0/24"], "", None),
    "etrn": ("off", "", None),
    "dsn": ("authenticated", "", None),
    "xclient_from": (["192.0.2.0/24"], "", None),
    "authentication": (["basic", "ntlm"], "", None),
    "role": ("submission", "", None),
    "default_domain": ("other.example.org", "", None),
    "policies": (["relay"], "", None),
    "sender_filter": ("spam", "", None),
    "sender_check": (True, "", None),
    "hide_client": (True, "", None),
    "received_user": (True, "", None),
    "max_connections": (7, "connections", 7),
    "max_connections_per_address": (3, "connections_per_address", 3),
    "idle_timeout": ("45m", "idle_timeout", 2700.0),
    "login_timeout": ("33s", "login_timeout", 33.0),
    "failed_login_delay": ("off", "failed_login_delay", 0.0),
    "max_message_size": ("4096K", "message_octets", 4096 * 1024),
    "max_session_size": ("10240K", "session_octets", 10240 * 1024),
    "max_recipients": (64000, "recipients", 64000),
    "max_hops": (99, "hops", 99),
    "message_timeout": ("off", "data_timeout", None),
    "bare_newlines": ("normalise", "", None),
    "vrfy": ("authenticated", "", None),
    "expn": ("on", "", None),
}
#: A server whose defaults differ from all of the above.
BASE = {
    "smtp": "[tls.second]\n[access.office]\n[filter.spam]\n[smtp.a]\n{}\n",
    "imap": "[tls.second]\n[access.office]\n[imap.a]\n{}\n",
    "pop3": "[tls.second]\n[access.office]\n[pop3.a]\n{}\n",
}
EVERY = [(protocol, key) for protocol, table in SERVER_TABLES.items() for key in fields_of(table)]


@pytest.mark.parametrize(("protocol", "key"), EVERY, ids=[".".join(one) for one in EVERY])
def test_every_option_of_a_server_makes_a_difference(protocol: str, key: str) -> None:
    value, limit, held = CHANGED[key]
    # login_timeout is a limit only where a login is required.
    more = 'role = "submission"' if (protocol, key) == ("smtp", "login_timeout") else ""
    more = "require_tls = true" if key == "require_strong_tls" else more
    before = loads(BASE[protocol].format(more))
    after = loads(BASE[protocol].format(f"{more}\n{key} = {toml(value)}"))
    server, changed = before.servers[f"{protocol}/a"], after.servers[f"{protocol}/a"]
    assert before != after and getattr(server, key) != getattr(changed, key)
    limits, changed_limits = limits_of(server, before), limits_of(changed, after)
    if limit:
        assert getattr(changed_limits, limit) == held != getattr(limits, limit)
    elif key not in ("role", "authentication"):
        assert limits == changed_limits


@pytest.mark.parametrize(("before", "after"), [
    ("[site]\nhostname='a.org'", "[site]\nhostname='b.org'"),
    ("[site]\nhostname='a.org'", "[site]\nhostname='a.org'\ndomains=['b.org']"),
    ("", "[site]\ndata='other'"),
    ("", "[site]\ncontrol='other.sock'"),
    ("", "[store]\nuse='memory'"),
    ("", "[store]\npurge_after='1d'"),
    ("", "[limits]\nappend_limit='1M'"),
    ("", "[trace]\nkeep='off'"),
    ("", "[log]\nformat='json'"),
    ("", "[site]\nrun_as='mail:mail'"),
    ("", "[site]\ndrain_time='5s'"),
    ("", "[trace]\nsize='1M'"),
    *(("", f"[limits]\n{key}='1M'") for key in ("quota", "max_message_in", "max_message_out")),
    *(("", f"[limits]\n{key}=77") for key in ("quota_messages", "quota_mailboxes")),
    ("", "[auth]\nuse=['any']\n[auth.any]\npassword_file='x'"),
    ("", "[auth]\nuse=['directory', 'any']\n[auth.any]\npassword_file='x'"),
    ("", "[tls.default]\ncertificate='x'"),
    ("", "[tls.default]\nkey='x'"),
    ("", "[tls.default]\ndirectory='x'"),
    ("", "[site]\ncontrol_group='mail'"),
    ("", "[site]\naudit_size='10M'"),
    ("", "[role.help]"),
    *(
        ("[role.help]", f"[role.help]\n{key}=['{value}']")
        for key, value in (("members", "unix:bob"), ("actions", "user.*"), ("scope", "domain/example.org"))
    ),
    ("", "[access.office]"),
    ("[access.office]", "[access.office]\nmode='only'"),
    ("[access.office]", "[access.office]\nlist=['192.0.2.7']"),
    ("", "[policy.second]\nuse='relay'"),
    *(("[policy.second]\nuse='relay'", f"[policy.second]\nuse='relay'\n{key}='{value}'")
      for key, value in (("timeout", "5s"), ("on_failure", "open"))),
    *(
        (f"[{table}.a]", f"[{table}.a.format]\n{key}={value}")
        for table, key, value in (
            ("imap", "body", "'text'"), ("imap", "charset", "'utf-8'"), ("imap", "rich_text", "'unpack'"),
            ("pop3", "body", "'html'"), ("pop3", "charset", "'utf-8'"), ("pop3", "rich_text", "'unpack'"),
            ("pop3", "encoding", "'uuencode'"), ("pop3", "encoding", "'uuencode'\nbinhex=true"),
        )
    ),
    ("", "[filter.spam]"),
    ("[filter.spam]", "[filter.spam]\nlist=['<>']"),
    ("[filter.spam]", "[filter.spam]\naction='drop'"),
    *(
        ("[site]\ndomains=['b.org']", f"[site]\ndomains=['b.org']\n[domain.'b.org']\n{key}={value!r}")
        for key, value in (("subaddress", "-"), ("catch_all", "me@b.org"), ("netbios", "CORP"))
    ),
], ids=lambda text: text)
def test_every_option_of_the_site_makes_a_difference(before: str, after: str) -> None:
    assert loads(before) != loads(after)


#: Key of [smtp.NAME.delivery] -> a value unlike its default.  Every key must be here.
DELIVERY: dict[str, Any] = {
    "retry": ["1m"], "delay_notification": "1h", "expiration": "9d", "masquerade_domain": "m.org",
    "dns_servers": ["192.0.2.53"], "addresses": "ipv4", "port": 2525, "tls": "require", "max_connections": 7,
    "max_connections_per_domain": 3, "timeout": "40m", "messages_per_connection": 5, "recipients_per_message": 50,
    "ndr_copy": "a@b.org", "report_size": "2M", "badmail": "bad", "badmail_size": "2M", "forward_unresolved": "h.org",
    "auth": "anonymous", "username": "me", "password_file": "x", "password_env": "X", "login_without_tls": True,
}  # fmt: skip
#: The same for [routes.NAME].
ROUTE: dict[str, Any] = {
    "host": ["h.org"], "port": 2525, "tls": "verify", "protocol": "lmtp", "auth": "anonymous", "username": "me",
    "password_file": "x", "password_env": "X", "login_without_tls": True,
}  # fmt: skip
#: What a key needs beside it.
LOGIN = {"username": 'auth = "basic"\npassword_file = "p"', "password_file": 'auth = "basic"\nusername = "u"'}
LOGIN["password_env"] = LOGIN["password_file"]


@pytest.mark.parametrize(("table", "key"), [
    *(("delivery", key) for key in fields_of(DeliveryTable)), *(("routes", key) for key in fields_of(RouteTable)),
])
def test_every_option_of_sending_makes_a_difference(table: str, key: str) -> None:
    values = DELIVERY if table == "delivery" else ROUTE
    more = LOGIN.get(key, "")
    more = more if key != "username" else more + '\nusername = "u"'
    host = '\nhost = ["z.org"]' if table == "routes" and key != "host" else ""
    head = '[routes."*"]\nhost = ["z.org"]\n[smtp.a.delivery]' if table == "delivery" else f'[routes."a.org"]{host}'
    line = f"{key} = {toml(values[key])}"
    before = more if key != "password_file" and key != "password_env" else ""
    if key in ("password_file", "password_env"):
        before = f'{more}\n{"password_env" if key == "password_file" else "password_file"} = "other"'
    after = f"{more}\n{line}" if key != "username" else f'auth = "basic"\npassword_file = "p"\n{line}'
    assert loads(f"{head}\n{before}") != loads(f"{head}\n{after}")


def test_a_site_sends_as_its_tables_say() -> None:
    site = loads('[smtp.a.delivery]\nretry = ["1m", "2m"]\nexpiration = { local = "6h", outbound = "2d" }')
    policy = policy_of(site.servers["smtp/a"].delivery)  # type: ignore[attr-defined]
    assert (policy.retry, policy.expiration) == ((60.0, 120.0), Ages(6 * 3600.0, 2 * 86400.0))


def test_s_013_a_server_starts_as_its_service_says_unless_it_says_otherwise() -> None:
    text = "[service.smtp]\nstartup = 'manual'\n[smtp.a]\n[smtp.b]\nstartup = 'automatic'\nlisten = ['*:26']\n"
    text += "[imap.c]\n"
    options = loads(text)
    assert [server.startup for server in options.servers.values()] == ["manual", "automatic", "automatic"]
    assert list(fields_of(ServiceTable)) == ["startup"]
    with pytest.raises(ConfigError, match='is none of "smtp", "imap", "pop3"'):
        loads("[service.nntp]\n")


def test_every_option_of_the_site_is_in_the_test_above() -> None:
    tables = SiteTable, DomainTable, LimitsTable, CertificateTable, AccessTable
    keys = {key for table in tables for key in fields_of(table)}
    assert keys == {
        "hostname", "domains", "data", "control", "control_group", "run_as", "drain_time", "audit_size",
        "kind", "verify", "recipients_file",
        "subaddress", "catch_all", "netbios", "directory",
        "append_limit", "quota", "quota_messages", "quota_mailboxes", "max_message_in", "max_message_out",
        "failed_logins_per_address", "failed_logins_per_account", "failed_login_window", "ban_time",
        "never_banned", "certificate", "key", "client_ca", "mode", "list",
    }


@pytest.mark.parametrize(("key", "value", "held"), [
    ("failed_logins_per_address", 7, ("per_address", 7)),
    ("failed_logins_per_address", "off", ("per_address", None)),
    ("failed_logins_per_account", 8, ("per_account", 8)),
    ("failed_login_window", "2m", ("window", 120.0)),
    ("ban_time", "1h", ("ban", 3600.0)),
    ("never_banned", ["192.0.2.7", "2001:db8::/32"], ("never", (ip_network("192.0.2.7"), ip_network("2001:db8::/32")))),
])
def test_the_guard_is_set_up_by_the_limits(key: str, value: Any, held: tuple[str, Any]) -> None:
    settings = guard_settings(loads(f"[limits]\n{key} = {toml(value)}"))
    assert getattr(settings, held[0]) == held[1] != getattr(guard_settings(loads("")), held[0])


def test_what_stands_for_a_domain_in_a_login_name() -> None:
    domains = "[site]\ndomains = ['example.org', 'a.test', 'a.example', 'c.test']\n"
    site = loads(f"{domains}[domain.'c.test']\nnetbios = 'CORP'")
    assert login_domains(site) == {"example": "example.org", "a": "", "c": "c.test", "corp": "c.test"}


def test_every_option_has_a_kind_and_a_help_text() -> None:
    for table in (SiteTable, DomainTable, LimitsTable, CertificateTable, AccessTable, *SERVER_TABLES.values()):
        for key, entry in fields_of(table).items():
            assert kind_of(table, key).name and entry.metadata["text"], f"{table.__name__}.{key}"


def test_defaults_are_those_of_the_limits_themselves() -> None:
    options = loads("")
    assert limits_of(options.servers["imap/default"], options) == Limits(idle_timeout=1800.0, login_timeout=60.0)


def test_the_append_limit_is_the_sites(
) -> None:
    for text, held in (("[limits]\nappend_limit = '2M'", 2 * 2**20), ("[limits]\nappend_limit = 'off'", None)):
        options = loads(text)
        assert limits_of(options.servers["imap/default"], options).append_octets == held


def test_who_may_send_without_login_is_not_waited_for() -> None:
    options = loads('[smtp.in]\n[smtp.out]\nrole = "submission"\n')
    waits = {name: limits_of(server, options).login_timeout for name, server in options.servers.items()}
    assert waits == {"smtp/in": None, "smtp/out": 60.0}


@pytest.mark.parametrize(("text", "uses"), [
    ("[smtp.a]", [("relay", "relay")]),
    ("[smtp.a]\npolicies = []", [("relay", "relay")]),
    ("[smtp.a]\npolicies = ['relay']", [("relay", "relay")]),
    ("[policy.r]\nuse = 'relay'\n[smtp.a]\npolicies = ['r']", [("r", "relay")]),
    ("[policy.r]\nuse = 'relay'\n[smtp.a]", [("r", "relay")]),
])
def test_the_relay_rule_always_holds_S_136(text: str, uses: list[tuple[str, str]]) -> None:
    options = loads(text)
    found = policies_of(options.servers["smtp/a"], options)  # type: ignore[arg-type]
    assert [(choice.name, choice.use) for choice in found] == uses


def test_a_sender_filter_is_for_the_servers_that_name_it_S_045() -> None:
    options = loads(
        "[filter.spam]\nlist = ['Spam.example', 'bob@example.com']\naction = 'drop'\n"
        "[smtp.a]\nsender_filter = 'spam'\n[smtp.b]\nlisten = ['*:26']\n"
    )
    first, second = (policies_of(options.servers[name], options) for name in ("smtp/a", "smtp/b"))  # type: ignore[arg-type]
    assert [(choice.name, choice.use) for choice in first] == [("filter.spam", "senders"), ("relay", "relay")]
    assert first[0].options.list == ("spam.example", "bob@example.com") and first[0].options.action == "drop"
    assert [choice.use for choice in second] == ["relay"]
    with pytest.raises(ConfigError, match=r"there is no table .filter\.spma. .did you mean .spam."):
        loads("[filter.spam]\n[smtp.a]\nsender_filter = 'spma'")
    with pytest.raises(ConfigError, match="must be NAME@DOMAIN"):
        loads("[filter.spam]\nlist = ['*']")


def test_who_has_logged_in_sends_as_itself_on_servers_for_submission() -> None:
    options = loads(
        "[smtp.a]\n[smtp.s]\nrole = 'submission'\n[smtp.t]\nrole = 'submission'\nlisten = []\nsender_check = false"
    )
    uses = {
        name: [choice.use for choice in policies_of(server, options)]  # type: ignore[arg-type]
        for name, server in options.servers.items()
    }
    assert uses == {"smtp/a": ["relay"], "smtp/s": ["own_sender", "relay"], "smtp/t": ["relay"]}
    kinds = [submission_of(server) for server in options.servers.values()]  # type: ignore[arg-type]
    assert [one.complete for one in kinds] == [False, True, True]
    server = loads("[smtp.a]\nhide_client = true\nreceived_user = true").servers["smtp/a"]
    assert submission_of(server) == Submission(False, True, True)  # type: ignore[arg-type]


def test_every_policy_has_a_time_and_a_meaning_of_its_failure() -> None:
    options = loads(
        "[policy.r]\nuse = 'rates'\ntimeout = '5s'\non_failure = 'open'\n[smtp.a]\npolicies = ['r', 'helo']"
    )
    assert options.policies["r"].common == PolicyTable(5.0, "open") and options.policies["helo"].common == PolicyTable()
    with pytest.raises(ConfigError, match='must be one of "tempfail", "open"'):
        loads("[policy.r]\nuse = 'rates'\non_failure = 'close'")


def test_domain_facts_in_the_order_of_the_file() -> None:
    options = loads(
        "[site]\ndomains = ['b.org', 'a.org']\n[domain.'A.org']\nsubaddress = '-'\ncatch_all = 'me@a.org'\n"
    )
    assert domain_facts(options) == (DomainFacts("b.org"), DomainFacts("a.org", "local", "-", "me@a.org"))


def test_what_is_shown_can_be_read_again() -> None:
    text = (
        '[site]\nhostname = "mail.example.org"\ndomains = ["b.org", "bücher.example"]\n[domain."b.org"]\n'
        'catch_all = "me@b.org"\n[auth]\nuse = ["any"]\n[auth.any]\npassword_file = "x"\n[policy.r]\nuse = "relay"\n'
        '[access.office]\nmode = "only"\nlist = ["192.168.5/255.255.0.0", "eng.example.com"]\n'
        '[smtp.a]\nmax_message_size = 1000\nidle_timeout = "90s"\npolicies = ["r"]\n[imap.b]\nmax_connections = 5\n'
        'listen = ["[::1]:143"]\n'
    )
    options = loads(text)
    shown = flatten(options)
    again: dict[str, list[str]] = {}
    for one in shown:
        again.setdefault(dotted(one.path[:-1]), []).append(f"{dotted(one.path[-1:])} = {toml(one.value)}")
    written = "\n".join(f"[{table}]\n" + "\n".join(lines) for table, lines in again.items())
    assert loads(written) == options
    given = {dotted(one.path) for one in shown if one.given}
    assert "smtp.a.max_message_size" in given and "smtp.a.max_hops" not in given
    values = {dotted(one.path): one.value for one in shown}
    assert values["smtp.a.max_message_size"] == 1000 and values["smtp.a.idle_timeout"] == "90s"
    assert values["smtp.a.max_session_size"] == "off" and values["imap.b.idle_timeout"] == "30m"


def test_the_tree_can_be_compared_and_is_frozen() -> None:
    assert loads("") == loads("# comment\n") and isinstance(loads(""), SiteOptions)
    with pytest.raises(AttributeError):
        loads("").limits.append_limit = 1  # type: ignore[misc]


def test_an_lmtp_server_is_for_this_machine_and_asks_nobody_who_he_is() -> None:
    server = loads("[smtp.a]\nrole = 'lmtp'").servers["smtp/a"]
    assert [str(one) for one in server.listen] == ["127.0.0.1:24"]  # type: ignore[attr-defined]
    assert server.authentication == {"anonymous"}  # type: ignore[attr-defined]
    told = loads("[smtp.a]\nrole = 'lmtp'\nlisten = ['*:24', 'unix:run/lmtp']").warnings
    assert any("*:24" in str(one) and "access list" in str(one) for one in told)
    told = loads("[access.x]\nlist = ['192.0.2.1']\n[smtp.a]\nrole = 'lmtp'\nlisten = ['*:24']\naccess = 'x'").warnings
    assert not any("*:24" in str(one) for one in told)


@pytest.mark.parametrize(("network", "wide"), [
    ("192.0.2.7", False), ("192.0.2.0/24", False), ("10.0.0.0/23", True), ("0.0.0.0/0", True), ("127.0.0.0/8", False),
    ("2001:db8::/64", False), ("2001:db8::/63", True), ("::1", False),
])  # fmt: skip
@pytest.mark.parametrize("key", ["xclient_from", "trusted_proxies"])
def test_who_is_believed_whose_connection_it_is_should_not_be_a_whole_network(
    key: str, network: str, wide: bool
) -> None:
    told = [one for one in loads(f"[smtp.a]\n{key} = ['{network}']").warnings if one.key == f"smtp.a.{key}"]
    assert [network in str(one) for one in told] == [True] * wide
