"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest

from tests.properties import load_profile

load_profile()

#: A file system in memory, and how much of it must be free, in octets.
MEMORY, ROOM = Path("/dev/shm"), 2 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Unit tests write and sync thousands of small files, and none of them is about a disk: theirs are in memory.

    Live tests, and whatever measures, have the disk that there is.
    """
    if "not live" in config.option.markexpr and MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        if shutil.disk_usage(MEMORY).free > ROOM and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Ten thousand collected tests stay to the end: looking through them again and again for garbage took a third of a
    second each time, in the middle of whatever a test was measuring."""
    gc.collect()
    gc.freeze()
