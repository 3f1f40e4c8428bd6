"""The base subject, by which messages are sorted and put into threads (floor 1; RFC 5256 section 2.1)."""

from __future__ import annotations

import re

from .text import folded

#: Characters of a subject that count; the rest is cut off.
MAX_SUBJECT = 1000
_SPACES = re.compile(r"[ \t\r\n]+").sub
# Possessive throughout: each octet is looked at once for each thing taken off.
_BLOBS = re.compile(r"(?:\[[^\[\]]*+\] *+)++").match
_BLOB = re.compile(r"\[[^\[\]]*+\] *+").match
_REFWD = re.compile(r"(?:re|fwd?) *+(?:\[[^\[\]]*+\] *+)?+: *+").match
_TRAILER, _FORWARD, _END = "(fwd)", "[fwd:", "]"


def base_subject(text: str) -> tuple[str, bool]:
    """The base subject of a decoded subject in the form of `folded`, and whether it is a reply or a forward.

    Comparison is without case, so it makes no difference that case is gone before; O(length).
    """
    text = _SPACES(" ", folded(text[:MAX_SUBJECT]))
    start, end, reply = 0, len(text), False
    while True:
        end, cut = _without_trailers(text, start, end)
        start, lead = _without_leaders(text, start, end)
        reply = reply or cut or lead
        if not (text.startswith(_FORWARD, start, end) and text.endswith(_END, start, end)):
            return text[start:end], reply
        start, end, reply = start + len(_FORWARD), end - len(_END), True


def _without_trailers(text: str, start: int, end: int) -> tuple[int, bool]:
    """Step 2: the end without white space and "(fwd)", and whether there was one of those."""
    cut = False
    while True:
        while end > start and text[end - 1] == " ":
            end -= 1
        if not text.endswith(_TRAILER, start, end):
            return end, cut
        end -= len(_TRAILER)
        cut = True


def _without_leaders(text: str, start: int, end: int) -> tuple[int, bool]:
    """Steps 3 to 5: the start behind white space, "re:" and the like and blobs; the last blob stays when nothing else
    would.  And whether there was a "re:"."""
    found = False
    while True:
        while start < end and text[start] == " ":
            start += 1
        blobs = _BLOBS(text, start, end)
        after = blobs.end() if blobs else start
        refwd = _REFWD(text, after, end)
        if refwd is None:
            break
        start, found = refwd.end(), True
    if after < end:
        return after, found
    # Nothing but blobs.
    while (blob := _BLOB(text, start, end)) is not None and blob.end() < end:
        start = blob.end()
    return start, found
