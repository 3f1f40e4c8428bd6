"""IMAP4 responses as octets (floor 1; RFC 3501 sections 7 and 9).  Pure functions; whole lines end with CRLF."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from ..numbers import UidSet
from ..values import SYSTEM_FLAGS
from . import imap_names
from .imap_lexer import EPOCH_DAY, MONTHS, PLAIN, Form

#: Longer strings are literals even when they could be quoted: some clients read quoted strings by line.
_QUOTED_OCTETS = 1000
_PLAIN = re.compile(rb"[\x20\x21\x23-\x5b\x5d-\x7e]*").fullmatch
_QUOTABLE = re.compile(rb"[\x20-\x7e]*").fullmatch
_ATOM = re.compile(rb"[\x21\x23\x24\x26\x27\x2b-\x5b\x5d-\x7a\x7c-\x7e]+").fullmatch
_UNSAFE = re.compile(r"[^\x20-\x7e]").sub
_SYSTEM = tuple(flag.decode("ascii") for flag in SYSTEM_FLAGS)
#: Different flag masks of one mailbox kept as text.
_KEPT_MASKS = 512
#: Intervals in one VANISHED: about 8 KiB, as RFC 7162 section 4 has it, in the middle.
_VANISHED_INTERVALS = 800
_DAY_SECONDS = 86400
#: The last day that has four digits of year, counted from 1970-01-01.
_LAST_DAY = date.max.toordinal() - EPOCH_DAY

CONTINUE = b"+ OK\r\n"


# ---------------------------------------------------------------- strings


def string(octets: bytes) -> bytes:
    """Quoted when it can be, else a literal; any octets come through unchanged."""
    if len(octets) <= _QUOTED_OCTETS:
        if _PLAIN(octets):
            return b'"%b"' % octets
        if _QUOTABLE(octets):
            return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b"{%d}\r\n%b" % (len(octets), octets)


def nstring(octets: bytes | None) -> bytes:
    """A string, NIL for None."""
    return b"NIL" if octets is None else string(octets)


def astring(octets: bytes) -> bytes:
    """An atom when it can be one, else a string."""
    return octets if _ATOM(octets) and octets.upper() != b"NIL" else string(octets)


def human(text: str) -> bytes:
    """Text for people: printable ASCII, one line, never empty and never taken for a response code."""
    text = _UNSAFE("?", text.replace("\r", " ").replace("\n", " ").replace("\0", " ")).strip()
    if text.startswith("["):
        text = "(" + text[1:]
    return (text or "-").encode("ascii")


# ---------------------------------------------------------------- status responses


def status_response(tag: bytes, kind: bytes, text: str, code: bytes = b"") -> bytes:
    """``tag kind [code] text``; `tag` may be ``b"*"``, `kind` is OK NO BAD BYE PREAUTH."""
    if code:
        return b"%b %b [%b] %b\r\n" % (tag, kind, code, human(text))
    return b"%b %b %b\r\n" % (tag, kind, human(text))


def ok(tag: bytes, text: str, code: bytes = b"") -> bytes:
    """Tagged OK."""
    return status_response(tag, b"OK", text, code)


def no(tag: bytes, text: str, code: bytes = b"") -> bytes:
    """Tagged NO."""
    return status_response(tag, b"NO", text, code)


def bad(tag: bytes | None, text: str, code: bytes = b"") -> bytes:
    """Tagged BAD, untagged when there is no tag to answer to."""
    return status_response(tag or b"*", b"BAD", text, code)


def bye(text: str, code: bytes = b"") -> bytes:
    """``* BYE``."""
    return status_response(b"*", b"BYE", text, code)


def challenge(encoded: bytes = b"") -> bytes:
    """``+`` with the base64 of a server challenge, or the text of a continuation."""
    return b"+ %b\r\n" % encoded


# ---------------------------------------------------------------- mailbox lists and counters


def capability(names: Iterable[str]) -> bytes:
    """``* CAPABILITY``."""
    return b"* CAPABILITY %b\r\n" % " ".join(names).encode("ascii")


def enabled(names: Iterable[str]) -> bytes:
    """``* ENABLED`` (RFC 5161)."""
    return b"* ENABLED" + b"".join(b" " + name.encode("ascii") for name in names) + b"\r\n"


def list_line(
    name: str,
    attributes: Iterable[bytes],
    kind: bytes = b"LIST",
    form: Form = PLAIN,
    children: Sequence[str] = (),
    former: str = "",
) -> bytes:
    """``* LIST`` or ``* LSUB``; `form`: how the client has names; `children`: the
    selection options of CHILDINFO (RFC 5258 section 4); `former`: the name it had before (RFC 5465 section 5.4)."""
    delimiter = b'"%b"' % form.separator.encode("ascii")
    more = ""
    if children:
        more = ' ("CHILDINFO" (%s))' % " ".join(f'"{option}"' for option in children)
    extended = more.encode("ascii") if not former else b' ("OLDNAME" (%b))' % imap_names.wire(former, form)
    return b"* %b (%b) %b %b%b\r\n" % (
        kind, b" ".join(attributes), delimiter, imap_names.wire(name, form), extended,
    )  # fmt: skip


def list_root(kind: bytes = b"LIST", form: Form = PLAIN) -> bytes:
    """The answer to an empty pattern: only the separator (RFC 3501 section 6.3.8)."""
    return b'* %b (\\Noselect) "%b" ""\r\n' % (kind, form.separator.encode("ascii"))


def status_line(name: str, items: Iterable[tuple[str, object]], form: Form = PLAIN) -> bytes:
    """``* STATUS``; items in the order given; `form` as in `list_line`."""
    listed = " ".join([f"{item} {value}" for item, value in items]).encode("ascii")
    return b"* STATUS %b (%b)\r\n" % (imap_names.wire(name, form), listed)


def quota_root(name: str, roots: Iterable[bytes], form: Form = PLAIN) -> bytes:
    """``* QUOTAROOT`` (RFC 9208 section 4.2.2)."""
    return b"* QUOTAROOT %b\r\n" % b" ".join([imap_names.wire(name, form), *map(string, roots)])


def quota(root: bytes, resources: Iterable[tuple[str, int, int]]) -> bytes:
    """``* QUOTA``: (resource, usage, limit) of each (RFC 9208 section 4.2.1)."""
    listed = " ".join([f"{name} {used} {limit}" for name, used, limit in resources])
    return b"* QUOTA %b (%b)\r\n" % (string(root), listed.encode("ascii"))


def metadata(name: str, values: Iterable[tuple[str, bytes | None]], form: Form = PLAIN) -> bytes:
    """``* METADATA`` with values (RFC 5464 section 4.4.1); `name` "" is the server."""
    listed = b" ".join([b"%b %b" % (astring(entry.encode("ascii")), _value(value)) for entry, value in values])
    return b"* METADATA %b (%b)\r\n" % (imap_names.wire(name, form), listed)


def _value(octets: bytes | None) -> bytes:
    """A string, a literal8 where there is a NUL in it, NIL for None."""
    return nstring(octets) if octets is None or b"\0" not in octets else b"~{%d}\r\n%b" % (len(octets), octets)


def metadata_names(name: str, entries: Iterable[str], form: Form = PLAIN) -> bytes:
    """``* METADATA`` of what has changed, without values (RFC 5464 section 4.4.2)."""
    listed = b" ".join([astring(entry.encode("ascii")) for entry in entries])
    return b"* METADATA %b %b\r\n" % (imap_names.wire(name, form), listed)


def acl(name: str, listed: Iterable[tuple[str, str]], form: Form = PLAIN) -> bytes:
    """``* ACL`` with pairs of identifier and rights (RFC 4314 section 3.6)."""
    pairs = [b" %b %b" % (astring(who.encode("utf-8")), astring(rights.encode("ascii"))) for who, rights in listed]
    return b"* ACL %b%b\r\n" % (imap_names.wire(name, form), b"".join(pairs))


def list_rights(name: str, identifier: str, rights: Iterable[str], form: Form = PLAIN) -> bytes:
    """``* LISTRIGHTS``: those that are always there, then each that can be granted (RFC 4314 section 3.7)."""
    told = b" ".join([astring(right.encode("ascii")) for right in rights])
    return b"* LISTRIGHTS %b %b %b\r\n" % (imap_names.wire(name, form), astring(identifier.encode("utf-8")), told)


def my_rights(name: str, rights: str, form: Form = PLAIN) -> bytes:
    """``* MYRIGHTS`` (RFC 4314 section 3.8)."""
    return b"* MYRIGHTS %b %b\r\n" % (imap_names.wire(name, form), astring(rights.encode("ascii")))


def namespace(others: str = "", public: str = "", form: Form = PLAIN) -> bytes:
    """``* NAMESPACE``: the personal namespace has no prefix; those of other users and of public folders, where there
    are any (RFC 2342)."""
    between = b'"%b"' % form.separator.encode("ascii")
    prefixes = [string(imap_names.encode(name + form.separator)) if name else b"" for name in (others, public)]
    more = [b"((%b %b))" % (prefix, between) if prefix else b"NIL" for prefix in prefixes]
    return b'* NAMESPACE (("" %b)) %b %b\r\n' % (between, more[0], more[1])


def id_line(parameters: Mapping[str, str | None]) -> bytes:
    """``* ID`` (RFC 2971); empty: NIL."""
    if not parameters:
        return b"* ID NIL\r\n"
    pairs = [
        string(name.encode()) + b" " + nstring(None if value is None else value.encode())
        for name, value in parameters.items()
    ]
    return b"* ID (%b)\r\n" % b" ".join(pairs)


def flags_line(keywords: Iterable[bytes]) -> bytes:
    """``* FLAGS`` of a mailbox: the system flags and its keywords."""
    return b"* FLAGS (%b)\r\n" % b" ".join([*SYSTEM_FLAGS, *keywords])


def exists(count: int) -> bytes:
    """``* n EXISTS``."""
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    """``* n RECENT``."""
    return b"* %d RECENT\r\n" % count


def expunges(numbers: Iterable[int]) -> bytes:
    """``* n EXPUNGE`` of each, in the order given."""
    return b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers])


def vanished(uids: UidSet, earlier: bool = False) -> bytes:
    """``* VANISHED`` (RFC 7162 section 3.2.10) in lines of some thousand intervals; nothing of an empty set."""
    head = b"* VANISHED (EARLIER) " if earlier else b"* VANISHED "
    ranges = uids.ranges
    return b"".join(
        [
            b"%b%b\r\n" % (head, UidSet(ranges[at : at + _VANISHED_INTERVALS]).encode())
            for at in range(0, len(ranges), _VANISHED_INTERVALS)
        ]
    )


def search(numbers: Iterable[int]) -> bytes:
    """``* SEARCH``."""
    return b"* SEARCH" + b"".join([b" %d" % number for number in numbers]) + b"\r\n"


def esearch(tag: bytes, uid: bool, results: Iterable[tuple[bytes, int | UidSet]]) -> bytes:
    """``* ESEARCH`` (RFC 4731): MIN, MAX, COUNT with a number, ALL with a set that is not empty."""
    out = [b"* ESEARCH (TAG %b)" % string(tag)]
    if uid:
        out.append(b"UID")
    for name, value in results:
        out.append(b"%b %b" % (name, value.encode() if isinstance(value, UidSet) else b"%d" % value))
    return b" ".join(out) + b"\r\n"


# ---------------------------------------------------------------- FETCH


class FlagLists:
    """Flag lists of one mailbox from masks (see `values.Columns`).

    `keywords` is the mailbox's live table: it may grow, its entries never change.
    """

    __slots__ = ("_keywords", "_lists")

    def __init__(self, keywords: Sequence[bytes]) -> None:
        self._keywords = keywords
        self._lists: dict[int, str] = {}

    def _text(self, mask: int, recent: bool) -> str:
        names = [name for bit, name in enumerate(_SYSTEM) if mask >> bit & 1]
        rest, at = mask >> len(_SYSTEM), 0
        while rest and at < len(self._keywords):
            if rest & 1:
                names.append(self._keywords[at].decode("ascii"))
            rest >>= 1
            at += 1
        if recent:
            names.append("\\Recent")
        return f"({' '.join(names)})"

    def text(self, mask: int, recent: bool = False) -> str:
        r"""``(\Seen $Forwarded)``."""
        key = mask << 1 | recent
        found = self._lists.get(key)
        if found is None:
            found = self._text(mask, recent)
            if mask >> len(_SYSTEM) >> len(self._keywords):
                # A keyword whose name is not known yet: it will be.
                return found
            if len(self._lists) >= _KEPT_MASKS:
                self._lists.clear()
            self._lists[key] = found
        return found

    def octets(self, mask: int, recent: bool = False) -> bytes:
        """`text` as octets."""
        return self.text(mask, recent).encode("ascii")

    def rows(
        self,
        numbers: Sequence[int],
        uids: Sequence[int] | None,
        masks: Sequence[int] | None,
        recent: bool = False,
        modseqs: Sequence[int] | None = None,
        name: str = "FETCH",
    ) -> bytes:
        """``* n FETCH (UID u FLAGS (..) MODSEQ (m))`` for a block of messages, without the items of what is None;
        one of them there must be.  All have the same `recent`.  `name` may be UIDFETCH (RFC 9586), then the
        `numbers` are UIDs.  Blocks of some thousand rows are best."""
        count = len(numbers)
        items: list[str] = []
        columns: list[Sequence[int | str]] = [numbers]
        if uids is not None:
            items.append("UID %d")
            columns.append(uids)
        if masks is not None:
            known = {mask: self.text(mask, recent) for mask in set(masks)}
            items.append("FLAGS %s")
            columns.append([known[mask] for mask in masks])
        if modseqs is not None:
            items.append("MODSEQ (%d)")
            columns.append(modseqs)
        width = len(columns)
        flat: list[int | str] = [0] * (width * count)
        for at, column in enumerate(columns):
            flat[at::width] = column[:count]
        # One formatting of the whole block costs less than one for each row.
        return (f"* %d {name} ({' '.join(items)})\r\n" * count % tuple(flat)).encode("ascii")


def fetch_row(number: int, parts: Iterable[bytes]) -> bytes:
    """``* n FETCH (...)`` of complete parts such as b"UID 7"."""
    return b"* %d FETCH (%b)\r\n" % (number, b" ".join(parts))


def section(label: bytes, octets: bytes | None) -> bytes:
    """One body section as a part of `fetch_row`: always a literal, NIL when there is no such part."""
    if octets is None:
        return label + b" NIL"
    return b"%b {%d}\r\n%b" % (label, len(octets), octets)


def section_head(label: bytes, size: int) -> bytes:
    """The same without the octets: the session writes exactly `size` of them after it."""
    return b"%b {%d}\r\n" % (label, size)


def literal8_head(label: bytes, size: int) -> bytes:
    """As `section_head`, of octets that may be any (RFC 3516 section 7)."""
    return b"%b ~{%d}\r\n" % (label, size)


def internal_date(epoch: int, zone: int) -> bytes:
    """``"17-Jul-1996 02:44:25 -0700"`` from UTC epoch seconds and minutes east of UTC, quoted."""
    days, seconds = divmod(epoch + zone * 60, _DAY_SECONDS)
    day = date.fromordinal(EPOCH_DAY + min(max(days, 1 - EPOCH_DAY), _LAST_DAY))
    hours, minutes = divmod(abs(zone), 60)
    return b'"%2d-%b-%04d %02d:%02d:%02d %b%02d%02d"' % (
        day.day, MONTHS[day.month - 1], day.year, seconds // 3600, seconds // 60 % 60, seconds % 60,
        b"-" if zone < 0 else b"+", hours, minutes,
    )  # fmt: skip
