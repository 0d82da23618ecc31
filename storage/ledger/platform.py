"""Analytics, error reports and their groups as rows."""

from dataclasses import fields

import orjson

from penstock.engine.platform.records import (
    AnalyticsEntry,
    AnalyticsPage,
    Circumstances,
    ErrorGroup,
    ErrorGroups,
    ErrorReportEntry,
    ErrorReports,
)
from penstock.storage.ledger.sql import Answers, Put, Puts, Row, Statement, Steps, compare, encode

EVENT_COLUMNS = (
    "event_id, org_id, at_unix_ms, received_unix_ms, name, category, resource_type, resource_id,"
    " page_url, referrer_url, numeric_value, properties, circumstances"
)
REPORT_COLUMNS = (
    "report_id, org_id, fingerprint, received_unix_ms, error_type, error_code, feature, message,"
    " stack, detail, circumstances"
)
_GROUP = (
    "org_id, fingerprint, error_type, error_code, feature, reports, first_seen_unix_ms,"
    " last_seen_unix_ms"
)
# A group's texts are those of the oldest report that is kept of it.
_OLDEST = (
    "SELECT o.report_id FROM error_reports o WHERE o.org_id = g.org_id"
    " AND o.fingerprint = g.fingerprint ORDER BY o.received_unix_ms, o.report_id LIMIT 1"
)


def put_analytics(entry: AnalyticsEntry) -> Steps[None]:
    """Store an event."""
    row = _row(entry)
    done = yield Statement(
        f"INSERT INTO analytics_events ({EVENT_COLUMNS}, actor) VALUES ({_marks(row)}, ?)"
        " ON CONFLICT (event_id) DO NOTHING RETURNING 1",
        (*row, entry.circumstances.actor),
    )
    if not done:
        there = yield Statement(
            f"SELECT {EVENT_COLUMNS} FROM analytics_events WHERE event_id = ?", row[:1]
        )
        compare(there[0], row, "another event has this id")


def put_error_report(entry: ErrorReportEntry) -> Steps[None]:
    """Store a report, and count it in its group."""
    row = _row(entry)
    done = yield Statement(
        f"INSERT INTO error_reports ({REPORT_COLUMNS}, actor) VALUES ({_marks(row)}, ?)"
        " ON CONFLICT (report_id) DO NOTHING RETURNING 1",
        (*row, entry.circumstances.actor),
    )
    if not done:
        there = yield Statement(
            f"SELECT {REPORT_COLUMNS} FROM error_reports WHERE report_id = ?", row[:1]
        )
        compare(there[0], row, "another report has this id")
    at = entry.received_unix_ms
    group = (entry.org_id, entry.fingerprint, *row[4:7], 1, at, at)
    yield Statement(
        f"INSERT INTO error_groups ({_GROUP}) VALUES ({_marks(group)})"
        " ON CONFLICT (org_id, fingerprint) DO UPDATE SET reports = error_groups.reports + 1,"
        " first_seen_unix_ms = CASE"
        " WHEN excluded.first_seen_unix_ms < error_groups.first_seen_unix_ms"
        " THEN excluded.first_seen_unix_ms ELSE error_groups.first_seen_unix_ms END,"
        " last_seen_unix_ms = CASE"
        " WHEN excluded.last_seen_unix_ms > error_groups.last_seen_unix_ms"
        " THEN excluded.last_seen_unix_ms ELSE error_groups.last_seen_unix_ms END",
        group,
    )


def analytics_page(query: AnalyticsPage) -> Steps[list[AnalyticsEntry]]:
    """Give an organisation's newest events."""
    rows = yield Statement(
        f"SELECT {EVENT_COLUMNS} FROM analytics_events WHERE org_id = ?"
        " ORDER BY received_unix_ms DESC, event_id LIMIT ?",
        (query.org_id, query.limit),
    )
    return [AnalyticsEntry(*read_row(row)) for row in rows]


def error_groups(query: ErrorGroups) -> Steps[list[ErrorGroup]]:
    """Give an organisation's groups, those seen last first."""
    rows = yield Statement(
        "SELECT g.org_id, g.fingerprint, g.error_type, g.error_code, g.feature,"
        " COALESCE(r.message, ''), COALESCE(r.stack, ''), g.reports, g.first_seen_unix_ms,"
        f" g.last_seen_unix_ms FROM (SELECT {_GROUP} FROM error_groups WHERE org_id = ?"
        " ORDER BY last_seen_unix_ms DESC, fingerprint LIMIT ?) g"
        f" LEFT JOIN error_reports r ON r.report_id = ({_OLDEST})"
        " ORDER BY g.last_seen_unix_ms DESC, g.fingerprint",
        (query.org_id, query.limit),
    )
    return [ErrorGroup(*row) for row in rows]


def error_reports(query: ErrorReports) -> Steps[list[ErrorReportEntry]]:
    """Give a group's newest reports."""
    rows = yield Statement(
        f"SELECT {REPORT_COLUMNS} FROM error_reports WHERE org_id = ? AND fingerprint = ?"
        " ORDER BY received_unix_ms DESC, report_id LIMIT ?",
        (query.org_id, query.fingerprint, query.limit),
    )
    return [ErrorReportEntry(*read_row(row)) for row in rows]


def _row(entry: AnalyticsEntry | ErrorReportEntry) -> Row:
    *plain, values, circumstances = (getattr(entry, one.name) for one in fields(entry))
    return (*plain, encode(values), encode(list(circumstances)))


def read_row(row: Row) -> Row:
    """Read the two columns of JSON that every row ends with."""
    return (*row[:-2], orjson.loads(row[-2]), Circumstances(*orjson.loads(row[-1])))


def _marks(row: Row) -> str:
    return ", ".join("?" * len(row))


PUTS: Puts = {
    AnalyticsEntry: Put(put_analytics),
    ErrorReportEntry: Put(put_error_report, may_half_write=True),
}
ANSWERS: Answers = {
    AnalyticsPage: analytics_page,
    ErrorGroups: error_groups,
    ErrorReports: error_reports,
}
