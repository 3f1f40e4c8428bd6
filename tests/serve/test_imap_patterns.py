"""LIST patterns (RFC 3501 section 6.3.8) against the plain definition."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.serve.imap.patterns import Pattern
from tests.properties import tries
from tests.timing import takes_at_most


def defined(pattern: str, name: str) -> bool:
    """The definition, tried out in every way."""
    if not pattern:
        return not name
    head, rest = pattern[0], pattern[1:]
    if head in "*%":
        for length in range(len(name) + 1):
            if head == "%" and "/" in name[:length]:
                return False
            if defined(rest, name[length:]):
                return True
        return False
    return name[:1] == head and defined(rest, name[1:])


@settings(max_examples=tries(600), deadline=None)
@given(st.text("ab/*%", max_size=8), st.text("ab/", max_size=8))
def test_rfc3501_6_3_8_a_pattern_means_what_is_defined(pattern: str, name: str) -> None:
    assert Pattern(pattern).matches(name) == defined(pattern, name)


@pytest.mark.parametrize("pattern", ["inbox", "InBoX", "in%", "*nbox", "%", "*", "i*x"])
def test_rfc3501_5_1_inbox_is_compared_without_case(pattern: str) -> None:
    assert Pattern(pattern).matches("INBOX")


@pytest.mark.parametrize("pattern", ["inbox/%", "work", "sent%"])
def test_other_names_are_compared_exactly(pattern: str) -> None:
    assert not any(Pattern(pattern).matches(name) for name in ("INBOX", "Work", "Sent", "INBOX/x"))


def test_no_pattern_is_slow() -> None:
    pattern = Pattern("*a" * 450 + "*b")
    assert not takes_at_most(0.2, lambda: pattern.matches("a" * 1000))
