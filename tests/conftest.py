"""What holds for all tests."""

from __future__ import annotations

import gc

import pytest

from tests.properties import load_profile

load_profile()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Ten thousand collected tests stay to the end: looking through them again and again for garbage took a third of a
    second each time, in the middle of whatever a test was measuring."""
    gc.collect()
    gc.freeze()
