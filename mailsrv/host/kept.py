"""What a site has besides its store, for a backup of it (floor 6; decisions 9)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..net.certificate_folder import pairs_in
from .config.options import CertificateTable, SiteOptions

#: In the data folder, but made anew or the store's own affair.
_NOT_KEPT = {"lock", "control.sock", "ready.json", "segments", "uploads"}
_NOT_KEPT_PREFIXES = ("index.db", "derived.db")
_NOT_KEPT_SUFFIXES = ("-wal", "-shm", "-journal", ".tmp")
#: Keys of the configuration, in whatever table, whose values are files; and the largest that is no mistake.
_FILE_KEYS = {"file", "certificate", "key", "client_ca"}
MAX_FILE = 64 * 2**20

#: The kind of a `store.backup.Entry`, where it belongs, where it is.
Kept = tuple[str, str, Path]


def kept_files(options: SiteOptions) -> tuple[Kept, ...]:
    """Everything but the store: the data folder's files, the configuration, and what that names elsewhere.  Blocks."""
    found: dict[Path, Kept] = {}
    for path in _in_data(options.data):
        found[path] = ("data", str(path.relative_to(options.data)), path)
    for path in (*((options.file.absolute(),) if options.file else ()), *_named(options, options.base)):
        place = Path(os.path.normpath(path))
        if place in found or place.is_relative_to(options.data) or not place.is_file():
            continue
        if place.stat().st_size > MAX_FILE:
            continue
        inside = place.is_relative_to(options.base)
        kind, goes = ("config", place.relative_to(options.base)) if inside else ("outside", place)
        found[place] = (kind, str(goes), place)
    return tuple(found.values())


def _in_data(data: Path) -> Iterator[Path]:
    """The files of the data folder that are kept."""
    for root, folders, names in os.walk(data):
        here = Path(root)
        top = here == data
        folders[:] = [name for name in folders if not (top and name in _NOT_KEPT)]
        for name in names:
            if name.endswith(_NOT_KEPT_SUFFIXES):
                continue
            if top and (name in _NOT_KEPT or name.startswith(_NOT_KEPT_PREFIXES)):
                continue
            if (here / name).is_file():
                yield here / name


def _named(value: Any, base: Path, key: str = "") -> Iterator[Path]:
    """The files that options name, however deep."""
    if isinstance(value, CertificateTable) and value.directory:
        yield from _of_folder(base / value.directory)
    if attrs.has(type(value)):
        for one in attrs.fields(type(value)):
            if one.name != "file" or not isinstance(value, SiteOptions):
                yield from _named(getattr(value, one.name), base, one.name)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _named(inner, base)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _named(inner, base)
    elif isinstance(value, str) and value and (key in _FILE_KEYS or key.endswith("_file")):
        yield base / value


def _of_folder(folder: Path) -> Iterator[Path]:
    """Certificates and keys that others put there."""
    try:
        pairs = pairs_in(folder)
    except OSError:
        return
    for pair in pairs:
        yield pair.certificate
        yield pair.key
