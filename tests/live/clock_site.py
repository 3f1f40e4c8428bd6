"""`twistd` with a calendar that the file OFFSET sets: python -m tests.live.clock_site OFFSET ARGUMENTS-OF-TWISTD...

The file holds seconds that are added to the time, read anew whenever somebody asks for it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def set_by(file: Path) -> None:
    """Nothing that asks for the time may have been imported yet."""
    real = time.time

    def now() -> float:
        return real() + float(file.read_text() or 0)

    time.time = now


if __name__ == "__main__":
    set_by(Path(sys.argv[1]))
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", *sys.argv[2:]]
    run()
