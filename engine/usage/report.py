"""What a client may report of its usage: four counters and a day, and nothing else.

The whitelist is the privacy promise, so it is checked by names before anything is looked at, and
what is refused is described by the names of fields and never by their values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

# What a JSON number holds exactly in every client (RFC 8259, section 6).
MOST_COUNT = 2**53 - 1
DAY_MS = 86_400_000

_LONGEST_NAME = 40
_MOST_NAMES = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UsageFault(StrEnum):
    """What is wrong with a report."""

    NON_AGGREGATE = "non_aggregate_field"
    INVALID = "invalid_field"


class UsageFaultError(Exception):
    """The report is refused. The message names fields and limits, never what was in them."""

    def __init__(self, fault: UsageFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


@dataclass(slots=True, frozen=True)
class UsageCounters:
    """The counters that were given. None is one that was left out."""

    memory_count: int | None = None
    device_count: int | None = None
    bytes_stored: int | None = None
    sync_ops: int | None = None


COUNTERS = tuple(field.name for field in fields(UsageCounters))
_WHITELIST = (*COUNTERS, "window_start")


@dataclass(slots=True, frozen=True)
class UsageReport:
    """One day's counters. The day begins at `window_unix_ms`."""

    window_unix_ms: int
    counters: UsageCounters


def read_report(body: Mapping[str, Any], now_unix_ms: int) -> UsageReport:
    """Read a report, or raise UsageFaultError: names first, then types."""
    foreign = [name for name in body if name not in _WHITELIST]
    if foreign:
        shown = ", ".join(_clipped(name) for name in foreign[:_MOST_NAMES])
        more = f" and {len(foreign) - _MOST_NAMES} more" if len(foreign) > _MOST_NAMES else ""
        raise UsageFaultError(
            UsageFault.NON_AGGREGATE,
            f"only {', '.join(_WHITELIST)} are taken, not: {shown}{more}",
        )
    counters = UsageCounters(**{name: _count(name, body.get(name)) for name in COUNTERS})
    return UsageReport(_window(body.get("window_start"), now_unix_ms), counters)


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    # `True` is an int to Python, and 5.0 a whole number to JSON Schema: neither counts here.
    if type(value) is not int or not 0 <= value <= MOST_COUNT:
        raise UsageFaultError(
            UsageFault.INVALID, f"{name}: must be a whole number from 0 to {MOST_COUNT}"
        )
    return value


def _window(value: object, now_unix_ms: int) -> int:
    """Give the beginning of the UTC day that an instant lies in; without one, of today."""
    if value is None:
        return now_unix_ms // DAY_MS * DAY_MS
    try:
        instant = datetime.fromisoformat(value)  # type: ignore[arg-type]  # other types raise
        # Without a zone it is UTC, as everything here.
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise UsageFaultError(
            UsageFault.INVALID, "window_start: must be an ISO 8601 timestamp"
        ) from None
    return (instant - _EPOCH).days * DAY_MS


def _clipped(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
