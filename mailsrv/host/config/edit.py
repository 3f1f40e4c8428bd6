"""Writing to the configuration file: comments and order are kept, and no edit that does not load (floor 4)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ...errors import ConfigError
from ...parts import dotted
from .load import load, loads
from .options import SiteOptions


def edit(path: Path, change: Callable[[Any], None]) -> SiteOptions:
    """Apply `change` to the file's document (tomlkit's) and write it; gives the new options.

    The result is loaded before anything is written.  Raises ConfigError; then the file is as it was.
    """
    load(path)
    try:
        document = tomlkit.parse(path.read_bytes().decode("utf-8"))
        change(document)
        text = tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ConfigError(f"cannot be edited: {error}", file=str(path)) from error
    options = loads(text, path)
    write_atomically(path, text.encode("utf-8"))
    return options


def set_value(path: Path, keys: tuple[str, ...], value: Any) -> SiteOptions:
    """Set one key; tables that are missing are made.  Raises ConfigError."""

    def change(document: Any) -> None:
        """Walk down, then set."""
        table = document
        for depth, key in enumerate(keys[:-1], 1):
            if key not in table:
                # A table that only holds tables needs no header of its own.
                table[key] = tomlkit.table(is_super_table=depth < len(keys) - 1)
            table = table[key]
            if not isinstance(table, dict):
                raise ConfigError("is no table", file=str(path), key=dotted(keys[:depth]))
        table[keys[-1]] = value

    return edit(path, change)


def unset(path: Path, keys: tuple[str, ...]) -> SiteOptions:
    """Remove one key or table; one that is not there is no error.  Raises ConfigError."""

    def change(document: Any) -> None:
        """Walk down, then remove."""
        table = document
        for key in keys[:-1]:
            table = table.get(key, {})
        if keys[-1] in table:
            del table[keys[-1]]

    return edit(path, change)


def set_domains(path: Path, domains: list[str]) -> SiteOptions:
    """Set site.domains, leaving the entries that stay as they are written; a [domain.NAME] of one that goes goes too.

    Raises ConfigError.
    """

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

    return edit(path, change)


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
