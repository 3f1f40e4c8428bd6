"""Writing to the configuration file: comments and order are kept, and no edit that does not load (floor 4)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ...errors import ConfigError, Refused
from ...parts import dotted
from .load import load, loads
from .options import SiteOptions

#: Changes a document (tomlkit's) in place.
Change = Callable[[Any], None]


def edit(path: Path, change: Change) -> SiteOptions:
    """Apply `change` to the file's document and write it; gives the new options.

    The result is loaded before anything is written.  Raises ConfigError; then the file is as it was.
    """
    load(path)
    text = edited(path.read_bytes().decode("utf-8"), change, path)
    options = loads(text, path)
    write_atomically(path, text.encode("utf-8"))
    return options


def edited(text: str, change: Change, path: Path) -> str:
    """The text after a change.  Raises ConfigError."""
    try:
        document = tomlkit.parse(text)
        change(document)
        made: str = tomlkit.dumps(document)
        return made
    except TOMLKitError as error:
        raise ConfigError(f"cannot be edited: {error}", file=str(path)) from error
    except ConfigError as error:
        # A change does not know whose document it changes.
        raise ConfigError(error.text, file=error.file or str(path), line=error.line, key=error.key) from error


def set_value(path: Path, keys: tuple[str, ...], value: Any) -> SiteOptions:
    """Set one key; tables that are missing are made.  Raises ConfigError."""
    return edit(path, setting(keys, value))


def setting(keys: tuple[str, ...], value: Any) -> Change:
    """Set one key; tables that are missing are made."""

    def change(document: Any) -> None:
        """Walk down, then set."""
        table = document
        for depth, key in enumerate(keys[:-1], 1):
            if key not in table:
                # A table that only holds tables needs no header of its own.
                table[key] = tomlkit.table(is_super_table=depth < len(keys) - 1)
            table = table[key]
            if not isinstance(table, dict):
                raise ConfigError("is no table", key=dotted(keys[:depth]))
        table[keys[-1]] = value

    return change


def unsetting(keys: tuple[str, ...]) -> Change:
    """Remove one key or table.  Raises Refused for one that is not there."""

    def change(document: Any) -> None:
        """Walk down, then remove."""
        table = document
        for key in keys[:-1]:
            table = table.get(key, {}) if isinstance(table, dict) else {}
        if keys[-1] not in table:
            raise Refused(f"{dotted(keys)} is not in the file: it has its default")
        del table[keys[-1]]

    return change


def set_domains(path: Path, domains: list[str]) -> SiteOptions:
    """Set site.domains: see `domains_setting`.  Raises ConfigError."""
    return edit(path, domains_setting(domains))


def domains_setting(domains: list[str]) -> Change:
    """Set site.domains, leaving the entries that stay as they are written; a [domain.NAME] of one that goes does so
    too."""

    def change(document: Any) -> None:
        """Change the list in place, so that comments inside it stay."""
        tables = document.get("domain", {})
        for name in [name for name in tables if str(name).lower() not in domains]:
            del tables[name]
        site = document.setdefault("site", tomlkit.table())
        listed = site.get("domains")
        if listed is None:
            site["domains"] = domains
            return
        for at in reversed(range(len(listed))):
            if str(listed[at]).lower() not in domains:
                del listed[at]
        present = {str(name).lower() for name in listed}
        listed.extend(name for name in domains if name not in present)

    return change


def write_atomically(path: Path, octets: bytes, mode: int | None = None) -> None:
    """Replace (or make) a file so that a crash leaves the old or the new one whole.

    `mode` None keeps the old file's mode and owner (0644 for a new one).  Raises ConfigError.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        old = target.stat() if target.exists() else None
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(octets)
                if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(out.fileno(), old.st_uid, old.st_gid)
                os.fchmod(out.fileno(), mode if mode is not None else old.st_mode & 0o7777 if old else 0o644)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", file=str(path)) from error
