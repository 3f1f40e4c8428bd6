"""The form of a password for SCRAM (RFC 5802 section 2.2: SASLprep, RFC 4013).

Why not OpaqueString (RFC 8265), which passwords are hashed by: the salted password is made by the client, and what
clients do, if anything, is SASLprep.  The two differ for signs that look like others: "Ⅸ" is "IX" here.
"""

from __future__ import annotations

import stringprep
from unicodedata import ucd_3_2_0

from .base import normal

_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9,
)  # fmt: skip


def prepared(password: str) -> bytes:
    """The octets that are salted.  Raises Refused for a password that is no Unicode text.

    A password that SASLprep prohibits is taken in NFC: a client that is strict cannot send it, one that is not sends
    it like that.  Code points that Unicode 3.2 did not know are let through, as in a query (RFC 3454 section 7).
    """
    if password.isascii():
        return password.encode("ascii")
    mapped = "".join(
        " " if stringprep.in_table_c12(sign) else sign for sign in password if not stringprep.in_table_b1(sign)
    )
    text = ucd_3_2_0.normalize("NFKC", mapped)
    if not text or any(table(sign) for sign in text for table in _PROHIBITED) or not _one_direction(text):
        return normal(password)
    return text.encode("utf-8")


def _one_direction(text: str) -> bool:
    """RFC 3454 section 6: text from right to left begins and ends so, and has nothing from left to right."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(map(stringprep.in_table_d2, text))


