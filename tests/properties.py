"""How often properties are tried.

`python -m tests`, which decides what lands, tries them thoroughly (`HYPOTHESIS_PROFILE=thorough`); pytest by itself,
for whoever is at work, a quarter as often.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def tries(thorough: int) -> int:
    """How many examples: as many as told in a thorough run, else a quarter of them, but 20 at least."""
    return thorough if THOROUGH else min(thorough, max(20, thorough // 4))


def load_profile() -> None:
    """What holds for properties that say nothing of their own: no bound by a clock, which goes on for others too."""
    slow = [HealthCheck.too_slow]
    settings.register_profile("usual", max_examples=tries(100), deadline=None, suppress_health_check=slow)
    settings.load_profile("usual")
