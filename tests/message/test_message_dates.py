"""Dates: RFC 5322 sections 3.3 and 4.3, RFC 9051 date-time, and Date fields of real mail."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message import dates
from tests.properties import tries

NOON = 1795492800  # Tue, 24 Nov 2026 04:00:00 +0000

EPOCHS = st.integers(-2_000_000_000, 200_000_000_000)
ZONES = st.integers(-12 * 60, 14 * 60)


def test_rfc5322_3_3_date() -> None:
    assert dates.rfc5322(NOON, 0) == b"Tue, 24 Nov 2026 04:00:00 +0000"
    assert dates.rfc5322(NOON + 0.9, -330) == b"Mon, 23 Nov 2026 22:30:00 -0530"
    assert dates.rfc5322(0, 60) == b"Thu, 01 Jan 1970 01:00:00 +0100"


def test_rfc9051_date_time() -> None:
    assert dates.internal_date(837596665, -420) == b"17-Jul-1996 02:44:25 -0700"
    assert dates.internal_date(0, 0) == b" 1-Jan-1970 00:00:00 +0000"
    assert dates.parse_internal_date(b"17-Jul-1996 02:44:25 -0700") == (837596665, -420)
    assert dates.parse_internal_date(b" 1-Jan-1970 00:00:00 +0000") == (0, 0)
    assert dates.parse_internal_date(b"1-jan-1970 00:00:00 +0000") == (0, 0)


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"31-Feb-2026 00:00:00 +0000", b"24-Nov-2026 24:00:00 +0000", b"24-Nov-2026 00:60:00 +0000",
        b"24-Foo-2026 00:00:00 +0000", b"24-Nov-2026", b"24-Nov-2026 00:00:00", b"24-Nov-0000 00:00:00 +0000",
        b"24-Nov-2026 00:00:00 +0060", b"24-Nov-2026 00:00:00 +0000 ", b"\xff",
    ],
)  # fmt: skip
def test_no_date_time(octets: bytes) -> None:
    assert dates.parse_internal_date(octets) is None


@given(EPOCHS, ZONES)
@settings(max_examples=tries(200), deadline=None)
def test_dates_are_read_back_and_agree_with_the_standard_library(epoch: int, zone: int) -> None:
    assert dates.parse_internal_date(dates.internal_date(epoch, zone)) == (epoch, zone)
    assert dates.parse_date_field(dates.rfc5322(epoch, zone)) == (epoch, zone)
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch)
    local = when.astimezone(timezone(timedelta(minutes=zone)))
    assert dates.rfc5322(epoch, zone).decode() == format_datetime(local)
    assert dates.day_number(epoch, zone) == local.toordinal()
    assert parsedate_to_datetime(dates.rfc5322(epoch, zone).decode()) == when


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e14, max_value=1e14), st.integers(-9999, 9999))
@settings(max_examples=tries(200), deadline=None)
def test_any_instant_can_be_written(epoch: float, zone: int) -> None:
    assert len(dates.rfc5322(epoch, zone)) == 31
    later = int(epoch) + 61
    both = [dates.internal_date(int(epoch), zone), dates.internal_date(later, zone)]
    assert dates.internal_dates([int(epoch), later], [zone, zone]) == both
    assert len(dates.internal_date(epoch, zone)) == 26


@pytest.mark.parametrize(
    ("value", "epoch", "zone"),
    [
        (b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)", 837595405, -420),
        (b"17 Jul 1996 02:23:25 -0700", 837595405, -420),
        (b"Wed, 17 Jul 96 02:23:25 PDT", 837595405, -420),
        (b"Wed, 17 Jul 1996 09:23:25 GMT", 837595405, 0),
        (b"Wed, 17 Jul 1996 09:23 +0000", 837595380, 0),
        (b"Wed,17 Jul 1996 09:23:25 +0000", 837595405, 0),
        (b"Wed, 17  Jul 1996  9:23:25 +0000", 837595405, 0),
        (b"Wednesday, 17-Jul-96 09:23:25 GMT", 837595405, 0),
        (b"Wed Jul 17 09:23:25 1996", 837595405, 0),
        (b"Wed Jul 17 09:23:25 UTC 1996", 837595405, 0),
        (b"1996-07-17T09:23:25Z", 837595405, 0),
        (b"1996-07-17 09:23:25 +0000", 837595405, 0),
        (b"1996-07-17T11:23:25.123Z", 837602605, 0),
        (b"Wed, 17 Jul 1996 09:23:25", 837595405, 0),
        (b"Wed, 17 Jul 1996 09:23:25 -0000", 837595405, 0),
        (b"Wed, 17 July 1996 09:23:25 +0000", 837595405, 0),
        (b"Wed, 17 Jul 1996 11:23:25 GMT+0200", 837595405, 120),
        (b"Wed, 17 Jul 1996 11:23:25 +02:00", 837595405, 120),
        (b"Wed, 17 Jul 1996 09:23:25 AM +0000", 837595405, 0),
        (b"Wed, 17 Jul 1996 09:23:25 PM", 837638605, 0),
        (b"Wed, 17 Jul 1996 09:23:25 (a (nested) comment) +0000 (", 837595405, 0),
        (b"Wed, 17 Jul 1996 09.23.25 +0000", 837595405, 0),
        (b"17 Jul 1996", 837561600, 0),
        (b"Thu, 1 Jan 26 00:00:00 +0000", 1767225600, 0),
        (b"Wed, 17 Jul 096 09:23:25 +0000", 837595405, 0),
        (b"Wed, 17 Jul 1996 09:23:60 +0000", 837595440, 0),
        (b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880070400, 0),
    ],
)
def test_rfc5322_4_3_date_fields_of_real_mail(value: bytes, epoch: int, zone: int) -> None:
    assert dates.parse_date_field(value) == (epoch, zone)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"yesterday",
        b"Wed, 32 Jul 1996 00:00:00 +0000",
        b"Jul 1996",
        b"17 Jul",
        b"\xff\xfe",
        b"1" * 300,
        b"0 0 0 0",
    ],
)
def test_no_date_at_all(value: bytes) -> None:
    assert dates.parse_date_field(value) is None


@given(
    st.lists(
        st.sampled_from(
            [
                b"17",
                b" ",
                b"Jul",
                b"1996",
                b",",
                b"(",
                b")",
                b"-",
                b"+0200",
                b"12:00",
                b":",
                b"99",
                b"am",
                b"Z",
                b"EST",
                b"0",
                b"T",
            ]
        ),
        max_size=14,
    ).map(b"".join)
    | st.binary(max_size=60)
)
@settings(max_examples=tries(200), deadline=None)
def test_any_date_field_is_read(value: bytes) -> None:
    found = dates.parse_date_field(value)
    if found is not None:
        assert 1 <= dates.day_number(*found) <= date.max.toordinal()
