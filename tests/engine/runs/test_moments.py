"""Moments as agents write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.runs.moments import MomentError, unix_us, written


def test_zones_are_compared_as_instants() -> None:
    """The same moment in two zones is the same instant; microseconds count."""
    assert unix_us("2026-01-12T10:30:00Z") == unix_us("2026-01-12T02:30:00-08:00")
    assert unix_us("2026-01-12T10:30:00.000001+00:00") == unix_us("2026-01-12T10:30:00Z") + 1
    assert unix_us("1970-01-01T00:00:00Z") == 0
    assert unix_us("1969-12-31T23:59:59Z") == -1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-12",
        "2026-01-12T10:30:00",
        "2026-01-12 10:30:00",
        "2026-01-12 10:30:00+00:00",
        "2026-13-12T10:30:00Z",
        "2026-02-30T10:30:00Z",
        "2026-01-12T25:30:00Z",
        "2026-01-12T10:30:00+99:00",
        "1768213800",
    ],
)
def test_what_has_no_zone_or_is_none_is_refused(text: str) -> None:
    """A time whose zone would have to be guessed is no moment."""
    with pytest.raises(MomentError, match="zone"):
        unix_us(text)


@given(
    st.datetimes(
        timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
    )
)
def test_every_moment_that_python_writes_is_read(moment: datetime) -> None:
    """Order is kept, whatever the zone, down to the first and the last year."""
    if moment.utcoffset() != timedelta(
        seconds=int((moment.utcoffset() or timedelta()).total_seconds())
    ):
        return
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert unix_us(moment.isoformat()) == (moment - epoch) // timedelta(microseconds=1)


def test_what_is_written_is_read() -> None:
    """Our own moments are in UTC and always have six digits of a second."""
    assert written(1.5) == "1970-01-01T00:00:01.500000+00:00"
    assert unix_us(written(1_700_000_000.25)) == 1_700_000_000_250_000
