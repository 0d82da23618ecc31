"""A row of each of the dashboard's lists: what its cells show, and what an export of it holds.

A person is shown nowhere but by the name that the row itself has of them (see
`engine/platform/actors.py`); media sessions are shown without whose they are.
"""

from typing import Any
from urllib.parse import quote

from penstock.engine.media.metrics import MediaStatus
from penstock.engine.platform.records import AnalyticsEntry, ErrorReportEntry
from penstock.engine.platform.security import SecurityKind, kind_of
from penstock.engine.platform.viewing import MediaSessionRow
from penstock.engine.records import StoredAudit
from penstock.http.console import dashboard_cells as cells
from penstock.http.console.dashboard_cells import Cell
from penstock.http.instants import iso_instant

PREFIX = "/dashboard"
AUDIT, ANALYTICS, ERRORS, MEDIA, SECURITY = (
    f"{PREFIX}/{name}" for name in ("audit", "analytics", "errors", "media", "security")
)
# Of a text in a table; its own page has all of it.
_LONGEST_SHOWN = 200

AROUND_FIELDS = (
    "actor",
    "actor_type",
    "country_code",
    "device_type",
    "browser_family",
    "connection_type",
    "request_id",
)
STANDING_FIELDS = (
    "media_id",
    "errored",
    "ttfb_ms",
    "load_time_ms",
    "buffering_count",
    "buffering_duration_ms",
    "bitrate_bps",
    "watch_time_ms",
    "completion_basis_points",
)
AUDIT_FIELDS = (
    "at",
    "entry_id",
    "actor",
    "action",
    "subject",
    "status",
    "org_id",
    "security",
    "detail",
)
ANALYTICS_FIELDS = (
    "received_at",
    "at",
    "event_id",
    "org_id",
    "event_name",
    "event_category",
    "resource_type",
    "resource_id",
    "page_url",
    "referrer_url",
    "numeric_value",
    "properties",
    *AROUND_FIELDS,
)
ERROR_FIELDS = (
    "received_at",
    "report_id",
    "org_id",
    "fingerprint",
    "error_type",
    "error_code",
    "feature",
    "message",
    "stack",
    "detail",
    *AROUND_FIELDS,
)
MEDIA_FIELDS = (
    "first_received_at",
    "last_received_at",
    "session_id",
    "org_id",
    "status",
    "ended",
    "events",
    "country_code",
    "device_type",
    "browser_family",
    *STANDING_FIELDS,
)


def audit_cells(row: StoredAudit) -> tuple[Cell, ...]:
    """Show an audit entry."""
    entry = row.entry
    status = entry.detail.get("status") or entry.detail.get("status_code")
    return (
        cells.moment(entry.at_unix_ms, cells.detail("audit", quote(entry.entry_id, safe=""))),
        cells.code(entry.action),
        cells.code(entry.actor, cells.listed(AUDIT, actor=entry.actor)),
        cells.code(entry.subject),
        cells.badge(status if isinstance(status, str | int) else None),
    )


def security_cells(row: StoredAudit) -> tuple[Cell, ...]:
    """Show an audit entry with what makes it one of security."""
    entry = row.entry
    kind = kind_of(entry.action, entry.detail)
    at, *others, _ = audit_cells(row)
    tones = {SecurityKind.DENIED: "problem", SecurityKind.SIGN_IN_FAILED: "problem"}
    shown = None if kind is None else cells.badge(kind.replace("_", " "), tones.get(kind, "note"))
    why = entry.detail.get("reason")
    return (
        at,
        shown or cells.NOTHING,
        *others,
        cells.prose(why[:_LONGEST_SHOWN] if isinstance(why, str) else None),
    )


def audit_values(row: StoredAudit) -> tuple[Any, ...]:
    """Export an audit entry."""
    entry, detail = row.entry, row.entry.detail
    kind = kind_of(entry.action, detail)
    return (
        iso_instant(entry.at_unix_ms),
        entry.entry_id,
        entry.actor,
        entry.action,
        entry.subject,
        detail.get("status"),
        detail.get("org_id"),
        None if kind is None else kind.value,
        detail,
    )


def analytics_cells(row: AnalyticsEntry) -> tuple[Cell, ...]:
    """Show an event."""
    around = row.circumstances
    return (
        cells.moment(row.received_unix_ms, cells.detail("analytics", row.event_id)),
        cells.code(row.name),
        cells.code(row.category),
        cells.code(around.actor, cells.listed(ANALYTICS, actor=around.actor)),
        cells.text(" ".join(part for part in (row.resource_type, row.resource_id) if part)),
        cells.text(around.country_code),
        cells.text(around.device_type),
    )


def analytics_values(row: AnalyticsEntry) -> tuple[Any, ...]:
    """Export an event."""
    return (
        iso_instant(row.received_unix_ms),
        iso_instant(row.at_unix_ms),
        row.event_id,
        row.org_id,
        row.name,
        row.category,
        row.resource_type,
        row.resource_id,
        row.page_url,
        row.referrer_url,
        row.numeric_value,
        row.properties,
        *row.circumstances,
    )


def error_cells(row: ErrorReportEntry) -> tuple[Cell, ...]:
    """Show a report."""
    return (
        cells.moment(row.received_unix_ms, cells.detail("error", row.report_id)),
        cells.code(row.error_type),
        cells.code(row.error_code),
        cells.text(row.feature),
        cells.prose(row.message[:_LONGEST_SHOWN]),
        cells.code(row.fingerprint[:12], cells.listed(ERRORS, fingerprint=row.fingerprint)),
    )


def error_values(row: ErrorReportEntry) -> tuple[Any, ...]:
    """Export a report."""
    return (
        iso_instant(row.received_unix_ms),
        row.report_id,
        row.org_id,
        row.fingerprint,
        row.error_type,
        row.error_code,
        row.feature,
        row.message,
        row.stack,
        row.detail,
        *row.circumstances,
    )


def status_of(row: MediaSessionRow) -> str:
    """Give a media session's status; one that nobody has summed up yet is active."""
    return (MediaStatus.ACTIVE if row.standing is None else row.standing.status).value


def media_cells(row: MediaSessionRow) -> tuple[Cell, ...]:
    """Show a session."""
    told = row.standing
    watched = None if told is None else told.watch_time_ms / 1000
    points = None if told is None else told.completion_basis_points
    return (
        cells.moment(row.first_received_unix_ms),
        cells.ident(f"{row.session_id[:8]}…", cells.detail("media", row.session_id)),
        cells.badge(status_of(row)),
        cells.number(row.events),
        cells.number(watched, "s"),
        cells.number(None if points is None else points / 100, "%"),
        cells.number(None if told is None else told.buffering_count),
        cells.badge("error", "problem") if told is not None and told.errored else cells.NOTHING,
        cells.text(row.surroundings.country_code),
        cells.text(row.surroundings.device_type),
    )


def media_values(row: MediaSessionRow) -> tuple[Any, ...]:
    """Export a session."""
    told = row.standing
    return (
        iso_instant(row.first_received_unix_ms),
        iso_instant(row.last_received_unix_ms),
        row.session_id,
        row.org_id,
        status_of(row),
        row.ended,
        row.events,
        *row.surroundings,
        *(None if told is None else getattr(told, name) for name in STANDING_FIELDS),
    )
