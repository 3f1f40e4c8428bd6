"""The base subject (RFC 5256 section 2.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message.subject import MAX_SUBJECT, base_subject
from tests.timing import takes_at_most

#: Subject, base subject, whether it is a reply or a forward.
CASES = [
    ("plan", "plan", False),
    ("  plan \t of\r\n things ", "plan of things", False),
    ("Re: plan", "plan", True),
    ("RE:plan", "plan", True),
    ("re : plan", "plan", True),
    ("Fw: plan", "plan", True),
    ("FWD: plan", "plan", True),
    ("Re: Fwd: re:  plan", "plan", True),
    ("Re[2]: plan", "plan", True),
    ("Re [2] : plan", "plan", True),
    ("Re[2", "re[2", False),
    ("plan (fwd)", "plan", True),
    ("plan (FWD) (fwd) ", "plan", True),
    ("plan (fwd", "plan (fwd", False),
    ("[list] plan", "plan", False),
    ("[list] [more]  plan", "plan", False),
    ("[list] Re: plan", "plan", True),
    ("Re: [list] plan", "plan", True),
    ("[a] Re: [b] Fwd: [c] plan", "plan", True),
    # Step 4: a blob is the subject when nothing else would be.
    ("[list]", "[list]", False),
    ("[list] [more]", "[more]", False),
    ("Re: [list]", "[list]", True),
    ("[un[closed] plan", "[un[closed] plan", False),
    # Step 6.
    ("[Fwd: plan]", "plan", True),
    ("[fwd:plan]", "plan", True),
    ("[Fwd: Re: plan (fwd)]", "plan", True),
    ("Re: [Fwd: [Fwd: [list] plan]]", "plan", True),
    ("[list] [fwd: plan]", "plan", True),
    ("[fwd: plan", "[fwd: plan", False),
    ("Re:", "", True),
    ("[fwd:]", "", True),
    ("(fwd)", "", True),
    ("", "", False),
    # No prefixes of other tongues.
    ("AW: plan", "aw: plan", False),
    ("Research: plan", "research: plan", False),
    ("PLÄNE", "pläne", False),
]


@pytest.mark.parametrize(("subject", "base", "reply"), CASES, ids=repr)
def test_rfc_5256_section_2_1(subject: str, base: str, reply: bool) -> None:
    assert base_subject(subject) == (base, reply)


PIECES = st.sampled_from(["re", "fwd", ":", "[", "]", "[fwd:", "(fwd)", " ", "x", "\t", "Ä", "[b]"])


@given(st.lists(PIECES, max_size=30))
def test_what_was_taken_off_is_not_there_again(pieces: list[str]) -> None:
    base, _ = base_subject("".join(pieces))
    assert base_subject(base)[0] == base


@pytest.mark.parametrize("piece", ["[a]", "re:", "[fwd:", "(fwd)", "[", "re[", " ", "[a]re"])
def test_evil_subjects_cost_no_more_than_others(piece: str) -> None:
    text = (piece * MAX_SUBJECT)[:MAX_SUBJECT]
    takes_at_most(1, lambda: (base_subject(text + "]" * 500), base_subject("]" + text)))
