"""What a test that bounds time needs on a machine that does other things as well."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Coverage is told of every line: what is all loops takes several times as long then.
TRACED = 4


def takes_at_most(seconds: float, work: Callable[[], T], tries: int = 3) -> T:
    """What `work` gives, when one of `tries` runs of it took at most `seconds` of CPU time.

    The bounds of such tests are far over what the work takes, and far under what it would take if it were quadratic;
    a second and a third try are for garbage that is collected, and for a neighbour that holds the caches.
    """
    bound = seconds * (TRACED if sys.gettrace() else 1)
    taken = []
    for _ in range(tries):
        began = time.process_time()
        made = work()
        taken.append(time.process_time() - began)
        if taken[-1] <= bound:
            return made
    raise AssertionError(f"took {min(taken):.2f} s at best, {bound} s are allowed")
