"""What a backup is on the disk, whatever store made it (floor 2b; decisions 9).

    DIR/manifest.json     the one complete backup: every file with its size and SHA-256; written last, replaced at once
    DIR/segments-EPOCH/   contents that never change, shared by one backup and the next
    DIR/state-STAMP/      all else

A file of the manifest belongs into the data folder ("data"), the folder of the configuration ("config"), or elsewhere
("outside", with its absolute path).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import asdict, define, field, frozen

from ..errors import Refused, StoreUnavailable

MANIFEST, LOCK, FORMAT = "manifest.json", "lock", 1
#: The most octets of a manifest, and files in it.
MAX_MANIFEST, MAX_FILES = 256 * 2**20, 2_000_000
#: What one read takes, and octets between two syncs, so that few wait in the system's memory for the disk.
PIECE, SYNC = 2**20, 8 * 2**20
_OURS = re.compile(r"(segments|state)-[0-9A-Za-z-]{1,80}\Z")
KINDS = ("data", "config", "outside")


@frozen
class Entry:
    """One file: `file` is its place in the backup, `goes` where it belongs, relative but for "outside"."""

    kind: str
    goes: str
    file: str
    octets: int
    sha256: str
    mode: int = 0o600


@frozen
class Manifest:
    """What a backup holds; `taken` is the instant (UTC epoch seconds) of the state, `facts` are for people."""

    taken: float
    epoch: str
    schema: int
    facts: Mapping[str, Any]
    files: tuple[Entry, ...]

    def write(self, folder: Path) -> None:
        """Make this the backup in `folder`.  Raises OSError."""
        body = {**asdict(self, recurse=True), "facts": dict(self.facts), "format": FORMAT}
        text = json.dumps(body, sort_keys=True)
        whole = json.dumps({"backup": body, "sha256": sha256(text.encode()).hexdigest()}, indent=1, sort_keys=True)
        write_durably(folder / MANIFEST, whole.encode())

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The backup in `folder`; None when there is none.  Raises Refused for one that cannot be read."""
        path = folder / MANIFEST
        try:
            with path.open("rb") as file:
                octets = file.read(MAX_MANIFEST + 1)
        except FileNotFoundError:
            return None
        except OSError as cause:
            raise Refused(f"{path} cannot be read: {cause.strerror}") from cause
        try:
            if len(octets) > MAX_MANIFEST:
                raise ValueError("too long")
            whole = json.loads(octets)
            body, digest = whole["backup"], whole["sha256"]
            if sha256(json.dumps(body, sort_keys=True).encode()).hexdigest() != digest:
                raise ValueError("its checksum is wrong")
            if body["format"] > FORMAT:
                raise ValueError(f"it has format {body['format']}, this version of mailsrv reads up to {FORMAT}")
            files = tuple(_checked(Entry(**one)) for one in body["files"][:MAX_FILES])
            return cls(float(body["taken"]), str(body["epoch"]), int(body["schema"]), dict(body["facts"]), files)
        except (ValueError, KeyError, TypeError, RecursionError) as cause:
            raise Refused(f"{path} is no manifest of a backup, or damaged: {cause}") from cause


def _checked(entry: Entry) -> Entry:
    """An entry that leads nowhere else.  Raises ValueError."""
    relative = [entry.file] if entry.kind == "outside" else [entry.file, entry.goes]
    for text in relative:
        path = PurePosixPath(text)
        if not text or path.is_absolute() or ".." in path.parts or "\0" in text:
            raise ValueError(f"{text!r} is no place in it")
    if entry.kind not in KINDS or (entry.kind == "outside" and not PurePosixPath(entry.goes).is_absolute()):
        raise ValueError(f"{entry.kind} {entry.goes!r} is no place for a file")
    if type(entry.octets) is not int or entry.octets < 0 or not isinstance(entry.sha256, str):
        raise ValueError(f"{entry.file!r} has no size or checksum")
    return entry


@define(eq=False)
class BackupJob:
    """One backup: where to, which files there are besides the store's (kind, where it belongs, path), and how far it
    is.  The thread that works writes the counters; anybody may read them, or set `stop`."""

    folder: Path
    extra: tuple[tuple[str, str, Path], ...] = ()
    facts: Mapping[str, Any] = field(factory=dict)
    step: str = "waiting"
    total: int = 0
    copied: int = 0
    reused: int = 0
    files: int = 0
    stop: threading.Event = field(factory=threading.Event)

    @property
    def counters(self) -> dict[str, Any]:
        """For JSON: `total` octets that there are, of which so many were copied or are there from an earlier backup."""
        return {
            "step": self.step, "total": self.total, "copied": self.copied, "reused": self.reused, "files": self.files,
        }  # fmt: skip


class BackupLock:
    """Nobody else makes a backup in this folder.  Raises Refused, OSError."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            os.close(self._fd)
            raise Refused(f"a backup in {folder} is under way already", "4.3.2") from cause

    def release(self) -> None:
        """Let others."""
        os.close(self._fd)


def prepare(folder: Path) -> None:
    """Make the folder, or see that it holds a backup and nothing of anybody else's.  Raises Refused, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    others = [one.name for one in folder.iterdir() if one.name not in (MANIFEST, LOCK) and not _OURS.match(one.name)]
    others = [name for name in others if name != f"{MANIFEST}.tmp" and name != "lost+found"]
    if others:
        raise Refused(f"{folder} holds something else ({sorted(others)[0]}): choose a folder for backups alone")


def stale(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """What is left of earlier backups and of such that did not end."""
    kept = {one.file for one in manifest.files}
    folders = {name.partition("/")[0] for name in kept}
    for place in folder.iterdir():
        if not _OURS.match(place.name):
            continue
        if place.name not in folders:
            yield place
        elif place.name.startswith("segments-"):
            yield from (one for one in place.iterdir() if f"{place.name}/{one.name}" not in kept and one.name != "sums")


def verify(folder: Path, stop: threading.Event | None = None) -> tuple[Manifest, list[str]]:
    """Read all of a backup: (what it is, what is wrong with it, a line each).  Raises Refused when there is none."""
    manifest = Manifest.read(folder)
    if manifest is None:
        raise Refused(f"{folder} holds no backup: there is no {MANIFEST}")
    found = []
    for entry in manifest.files:
        if stop is not None and stop.is_set():
            found.append("not finished: the server is stopping")
            break
        try:
            octets, digest = _digest(folder / entry.file)
        except OSError as cause:
            found.append(f"{entry.file}: {cause.strerror}")
            continue
        if octets != entry.octets:
            found.append(f"{entry.file}: has {octets} octets instead of {entry.octets}")
        elif digest != entry.sha256:
            found.append(f"{entry.file}: its checksum is wrong")
    return manifest, found


def _digest(path: Path) -> tuple[int, str]:
    """Octets and SHA-256 of a file.  Raises OSError."""
    found, octets = sha256(), 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            found.update(piece)
            octets += len(piece)
    return octets, found.hexdigest()


def copy_checked(entry: Entry, folder: Path, target: Path) -> None:
    """Bring one file of a backup to its place, durable.  Raises StoreUnavailable when it is damaged, OSError."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    found, octets = sha256(), 0
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb", buffering=0) as out, (folder / entry.file).open("rb", buffering=0) as source:
        while piece := source.read(PIECE):
            found.update(piece)
            octets += len(piece)
            out.write(piece)
        os.fchmod(out.fileno(), entry.mode & 0o777)
        os.fsync(out.fileno())
    if (octets, found.hexdigest()) != (entry.octets, entry.sha256):
        raise StoreUnavailable(f"the backup is damaged: {folder / entry.file} is not what was written there")


def write_durably(path: Path, octets: bytes) -> None:
    """Replace a file at once: after a crash it is the old or the new one.  Raises OSError."""
    temporary = path.with_name(f"{path.name}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(octets)
        out.flush()
        os.fsync(out.fileno())
    os.rename(temporary, path)
    sync_tree(path.parent, deep=False)


def sync_tree(folder: Path, *, deep: bool = True) -> None:
    """Make the names in a folder durable, and with `deep` those below it.  Raises OSError."""
    places = [folder, *(Path(root) for root, _, _ in os.walk(folder) if deep)]
    for place in dict.fromkeys(places):
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
