"""The date-times of records: RFC 3339, and the UTC day that one lies in."""

import re
from datetime import UTC, date, datetime
from functools import lru_cache

# `datetime` reads more than RFC 3339 allows: dates alone, weeks, no zone.
_FORM = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,12})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)

# Of a batch's date-times most are the same few: its days, and when it was made.
_KEPT = 1024


@lru_cache(_KEPT)
def utc_day(text: str) -> date:
    """Give the UTC day of a date-time; ValueError when it is none."""
    if _FORM.fullmatch(text) is None:
        raise ValueError("must be an RFC 3339 date-time")
    try:
        instant = datetime.fromisoformat(text.upper())
        # Most are in UTC, and it takes longer to bring them there than all the rest.
        return instant.date() if text[-1] in "Zz" else instant.astimezone(UTC).date()
    except (ValueError, OverflowError):
        raise ValueError("must be an RFC 3339 date-time") from None
