"""Moments as agents write them: ISO 8601 with a zone; compared as instants, given back as written.

Instants are whole microseconds since 1970 UTC, the finest that the writing holds.
"""

import contextlib
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class MomentError(ValueError):
    """The text is no moment."""


def unix_us(text: str) -> int:
    """Give the instant of a moment as written; MomentError without a date, a time or a zone."""
    # "T" is what tells a moment from a day; ISO allows it in lower case.
    if "T" in text or "t" in text:
        with contextlib.suppress(ValueError):
            at = datetime.fromisoformat(text)
            if at.tzinfo is not None:
                return (at - _EPOCH) // _MICROSECOND
    raise MomentError("must be ISO 8601 with a time and a zone, such as 2026-01-12T10:30:00Z")


def written(unix: float) -> str:
    """Write seconds since 1970 as a moment, in UTC and to the microsecond."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="microseconds")
