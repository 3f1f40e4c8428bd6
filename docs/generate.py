"""Writes the generated pages of docs/: `python -m docs.generate` makes them, `--check` says which are out of date.

docs/configuration.md comes from the attrs classes of options, their kinds, defaults and help texts, and from the
profiles.  The page of S-rows is made by `tests/s_rows.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from mailsrv.host.config import unbuilt
from mailsrv.host.config.control import ControlTable
from mailsrv.host.config.delivery import DeliveryTable
from mailsrv.host.config.formats import FormatTable, Pop3FormatTable
from mailsrv.host.config.load import loads
from mailsrv.host.config.metrics import MetricsTable
from mailsrv.host.config.operations import LogTable, TraceTable
from mailsrv.host.config.options import (
    AccessTable,
    CertificateTable,
    DomainTable,
    FilterTable,
    ImapOptions,
    LimitsTable,
    PolicyTable,
    Pop3Options,
    SiteTable,
    SmtpOptions,
)
from mailsrv.host.config.permissions import RoleTable
from mailsrv.host.config.profiles import PROFILES, toml, write_profile
from mailsrv.host.config.routes import RouteTable
from mailsrv.host.config.service import ServiceTable
from mailsrv.host.config.show import flatten, written
from mailsrv.parts import Part, all_parts, dotted, fields_of, kind_of

DOCS = Path(__file__).resolve().parent

INTRODUCTION = """\
# Configuration

<!-- Made by `python -m docs.generate`; do not edit. -->

One file, `mailsrv.toml`, holds the whole configuration of a site.  `mailsrv check` reads it and tells every mistake
with file, line and key; `mailsrv config show` prints the value of every key as it is in effect.  A key that is not
listed here is refused, never ignored.  `mailsrv config set KEY VALUE` changes file and running site together, and
`mailsrv config apply` takes up what was edited by hand; nearly every key holds at once, for connections that come then
("Changing the configuration" in [operator.md](operator.md#changing-the-configuration)).

Kinds: a *size* is a number of octets or text with a unit of 1024 (`"4096K"`, `"50M"`, `"1G"`); a *duration* is text
with a unit (`"30s"`, `"10m"`, `"12h"`, `"7d"`); *or off* means that `"off"` (or `0`) switches the limit off; a *flag*
is `true` or `false`; a relative *path* starts from the folder of the file.

The column *without it* is what holds when the file does not have the key.  The columns *init ...* are what
`mailsrv init --profile NAME` writes into the file; an empty cell is not written.  `S-nnn` are the rows of
[s-rows.md](s-rows.md).
"""

#: Heading, class of options, table of the profiles, text above.
TABLES: tuple[tuple[str, type, str, str], ...] = (
    ("[site]", SiteTable, "", "The site as a whole.  Every key has a default: an empty file is a site."),
    ('[domain."NAME"]', DomainTable, "", "What differs for one of the domains of `site.domains`."),
    ("[limits]", LimitsTable, "limits", "For the whole site."),
    ("[log]", LogTable, "", "What is written to the standard output, or to twistd.log."),
    ("[trace]", TraceTable, "", "What is kept for `mailsrv trace`, in `trace.db` of the data folder."),
    (
        "[tls.NAME]", CertificateTable, "",
        "A certificate that servers name.  `[tls.default]` is always there; as long as the file does not mention it, a "
        "self-signed certificate is made at the first start.",
    ),
    (
        "[access.NAME]", AccessTable, "",
        "A list that servers name, as `access` (who may connect) or as `relay` (who may send to other domains without "
        "a login): \"Who may connect, who may relay\" in "
        "[operator.md](operator.md#who-may-connect-who-may-relay).",
    ),
    (
        "[filter.NAME]", FilterTable, "",
        "A sender filter that SMTP servers name as `sender_filter` (S-045): the sender of the envelope is looked up.  "
        "Case is nothing to it, and the length of the list does not matter to its speed.",
    ),
    (
        '[routes."NAME"]', RouteTable, "",
        "Where mail for a domain goes (S-112), and how this site logs in there.  NAME is a domain, `.example.com` for "
        "all domains below it, or `*` for all others: the smart host (S-111).  Without a route the name system says.",
    ),
    (
        "[smtp.NAME.delivery]", DeliveryTable, "",
        "How an SMTP server sends on what it accepted: times, limits, login at the smart host, reports, bad mail.",
    ),
    (
        "[policy.NAME]", PolicyTable, "",
        "A message policy that SMTP servers name in `policies`: these keys, and those of its part (\"Parts\" below).  "
        "[policies.md](policies.md) tells how to write one.",
    ),
    (
        "[role.NAME]", RoleTable, "",
        "Who may administer what: \"Who may do what\" in [operator.md](operator.md#who-may-do-what).",
    ),
    (
        "[service.PROTOCOL]", ServiceTable, "",
        "`[service.smtp]`, `[service.imap]` and `[service.pop3]`: what holds for all servers of a protocol, unless one "
        "says otherwise.",
    ),
    (
        "[control]", ControlTable, "",
        "Administration from elsewhere: \"From another machine\" in [operator.md](operator.md#from-another-machine).",
    ),
    (
        "[metrics]", MetricsTable, "",
        "Counters of all servers for Prometheus: \"Metrics\" in [operator.md](operator.md#metrics).",
    ),
    (
        "[smtp.NAME]", SmtpOptions, "smtp/default",
        "An SMTP virtual server.  The columns of profiles are those of `[smtp.default]`; `[smtp.submission]`, which "
        "exchange2003 does not have, differs in `role = \"submission\"`, `authentication = [\"basic\"]` and the ports "
        "587 and 465/tls.",
    ),
    ("[imap.NAME]", ImapOptions, "imap/default", "An IMAP4 virtual server."),
    (
        "[imap.NAME.format]", FormatTable, "",
        "How clients of this server see messages: [formats.md](formats.md).  After a change IMAP clients fetch all "
        "of them again.",
    ),
    ("[pop3.NAME]", Pop3Options, "pop3/default", "A POP3 virtual server."),
    ("[pop3.NAME.format]", Pop3FormatTable, "", "How clients of this server see messages: [formats.md](formats.md)."),
)

SERVERS = """\
Tables `[smtp.NAME]`, `[imap.NAME]` and `[pop3.NAME]` are virtual servers; their names on the command line are
`smtp/NAME` and so on.  A file that names none has three: `smtp/default`, `imap/default`, `pop3/default` (S-002).  A
file that names some has just those.
"""

PARTS = """\
## Parts

`[store]`, `[auth.NAME]`, `[authorizer]` and `[policy.NAME]` choose a part by its name (key `use`; default: NAME
itself), and every other key of the table is an option of that part.  `mailsrv part list` shows all that are installed,
also those of other packages.  These come with mailsrv:
"""

AUTH = """\
`auth.use` lists the authenticators that are asked, in order (default `["directory"]`).  `smtp.NAME.policies` lists
the policies of a server, each a `[policy.NAME]` or the name of a part; the relay rule always holds, a list without it
has it first.  The profile test uses the authenticator `any`.
"""

LATER = """\
## Names known, but not in this version

These are settled names of tables and keys that nothing reads yet.  A file that has one is refused with "not in this
version", so that nobody believes to have switched something on.
"""

def written_default(options: type, entry: attrs.Attribute[Any], key: str) -> str:
    """The default of a key as the file would hold it."""
    default: Any = entry.default
    if default is attrs.NOTHING:
        return "must be given"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = getattr(options(), entry.name)
    if default in ("", ()) and "default:" in entry.metadata.get("text", ""):
        return "see text"
    return f"`{toml(written(kind_of(options, key).name, default))}`"


def profile_values(name: str) -> dict[str, Mapping[str, Any]]:
    """Table of the profile -> the keys it writes."""
    profile = PROFILES[name]
    text = write_profile(name, "mail.example.org", ["example.org"], tables={"auth.any": {"password_file": "x"}})
    options = loads(text)
    given = {one.path: one.value for one in flatten(options) if one.given}
    values: dict[str, dict[str, Any]] = {server: {} for server in profile.servers}
    for path, value in given.items():
        table = "/".join(path[:-1])
        values.setdefault(table, {})[path[-1]] = value
    return values


def cell(text: str) -> str:
    """Text inside a table."""
    return text.replace("|", "\\|")


def table_of(options: type, profiles: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A table of one class of options; `profiles` maps a profile's name to what it writes there."""
    shown = [name for name, values in profiles.items() if values]
    yield "| " + " | ".join(["key", "kind", "without it", *(f"init {name}" for name in shown), "what it is"]) + " |"
    yield "|---" * (4 + len(shown)) + "|"
    for key, entry in fields_of(options).items():
        values = [f"`{toml(profiles[name][key])}`" if key in profiles[name] else "" for name in shown]
        text = entry.metadata.get("text", "")
        row = [f"`{key}`", kind_of(options, key).name, written_default(options, entry, key), *values, text]
        yield "| " + " | ".join(map(cell, row)) + " |"


def parts() -> Iterator[str]:
    """The parts that come with mailsrv."""
    yield "| table | `use` | options |"
    yield "|---|---|---|"
    tables = {
        "IMessageStore": "[store]", "IAuthenticator": "[auth.NAME]", "IAuthorizer": "[authorizer]",
        "IMessagePolicy": "[policy.NAME]",
    }  # fmt: skip
    for part in all_parts():
        table = tables.get(part.contract.__name__)
        if table and part.source.endswith("mailsrv_parts.py"):
            yield cell_row(table, part)


def cell_row(table: str, part: Part) -> str:
    """One part."""
    options = part.options
    told = [
        f"`{key}` ({kind_of(options, key).name}, {written_default(options, entry, key)}): {entry.metadata['text']}"
        for key, entry in fields_of(options).items()
    ]
    return f"| `{table}` | `{part.name}` | {cell('<br>'.join(told)) or 'none'} |"


def later() -> Iterator[str]:
    """What is known and refused."""
    yield "| where | names |"
    yield "|---|---|"
    yield f"| tables | {', '.join(f'`[{name}]`' for name in sorted(unbuilt.TABLES))} |"
    for table, keys in unbuilt.KEYS.items():
        where = f"[{dotted((table,))}]" if table in ("site", "limits") else f"[{table}.NAME]"
        yield f"| `{where}` | {', '.join(f'`{key}`' for key in sorted(keys))} |"


def configuration() -> str:
    """docs/configuration.md"""
    profiles = {name: profile_values(name) for name in PROFILES}
    lines = [INTRODUCTION, "## The site", ""]
    for heading, options, table, text in TABLES:
        if heading == "[smtp.NAME]":
            lines += ["## Virtual servers", "", SERVERS]
        lines += [f"### `{heading}`", "", text, ""]
        lines += [*table_of(options, {name: values.get(table, {}) for name, values in profiles.items()}), ""]
    lines += [PARTS, *parts(), "", AUTH, LATER, *later()]
    return "\n".join(lines) + "\n"


PAGES = {"configuration.md": configuration}


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check tell which are out of date."""
    old = [name for name, make in PAGES.items() if _read(DOCS / name) != make()]
    if "--check" not in arguments:
        for name in old:
            (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
    sys.stdout.writelines(f"docs/{name} {'is out of date' if '--check' in arguments else 'written'}\n" for name in old)
    return 1 if old and "--check" in arguments else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
