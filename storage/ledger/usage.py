"""Usage reports and opt-ins as rows."""

from penstock.engine.ledger_port import Verdict
from penstock.engine.usage.records import (
    OPTED_OUT,
    UsageDay,
    UsageDays,
    UsageEntry,
    UsageOptedIn,
    UsageOptEntry,
)
from penstock.engine.usage.report import COUNTERS, UsageCounters
from penstock.storage.ledger.sql import (
    Answers,
    Put,
    Puts,
    RejectedError,
    Row,
    Statement,
    Steps,
)

_COLUMNS = ", ".join(("user_id", "window_unix_ms", *COUNTERS, "reported_unix_ms"))


def put_usage(entry: UsageEntry) -> Steps[UsageDay]:
    """Put a report's counters in place of the day's; give the whole day."""
    # Here and not only before: between the question and the commit the user may have opted out.
    if not (yield from opted_in(UsageOptedIn(entry.user_id))):
        raise RejectedError(Verdict.CONFLICT, OPTED_OUT)
    counters = entry.report.counters
    given = [name for name in COUNTERS if getattr(counters, name) is not None]
    values = ", ".join("?" for _ in range(3 + len(given)))
    columns = ", ".join(("user_id", "window_unix_ms", *given, "reported_unix_ms"))
    replaced = ", ".join(f"{name} = excluded.{name}" for name in (*given, "reported_unix_ms"))
    rows = yield Statement(
        f"INSERT INTO usage_days ({columns}) VALUES ({values})"
        f" ON CONFLICT (user_id, window_unix_ms) DO UPDATE SET {replaced} RETURNING {_COLUMNS}",
        (
            entry.user_id,
            entry.report.window_unix_ms,
            *(getattr(counters, name) for name in given),
            entry.reported_unix_ms,
        ),
    )
    return _day(rows[0])


def put_opt(entry: UsageOptEntry) -> Steps[None]:
    """Store a decision over the one before."""
    yield Statement(
        "INSERT INTO usage_opt_ins (user_id, opted_in, changed_unix_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (user_id) DO UPDATE"
        " SET opted_in = excluded.opted_in, changed_unix_ms = excluded.changed_unix_ms",
        (entry.user_id, int(entry.opted_in), entry.changed_unix_ms),
    )


def opted_in(query: UsageOptedIn) -> Steps[bool]:
    """Say whether a user has opted in."""
    rows = yield Statement("SELECT opted_in FROM usage_opt_ins WHERE user_id = ?", (query.user_id,))
    return bool(rows and rows[0][0])


def usage_days(query: UsageDays) -> Steps[list[UsageDay]]:
    """Give the newest days."""
    rows = yield Statement(
        f"SELECT {_COLUMNS} FROM usage_days WHERE user_id = ? ORDER BY window_unix_ms DESC LIMIT ?",
        (query.user_id, query.limit),
    )
    return [_day(row) for row in rows]


def _day(row: Row) -> UsageDay:
    user_id, window, *counters, reported = row
    return UsageDay(user_id, window, UsageCounters(*counters), reported)


PUTS: Puts = {UsageEntry: Put(put_usage), UsageOptEntry: Put(put_opt)}
ANSWERS: Answers = {UsageOptedIn: opted_in, UsageDays: usage_days}
