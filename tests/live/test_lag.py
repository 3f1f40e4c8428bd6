"""Nobody waits while a big mailbox is worked on (`bench/lag.py` measures the same more exactly)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import lag

pytestmark = pytest.mark.live

#: The goal is 20 ms; a shared machine adds its own noise, so a second run is tried and the bound is lenient.  A list of
#: 10,000 messages made in one piece would take ten times the goal.
BOUND = 60.0


def test_no_stall_while_ten_thousand_messages_are_worked_on(
    tmp_path: Path, figure: Callable[[str, float], None]
) -> None:
    process, imap_port, pop3_port = lag.serve(tmp_path)
    try:
        least = {stall.what: stall.longest for stall in lag.measure(imap_port, pop3_port, 10_000)}
        if max(least.values()) >= BOUND:
            again = lag.measure(imap_port, pop3_port, 10_000)
            least = {stall.what: min(stall.longest, least[stall.what]) for stall in again}
    finally:
        process.terminate()
        process.wait(20)
    worst = max(least, key=lambda what: least[what])
    figure(f"longest stall in ms, while {worst}", least[worst])
    assert least[worst] < BOUND, least
    assert "Traceback" not in (tmp_path / "log").read_text()
