"""The configuration of a site (floor 6): read, explained, changed while it runs, taken back (S-015, S-179, S-180)."""

from __future__ import annotations

import tomllib
from typing import Any

from attrs import asdict

from ...errors import ConfigError, Refused
from ...parts import dotted
from ..changes import Asked, Changes, Done
from ..config.edit import Change, setting, unsetting
from ..config.explain import explained, listed, value_in
from ..config.load import loads
from ..config.options import SiteOptions
from ..config.versions import digest_of
from ..live import changed
from .status import listeners_of
from .table import Asker, operation

#: Characters of a key and of a value.
MAX_KEY, MAX_VALUE = 400, 100_000


def _changes(site: Any) -> Changes:
    found: Changes = site.changes
    return found


def _done(done: Done) -> dict[str, Any]:
    """What came of a change: keys in effect, keys that wait for the next start, and the version that the file is."""
    return {
        "applied": list(map(dotted, done.change.applied)),
        "restart": list(map(dotted, done.change.restart)),
        "version": done.version.digest,
        "number": done.version.number,
    }


async def _told(site: Any, done: Done) -> dict[str, Any]:
    """The same, and what is in the way of listeners that are no servers."""
    facts: dict[str, Any] = await site.aside(_done, done)
    troubles = [f"{name}: {one['trouble']}" for name, one in listeners_of(site).items() if one["trouble"]]
    return {**facts, "troubles": troubles}


async def change(site: Any, edit: Change, asked: Asked) -> dict[str, Any]:
    """Edit the file and take it up: for other operations.  Raises ConfigError, Refused; then nothing has changed."""
    facts: dict[str, Any] = await site.aside(_done, await _changes(site).edit(edit, asked))
    return facts


def key_of(text: str) -> tuple[str, ...]:
    """The parts of a dotted key, quoted as in TOML where that is needed.  Raises Refused."""
    try:
        if len(text) > MAX_KEY or "\n" in text:
            raise ValueError
        found: Any = tomllib.loads(f"{text} = 0")
    except (ValueError, RecursionError):
        way = 'write it as smtp.default.max_hops or domain."a.example".kind'
        raise Refused(f'"{text[:MAX_KEY]}" is no key; {way}') from None
    keys = []
    while isinstance(found, dict):
        (key, found), = found.items()
        keys.append(key)
    return tuple(keys)


def value_of(text: str) -> Any:
    """A value as TOML has it; what is no TOML is a text: 30m, mail.example.org."""
    if len(text) > MAX_VALUE:
        raise Refused(f"the value is longer than {MAX_VALUE} characters")
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        return text


@operation("config.set")
async def set_key(
    site: Any, key: str, value: str, asker: Asker, if_version: str = "", confirm: int = 0
) -> dict[str, Any]:
    """Set one key in the file, comments and order kept, and take the file up.

    `value` as in TOML; a text may stand without quotes.  `if_version`: only while the file is that version.  `confirm`:
    seconds after which the change is taken back unless it is confirmed.
    """
    keys, read = key_of(key), value_of(value)
    asked = Asked(asker.who, f"set {key}", if_version, confirm)
    try:
        return await _told(site, await _changes(site).edit(setting(keys, read), asked))
    except ConfigError:
        if isinstance(read, str):
            raise
        # A text that looks like a number or like true.
        try:
            return await _told(site, await _changes(site).edit(setting(keys, value), asked))
        except ConfigError:
            pass
        raise


@operation("config.unset")
async def unset_key(site: Any, key: str, asker: Asker, if_version: str = "", confirm: int = 0) -> dict[str, Any]:
    """Take one key or table out of the file, so that its default holds, and take the file up."""
    asked = Asked(asker.who, f"unset {key}", if_version, confirm)
    return await _told(site, await _changes(site).edit(unsetting(key_of(key)), asked))


@operation("config.apply")
async def apply(site: Any, asker: Asker, if_version: str = "", confirm: int = 0) -> dict[str, Any]:
    """Take up the file as somebody has edited it.  `applied` are the keys in effect now, `restart` those that wait for
    the next start."""
    asked = Asked(asker.who, "the file as it was edited", if_version, confirm)
    return await _told(site, await _changes(site).apply(asked))


@operation("config.put")
async def put(site: Any, text: str, asker: Asker, if_version: str = "", confirm: int = 0) -> dict[str, Any]:
    """Put another text in the place of the whole file, and take it up (S-179)."""
    return await _told(site, await _changes(site).put(text, Asked(asker.who, "another file", if_version, confirm)))


@operation("config.confirm")
async def confirm(site: Any, asker: Asker) -> dict[str, Any]:
    """What waits to be confirmed stays."""
    await _changes(site).confirm(asker.who)
    return await status(site)


@operation("config.rollback")
async def rollback(site: Any, asker: Asker, number: int = 0) -> dict[str, Any]:
    """Back to a version of the file; without a number to the one before the last change."""
    what = f"back to version {number}" if number else "back to what was before"
    return await _told(site, await _changes(site).rollback(number, Asked(asker.who, what)))


@operation("config.versions")
async def versions(site: Any) -> list[dict[str, Any]]:
    """The versions of the file that are kept, the newest first."""
    found = await site.aside(_changes(site).versions.all)
    return [
        {"number": one.number, "version": one.digest, "at": one.at, "who": one.who, "what": one.what,
         "keys": list(one.keys)}
        for one in found
    ]  # fmt: skip


@operation("config.text")
async def text(site: Any, number: int = 0) -> dict[str, Any]:
    """The text of the file, or of one of its versions, with the version it is."""
    changes = _changes(site)
    if not number:
        found = await site.aside(changes.path.read_text, "utf-8")
        return {"text": found, "version": digest_of(found)}
    kept = await site.aside(changes.versions.get, number)
    if kept is None:
        raise Refused(f"there is no version {number}")
    return {"text": kept.text, "version": kept.digest}


@operation("config.status")
async def status(site: Any) -> dict[str, Any]:
    """Whether what the file says is in effect (S-179): `applied`, `waiting` for the next start, or not taken up yet;
    and whether there is a server that runs by it."""
    changes = _changes(site)
    found: dict[str, Any] = await site.aside(_status, changes, site.options)
    failed = changes.confirmation.failed
    return {**found, "taking_back": None if failed is None else asdict(failed)}


def _status(changes: Changes, options: SiteOptions) -> dict[str, Any]:
    """Blocks."""
    text, pending = changes.path.read_text("utf-8"), changes.versions.pending()
    digest = digest_of(text)
    facts: dict[str, Any] = {
        "file": str(changes.path), "version": digest, "in_effect": changes.applied,
        "confirm_until": None if pending is None else pending.until, "running": changes.running(),
    }  # fmt: skip
    try:
        keys = list(map(dotted, changed(options, loads(text, changes.path))))
    except ConfigError as error:
        return {**facts, "state": "wrong", "keys": [], "error": str(error)}
    waiting = digest == changes.applied
    return {**facts, "state": ("waiting" if waiting else "edited") if keys else "applied", "keys": keys}


@operation("config.show")
async def show(site: Any, server: str = "") -> list[dict[str, Any]]:
    """Every key with the value in effect; of a virtual server only, by the pages of its properties (S-173)."""
    found: list[dict[str, Any]] = await site.aside(listed, site.options, server)
    return found


@operation("config.explain")
async def explain(site: Any, key: str) -> dict[str, Any]:
    """What a key means, its kind, its default, the value in effect and where it comes from, and when a change holds."""
    facts: dict[str, Any] = await site.aside(explained, site.options, key)
    return facts


@operation("config.get")
async def get(site: Any, key: str) -> dict[str, Any]:
    """The value of one key that is in effect."""
    return {"key": key, "value": await site.aside(value_in, site.options, key)}
