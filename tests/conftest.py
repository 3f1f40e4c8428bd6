"""How thoroughly properties are tried: half as many examples before a commit as when coverage is measured."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("quick", max_examples=50)
settings.register_profile("thorough", max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
