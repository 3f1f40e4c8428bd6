"""The configuration of a running site (floor 6): what of a changed file takes effect at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from ...errors import Refused
from ...parts import dotted
from ..config.load import load
from ..config.options import INNER_TABLES, SiteOptions
from ..config.show import Path as Key
from ..config.show import flatten
from ..formats import Formats
from .table import operation


def _live(key: Key) -> bool:
    """Whether a key is of those that change without a restart."""
    return key[0] in ("imap", "pop3") and key[2:3] in (("format",), ("fast_retrieval",))


@operation("config.apply", running=True)
async def apply(site: Any) -> dict[str, list[str]]:
    """Read the file again.  `applied` are the keys that changed and are in effect now, for new log-ins; `restart` those
    that wait for the next start.  Raises Refused, ConfigError: then nothing has changed."""
    if site.config_path is None:
        raise Refused("this site has no configuration file; its options are its program's")
    new = load(Path(site.config_path))
    before, after = ({shown.path: shown.value for shown in flatten(one)} for one in (site.options, new))
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    applied = [key for key in changed if _live(key) and "/".join(key[:2]) in site.servers]
    if applied:
        site.options = _with_formats(site.options, new)
        Formats(site.options, site.aside, site.clock).equip(site.servers, site.store)
    return {
        "applied": [dotted(key) for key in applied],
        "restart": [dotted(key) for key in changed if key not in applied],
    }


def _with_formats(options: SiteOptions, new: SiteOptions) -> SiteOptions:
    """The options in effect with the formats of others."""
    servers = dict(options.servers)
    for name, server in servers.items():
        wanted = new.servers.get(name)
        if wanted is not None and INNER_TABLES[name.partition("/")[0]][0] == "format":
            more = {"fast_retrieval": wanted.fast_retrieval} if hasattr(wanted, "fast_retrieval") else {}
            servers[name] = attrs.evolve(server, format=wanted.format, **more)  # type: ignore[attr-defined]
    return attrs.evolve(options, servers=servers)
