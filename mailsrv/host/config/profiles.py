"""Profiles: configurations that `mailsrv init` writes out whole, so that no default moves later (floor 4).

Decisions 29.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import Factory, frozen

from ...parts import fields_of
from .delivery import DEFAULT, EXCHANGE_2003, DeliveryTable
from .options import SERVER_TABLES

#: Last two digits of a listener's usual port -> what `--port-base N` adds to N.
USUAL_PORTS = {25: 25, 24: 24, 587: 87, 465: 65, 143: 43, 993: 93, 110: 10, 995: 95}

Values = Mapping[str, Any]


@frozen
class Profile:
    """One profile: values as TOML has them.  `servers` is keyed "smtp/default"; each lists (port, tls) too."""

    text: str
    servers: Mapping[str, Values]
    ports: Mapping[str, Sequence[tuple[int, bool]]]
    tables: Mapping[str, Values] = Factory(dict)
    loopback: bool = False
    #: [smtp.NAME.delivery] of each SMTP server.
    delivery: Values = Factory(lambda: DEFAULT)


_THREE = {
    "smtp/default": ((25, False),),
    "imap/default": ((143, False), (993, True)),
    "pop3/default": ((110, False), (995, True)),
}
_FOUR = {
    "smtp/default": ((25, False),),
    "smtp/submission": ((587, False), (465, True)),
    "imap/default": ((143, False), (993, True)),
    "pop3/default": ((110, False), (995, True)),
}

#: The order of keys in a table.
_ORDER = (
    "title", "role", "listen", "authentication", "relay", "login_without_tls", "ntlm_v1", "max_connections",
    "max_connections_per_address", "idle_timeout", "login_timeout", "failed_login_delay", "max_message_size",
    "max_session_size", "max_recipients", "max_hops", "sender_check",
)
_COMMON: Values = {
    "login_without_tls": False,
    "ntlm_v1": False,
    "max_connections": "off",
    "max_connections_per_address": "off",
    "login_timeout": "60s",
    "failed_login_delay": "2s",
}
_SMTP: Values = {
    **_COMMON,
    "role": "relay",
    "authentication": ["anonymous", "basic", "sasl"],
    "idle_timeout": "10m",
    "max_message_size": "50M",
    "max_session_size": "off",
    "max_recipients": 1000,
    "max_hops": 30,
}
_SUBMISSION: Values = {**_SMTP, "role": "submission", "authentication": ["basic", "sasl"], "sender_check": True}
_IMAP: Values = {**_COMMON, "authentication": ["basic", "sasl"], "idle_timeout": "30m"}
_POP3: Values = {**_IMAP, "idle_timeout": "10m"}
_CHAPTER: Values = {"authentication": ["basic", "ntlm"], "idle_timeout": "30m"}
_TEST: Values = {
    "authentication": ["basic", "ntlm", "sasl"], "login_without_tls": True, "ntlm_v1": True, "idle_timeout": "30m",
    "failed_login_delay": "off",
}
_TEST_SMTP: Values = {**_TEST, "relay": "loopback", "max_message_size": "2M"}
_GUARD: Values = {
    "failed_logins_per_address": 30, "failed_logins_per_account": 50, "failed_login_window": "10m", "ban_time": "15m",
}
_NO_GUARD: Values = {"failed_logins_per_address": "off", "failed_logins_per_account": "off"}

PROFILES: dict[str, Profile] = {
    "default": Profile(
        "safe defaults for today",
        {"smtp/default": _SMTP, "smtp/submission": _SUBMISSION, "imap/default": _IMAP, "pop3/default": _POP3},
        _FOUR,
        {"limits": {"append_limit": "50M", **_GUARD}},
    ),
    "exchange2003": Profile(
        "the numbers of Exchange Server 2003",
        {
            "smtp/default": {
                **_SMTP, **_CHAPTER, "title": "Default SMTP Virtual Server",
                "authentication": ["anonymous", "basic", "ntlm"],
                "max_message_size": "4096K", "max_session_size": "10240K", "max_recipients": 64000,
            },
            "imap/default": {**_IMAP, **_CHAPTER, "title": "Default IMAP4 Virtual Server"},
            "pop3/default": {**_POP3, **_CHAPTER, "title": "Default POP3 Virtual Server"},
        },
        _THREE,
        {
            "limits": {"append_limit": "50M", **_GUARD},
            "auth": {"use": ["directory"]},
            "auth.directory": {"keep": ["ntlm"]},
        },
        delivery=EXCHANGE_2003,
    ),
    "test": Profile(
        "FOR TEST BEDS ONLY: one password for every name, login without TLS",
        {
            "smtp/default": {
                **_SMTP, **_TEST_SMTP, "authentication": ["anonymous", "basic", "ntlm", "sasl"],
            },
            # A bed's clients send as whom they like.
            "smtp/submission": {**_SUBMISSION, **_TEST_SMTP, "sender_check": False},
            "imap/default": {**_IMAP, **_TEST},
            "pop3/default": {**_POP3, **_TEST},
        },
        _FOUR,
        {
            "limits": {"append_limit": "2M", **_NO_GUARD},
            "auth": {"use": ["any"]},
            "access.loopback": {"mode": "only", "list": ["127.0.0.0/8", "::1"]},
            # No test writes to the world: what is for other domains waits in the queue, where nobody listens.
            'routes."*"': {"host": ["127.0.0.1"], "port": 9, "tls": "off"},
        },
        loopback=True,
    ),
}


def toml(value: Any) -> str:
    """A value as TOML writes it: text, flag, number, list of texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return str(value)


def write_profile(
    name: str,
    hostname: str,
    domains: Sequence[str],
    *,
    host: str = "*",
    ports: Mapping[int, int] | None = None,
    tables: Mapping[str, Values] | None = None,
) -> str:
    """The text of a configuration file.

    `host` is the address of every listener ("*": all); `ports` replaces usual ports; `tables` adds to the
    profile's own.  A profile for test beds listens on 127.0.0.1 alone, whatever `host` says.
    """
    profile = PROFILES[name]
    host = "127.0.0.1" if profile.loopback else host
    lines = [f"# mailsrv: {profile.text} (profile {name}).  `mailsrv check` reads this file and tells mistakes.", ""]
    lines += _table("site", {"hostname": hostname, "domains": list(domains), "data": "data"}, {})
    lines += _table("store", {"use": "sqlite", "purge_after": "7d"}, {})
    added = {**profile.tables, **(tables or {})}
    for table, values in added.items():
        lines += _table(table, values, {})
    told: set[str] = set()
    for server, values in profile.servers.items():
        protocol, _, server_name = server.partition("/")
        listen = [
            f"{host}:{(ports or {}).get(port, port)}" + ("/tls" if tls else "") for port, tls in profile.ports[server]
        ]
        fields = fields_of(SERVER_TABLES[protocol])
        # Each key is explained where it is met first.
        texts = {key: entry.metadata["text"] for key, entry in fields.items() if key not in told}
        told.update(values, {"listen"})
        ordered = dict(sorted({"listen": listen, **values}.items(), key=lambda item: _ORDER.index(item[0])))
        lines += _table(f"{protocol}.{server_name}", ordered, texts)
        if protocol == "smtp":
            fields = fields_of(DeliveryTable)
            texts = {key: entry.metadata["text"] for key, entry in fields.items() if key not in told}
            told.update(profile.delivery)
            lines += _table(f"smtp.{server_name}.delivery", profile.delivery, texts)
    return "\n".join(lines[:-1]) + "\n"


def _table(name: str, values: Values, texts: Mapping[str, str]) -> list[str]:
    """The lines of one table, comments in one column."""
    lines = [f"[{name}]"]
    for key, value in values.items():
        line = f"{key} = {toml(value)}"
        text = texts.get(key, "")
        if len(text) > 60:
            lines.append(f"# {text}")
            text = ""
        lines.append(f"{line:<46} # {text}" if text else line)
    return [*lines, ""]


def ports_from(base: int) -> dict[int, int]:
    """Usual port -> N + its last two digits (`--port-base N`)."""
    return {usual: base + digits for usual, digits in USUAL_PORTS.items()}
