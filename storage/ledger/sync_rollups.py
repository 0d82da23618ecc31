"""The rollups as rows: changed by what is added and taken away, read by period."""

from penstock.engine.sync.records import RollupRow, Rollups
from penstock.engine.sync.sums import Deltas, Sums
from penstock.storage.ledger.bulk import insert_many
from penstock.storage.ledger.sql import Answers, Puts, Statement, Steps

_SUMS = ", ".join(Sums._fields)
_ADDED = ", ".join(f"{name} = sync_rollups.{name} + excluded.{name}" for name in Sums._fields)
_CELL = 'user_id, granularity, grouped_by, period, "key"'


def apply_deltas(user_id: str, deltas: Deltas) -> Steps[None]:
    """Add deltas to a user's sums. A sum of no records any more is gone."""
    # Sorted: neighbours in the index are written together.
    yield from insert_many(
        f"INSERT INTO sync_rollups ({_CELL}, {_SUMS})",
        [(user_id, *cell, *sums) for cell, sums in sorted(deltas.items())],
        f"ON CONFLICT ({_CELL}) DO UPDATE SET {_ADDED}",
    )
    for cell, sums in deltas.items():
        if sums.records < 0:
            yield Statement(
                "DELETE FROM sync_rollups WHERE user_id = ? AND granularity = ?"
                ' AND grouped_by = ? AND period = ? AND "key" = ? AND records = 0',
                (user_id, *cell),
            )


def rollups(query: Rollups) -> Steps[list[RollupRow]]:
    """Give a page of sums."""
    where = "user_id = ? AND granularity = ? AND grouped_by = ?"
    values: list[str | int] = [query.user_id, query.granularity.value, query.grouping.value]
    if query.first is not None:
        where += " AND period >= ?"
        values.append(query.first)
    if query.last is not None:
        where += " AND period <= ?"
        values.append(query.last)
    if query.after is not None:
        where += ' AND (period, "key") > (?, ?)'
        values += query.after
    rows = yield Statement(
        f'SELECT period, "key", {_SUMS} FROM sync_rollups WHERE {where}'
        ' ORDER BY period, "key" LIMIT ?',
        (*values, query.limit),
    )
    return [RollupRow(period, key, Sums(*sums)) for period, key, *sums in rows]


PUTS: Puts = {}
ANSWERS: Answers = {Rollups: rollups}
