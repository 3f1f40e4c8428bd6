"""How thoroughly properties are tried: half as many examples before a commit as when coverage is measured."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

settings.register_profile("quick", max_examples=50)
settings.register_profile("thorough", max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Ten thousand collected tests stay to the end: looking through them again and again for garbage took a third of a
    second each time, in the middle of whatever a test was measuring."""
    gc.collect()
    gc.freeze()
