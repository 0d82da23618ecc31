"""The operators' list of finals as rows: each way to sort or to choose has an index that serves it.

Where few rows are asked for (those of an id, those on their way), they are found by what makes them
few and then sorted: the `+` keeps the databases from walking through the order's index instead,
past everything that is not asked for.
"""

from collections.abc import Iterator

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.session_list import (
    RANKS,
    Choice,
    FinalRows,
    Mark,
    SessionRow,
    Sort,
    Stage,
    Which,
)
from penstock.storage.ledger.sql import Answers, Puts, Row, Statement, Steps

_ROW = (
    "f.session_id, f.principal_id, f.org_id, f.for_good, f.started_unix_ms, f.ended_unix_ms,"
    " f.frames, f.lost_basis_points, f.status, COALESCE(d.state, '')"
)
# Few deliveries are not done: the join begins with them.
_FINALS = (
    "session_finals f LEFT JOIN deliveries d"
    " ON d.session_id = f.session_id AND d.revision = f.revision"
)
_DELIVERIES = "deliveries d CROSS JOIN session_finals f"
_JOINED = "d.session_id = f.session_id AND d.revision = f.revision"
_NEWEST = (
    "NOT EXISTS (SELECT 1 FROM session_finals n"
    " WHERE n.session_id = f.session_id AND n.revision > f.revision)"
)
_COLUMNS = {
    Sort.STARTED: "started_unix_ms",
    Sort.FRAMES: "frames",
    Sort.LOST: "lost_basis_points",
}
_STATES = {Which.UNDELIVERED: "pending", Which.DEAD: "dead"}
# Behind every id, in the databases' order of characters.
_LAST = "~"


def final_rows(query: FinalRows) -> Steps[list[SessionRow]]:
    """Give a page of finals."""
    found: list[SessionRow] = []
    for statement in _statements(query.choice, query.limit, query.after):
        rows = yield statement
        found += (_row(row) for row in rows)
        if len(found) >= query.limit:
            break
    return found[: query.limit]


def _statements(choice: Choice, limit: int, after: Mark | None) -> Iterator[Statement]:
    """Give the statements whose rows, one behind the other, are the page."""
    if choice.sort is not Sort.STATE:
        yield _statement(choice, limit, after, _COLUMNS[choice.sort])
        return
    stages = [Stage.PROVISIONAL, Stage.ENDED]
    for stage in reversed(stages) if choice.descending else stages:
        rank, place = RANKS[stage], after
        if place is not None and place.key != rank:
            if (place.key < rank) is choice.descending:
                continue
            place = None
        yield _statement(choice, limit, place, None, f"f.for_good = {int(stage is Stage.ENDED)}")


def _statement(
    choice: Choice, limit: int, after: Mark | None, column: str | None, condition: str = ""
) -> Statement:
    """Ask for rows by a column and the id, or by the id alone."""
    where = [_NEWEST, *([condition] if condition else [])]
    values: tuple[object, ...] = ()
    source, few = _FINALS, False
    if choice.org_id is not None:
        where.append("f.org_id = ?")
        values += (choice.org_id,)
    if choice.which in _STATES:
        source, few = _DELIVERIES, True
        where += (_JOINED, f"d.state = '{_STATES[choice.which]}'")
    elif choice.which is not None:
        where.append(f"f.for_good = {int(choice.which is Which.ENDED)}")
        few = choice.which is Which.PROVISIONAL
    if choice.looked_for:
        few = True
        if choice.whole_id:
            where.append("(f.session_id = ? OR f.principal_id = ?)")
            values += (choice.looked_for, choice.looked_for)
        else:
            where.append("f.session_id >= ? AND f.session_id < ?")
            values += (choice.looked_for, choice.looked_for + _LAST)
    order, sign = ("DESC", "<") if choice.descending else ("ASC", ">")
    key: tuple[str, ...] = ("f.session_id",)
    mark: tuple[object, ...] = () if after is None else (after.session_id,)
    if column is not None:
        key = (f"{'+' if few else ''}f.{column}", *key)
        mark = () if after is None else (after.key, *mark)
    if mark:
        where.append(f"({', '.join(key)}) {sign} ({', '.join('?' * len(key))})")
    return Statement(
        f"SELECT {_ROW} FROM {source} WHERE {' AND '.join(where)}"
        f" ORDER BY {', '.join(f'{name} {order}' for name in key)} LIMIT ?",
        (*values, *mark, limit),
    )


def _row(row: Row) -> SessionRow:
    session_id, principal_id, org_id, for_good, started, ended, frames, lost, status, state = row
    return SessionRow(
        SessionIdentity(session_id, principal_id, org_id),
        Stage.ENDED if for_good else Stage.PROVISIONAL,
        started,
        ended,
        frames,
        lost,
        status,
        state,
    )


PUTS: Puts = {}
ANSWERS: Answers = {FinalRows: final_rows}
