"""Moments as the answers spell them."""

from datetime import UTC, datetime


def moment(unix_ms: int) -> str:
    """Spell a moment as RFC 3339 in UTC, to the millisecond."""
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
