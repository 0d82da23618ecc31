"""What operators look for in the ledger: audit, analytics, errors and media sessions, newest first.

Theory of operation
-------------------
A *look* begins at the newest row, or behind a mark, and goes back in time. However seldom what is
wanted may be, it looks at no more than `most` rows, and tells where it stopped: who wants to look
further asks again from there, and everybody else's questions come in between.

The order is that of a moment which never changes, and of the key where moments are alike. So a
chain of looks gives each row that was there when it began once, however many come in meanwhile.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from penstock.engine.ledger_port import Query
from penstock.engine.media.rollup import Standing, Surroundings
from penstock.engine.platform.records import AnalyticsEntry, AuditLink, ErrorReportEntry
from penstock.engine.platform.security import SecurityKind
from penstock.engine.records import StoredAudit

T = TypeVar("T")

# Few milliseconds of a ledger, also of one with millions of rows.
LOOKED_ROWS = 5000
# What is counted no further.
MOST_COUNTED = 100_000
NEVER_UNIX_MS = 1 << 53


class Mark(NamedTuple):
    """A row's place: its moment and its key."""

    at_unix_ms: int
    key: int | str


@dataclass(slots=True, frozen=True)
class Found(Generic[T]):
    """What a look found, newest first, and the mark to go on from; None at the end."""

    rows: tuple[T, ...]
    after: Mark | None


@dataclass(slots=True, frozen=True)
class Look(Query[Found[T]]):
    """At most `limit` rows from `from_unix_ms` to before `to_unix_ms`, behind a mark if given."""

    limit: int
    after: Mark | None = None
    from_unix_ms: int = 0
    to_unix_ms: int = NEVER_UNIX_MS
    most: int = LOOKED_ROWS


@dataclass(slots=True, frozen=True)
class LookAtAudit(Look[StoredAudit]):
    """Audit entries; with `security` those that are about it, with `kind` those of one kind."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    org_id: str | None = None
    status: str | None = None
    security: bool = False
    kind: SecurityKind | None = None


@dataclass(slots=True, frozen=True)
class LookAtAnalytics(Look[AnalyticsEntry]):
    """Events of analytics, by when they were received."""

    actor: str | None = None
    org_id: str | None = None
    name: str | None = None
    category: str | None = None


@dataclass(slots=True, frozen=True)
class LookAtErrors(Look[ErrorReportEntry]):
    """Reports of errors, by when they were received."""

    actor: str | None = None
    org_id: str | None = None
    error_type: str | None = None
    feature: str | None = None
    fingerprint: str | None = None


class MediaSessionRow(NamedTuple):
    """A session that has media events, without whose it is. No standing yet: nothing was summed."""

    session_id: str
    org_id: str
    first_received_unix_ms: int
    last_received_unix_ms: int
    events: int
    ended: bool
    surroundings: Surroundings
    standing: Standing | None


@dataclass(slots=True, frozen=True)
class LookAtMedia(Look[MediaSessionRow]):
    """Media sessions, by when their first event was received. Without a standing one is active."""

    org_id: str | None = None
    status: str | None = None
    country_code: str | None = None
    device_type: str | None = None


class LinkedAudit(NamedTuple):
    """An audit entry and its place in the chain, if it has one yet."""

    stored: StoredAudit
    link: AuditLink | None


@dataclass(slots=True, frozen=True)
class AuditOf(Query[LinkedAudit | None]):
    """One audit entry."""

    entry_id: str


@dataclass(slots=True, frozen=True)
class AnalyticsOf(Query[AnalyticsEntry | None]):
    """One event of analytics."""

    event_id: str


@dataclass(slots=True, frozen=True)
class ErrorReportOf(Query[ErrorReportEntry | None]):
    """One report of an error."""

    report_id: str


@dataclass(slots=True, frozen=True)
class MediaSessionOf(Query[MediaSessionRow | None]):
    """One session that has media events."""

    session_id: str


@dataclass(slots=True, frozen=True)
class KindCounts:
    """How many there are of each kind; MOST_COUNTED stands for that many or more."""

    audit: int
    analytics: int
    errors: int
    media: int
    security: dict[str, int]


@dataclass(slots=True, frozen=True)
class CountsSince(Query[KindCounts]):
    """How many rows have come since a moment."""

    since_unix_ms: int
