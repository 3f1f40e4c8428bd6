"""Dates as mail writes them (floor 1): RFC 5322 section 3.3 and 4.3, RFC 9051 date-time.

Instants are UTC epoch seconds, zones minutes east of UTC, days ordinals of `datetime.date`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_WEEKDAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal()
#: A Date field longer than this is no date.
_MAX_FIELD = 200
#: RFC 5322 section 4.3; a military letter says nothing (RFC 1123 section 5.2.14), so it counts as UTC.
_ZONES = {
    b"ut": 0, b"gmt": 0, b"utc": 0, b"z": 0, b"est": -300, b"edt": -240, b"cst": -360, b"cdt": -300,
    b"mst": -420, b"mdt": -360, b"pst": -480, b"pdt": -420,
    # QUIRK: names outside RFC 5322 that Unix mailers of Europe and Asia write.
    b"wet": 0, b"west": 60, b"bst": 60, b"cet": 60, b"met": 60, b"mez": 60, b"cest": 120, b"mest": 120,
    b"eet": 120, b"eest": 180, b"msk": 180, b"jst": 540, b"kst": 540,
}  # fmt: skip
_USUAL = re.compile(
    rb"[ \t]*(?:[A-Za-z]{3},[ \t]*)?([0-9]{1,2}) ([A-Za-z]{3}) ([0-9]{4}) "
    rb"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))? ([+-])([0-9]{2})([0-9]{2})(?:[ \t]*\([^()\\]*\))?[ \t]*\Z"
)
_INTERNAL = re.compile(
    rb"[ ]?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})\Z"
)
_COMMENT = re.compile(rb"\([^()]*+\)?+")
_ISO = re.compile(rb"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})(?:[T ]|\Z)")
_CLOCK = re.compile(rb"([0-9]{1,2})[:.]([0-9]{2})(?:[:.]([0-9]{2}))?(?:[.,][0-9]+)?([AaPp][Mm]|[Zz])?\Z")
_OFFSET = re.compile(rb"(?:gmt|utc|ut)?([+-])([0-9]{1,2}):?([0-9]{2})\Z")


@lru_cache(maxsize=1024)
def _written(day: int) -> tuple[bytes, bytes]:
    """The day as RFC 5322 and as IMAP write it."""
    when = date.fromordinal(min(max(day, 1), _LAST_DAY))
    month = MONTHS[when.month - 1]
    return (
        b"%b, %02d %b %04d" % (_WEEKDAYS[when.weekday()], when.day, month, when.year),
        b"%2d-%b-%04d" % (when.day, month, when.year),
    )


def _zone(zone: int) -> bytes:
    size = min(abs(zone), 99 * 60 + 59)
    return b"%b%02d%02d" % (b"-" if zone < 0 else b"+", size // 60, size % 60)


def day_number(epoch: float, zone: int) -> int:
    """The ordinal of the day that a clock of this zone shows."""
    return _EPOCH_DAY + (int(epoch // 1) + zone * 60) // 86400


def rfc5322(epoch: float, zone: int) -> bytes:
    """For example ``Tue, 24 Nov 2026 04:00:00 +0000`` (RFC 5322 section 3.3)."""
    return _rfc5322(int(epoch // 1), zone)


@lru_cache(maxsize=64)
def _rfc5322(second: int, zone: int) -> bytes:
    """The same; thousands of messages may come within one second."""
    days, rest = divmod(second + zone * 60, 86400)
    return b"%b %02d:%02d:%02d %b" % (
        _written(_EPOCH_DAY + days)[0], rest // 3600, rest // 60 % 60, rest % 60, _zone(zone),
    )  # fmt: skip


def internal_date(epoch: float, zone: int) -> bytes:
    """IMAP date-time without its quotes, the day padded to two by a space (RFC 9051 section 9)."""
    days, rest = divmod(int(epoch // 1) + zone * 60, 86400)
    return b"%b %02d:%02d:%02d %b" % (
        _written(_EPOCH_DAY + days)[1], rest // 3600, rest // 60 % 60, rest % 60, _zone(zone),
    )  # fmt: skip


def internal_dates(epochs: Iterable[int], zones: Iterable[int]) -> list[bytes]:
    """`internal_date` of many: each day is written once."""
    days: dict[tuple[int, int], bytes] = {}
    out = []
    for epoch, zone in zip(epochs, zones):
        day, rest = divmod(epoch + zone * 60, 86400)
        form = days.get((day, zone))
        if form is None:
            form = days[day, zone] = b"%b %%02d:%%02d:%%02d %b" % (_written(_EPOCH_DAY + day)[1], _zone(zone))
        minute, second = divmod(rest, 60)
        out.append(form % (minute // 60, minute % 60, second))
    return out


def _instant(year: int, month: int, day: int, clock: tuple[int, int, int], zone: int) -> tuple[int, int] | None:
    """Epoch and zone of a civil time; None when there is no such day or time."""
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 60 or abs(zone) > 99 * 60 + 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return days * 86400 + hour * 3600 + minute * 60 + second - zone * 60, zone


def parse_internal_date(octets: bytes) -> tuple[int, int] | None:
    """(epoch, zone) of an IMAP date-time without its quotes, or None."""
    match = _INTERNAL.match(octets)
    return _civil(match) if match else None


def _civil(match: re.Match[bytes]) -> tuple[int, int] | None:
    """Groups: day, month name, year, hour, minute, second, sign, zone hours, zone minutes."""
    day, name, year, hour, minute, second, sign, hours, minutes = match.groups()
    zone = int(hours) * 60 + int(minutes)
    month = _MONTH_NUMBERS.get(name.lower(), 0)
    if not month or int(minutes) > 59:
        return None
    clock = int(hour), int(minute), int(second or 0)
    return _instant(int(year), month, int(day), clock, -zone if sign == b"-" else zone)


def parse_date_field(value: bytes) -> tuple[int, int] | None:
    """(epoch, zone) of a Date field's value as real mail writes it, or None when no day can be read."""
    match = _USUAL.match(value)
    if match:
        return _civil(match)
    if len(value) > _MAX_FIELD:
        return None
    return _tolerant(value)


def _tolerant(value: bytes) -> tuple[int, int] | None:
    """Read the words in any order (RFC 5322 section 4.3 and worse)."""
    text = value
    while b"(" in text:
        text = _COMMENT.sub(b" ", text)
    reading = _Reading()
    iso = _ISO.match(text.strip())
    if iso:
        # QUIRK: scripts and web applications write ISO 8601.
        reading.year, reading.month, reading.day = (int(group) for group in iso.groups())
        text = text.strip()[iso.end() :]
    for word in text.replace(b",", b" ").split():
        reading.take(word)
    return reading.result()


class _Reading:
    """What the words of a Date field have said so far."""

    __slots__ = ("clock", "day", "month", "year", "zone")

    def __init__(self) -> None:
        self.day = self.month = 0
        self.year: int | None = None
        self.clock: tuple[int, int, int] | None = None
        self.zone: int | None = None

    def take(self, word: bytes) -> None:
        """Take one word; unknown ones (names of days) say nothing."""
        lower = word.lower()
        if lower in (b"am", b"pm"):
            self._half(lower)
        elif lower[:3] in _MONTH_NUMBERS and not self.month and lower.isalpha():
            self.month = _MONTH_NUMBERS[lower[:3]]
        elif word.isdigit():
            self._number(word)
        elif (found := _CLOCK.match(word)) and self.clock is None:
            self.clock = int(found[1]), int(found[2]), int(found[3] or 0)
            if found[4]:
                self._half(found[4].lower())
        elif (found := _OFFSET.match(lower)) and self.clock is not None:
            offset = int(found[2]) * 60 + int(found[3])
            self.zone = -offset if found[1] == b"-" else offset
        elif lower in _ZONES:
            self.zone = _ZONES[lower] if self.zone is None else self.zone
        elif word.count(b"-") == 2:
            # QUIRK: 24-Nov-2026, of old Unix mailers (RFC 850).
            for piece in word.split(b"-"):
                self.take(piece)

    def _half(self, mark: bytes) -> None:
        """A twelve-hour clock's half, or Z."""
        if mark == b"z":
            self.zone = 0
        elif self.clock is not None and self.clock[0] <= 12:
            hour = self.clock[0] % 12 + (12 if mark == b"pm" else 0)
            self.clock = hour, self.clock[1], self.clock[2]

    def _number(self, word: bytes) -> None:
        if not self.day and len(word) <= 2:
            self.day = int(word)
        elif self.year is None and len(word) <= 4:
            year = int(word)
            # RFC 5322 section 4.3: two digits are 1950 to 2049, three count from 1900.
            self.year = year + (0 if len(word) == 4 else 2000 if len(word) == 2 and year < 50 else 1900)

    def result(self) -> tuple[int, int] | None:
        """The instant; without a day, month or year there is none, the time and zone may be missing."""
        if self.year is None:
            return None
        zone = self.zone or 0
        if abs(zone) > 24 * 60:
            # QUIRK: broken clocks of spam senders; the day is still the best that is known.
            zone = 0
        return _instant(self.year, self.month, self.day, self.clock or (0, 0, 0), zone)
