"""THREADID (floor 1; RFC 8474 section 5.2): which conversation a message belongs to, told by the message alone.

A reply lists in References what led to it, the first message first, and programs that shorten the list keep that one
(RFC 5322 section 3.6.4).  So the first id there is stands for the thread: nothing has to be kept, a copy has the thread
of its original, and it never changes.  What a program lists wrongly is in a thread of its own.
"""

from __future__ import annotations

from hashlib import sha256

from .head import Head, numbers_of
from .header import values
from .threading import message_ids

_LINKS = (b"references", b"in-reply-to", b"message-id")
NUMBERS = numbers_of(_LINKS) or frozenset()
#: Characters of the hash.
_DIGITS = 32


def thread_id(header: bytes) -> str:
    """Of a header block, or of these fields of it; "" when there is no message id at all."""
    for name in _LINKS:
        for value in values(header, name)[:1]:
            found = message_ids(value)
            if found:
                return "T" + sha256(found[0]).hexdigest()[:_DIGITS]
    return ""


def of_head(head: Head) -> str:
    """The same; "" also of a message whose header is too large for a record."""
    return thread_id(head.select(NUMBERS)) if head.told else ""
