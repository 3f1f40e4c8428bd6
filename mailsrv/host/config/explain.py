"""What a key means, what it is and where that comes from (floor 4): for `config explain` and for forms."""

from __future__ import annotations

from typing import Any

import attrs

from ...errors import ConfigError, Refused
from ...parts import did_you_mean, dotted, fields_of, kind_of
from .lines import LineIndex
from .options import SiteOptions
from .pages import order_of, place_of
from .show import Shown, flatten, written

#: What takes effect at the next start alone: the site's data, its folder, and who may administer it.
AT_START: tuple[tuple[str, ...], ...] = (
    ("store",), ("site", "data"), ("site", "control"), ("site", "control_group"), ("site", "audit_size"),
    ("site", "run_as"), ("log",),
)  # fmt: skip
#: Characters of a key.
MAX_KEY = 400
PART = "the name of an installed part; `mailsrv part list` shows them"


def waits(key: tuple[str, ...]) -> bool:
    """Whether a key takes effect at the next start alone."""
    return any(key[: len(prefix)] == prefix for prefix in AT_START)


def explained(options: SiteOptions, key: str) -> dict[str, Any]:
    """`meaning`, `kind`, `default` (None: it depends, or must be given), `value`, `given`, `origin`, `effect`.

    Raises Refused for a key that is none.
    """
    every = {dotted(one.path): one for one in flatten(options)}
    if key not in every:
        raise Refused(f'no key "{key[:MAX_KEY]}"{did_you_mean(key, every)}')
    shown = every[key]
    kind, default, meaning = "text", None, PART
    if shown.table is not None:
        name = shown.path[-1]
        entry = fields_of(shown.table)[name]
        kind, meaning = kind_of(shown.table, name).name, entry.metadata.get("text", "")
        default = _default(shown.table, name, entry)
    return {
        "key": key, "meaning": meaning, "kind": kind, "default": default, "value": shown.value, "given": shown.given,
        "origin": _origin(options, shown), "effect": "at the next start" if waits(shown.path) else "at once",
    }  # fmt: skip


def listed(options: SiteOptions, server: str = "") -> list[dict[str, Any]]:
    """What `config.show` gives.  Raises Refused for a server that is none."""
    if server and server not in options.servers:
        raise Refused(f'there is no server "{server[:MAX_KEY]}"{did_you_mean(server, options.servers)}')
    shown = flatten(options)
    if server:
        of_server = tuple(server.split("/", 1))
        shown = sorted((one for one in shown if one.path[:2] == of_server), key=lambda one: order_of(one.path))
    return [
        {"key": dotted(one.path), "value": one.value, "given": one.given, "page": place[0], "group": place[1]}
        for one in shown for place in (place_of(one.path),)
    ]


def value_in(options: SiteOptions, key: str) -> Any:
    """The value of a key.  Raises Refused for one that is none."""
    shown = {dotted(one.path): one for one in flatten(options)}
    if key not in shown:
        raise Refused(f'no key "{key[:MAX_KEY]}"{did_you_mean(key, shown)}')
    return shown[key].value


def _default(table: type, name: str, entry: Any) -> Any:
    default = entry.default
    if default is attrs.NOTHING:
        return None
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        try:
            default = getattr(table(), entry.name)
        except TypeError:
            return None
    return written(kind_of(table, name).name, default)


def _origin(options: SiteOptions, shown: Shown) -> str:
    """FILE:LINE, or "default"."""
    if not shown.given:
        return "default"
    if options.file is None:
        return "the program"
    try:
        line = LineIndex(options.file.read_text("utf-8")).line_of(shown.path)
    except (OSError, UnicodeDecodeError, ConfigError):
        line = None
    return f"{options.file}:{line}" if line else str(options.file)
