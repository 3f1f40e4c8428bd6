"""The effective configuration as a flat list, every value as TOML would write it (floor 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from ...interfaces import IAuthenticator, IAuthorizer, IMessagePolicy, IMessageStore
from ...parts import fields_of, kind_of
from ...parts import find as find_part
from ...transfer.schedule import Ages
from .options import INNER_TABLES, PartChoice, SiteOptions

Path = tuple[str, ...]
#: Path, value, the class of options.
Entry = tuple[Path, Any, type | None]


@frozen
class Shown:
    """One effective value.  `given`: the file sets it; otherwise it is a default."""

    path: Path
    value: Any
    given: bool
    #: The class of options that has the key as its last part; None: it names parts.
    table: type | None = None


def flatten(options: SiteOptions) -> list[Shown]:
    """Every key with its effective value, in the order of the tables."""
    # A value may be a table: `expiration = { local = "2d", outbound = "5d" }`.
    given = {path[:length] for path in options.given for length in range(1, len(path) + 1)}
    return [Shown(path, value, path in given, table) for path, value, table in _walk(options)]


def _walk(options: SiteOptions) -> Iterator[Entry]:
    """All tables in order."""
    yield from _table(("site",), options.site)
    yield from _part(("store",), options.store, IMessageStore)
    for name, domain in options.domains.items():
        yield from _table(("domain", name), domain)
    yield from _table(("limits",), options.limits)
    yield from _table(("log",), options.log)
    yield from _table(("trace",), options.trace)
    yield ("auth", "use"), [choice.name for choice in options.authenticators], None
    for choice in options.authenticators:
        yield from list(_part(("auth", choice.name), choice, IAuthenticator))[1:]
    yield from _part(("authorizer",), options.authorizer, IAuthorizer)
    for name, role in options.roles.items():
        yield from _table(("role", name), role)
    for name, certificate in options.certificates.items():
        yield from _table(("tls", name), certificate)
    for name, access in options.access.items():
        yield from _table(("access", name), access)
    for name, table in options.filters.items():
        yield from _table(("filter", name), table)
    for name, policy in options.policies.items():
        yield from _part(("policy", name), policy, IMessagePolicy)
        yield from _table(("policy", name), policy.common)
    for name, route in options.routes.items():
        yield from _table(("routes", name), route)
    for protocol, service in options.services.items():
        yield from _table(("service", protocol), service)
    yield from _table(("metrics",), options.metrics)
    yield from _table(("control",), options.remote)
    for server in options.servers.values():
        path = tuple(server.id.split("/", 1))
        yield from _table(path, server)
        inner, _ = INNER_TABLES[path[0]]
        yield from _table((*path, inner), getattr(server, inner))


def _part(path: Path, choice: PartChoice, contract: Any) -> Iterator[Entry]:
    """A table that names a part, with the part's own options."""
    yield (*path, "use"), choice.use, None
    kinds = find_part(contract, choice.use).options
    yield from _values(path, kinds, choice.options)


def _table(path: Path, table: Any) -> Iterator[Entry]:
    """One of our own tables."""
    yield from _values(path, type(table), table)


def _values(path: Path, options: type, table: Any) -> Iterator[Entry]:
    """The keys of an attrs class of options."""
    for key, entry in fields_of(options).items():
        yield (*path, key), written(kind_of(options, key).name, getattr(table, entry.name)), options


def written(kind: str, value: Any) -> Any:
    """A value as the file would hold it: None is "off", durations and sizes get their largest whole unit."""
    if value is None:
        return "off"
    if kind.startswith("duration") and isinstance(value, float):
        return _unit(int(value), (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)))
    if isinstance(value, Ages):
        pair = {"local": written("duration", value.local), "outbound": written("duration", value.outbound)}
        return pair["local"] if value.local == value.outbound else pair
    if kind == "list of durations":
        return [written("duration", item) for item in value]
    if kind.startswith("size") and isinstance(value, int):
        return _unit(value, (("G", 2**30), ("M", 2**20), ("K", 2**10))) if value % 1024 == 0 else value
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    if isinstance(value, tuple | list):
        return [str(item) for item in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def _unit(number: int, units: tuple[tuple[str, int], ...]) -> str:
    """With the largest unit that divides it."""
    for unit, size in units:
        if number % size == 0:
            return f"{number // size}{unit}"
    raise AssertionError("the last unit divides everything that comes here")
