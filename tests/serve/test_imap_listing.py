"""What LIST tells, against the words of RFC 5258 said one by one for each name."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mailsrv.serve.imap.listing import Listing
from mailsrv.serve.imap.patterns import Pattern
from mailsrv.values import MailboxInfo

NAMES = ["a", "b", "a/x", "a/x/y", "b/x", "b/x/y", "c/d", "c"]
PATTERNS = ["*", "%", "a", "a*", "%/x", "*y", "%/%", "c%", "b/%"]
INFOS = st.lists(
    st.builds(
        MailboxInfo, st.sampled_from(NAMES), special_use=st.sampled_from([None, None, b"\\Sent"]),
        subscribed=st.booleans(), exists=st.booleans(),
    ),
    unique_by=lambda info: info.name,
)  # fmt: skip
SELECT = st.sampled_from([
    "", "SUBSCRIBED", "SPECIAL-USE", "SUBSCRIBED SPECIAL-USE", "SUBSCRIBED RECURSIVEMATCH", "RECURSIVEMATCH SPECIAL-USE"
])  # fmt: skip


def matches(pattern: str, name: str) -> bool:
    pieces = re.split(r"([*%])", pattern)
    return re.fullmatch("".join({"*": ".*", "%": "[^/]*"}.get(one, re.escape(one)) for one in pieces), name) is not None


@given(INFOS, st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3), SELECT)
def test_rfc5258_sections_3_1_and_3_5_who_is_told_and_why(
    infos: list[MailboxInfo], patterns: list[str], words: str
) -> None:
    select = frozenset(words.split())
    # A mailbox has a use only if it is there.
    infos = [info if info.exists else MailboxInfo(info.name, subscribed=True, exists=False) for info in infos]
    known = {info.name: info for info in infos}
    there = {info.name for info in infos if info.exists}
    told = {
        line.name: line
        for line in Listing(infos).lines([Pattern(one) for one in patterns], select, subscribed=True)
        if line is not None
    }

    def chosen(name: str) -> bool:
        info = known.get(name)
        if info is None or ("SUBSCRIBED" in select and not info.subscribed):
            return False
        return (info.exists or "SUBSCRIBED" in select) and not ("SPECIAL-USE" in select and info.special_use is None)

    matching = {name for name in NAMES if any(matches(one, name) for one in patterns)}
    for name in NAMES:
        below = [other for other in known if other.startswith(name + "/")]
        inner = "RECURSIVEMATCH" in select and any(chosen(other) for other in below)
        unseen = inner and any(chosen(other) and other not in matching for other in below)
        if select & {"SUBSCRIBED", "SPECIAL-USE"}:
            expected = chosen(name) or (inner and (name in there or unseen))
        else:
            expected = name in there or any(other in there for other in below)
        assert (name in told) == (expected and name in matching)
        if name in told:
            line = told[name]
            assert bool(line.children) == inner
            assert (b"\\NonExistent" in line.attributes) == (name not in there)
            assert (b"\\HasChildren" in line.attributes) == any(other in there for other in below)
            assert (b"\\Subscribed" in line.attributes) == (name in known and known[name].subscribed)
    assert list(told) == sorted(told)
