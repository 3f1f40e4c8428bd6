"""Content on its way in: in memory, then in a file without a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.errors import StoreFull
from mailsrv.net.spool import Spool
from mailsrv.testing.loop import Loop
from tests.properties import tries


@given(st.lists(st.binary(max_size=60), max_size=12), st.integers(0, 200), st.integers(-5, 200), st.integers(0, 300))
@settings(max_examples=tries(150), deadline=None)
def test_what_was_written_is_read_wherever_it_lies(pieces: list[bytes], bound: int, offset: int, length: int) -> None:
    spool = Spool("/tmp", bound)
    for piece in pieces:
        spool.write(piece)
    whole = b"".join(pieces)
    content = spool.finish()
    try:
        assert content.size == spool.size == len(whole)
        assert b"".join(content.chunks()) == whole
        start = max(offset, 0)
        assert Loop().run(content.read(start, length)) == whole[start : start + length]
    finally:
        content.close()


def test_a_file_has_no_name_and_is_gone_with_its_content(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    spool = Spool(str(tmp_path), 10)
    spool.write(b"x" * 11)
    assert os.listdir(tmp_path) == [] and len(os.listdir("/proc/self/fd")) == before + 1
    content = spool.finish()
    spool.discard()
    assert b"".join(content.chunks()) == b"x" * 11
    content.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_room_is_storefull_and_nothing_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    spool = Spool(str(tmp_path / "nowhere"), 10)
    spool.write(b"x" * 10)
    with pytest.raises(StoreFull):
        spool.write(b"y")
    full = Spool(str(tmp_path), 0)
    full.write(b"x")
    full._file = open("/dev/full", "wb", buffering=0)
    with pytest.raises(StoreFull):
        full.write(b"y")
    assert len(os.listdir("/proc/self/fd")) == before
