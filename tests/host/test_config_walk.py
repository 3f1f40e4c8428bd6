"""Every option for which another value is easily had is changed on a running site, and taken back (S-015, S-179)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: A process of its own, and every change is written to the disk.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent


def test_s015_every_option_changes_while_the_site_runs_and_back(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.host.config_walk", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == [] and told["failures"] == []
    assert told["changed"] > 120, told["left"]
