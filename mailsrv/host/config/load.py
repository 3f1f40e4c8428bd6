"""From a TOML file to the checked tree of options (floor 4).

Every mistake is a ConfigError that names file, line and key.  Reading opens no socket, thread or database.
"""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from ...access.entries import Entry, parse_entry
from ...errors import ConfigError
from ...interfaces import IAuthenticator, IAuthorizer, IMessagePolicy, IMessageStore
from ...parts import TEXTS, Place, did_you_mean, dotted, fields_of, find, quoted, read_table
from . import unbuilt
from .control import ControlTable
from .lines import LineIndex
from .metrics import MetricsTable
from .operations import LogTable, TraceTable
from .options import (
    INNER_TABLES,
    SERVER_TABLES,
    AccessTable,
    CertificateTable,
    DomainTable,
    FilterTable,
    LimitsTable,
    PartChoice,
    PolicyChoice,
    PolicyTable,
    ServerOptions,
    SiteOptions,
    SiteTable,
)
from .permissions import RoleTable
from .review import review
from .routes import RouteTable, route_name
from .service import ServiceTable
from .values import HOSTNAME, server_name

#: The tables this version reads.
TABLES = (
    "site", "store", "service", "metrics", "log", "trace", "control", "domain", "limits", "auth", "authorizer",
    "role", "tls", "access", "filter", "policy", "routes", *SERVER_TABLES,
)  # fmt: skip
#: A file larger than this is no configuration.
MAX_OCTETS = 4 * 2**20

Table = Mapping[str, Any]


def load(path: Path | str) -> SiteOptions:
    """The options of a file.  Raises ConfigError."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_OCTETS:
            raise ConfigError(f"larger than {MAX_OCTETS} octets", file=str(path))
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file; `mailsrv init DIR` makes one", file=str(path)) from None
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 at octet {error.start}", file=str(path)) from None
    return loads(text, path)


def loads(text: str, file: Path | str | None = None) -> SiteOptions:
    """The options of a text; `file` is what messages cite and relative paths start from.  Raises ConfigError."""
    name = str(file) if file is not None else ""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        # Otherwise it says "at end of document".
        line = int(found[1]) if found else text.rstrip().count("\n") + 1
        raise ConfigError(f"not TOML: {error}", file=name, line=line) from None
    except RecursionError:
        raise ConfigError("not TOML that anybody wrote: nested too deep", file=name) from None
    return _Reader(tables, Place((), name, LineIndex(text).line_of), Path(file) if file is not None else None).read()


def machine_name() -> str:
    """The machine's own FQDN, or its short name, or localhost."""
    name = socket.gethostname()
    if "." not in name:
        name = socket.getfqdn(name)
    try:
        return str(HOSTNAME.read(name))
    except ValueError:
        return "localhost"


class _Reader:
    """One reading of one file."""

    def __init__(self, tables: Table, place: Place, file: Path | None) -> None:
        self._tables, self._place, self._file = tables, place, file

    def read(self) -> SiteOptions:
        """The checked tree."""
        for name in self._tables:
            if name in unbuilt.TABLES:
                raise self._place.error("this table is not in this version", name)
            if name not in TABLES:
                raise self._place.error(f"unknown table{did_you_mean(name, TABLES)}", name)
        site = self._site()
        options = SiteOptions(
            site=site,
            store=self._store(),
            limits=self._read(LimitsTable, "limits"),
            domains=self._domains(site),
            authenticators=self._authenticators(),
            authorizer=self._authorizer(),
            roles={name: self._read(RoleTable, "role", name) for name in self._names("role")},
            certificates=self._certificates(),
            policies=self._policies(),
            filters={name: self._read(FilterTable, "filter", name) for name in self._names("filter")},
            access={name: self._access(name) for name in self._names("access")},
            routes=self._routes(),
            services=self._services(),
            metrics=self._read(MetricsTable, "metrics"),
            remote=self._remote(),
            log=self._read(LogTable, "log"),
            trace=self._read(TraceTable, "trace"),
            servers=self._servers(site),
            file=self._file,
            given=frozenset(_paths(self._tables)),
        )
        return review(options, self._place)

    def _remote(self) -> ControlTable:
        """[control]"""
        table: ControlTable = self._read(ControlTable, "control")
        if table.certificate != "default" and table.certificate not in self._table("tls"):
            raise self._place.error(f"there is no [tls.{table.certificate}]", "control", "certificate")
        return table

    def _table(self, *path: str) -> Table:
        """The table at a path; an empty one when there is none."""
        found: Any = self._tables
        for length, key in enumerate(path, 1):
            found = found.get(key, {})
            if not isinstance(found, Mapping):
                raise self._place.error("must be a table", *path[:length])
        return found

    def _read(self, options: type, *path: str, leaving: tuple[str, ...] = (), **derived: Any) -> Any:
        """An attrs class from the table at a path; `leaving` are tables in it that are read by themselves."""
        place, table = self._place.at(*path), self._table(*path)
        table = {key: value for key, value in table.items() if key not in leaving}
        for key in table:
            if key in unbuilt.KEYS.get(path[0], ()):
                raise place.error("this key is not in this version", key)
        return read_table(options, table, place, **derived)

    def _names(self, kind: str) -> list[str]:
        """The NAMEs of the tables [KIND.NAME]."""
        names = list(self._table(kind))
        for name in names:
            if not isinstance(self._tables[kind][name], Mapping):
                raise self._place.error(f"the table needs a name, as in [{kind}.default]", kind, name)
            if not server_name(name):
                raise self._place.error('a name is letters, digits, "-" and "_", at most 64', kind, name)
        return names

    def _site(self) -> SiteTable:
        """[site] with the machine's name and its domain filled in."""
        site: SiteTable = self._read(SiteTable, "site")
        site = attrs.evolve(site, hostname=site.hostname or machine_name())
        return attrs.evolve(site, domains=site.domains or (site.hostname,))

    def _domains(self, site: SiteTable) -> dict[str, DomainTable]:
        """Every local domain with what differs for it."""
        found = {name: DomainTable() for name in site.domains}
        for key in self._table("domain"):
            place = self._place.at("domain", key)
            try:
                name = str(HOSTNAME.read(key))
            except ValueError as error:
                raise place.error(str(error)) from None
            if name not in found:
                raise place.error(f"not in site.domains, which lists {quoted(site.domains)}")
            found[name] = self._read(DomainTable, "domain", key)
        return found

    def _part(self, contract: Any, name: str, table: Table, place: Place) -> PartChoice:
        """A table whose key `use` (default: its name) names a part, and whose other keys are the part's."""
        cited = ("use",) if "use" in table else ()
        use = table.get("use", name)
        if not isinstance(use, str):
            raise place.error("must be the name of a part", "use")
        try:
            part = find(contract, use)
        except ConfigError as error:
            raise place.error(error.text, *cited) from None
        return PartChoice(name, use, part.read({k: v for k, v in table.items() if k != "use"}, place))

    def _store(self) -> PartChoice:
        """[store]"""
        choice = self._part(IMessageStore, "sqlite", self._table("store"), self._place.at("store"))
        return attrs.evolve(choice, name="store")

    def _authenticators(self) -> tuple[PartChoice, ...]:
        """[auth]: those of `use` in order; a table of one that is not used is checked too."""
        table, place = self._table("auth"), self._place.at("auth")
        try:
            use = TEXTS.read(table.get("use", ["directory"]))
        except ValueError as error:
            raise place.error(str(error), "use") from None
        if not use:
            raise place.error("at least one authenticator must be named", "use")
        found: dict[str, PartChoice] = {}
        for name in (*use, *(key for key in table if key != "use")):
            if not isinstance(table.get(name, {}), Mapping):
                raise place.error('unknown key; options of an authenticator stand in [auth.NAME]', name)
            at = place.at(name) if name in table else place.at("use")
            found[name] = self._part(IAuthenticator, name, table.get(name, {}), at)
        return tuple(found[name] for name in dict.fromkeys(use))

    def _authorizer(self) -> PartChoice:
        """[authorizer]"""
        choice = self._part(IAuthorizer, "accounts", self._table("authorizer"), self._place.at("authorizer"))
        return attrs.evolve(choice, name="authorizer")

    def _certificates(self) -> dict[str, CertificateTable]:
        """[tls.NAME]; "default" is always there."""
        found = {"default": CertificateTable()}
        for name in self._names("tls"):
            found[name] = self._read(CertificateTable, "tls", name)
        return found

    def _access(self, name: str) -> AccessTable:
        """[access.NAME] with its entries, each in its line."""
        table: AccessTable = self._read(AccessTable, "access", name)
        found: list[Entry] = []
        for at, text in enumerate(table.list):
            line = self._place.line_of(("access", name, "list", str(at)))
            try:
                found.append(parse_entry(text, line or 0))
            except ValueError as error:
                key = dotted(("access", name, "list"))
                raise ConfigError(str(error), file=self._place.file, line=line, key=key) from None
        return attrs.evolve(table, entries=tuple(found))

    def _policy(self, name: str, table: Table, place: Place) -> PolicyChoice:
        """[policy.NAME]: a part, and the keys that all policies have."""
        keys = fields_of(PolicyTable)
        common = read_table(PolicyTable, {k: v for k, v in table.items() if k in keys}, place)
        part = self._part(IMessagePolicy, name, {k: v for k, v in table.items() if k not in keys}, place)
        return PolicyChoice(part.name, part.use, part.options, common)

    def _policies(self) -> dict[str, PolicyChoice]:
        """[policy.NAME] and every part that a server names directly; "relay" is always there."""
        found = {
            name: self._policy(name, self._table("policy", name), self._place.at("policy", name))
            for name in self._names("policy")
        }
        if all(choice.use != "relay" for choice in found.values()):
            found["relay"] = self._policy("relay", {}, self._place.at("policy", "relay"))
        for server in self._names("smtp"):
            place = self._place.at("smtp", server)
            for name in self._table("smtp", server).get("policies", ()):
                if isinstance(name, str) and name not in found:
                    try:
                        found[name] = self._policy(name, {}, place)
                    except ConfigError as error:
                        raise place.error(f"no table [policy.{name}], and {error.text}", "policies") from None
        return found

    def _services(self) -> dict[str, ServiceTable]:
        """[service.PROTOCOL] of every protocol."""
        for name in self._table("service"):
            if name not in SERVER_TABLES:
                raise self._place.error(f"is none of {quoted(SERVER_TABLES)}", "service", name)
        return {protocol: self._read(ServiceTable, "service", protocol) for protocol in SERVER_TABLES}

    def _servers(self, site: SiteTable) -> dict[str, ServerOptions]:
        """The servers of the file; one of each protocol when it names none."""
        wanted = [(protocol, name) for protocol in SERVER_TABLES for name in self._names(protocol)]
        found, services = {}, self._services()
        for protocol, name in wanted or [(protocol, "default") for protocol in SERVER_TABLES]:
            server = self._server(protocol, name)
            server = attrs.evolve(
                server, hostname=server.hostname or site.hostname, startup=server.startup or services[protocol].startup
            )
            if protocol == "smtp" and not server.default_domain:
                server = attrs.evolve(server, default_domain=site.domains[0])
            found[server.id] = server
        return found

    def _server(self, protocol: str, name: str) -> ServerOptions:
        """[PROTOCOL.NAME], and the table inside it: [smtp.NAME.delivery], [imap.NAME.format], [pop3.NAME.format]."""
        inner, options = INNER_TABLES[protocol]
        more: dict[str, Any] = {"id": f"{protocol}/{name}", inner: self._read(options, protocol, name, inner)}
        made: ServerOptions = self._read(SERVER_TABLES[protocol], protocol, name, leaving=(inner,), **more)
        return made

    def _routes(self) -> dict[str, RouteTable]:
        """[routes.NAME] by canonical name."""
        found: dict[str, RouteTable] = {}
        for key in self._table("routes"):
            place = self._place.at("routes", key)
            try:
                name = route_name(key)
            except ValueError as error:
                raise place.error(str(error)) from None
            if name in found:
                raise place.error(f"the route of {name} is there twice")
            found[name] = self._read(RouteTable, "routes", key)
        return found


def _paths(table: Table, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The dotted path of every value of a table."""
    found: list[tuple[str, ...]] = []
    for key, value in table.items():
        found += _paths(value, (*above, key)) if isinstance(value, Mapping) else [(*above, key)]
    return found
