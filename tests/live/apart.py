"""Rooms of their own for tests: a thread in new network and mount namespaces, so that every port is free, a disk may
be small, and nothing is left behind when the thread and its children are gone."""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_libc = ctypes.CDLL(None, use_errno=True)


def apart(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a thread with a network (loopback only) and mounts of its own.

    Needs the rights of root: without them the test is skipped, in CI it fails.  Namespaces belong to a thread, and
    a child process inherits those of the thread that starts it.
    """

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        raised: list[BaseException] = []

        def body() -> None:
            try:
                _unshare()
                test(*arguments, **named)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if raised:
            raise raised[0]

    return run


def unable(why: str) -> None:
    """What this test needs is not here: skip it, but never in CI."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def _unshare() -> None:
    if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET):
        unable(f"no namespaces: {os.strerror(ctypes.get_errno())}")
    # Without this a mount would be seen by everybody.
    if _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        unable(f"no private mounts: {os.strerror(ctypes.get_errno())}")
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def mount_small_disk(folder: Path, octets: int) -> None:
    """A file system of that size, in memory, seen by this thread and its children only."""
    if _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%d" % octets):
        unable(f"cannot mount: {os.strerror(ctypes.get_errno())}")


def resident(pid: int) -> int:
    """Octets of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
