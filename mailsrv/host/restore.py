"""Restore of a whole site from a backup, when it does not run (floor 6; decisions 9)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from ..errors import Refused
from ..store.backup import Entry, Manifest, copy_checked
from ..store.embedded.restore import restore
from .config.load import load
from .config.options import SiteOptions


def restore_site(
    folder: Path, options: SiteOptions | None, now: float, *, into: Path | None = None, force: bool = False,
    progress: Callable[[int, int], None] = lambda octets, of: None,
) -> list[str]:
    """Bring the data folder of `options` back as it was; or make a site in the new folder `into`, with the backup's
    configuration.  What was done, one line each.

    Raises Refused, InUse, StoreUnavailable, ConfigError, OSError.
    """
    manifest = Manifest.read(folder)
    if manifest is None:
        raise Refused(f"{folder} holds no backup")
    report: list[str] = []
    config = [one for one in manifest.files if one.kind == "config"]
    if into is not None:
        options = _configured(manifest, folder, into, config, report)
    if options is None:
        raise Refused("say which site: --config FILE, or --into FOLDER for a new one")
    if options.store.use != "sqlite":
        raise Refused(f"the store {options.store.use!r} is not one that such a backup is of")
    report += restore(folder, options.data, now, force=force, progress=progress)
    if into is None:
        report += [
            f"{options.base / one.goes} differs from the one of the backup, {folder / one.file}; it is left as it is"
            for one in config if not _same(options.base / one.goes, one)
        ]
    report += [
        f"{one.goes} is not what it was: the backup has it as {folder / one.file}"
        for one in manifest.files if one.kind == "outside" and not _same(Path(one.goes), one)
    ]
    return report


def _configured(
    manifest: Manifest, folder: Path, into: Path, config: list[Entry], report: list[str]
) -> SiteOptions:
    """The configuration of the backup, in a folder that has none.  Raises Refused, ConfigError."""
    name = str(manifest.facts.get("config", ""))
    if not any(one.goes == name for one in config):
        raise Refused(f"{folder} holds no configuration: make one, and say --config FILE")
    there = [into / one.goes for one in config if (into / one.goes).exists()]
    if there:
        raise Refused(f"{there[0]} is there already: choose an empty folder, or say --config {into / name}")
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in config:
        copy_checked(one, folder, into / one.goes)
    report.append(f"the configuration of the backup is in {into / name}")
    return load(into / name)


def _same(path: Path, entry: Entry) -> bool:
    """Whether a file is as the backup has it."""
    try:
        return path.stat().st_size == entry.octets and sha256(path.read_bytes()).hexdigest() == entry.sha256
    except OSError:
        return False
