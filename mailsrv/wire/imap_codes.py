"""Response codes (floor 1): what stands in brackets in a status response (RFC 3501 section 7.1, RFC 5530,
RFC 4315 UIDPLUS, RFC 7889, RFC 7162).  All are octets without the brackets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ..numbers import UidSet

ALERT = b"ALERT"
ALREADYEXISTS = b"ALREADYEXISTS"
AUTHENTICATIONFAILED = b"AUTHENTICATIONFAILED"
AUTHORIZATIONFAILED = b"AUTHORIZATIONFAILED"
CANNOT = b"CANNOT"
CLIENTBUG = b"CLIENTBUG"
CLOSED = b"CLOSED"
CONTACTADMIN = b"CONTACTADMIN"
CORRUPTION = b"CORRUPTION"
EXPIRED = b"EXPIRED"
EXPUNGEISSUED = b"EXPUNGEISSUED"
INUSE = b"INUSE"
LIMIT = b"LIMIT"
NONEXISTENT = b"NONEXISTENT"
NOPERM = b"NOPERM"
OVERQUOTA = b"OVERQUOTA"
PARSE = b"PARSE"
PRIVACYREQUIRED = b"PRIVACYREQUIRED"
READ_ONLY = b"READ-ONLY"
READ_WRITE = b"READ-WRITE"
SERVERBUG = b"SERVERBUG"
TOOBIG = b"TOOBIG"
TRYCREATE = b"TRYCREATE"
UIDNOTSTICKY = b"UIDNOTSTICKY"
UNAVAILABLE = b"UNAVAILABLE"
USEATTR = b"USEATTR"
BADCHARSET = b"BADCHARSET (UTF-8 US-ASCII)"


def capability(names: Iterable[str]) -> bytes:
    """CAPABILITY in a greeting or in the OK of a login."""
    return b"CAPABILITY " + " ".join(names).encode("ascii")


def number(name: str, value: int) -> bytes:
    """UIDNEXT, UIDVALIDITY, UNSEEN, HIGHESTMODSEQ, APPENDLIMIT with their number."""
    return f"{name} {value}".encode("ascii")


def permanent_flags(flags: Iterable[bytes], new_keywords: bool) -> bytes:
    r"""PERMANENTFLAGS; `new_keywords` adds ``\*``: the client may make keywords."""
    return b"PERMANENTFLAGS (%b)" % b" ".join([*flags, b"\\*"] if new_keywords else flags)


def append_uid(uidvalidity: int, uids: Sequence[int]) -> bytes:
    """APPENDUID; `uids` ascending, in the order of the messages."""
    return b"APPENDUID %d %b" % (uidvalidity, UidSet.of(uids).encode())


def copy_uid(uidvalidity: int, pairs: Sequence[tuple[int, int]]) -> bytes:
    """COPYUID from (source, new) in ascending source order; empty `pairs` have no code: do not ask."""
    # New UIDs ascend with the sources, so both sets read in step.  UIDs that do not ascend (a target that is
    # filled by several at once cannot do this, but a foreign store might) are written one by one.
    new = [pair[1] for pair in pairs]
    ascending = all(a < b for a, b in pairwise(new))
    target = UidSet.of(new).encode() if ascending else b",".join(b"%d" % uid for uid in new)
    return b"COPYUID %d %b %b" % (uidvalidity, UidSet.of(pair[0] for pair in pairs).encode(), target)
