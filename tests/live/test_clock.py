"""The clock of a running server is set: mail goes on by its schedule, and clients are served."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from .conftest import Server
from .postfix import until
from .test_crash import FOLDER, SENDER, Remote, give, maildrop, remote, rows, site

__all__ = ["remote", "site"]

pytestmark = pytest.mark.live

DAY = 86400.0


@pytest.mark.parametrize("days", [-1, -400, 1])
def test_mail_goes_on_soon_after_the_clock_was_set(site: Server, remote: Remote, tmp_path: Path, days: int) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0")
    site.program = [sys.executable, "-m", "tests.live.clock_site", str(offset)]
    site.config.write_text(site.config.read_text().replace('retry = ["1s"]', 'retry = ["3s"]'))
    os.environ["PYTHONPATH"] = str(FOLDER)
    try:
        site.start()
    finally:
        del os.environ["PYTHONPATH"]
    remote.busy = True
    assert give(site)
    until(lambda: remote.asked, site.log)
    (offset.parent / "new").write_text(str(days * DAY))
    (offset.parent / "new").replace(offset)
    asked = remote.asked
    until(lambda: remote.asked >= asked + 3, site.log)
    remote.busy = False
    until(lambda: remote.taken, site.log, 30)
    until(lambda: not rows(site, "far.test"), site.log)
    assert remote.taken == {"m1": 1}
    began = time.monotonic()
    assert give(site, "m2") and give(site, "m3", SENDER)
    until(lambda: remote.taken["m2"] and maildrop(site, SENDER), site.log, 30)
    assert time.monotonic() - began < 10
