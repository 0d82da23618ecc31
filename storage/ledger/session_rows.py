"""The operators' list of finals as rows: each way to sort or to choose has an index that serves it.

Where few rows are asked for (those of an id, those on their way), they are found by what makes them
few and then sorted: the `+` keeps the databases from walking through the order's index instead,
past everything that is not asked for.
"""

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

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


class _Group(NamedTuple):
    """Finals with keys from `least` to `most`: sorted by a column, or else alike but for the id."""

    least: float
    most: float
    column: str = ""
    condition: str = ""


_PROVISIONAL, _ENDED = RANKS[Stage.PROVISIONAL], RANKS[Stage.ENDED]
# Ascending. Most sessions lose nothing: those are in no index of their own.
_GROUPS = {
    Sort.STARTED: (_Group(-inf, inf, "started_unix_ms"),),
    Sort.FRAMES: (_Group(-inf, inf, "frames"),),
    Sort.LOST: (
        _Group(0, 0, condition="f.lost_basis_points = 0"),
        _Group(1, inf, "lost_basis_points", "f.lost_basis_points > 0"),
    ),
    Sort.STATE: (
        _Group(_PROVISIONAL, _PROVISIONAL, condition="f.for_good = 0"),
        _Group(_ENDED, _ENDED, condition="f.for_good = 1"),
    ),
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
    groups = _GROUPS[choice.sort]
    for group in reversed(groups) if choice.descending else groups:
        if after is None or group.least <= after.key <= group.most:
            yield _statement(choice, limit, after, group)
        elif (after.key < group.least) is not choice.descending:
            yield _statement(choice, limit, None, group)


def _statement(choice: Choice, limit: int, after: Mark | None, group: _Group) -> Statement:
    """Ask for a group's rows, by its column and the id, or by the id alone."""
    where = [_NEWEST]
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
    past = "+" if few else ""
    if group.condition:
        where.append(f"{past}{group.condition}")
    order, sign = ("DESC", "<") if choice.descending else ("ASC", ">")
    key: tuple[str, ...] = ("f.session_id",)
    mark: tuple[object, ...] = () if after is None else (after.session_id,)
    if group.column:
        key = (f"{past}f.{group.column}", *key)
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
