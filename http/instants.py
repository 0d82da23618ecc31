"""Moments in JSON: written out, with their zone."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema


def read_instant(value: object) -> datetime:
    """Read a moment; anything else, a number too, raises ValueError."""
    if isinstance(value, str) and "T" in value.upper():
        with contextlib.suppress(ValueError):
            at = datetime.fromisoformat(value)
            # Beyond these years, other zones and other programs have no name for the moment.
            if at.tzinfo is not None and 1970 < at.year < 9999:
                return at
    raise ValueError("must be a moment with its zone, such as 2026-05-07T10:30:00.000Z")


Instant = Annotated[
    datetime,
    PlainValidator(read_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unix_ms(at: datetime) -> int:
    """Give a moment in whole milliseconds since 1970, without a detour over a fraction."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def iso_instant(at_unix_ms: int) -> str:
    """Write milliseconds since 1970 in UTC, such as 2026-06-09T16:45:30.123Z."""
    instant = _EPOCH + timedelta(milliseconds=at_unix_ms)
    return instant.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
