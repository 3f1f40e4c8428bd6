"""Maildir names and Dovecot's files beside them (floor 1): flags, keywords, UIDs, subscriptions, Maildir++ folders.

A message's file is ``BASE:2,FLAGS`` in `cur`, or BASE in `new`; a folder A/B is the directory ``.A.B``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from .mbox import usable

#: What Dovecot keeps as letters a to z.
MAX_KEYWORDS = 26
#: Letter -> flag (cr.yp.to/proto/maildir.html); P, passed on, is a keyword in IMAP4 (RFC 5788).
_FLAGS = {
    "D": b"\\Draft", "F": b"\\Flagged", "P": b"$Forwarded", "R": b"\\Answered", "S": b"\\Seen", "T": b"\\Deleted",
}  # fmt: skip
_LETTERS = {flag.lower(): letter for letter, flag in _FLAGS.items()}
_LINE = re.compile(rb"([1-9][0-9]{0,9})((?: [^: ][^ ]*)*) :?([^\n]+)")


def base_of(name: str) -> str:
    """What stays the same of a file's name while flags change."""
    return name.partition(":2,")[0]


def flags_of(name: str, keywords: Mapping[int, bytes]) -> frozenset[bytes]:
    """The flags in a file's name; `keywords` by number, 0 is the letter a."""
    letters = name.partition(":2,")[2]
    flags = {_FLAGS[letter] for letter in letters if letter in _FLAGS}
    return frozenset(flags | {keywords[ord(one) - 97] for one in letters if ord(one) - 97 in keywords})


def letters_of(flags: Iterable[bytes], keywords: dict[bytes, int]) -> tuple[str, list[bytes]]:
    """The letters for a file's name in order, and the flags for which there is none.

    New ones are put into `keywords` (lower case -> number) while there are letters.
    """
    letters, left = set[str](), list[bytes]()
    for flag in sorted(flags):
        folded = flag.lower()
        if folded in _LETTERS:
            letters.add(_LETTERS[folded])
        # QUIRK: Dovecot knows no P, so $Forwarded is a keyword as well.
        if usable(flag) and (folded in keywords or len(keywords) < MAX_KEYWORDS):
            letters.add(chr(97 + keywords.setdefault(folded, len(keywords))))
        elif folded not in _LETTERS:
            left.append(flag)
    return "".join(sorted(letters)), left


def read_keywords(octets: bytes) -> dict[int, bytes]:
    """dovecot-keywords: lines of a number and a keyword; others are left out."""
    found = {}
    for line in octets.split(b"\n"):
        number, _, word = line.partition(b" ")
        if number.isdigit() and len(number) < 3 and int(number) < MAX_KEYWORDS and usable(word):
            found[int(number)] = word
    return found


def write_keywords(keywords: Sequence[bytes]) -> bytes:
    """dovecot-keywords of these, in the order of their letters."""
    return b"".join(b"%d %b\n" % (number, word) for number, word in enumerate(keywords))


@frozen
class UidLine:
    """A message in dovecot-uidlist: `unique_id` is what POP3 shows for it."""

    uid: int
    base: str
    unique_id: bytes


def read_uid_header(line: bytes) -> int | None:
    """The UIDVALIDITY of a dovecot-uidlist, by its first line; None when it is none."""
    words = line.split()
    if len(words) >= 3 and words[0] == b"3":
        found = [word[1:] for word in words[1:] if word.startswith(b"V")]
    else:
        found = words[1:2] if words[:1] == [b"1"] and len(words) >= 3 else []
    return int(found[0]) if found and found[0].isdigit() and len(found[0]) <= 10 else None


def read_uid_line(line: bytes, validity: int) -> UidLine | None:
    """One further line; None for what is none.

    The unique id is that of the line (P), else what Dovecot makes by default: %08Xu%08Xv.
    """
    found = _LINE.fullmatch(line.rstrip(b"\n"))
    if found is None:
        return None
    uid = int(found[1])
    given = next((word[1:] for word in found[2].split() if word.startswith(b"P")), b"")
    base = base_of(found[3].decode("utf-8", "surrogateescape"))
    return UidLine(uid, base, given or b"%08x%08x" % (uid, validity))


def write_uid_header(validity: int, following: int) -> bytes:
    """The first line; `following` is UIDNEXT."""
    return b"3 V%d N%d\n" % (validity, following)


def write_uid_line(line: UidLine) -> bytes:
    """One further line; an empty unique id is left out."""
    given = b" P" + line.unique_id if line.unique_id else b""
    return b"%d%b :%b\n" % (line.uid, given, line.base.encode("utf-8", "surrogateescape"))


def read_subscriptions(octets: bytes) -> list[list[bytes]]:
    """The names in a `subscriptions` file of Dovecot, by levels as they are on disk: version 2 or older (".")."""
    lines = octets.split(b"\n")
    if lines[0] == b"V\t2":
        return [[_unescape(level) for level in line.split(b"\t")] for line in lines[1:] if line]
    return [line.split(b".") for line in lines if line]


def write_subscriptions(names: Iterable[Sequence[bytes]]) -> bytes:
    """A `subscriptions` file, version 2."""
    return b"V\t2\n\n" + b"".join(b"\t".join(levels) + b"\n" for levels in names)


def _unescape(level: bytes) -> bytes:
    """Dovecot's escapes of tab-separated text."""
    table = {b"\0011": b"\1", b"\001t": b"\t", b"\001n": b"\n", b"\001r": b"\r"}
    return re.sub(rb"\x01[1tnr]", lambda found: table[found[0]], level)
