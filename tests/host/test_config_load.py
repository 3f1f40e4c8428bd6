"""Loading the configuration: what an empty file means, and every mistake with file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailsrv.errors import ConfigError
from mailsrv.host.config import unbuilt
from mailsrv.host.config.lines import LineIndex
from mailsrv.host.config.load import TABLES, load, loads
from mailsrv.host.config.options import SERVER_TABLES
from mailsrv.host.config.values import Binding, binding


def listening(text: str) -> dict[str, list[str]]:
    """Server -> its bindings as text."""
    return {name: [str(one) for one in server.listen] for name, server in loads(text).servers.items()}


def test_an_empty_file_is_exactly_three_servers() -> None:
    assert listening("") == {
        "smtp/default": ["*:25"], "imap/default": ["*:143", "*:993/tls"], "pop3/default": ["*:110", "*:995/tls"],
    }


def test_a_file_that_names_a_server_has_just_those_it_names() -> None:
    text = '[smtp.in]\n[smtp.out]\nrole = "submission"\n[imap.x]\nlisten = ["[::1]:0", "127.0.0.1:1143"]\n'
    assert listening(text) == {
        "smtp/in": ["*:25"], "smtp/out": ["*:587", "*:465/tls"], "imap/x": ["[::1]:0", "127.0.0.1:1143"],
    }


def test_defaults_follow_from_the_role_and_the_site() -> None:
    options = loads('[site]\nhostname = "MX.Example.org."\ndomains = ["example.org", "xn--bcher-kva.example"]\n'
                    '[smtp.a]\n[smtp.b]\nrole = "submission"\nhostname = "out.example.org"\n')
    first, second = options.servers.values()
    assert first.authentication == {"anonymous", "basic", "sasl"} and second.authentication == {"basic", "sasl"}
    assert (first.hostname, second.hostname) == ("mx.example.org", "out.example.org")
    assert first.default_domain == "example.org"
    assert list(options.domains) == ["example.org", "bücher.example"]


def test_without_domains_the_host_name_is_the_domain() -> None:
    assert loads('[site]\nhostname = "mail.example.org"').site.domains == ("mail.example.org",)
    assert loads("").site.domains == (loads("").site.hostname,)


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mailsrv.toml"
    file.write_text('[site]\ndata = "d"\n')
    options = load(file)
    assert options.data == tmp_path / "d" and options.control == tmp_path / "d" / "control.sock"
    file.write_text('[site]\ndata = "/srv/mail"\ncontrol = "/run/m.sock"\n')
    assert (str(load(file).data), str(load(file).control)) == ("/srv/mail", "/run/m.sock")


#: text -> (line, key, part of the message)
MISTAKES = [
    ("[site]\n\nhostnam = 'x'", 3, "site.hostnam", 'did you mean "hostname"?'),
    ("[site]\nhostname = 5", 2, "site.hostname", "must be text in quotes"),
    ("[site]\nhostname = 'a b'", 2, "site.hostname", "must be a host or domain name"),
    ("[site]\ndomains = 'x.org'", 2, "site.domains", "must be a list of texts"),
    ("[site]\ndomains = [\n 'x.org',\n 'X.ORG',\n]", 2, "site.domains", '"x.org" is listed twice'),
    ("[site]\ndata = ''", 2, "site.data", "must be the path"),
    ("site = 3", 1, "site", "must be a table"),
    ("\n[sight]\n", 2, "sight", 'did you mean "site"?'),
    ("[store]\nuse = 'sqlit'", 2, "store.use", 'did you mean "sqlite"?'),
    ("[store]\nuse = 3", 2, "store.use", "must be the name of a part"),
    ("[store]\npurge_afte = '7d'", 2, "store.purge_afte", 'did you mean "purge_after"?'),
    ("[store]\npurge_after = 7", 2, "store.purge_after", "must be a duration"),
    ("[store]\nuse = 'memory'\npurge_after = '7d'", 3, "store.purge_after", "there are no options here"),
    ("[domain.'y.org']\n", 1, 'domain."y.org"', "not in site.domains"),
    ("[site]\ndomains=['y.org']\n[domain.'y.org']\nkind = 'half'", 4, 'domain."y.org".kind', "must be one of"),
    ("[routes.'a b']", 1, 'routes."a b"', "host"),
    ("[routes.'a.org']\nauth='basic'", 1, 'routes."a.org".username', "needs a username"),
    ("[smtp.a.delivery]\nexpiration='1h'", 1, "smtp.a.delivery.delay_notification", "less than expiration"),
    ("[site]\ndomains=['y.org']\n[domain.'y.org']\nkind = 'globa'", 4, 'domain."y.org".kind', 'one of "local"'),
    ("[limits]\nappend_limit = '50 megabytes'", 2, "limits.append_limit", 'such as "4096K"'),
    ("[auth]\nuse = ['directry']", 2, "auth.use", 'did you mean "directory"?'),
    ("[auth]\nuse = []", 2, "auth.use", "at least one"),
    ("[auth]\nuse = 'directory'", 2, "auth.use", "must be a list of texts"),
    ("[auth]\nus = ['any']", 2, "auth.us", "options of an authenticator stand in [auth.NAME]"),
    ("[auth.any]\npasword_file = 'x'", 2, "auth.any.pasword_file", 'did you mean "password_file"?'),
    ("[auth]\nuse = ['any']", 2, "auth.use", '"password_file" must be given'),
    ("[auth.directory]\nx = 1", 2, "auth.directory.x", "unknown key"),
    ("[tls.a]\ncert = 'x'", 2, "tls.a.cert", "unknown key"),
    ("[policy.relay]\nx = 1", 2, "policy.relay.x", "unknown key"),
    ("[policy.p]\nuse = 'rely'", 2, "policy.p.use", 'did you mean "relay"?'),
    ("[policy.p]\n", 1, "policy.p", 'no part "p" provides IMessagePolicy'),
    ("[access.a]\nmode = 'onli'", 2, "access.a.mode", 'did you mean "only"?'),
    ("[access.a]\nmdoe = 'only'", 2, "access.a.mdoe", 'did you mean "mode"?'),
    ("[access.a]\nlist = '10.0.0.1'", 2, "access.a.list", "must be a list of texts"),
    ("[access.a]\nlist = [\n '10.0.0.1',\n '10.0.0.256',\n]", 4, "access.a.list", "is no IP address"),
    ("[access.a]\nlist = [\n '10.0.0.1', # [\n\n '192.168.5']", 5, "access.a.list", "write 192.168.5.0/24"),
    ("[access.a]\nlist = ['10.0.0.0/255.0.255.0']", 2, "access.a.list", "has holes"),
    ("[access.a]\nlist = ['*.example.org']", 2, "access.a.list", 'write "example.org"'),
    ("[imap.a]\naccess = 'office'", 2, "imap.a.access", "there is no table [access.office]"),
    ("[access.office]\n[smtp.a]\nrelay = 'ofice'", 3, "smtp.a.relay", 'did you mean "office"?'),
    ("[access.office]\n[imap.a]\nrelay = 'office'", 3, "imap.a.relay", "unknown key"),
    ("[smtp]\nlisten = ['*:25']", 2, "smtp.listen", "the table needs a name, as in [smtp.default]"),
    ("[smtp.'a b']\n", 1, 'smtp."a b"', "a name is letters"),
    ("[[smtp]]\n", 1, "smtp", "must be a table"),
    ("[smtp.a]\npolicies = ['spam']", 2, "smtp.a.policies", "no table [policy.spam]"),
    ("[smtp.a]\ncertificate = 'defalt'", 2, "smtp.a.certificate", 'did you mean "default"?'),
    ("[smtp.a]\nstartup = 'auto'", 2, "smtp.a.startup", 'one of "automatic", "manual"'),
    ("[smtp.a]\nrole = 'lmtp'\nlisten = ['*:25']", 3, "smtp.a.listen", "RFC 2033"),
    ("[smtp.a]\nauthentication = ['basic', 'kerberos']", 2, "smtp.a.authentication", "none of"),
    ("[imap.a]\nauthentication = ['anonymous']", 2, "imap.a.authentication", "none of"),
    ("[limits]\nnever_banned = ['10.0.0.1/8']", 2, "limits.never_banned", "host bits"),
    ("[limits]\nban_time = 'off'", 2, "limits.ban_time", "duration"),
    ("[imap.a]\nauthentication = ['anonymous']", 2, "imap.a.authentication", 'is none of "basic"'),
    ("[pop3.a]\nauthentication = []", 2, "pop3.a.authentication", "at least one method"),
    ("[smtp.a]\nrole='submission'\nauthentication=['anonymous']", 3, "smtp.a.authentication", 'leave out "anonymous"'),
    ("[smtp.a]\nmax_connections = -1", 2, "smtp.a.max_connections", "must be 1 to"),
    ("[smtp.a]\nmax_hops = 9", 2, "smtp.a.max_hops", "must be 10 to 256"),
    ("[smtp.a]\nmax_hops = 257", 2, "smtp.a.max_hops", "must be 10 to 256"),
    ("[smtp.a]\nidle_timeout = '30'", 2, "smtp.a.idle_timeout", '"off" switches the limit off'),
    ("[smtp.a]\nrequire_tls = 'yes'", 2, "smtp.a.require_tls", "must be true or false"),
    ("[imap.a]\nmax_hops = 30", 2, "imap.a.max_hops", "unknown key"),
    ("[smtp.a]\nlisten = ['*:25', '*:25/tls']", 2, "smtp.a.listen", "listed twice"),
    ("[smtp.a]\n[smtp.b]\n[imap.c]\nlisten = [\n'*:25'\n]", 2, "smtp.b.listen", "binding of smtp/a already"),
    ("[smtp.a]\nlisten = ['unix:x', 'unix:x']", 2, "smtp.a.listen", '"unix:x" is listed twice'),
    ("[smtp.a]\nlisten = ['unix:x']\n[imap.c]\nlisten = ['unix:x']", 4, "imap.c.listen", "binding of smtp/a already"),
    ("[smtp.a]\nlisten = ['unix:" + "x" * 103 + "']", 2, "smtp.a.listen", "longer than the path of a socket"),
    ("[smtp.a]\ntrusted_proxies = ['10.0.0.1/8']", 2, "smtp.a.trusted_proxies", "networks such as"),
    ("[smtp.a]\n[imap.c]\nlisten = [\n'*:25'\n]", 3, "imap.c.listen", "*:25 is a binding of smtp/a already"),
    ("[site]\ncontrol = '/" + "x" * 107 + "'", 2, "site.control", "set a shorter one"),
    ("[site]\nhostname = ", 2, "", "not TOML"),
    ("[site]\ndata = 'x'\ndata = 'y'", 3, "", "not TOML"),
    ("[site", 1, "", "not TOML"),
]


@pytest.mark.parametrize(("text", "line", "key", "said"), MISTAKES, ids=[text for text, *_ in MISTAKES])
def test_every_mistake_names_file_line_and_key(text: str, line: int, key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text, "/etc/mailsrv.toml")
    error = caught.value
    assert (error.file, error.line, error.key) == ("/etc/mailsrv.toml", line, key) and said in error.text
    assert str(error).startswith(f"/etc/mailsrv.toml:{line}: ")


def test_texts_of_a_list_have_their_lines() -> None:
    index = LineIndex('[a]\nx = ["1", # "no"\n\'2\',\n["in", "side"],\n"""3\n[""", "4",\n  "5"]\ny = 1\n')
    assert [index.line_of(("a", "x", str(at))) for at in range(6)] == [2, 3, 5, 6, 7, 2]
    assert index.line_of(("a", "y")) == 8


@pytest.mark.parametrize("listen", [
    "25", "*", "*:", "*:x", "*:65536", "*:25/ssl", "localhost:25", "::1:25", "[::1]", "[127.0.0.1]:25", "[::1:25",
    "unix:", "unix:" + "x" * 108, "ssl:25", "stdio:", ":25", "*:²5", "1.2.3:25", "*:25/tls/tls", "",
])
def test_what_is_no_binding_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f"[smtp.a]\nlisten = [{listen!r}]", "f.toml")
    assert (caught.value.key, caught.value.line) == ("smtp.a.listen", 2) and repr(listen) in caught.value.text


@pytest.mark.parametrize(("text", "one"), [
    ("*:25", Binding("*", 25)), ("127.0.0.1:0", Binding("127.0.0.1", 0)), ("*:993/tls", Binding("*", 993, True)),
    ("[::1]:143", Binding("::1", 143)), ("[0:0::1]:143/tls", Binding("::1", 143, True)),
    ("[::ffff:10.0.0.1]:25", Binding("10.0.0.1", 25)), ("unix:run/lmtp", Binding("", 0, False, "run/lmtp")),
    ("systemd:domain=INET:index=0", Binding("", 0, endpoint="systemd:domain=INET:index=0")),
    ("tcp:993:interface=\\:\\:1/tls", Binding("", 0, True, endpoint="tcp:993:interface=\\:\\:1")),
])
def test_bindings(text: str, one: Binding) -> None:
    assert binding(text) == one
    assert binding(str(one)) == one


def test_port_0_may_be_used_by_many() -> None:
    options = loads("[smtp.a]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']\n[imap.b]\nlisten = ['127.0.0.1:0']")
    assert len(options.servers["smtp/a"].listen) == 2


#: Every name of docs and profiles that is settled but not built.
UNBUILT = [
    *((f"[{name}]\nx = 1", name, 1) for name in sorted(unbuilt.TABLES)),
    *(
        (f"[{table}]\n{key} = 1", f"{table}.{key}", 2)
        for table in ("site", "limits") for key in sorted(unbuilt.KEYS[table])
    ),
    *(
        (f"[{table}.default]\n{key} = 1", f"{table}.default.{key}", 2)
        for table in SERVER_TABLES for key in sorted(unbuilt.KEYS[table])
    ),
]


@pytest.mark.parametrize(("text", "key", "line"), UNBUILT, ids=[key for _, key, _ in UNBUILT])
def test_known_but_unbuilt_keys_are_refused_as_such(text: str, key: str, line: int) -> None:
    with pytest.raises(ConfigError, match="is not in this version") as caught:
        loads(text, "f.toml")
    assert (caught.value.key, caught.value.line) == (key, line)


def test_no_unbuilt_name_is_an_option() -> None:
    assert not unbuilt.TABLES & set(TABLES)
    for table, options in SERVER_TABLES.items():
        assert not unbuilt.KEYS[table] & {entry.name for entry in options.__attrs_attrs__}


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; `mailsrv init DIR` makes one"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'[site]\nhostname = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8 at octet 19"):
        load(tmp_path / "latin.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load(tmp_path / "big.toml")


WARNINGS = [
    ("[smtp.a]\nmax_message_size = '10M'\nmax_session_size = '5M'", 3, "smtp.a.max_session_size", "less than one"),
    ("[smtp.a]\nmax_message_size = 'off'\nmax_session_size = '5M'", 3, "smtp.a.max_session_size", "less than one"),
    ("[smtp.a]\nidle_timeout = '4m'", 2, "smtp.a.idle_timeout", "silent for 5m"),
    ("[imap.a]\nidle_timeout = '29m'", 2, "imap.a.idle_timeout", "silent for 30m"),
    ("[pop3.a]\nidle_timeout = '9m'", 2, "pop3.a.idle_timeout", "silent for 10m"),
    ("[smtp.a]\nrequire_tls = true", 2, "smtp.a.require_tls", "cannot deliver here"),
    ("[imap.a]\nlogin_without_tls = true", 2, "imap.a.login_without_tls", "clear text at *:143"),
    ("[imap.a]\nlisten = []", 2, "imap.a.listen", "nobody can connect"),
    ("[smtp.a]\ndefault_domain = 'other.org'", 2, "smtp.a.default_domain", "not in site.domains"),
    ("[auth]\nuse = ['any']\n[auth.any]\npassword_file = 'x'", 2, "auth.use", "EVERY name"),
    ("[access.a]\nlist = [\n'192.168.5/255.255.0.0']", 3, "access.a.list", "is taken as 192.168.0.0/16"),
    ("[access.a]\nlist = [\n'10.0.0.1',\n'::ffff:10.0.0.1']", 4, "access.a.list", "of line 3 once more"),
    ("[access.a]\nmode='only'\n[imap.a]\naccess='a'", 1, "access.a.list", "nobody can connect"),
    ("[access.a]\n[smtp.a]\nrelay='a'", 3, "smtp.a.relay", "an OPEN RELAY"),
    ("[site]\ndomains=['y.org']\n[domain.'y.org']\ncatch_all='me@z.org'", 4, 'domain."y.org".catch_all', "no local"),
]


@pytest.mark.parametrize(("text", "line", "key", "said"), WARNINGS, ids=[text for text, *_ in WARNINGS])
def test_warnings_are_kept_and_name_file_line_and_key(text: str, line: int, key: str, said: str) -> None:
    found = [w for w in loads(text, "f.toml").warnings if w.key == key]
    assert len(found) == 1 and (found[0].file, found[0].line) == ("f.toml", line) and said in found[0].text


@pytest.mark.parametrize("text", [
    "", "[smtp.a]\nmax_message_size = '10M'\nmax_session_size = '10M'", "[imap.a]\nidle_timeout = 'off'",
    "[imap.a]\nlisten = ['127.0.0.1:143', '*:993/tls']\nlogin_without_tls = true",
    "[smtp.a]\nrole = 'submission'\nrequire_tls = true",
])
def test_what_is_fine_is_not_warned_about(text: str) -> None:
    assert loads(text).warnings == ()


def test_lines_are_found_past_everything_that_looks_like_a_key() -> None:
    text = (
        "top = 1\n"  # 1
        "[a] # [no]\n"  # 2
        'text = """\n[x]\nkey = 3\\"""\n""" # end\n'  # 3
        "lit = '''\n[y]\nit''' \n"  # 7
        "list = [ # ]\n  ']', \"]\\\"\",\n  [1,\n 2]]\n"  # 10
        '"quo.ted" . b = { c = 1, d = [\n] }\n'  # 14
        '[a."x y".z]\r\n'  # 16
        "last = 1"  # 17
    )
    index = LineIndex(text)
    for path, line in {
        "top": 1, "a": 2, "a/text": 3, "a/lit": 7, "a/list": 10, "a/quo.ted/b": 14, "a/x y/z": 16, "a/x y/z/last": 17,
    }.items():
        assert index.line_of(tuple(path.split("/"))) == line, path
    assert index.line_of(("x",)) is None and index.line_of(("y",)) is None and index.line_of(("a", "key")) == 2
    # What has no line of its own gets that of the table or key around it.
    assert index.line_of(("a", "quo.ted", "b", "c")) == 14


def test_every_key_the_specification_names_is_known_or_refused_as_not_in_this_version() -> None:
    names = re.findall(r"\w+", SPECIFIED)
    known = set().union(*({entry.alias for entry in table.__attrs_attrs__} for table in SERVER_TABLES.values()))
    later = unbuilt.KEYS["smtp"] | unbuilt.KEYS["imap"] | unbuilt.KEYS["pop3"]
    assert [name for name in names if name not in known | later] == []


SPECIFIED = """
title startup listen role hostname default_domain login_domain access relay authentication ntlm_v1 certificate
require_tls require_strong_tls max_connections max_connections_per_address idle_timeout login_timeout max_message_size
max_session_size max_recipients max_hops reverse_lookup bare_newlines trusted_proxies sender_filter policies delivery
public_folders fast_retrieval format
"""
