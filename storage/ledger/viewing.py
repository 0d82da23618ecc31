"""What operators look for, as steps: see `engine.platform.viewing` for what a look promises.

The innermost SELECT walks an index and is bounded; what is wanted is picked from what it gives. A
filter that an index serves goes into it (`within`), any other one around it (`among`).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple

import orjson

from penstock.engine.media.metrics import MediaStatus
from penstock.engine.media.rollup import Standing, Surroundings
from penstock.engine.platform.records import (
    AnalyticsEntry,
    ErrorReportEntry,
)
from penstock.engine.platform.viewing import (
    MOST_COUNTED,
    AnalyticsOf,
    AuditOf,
    CountsSince,
    ErrorReportOf,
    Found,
    KindCounts,
    LinkedAudit,
    Look,
    LookAtAnalytics,
    LookAtAudit,
    LookAtErrors,
    LookAtMedia,
    Mark,
    MediaSessionOf,
    MediaSessionRow,
)
from penstock.engine.records import AuditEntry, StoredAudit
from penstock.storage.ledger.audits import COLUMNS as _AUDIT_CONTENT
from penstock.storage.ledger.audits import read_link
from penstock.storage.ledger.platform import EVENT_COLUMNS, REPORT_COLUMNS, read_row
from penstock.storage.ledger.sql import Answers, Puts, Row, Statement, Steps, T


class _Source(NamedTuple, Generic[T]):
    """A table, the columns that a row is made of, and those that it is ordered by."""

    table: str
    columns: str
    at: str
    key: str
    read: Callable[[Row], T]

    def mark(self, row: Row) -> Mark:
        """Give a row's place."""
        names = self.columns.split(", ")
        return Mark(row[names.index(self.at)], row[names.index(self.key)])


class _Clause(NamedTuple):
    """A condition and its values."""

    sql: str
    values: tuple[Any, ...] = ()


def _look(
    source: _Source[T],
    query: Look[T],
    within: Sequence[_Clause] = (),
    among: Sequence[_Clause] = (),
    also: Callable[[T], bool] | None = None,
) -> Steps[Found[T]]:
    """Look; `also` picks once more from what `among` lets through, by what SQL cannot tell.

    Then there may be fewer rows than wanted, and a mark to go on from.
    """
    at, key = source.at, source.key
    end, behind = query.to_unix_ms, list[_Clause]()
    if query.after is not None:
        moment, last = query.after
        # One upper bound, and a close one: of two, SQLite may begin its walk at the farther one.
        end = min(end, moment + 1)
        behind = [_Clause(f"({at}, {key}) < (?, ?)", (moment, last))]
    bounds = [_Clause(f"{at} >= ? AND {at} < ?", (query.from_unix_ms, end)), *within, *behind]
    order = f"ORDER BY {at} DESC, {key} DESC"
    inner = f"FROM {source.table} WHERE {_all(bounds)} {order} LIMIT ?"
    values = _values(bounds)
    # One more than wanted tells whether there are more.
    wanted = query.limit + 1
    if not among:
        rows = yield Statement(f"SELECT {source.columns} {inner}", (*values, wanted))
    else:
        rows = yield Statement(
            f"SELECT {source.columns} FROM (SELECT {source.columns} {inner}) looked"
            f" WHERE {_all(among)} {order} LIMIT ?",
            (*values, query.most, *_values(among), wanted),
        )
    after = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        after = source.mark(rows[-1])
    elif among:
        stopped = yield Statement(
            f"SELECT {at}, {key} {inner} OFFSET ?", (*values, 1, query.most - 1)
        )
        after = Mark(*stopped[0]) if stopped else None
    made = map(source.read, rows)
    return Found(tuple(row for row in made if also is None or also(row)), after)


def _values(clauses: Sequence[_Clause]) -> Row:
    return tuple(value for clause in clauses for value in clause.values)


def _all(clauses: Sequence[_Clause]) -> str:
    return " AND ".join(f"({clause.sql})" for clause in clauses)


def _equal(**columns: str | None) -> list[_Clause]:
    return [
        _Clause(f"{name} = ?", (value,)) for name, value in columns.items() if value is not None
    ]


def look_at_audit(query: LookAtAudit) -> Steps[Found[StoredAudit]]:
    """Look at audit entries."""
    within = [_Clause("security IS NOT NULL")] if query.security else []
    among = _equal(
        actor=query.actor,
        action=query.action,
        subject=query.subject,
        security=None if query.kind is None else query.kind.value,
    )
    # Anything deeper in the detail may look alike: the text finds candidates, the value decides.
    told = {"status": query.status, "org_id": query.org_id}
    told = {name: value for name, value in told.items() if value is not None}
    among += [
        _holding("detail", orjson.dumps({name: value}).decode()[1:-1])
        for name, value in told.items()
    ]

    def holds(stored: StoredAudit) -> bool:
        return all(stored.entry.detail.get(name) == value for name, value in told.items())

    return _look(_AUDIT, query, within, among, holds if told else None)


def look_at_analytics(query: LookAtAnalytics) -> Steps[Found[AnalyticsEntry]]:
    """Look at events of analytics."""
    among = [*_equal(name=query.name, category=query.category), *_of_actor(query.actor)]
    return _look(_ANALYTICS, query, _equal(org_id=query.org_id), among)


def look_at_errors(query: LookAtErrors) -> Steps[Found[ErrorReportEntry]]:
    """Look at reports of errors."""
    among = _equal(
        org_id=query.org_id,
        error_type=query.error_type,
        feature=query.feature,
        fingerprint=query.fingerprint,
    )
    return _look(_ERRORS, query, (), [*among, *_of_actor(query.actor)])


def look_at_media(query: LookAtMedia) -> Steps[Found[MediaSessionRow]]:
    """Look at media sessions."""
    among = _equal(
        org_id=query.org_id, country_code=query.country_code, device_type=query.device_type
    )
    if query.status is not None:
        # A standing is flat, and quotes within its texts are escaped: this is its status.
        among.append(_holding("COALESCE(standing, ?)", f'"status":"{query.status}"', _UNSUMMED))
    return _look(_MEDIA, query, (), among)


def _holding(text: str, piece: str, *values: str) -> _Clause:
    """Pick by a piece of a text, in any database with regard to case."""
    return _Clause(f"replace({text}, ?, '') <> {text}", (*values, piece, *values))


def _of_actor(actor: str | None) -> list[_Clause]:
    """Pick by the first of a row's circumstances."""
    if actor is None:
        return []
    begins = orjson.dumps([actor]).decode()[:-1] + ","
    return [_Clause("substr(circumstances, 1, ?) = ?", (len(begins), begins))]


def audit_of(query: AuditOf) -> Steps[LinkedAudit | None]:
    """Give an entry with its link."""
    rows = yield Statement(
        f"SELECT {_AUDIT.columns}, link, hash, digest, redacted FROM audit_entries"
        " WHERE entry_id = ?",
        (query.entry_id,),
    )
    for row in rows:
        *told, link, found, digest, redacted = row
        stored = _read_audit(tuple(told))
        content = told[1:-1]
        return LinkedAudit(
            stored, None if link is None else read_link((link, found, digest, redacted, *content))
        )
    return None


def analytics_of(query: AnalyticsOf) -> Steps[AnalyticsEntry | None]:
    """Give an event."""
    return (yield from _one(_ANALYTICS, query.event_id))


def error_report_of(query: ErrorReportOf) -> Steps[ErrorReportEntry | None]:
    """Give a report."""
    return (yield from _one(_ERRORS, query.report_id))


def media_session_of(query: MediaSessionOf) -> Steps[MediaSessionRow | None]:
    """Give a session."""
    return (yield from _one(_MEDIA, query.session_id))


def _one(source: _Source[T], key: str) -> Steps[T | None]:
    rows = yield Statement(
        f"SELECT {source.columns} FROM {source.table} WHERE {source.key} = ?", (key,)
    )
    return source.read(rows[0]) if rows else None


def counts_since(query: CountsSince) -> Steps[KindCounts]:
    """Count, and no further than MOST_COUNTED."""
    sources: tuple[_Source[Any], ...] = (_AUDIT, _ANALYTICS, _ERRORS, _MEDIA)
    counts: list[int] = []
    for source in sources:
        ((count,),) = yield Statement(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM {source.table} WHERE {source.at} >= ? LIMIT ?) n",
            (query.since_unix_ms, MOST_COUNTED),
        )
        counts.append(count)
    kinds = yield Statement(
        "SELECT security, COUNT(*) FROM (SELECT security FROM audit_entries"
        " WHERE security IS NOT NULL AND at_unix_ms >= ? LIMIT ?) n GROUP BY security",
        (query.since_unix_ms, MOST_COUNTED),
    )
    audit, analytics, errors, media = counts
    return KindCounts(audit, analytics, errors, media, dict(kinds))


def _read_audit(row: Row) -> StoredAudit:
    position, entry_id, at_unix_ms, actor, action, subject, detail, _ = row
    entry = AuditEntry(at_unix_ms, actor, action, subject, orjson.loads(detail), entry_id)
    return StoredAudit(position, entry)


def _read_media(row: Row) -> MediaSessionRow:
    session_id, org_id, first, last, events, ended, *around, standing = row
    # A version that is not ours has summed it up: then it has no figures here.
    made = None
    if standing is not None:
        with suppress(KeyError, TypeError, ValueError):
            made = Standing.from_plain(orjson.loads(standing))
    return MediaSessionRow(
        session_id, org_id, first, last, events, bool(ended), Surroundings(*around), made
    )


_AUDIT = _Source(
    "audit_entries",
    f"position, {_AUDIT_CONTENT}, security",
    "at_unix_ms",
    "position",
    _read_audit,
)
_ANALYTICS = _Source(
    "analytics_events", EVENT_COLUMNS, "received_unix_ms", "event_id",
    lambda row: AnalyticsEntry(*read_row(row)),
)  # fmt: skip
_ERRORS = _Source(
    "error_reports", REPORT_COLUMNS, "received_unix_ms", "report_id",
    lambda row: ErrorReportEntry(*read_row(row)),
)  # fmt: skip
_MEDIA = _Source(
    "media_sessions",
    "session_id, org_id, first_received_unix_ms, last_received_unix_ms, events, ended,"
    " country_code, device_type, browser_family, standing",
    "first_received_unix_ms",
    "session_id",
    _read_media,
)

# How a session counts that nobody has summed up.
_UNSUMMED = f'"status":"{MediaStatus.ACTIVE.value}"'

PUTS: Puts = {}
ANSWERS: Answers = {
    LookAtAudit: look_at_audit,
    LookAtAnalytics: look_at_analytics,
    LookAtErrors: look_at_errors,
    LookAtMedia: look_at_media,
    AuditOf: audit_of,
    AnalyticsOf: analytics_of,
    ErrorReportOf: error_report_of,
    MediaSessionOf: media_session_of,
    CountsSince: counts_since,
}
