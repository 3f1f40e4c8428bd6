"""mbox files (floor 1): From_ lines, quoting, and the fields that hold flags (RFC 4155; mboxo and mboxrd).

A message begins with a line ``From SENDER DATE`` that is the first, or comes after an empty line.  Of a line that
begins with "From " in a message, ">" stands in front (mboxo); mboxrd puts another ">" also before ">From ".  Lines are
given with their line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from .header import MAX_OCTETS, header_end

#: Octets of a From_ line: what is longer is text.
MAX_FROM_LINE = 2000
#: Octets of the keywords of one message.
MAX_KEYWORDS = 8000

_MONTHS = {name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DAYS = tuple(b"Mon Tue Wed Thu Fri Sat Sun".split())
_NAMES = tuple(name.capitalize() for name in _MONTHS)
# QUIRK: some programs put the zone before the year, some behind it, some leave the seconds out.
_FROM = re.compile(
    rb"From (?P<sender>[^\r\n]*?) ?\b(?:mon|tue|wed|thu|fri|sat|sun),? +(?P<month>[a-z]{3}) +(?P<day>[0-9]{1,2}) +"
    rb"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    rb"(?: +(?P<zone>[+-][0-9]{4}|[a-z]{1,5}))? +(?P<year>[0-9]{4})(?: +(?P<behind>[+-][0-9]{4}))?(?![0-9])",
    re.IGNORECASE,
)
_QUOTED = re.compile(rb">+From ")
_FLAG_FIELDS = (b"status", b"x-status", b"x-keywords")
#: Letter -> flag, of Status and X-Status as Dovecot and mutt write them.
_STATUS = {82: b"\\Seen"}
_X_STATUS = {65: b"\\Answered", 70: b"\\Flagged", 84: b"\\Draft", 68: b"\\Deleted"}


def read_from(line: bytes) -> tuple[bytes, int, int] | None:
    """Sender, UTC epoch seconds and zone (minutes east) of a From_ line; None for a line that is none."""
    if not line.startswith(b"From ") or len(line) > MAX_FROM_LINE:
        return None
    found = _FROM.match(line)
    if found is None:
        return None
    month = _MONTHS.get(found["month"].lower())
    try:
        when = datetime(
            int(found["year"]), month or 0, int(found["day"]), int(found["hour"]), int(found["minute"]),
            min(int(found["second"] or 0), 59), tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        return None
    zone = _minutes(found["behind"] or found["zone"] or b"")
    return found["sender"].strip(), max(int(when.timestamp()) - zone * 60, 0), zone


def _minutes(zone: bytes) -> int:
    """Minutes east; a name counts as UTC (RFC 4155)."""
    if zone[:1] not in (b"+", b"-") or int(zone[1:3]) > 14 or int(zone[3:5]) > 59:
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[3:5])
    return -minutes if zone.startswith(b"-") else minutes


def write_from(sender: bytes, epoch: int) -> bytes:
    """A From_ line with LF; the date is UTC (RFC 4155).  Senders that cannot stand there become MAILER-DAEMON."""
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=max(0, min(epoch, 253_370_764_800)))
    if not re.fullmatch(rb"[!-~]{1,300}", sender):
        sender = b"MAILER-DAEMON"
    date = b"%b %b %2d %02d:%02d:%02d %04d" % (
        _DAYS[when.weekday()], _NAMES[when.month - 1], when.day, when.hour, when.minute, when.second, when.year,
    )  # fmt: skip
    return b"From %b %b\n" % (sender, date)


def quote(line: bytes) -> bytes:
    """As mboxrd: a line of "From " behind any number of ">" gets one more."""
    return b">" + line if line.startswith(b"From ") or _QUOTED.match(line) else line


def unquote(line: bytes, style: str) -> bytes:
    """Undo quoting.  `style`: "rd", all; "o", one ">" alone; "none"."""
    if not line.startswith(b">"):
        return line
    if style == "rd" and _QUOTED.match(line):
        return line[1:]
    return line[1:] if style == "o" and line.startswith(b">From ") else line


def take_flags(head: bytes) -> tuple[bytes, frozenset[bytes]]:
    """A message's first octets (all of its header, or at least `header.MAX_OCTETS`) without the fields that hold
    flags, and these flags.  A header that does not end in `MAX_OCTETS` is left as it is."""
    end = header_end(head)
    if end > MAX_OCTETS:
        return head, frozenset()
    kept, flags, drop = list[bytes](), set[bytes](), False
    for line in _lines(head[:end]):
        if line[:1] not in (b" ", b"\t"):
            name, colon, value = line.partition(b":")
            field = name.rstrip(b" \t").lower()
            drop = bool(colon) and field in _FLAG_FIELDS
            if drop:
                flags |= _flags(field, value)
        elif drop and field == b"x-keywords":
            flags |= _flags(field, line)
        if not drop:
            kept.append(line)
    return b"".join(kept) + head[end:], frozenset(flags)


def _lines(octets: bytes) -> list[bytes]:
    """Lines with their ends, cut at LF alone."""
    lines = [line + b"\n" for line in octets.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines


def _flags(field: bytes, value: bytes) -> set[bytes]:
    """The flags one field holds."""
    if field == b"x-keywords":
        # QUIRK: Dovecot writes blanks between, others commas.
        words = value[:MAX_KEYWORDS].replace(b",", b" ").split()
        return {word for word in words if usable(word)}
    table = _STATUS if field == b"status" else _X_STATUS
    return {table[letter] for letter in value[:100].strip() if letter in table}


def usable(keyword: bytes) -> bool:
    """Whether IMAP4 can say this keyword (RFC 9051 section 9: atom)."""
    return re.fullmatch(rb"[!#$&'+-\[^-z|}~]{1,255}", keyword) is not None


def put_flags(head: bytes, flags: Iterable[bytes]) -> bytes:
    """A message's first octets (as for `take_flags`) with fields that hold these flags, and no other ones."""
    given = set(flags)
    status = b"".join(bytes([letter]) for letter, flag in _STATUS.items() if flag in given)
    extra = b"".join(bytes([letter]) for letter, flag in _X_STATUS.items() if flag in given)
    words = sorted(flag for flag in given if not flag.startswith(b"\\") and usable(flag) and b"," not in flag)
    lines = [b"Status: %bO\n" % status] if status else []
    lines += [b"X-Status: %b\n" % extra] if extra else []
    lines += [b"X-Keywords: %b\n" % b" ".join(words)] if words else []
    head = take_flags(head)[0]
    end = header_end(head)
    if end > MAX_OCTETS:
        return head
    if head[:end].endswith((b"\n\r\n", b"\n\n")):
        end -= 2 if head[:end].endswith(b"\r\n") else 1
    elif head[:end] in (b"\r\n", b"\n"):
        end = 0
    return head[:end] + b"".join(lines) + head[end:]
