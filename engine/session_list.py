"""The operators' list of sessions: those in this process's memory and those in the ledger, as one.

Theory of operation
-------------------
Each session has a key, by what the list is sorted by, and its id. A page goes on behind a mark,
which is the key and id that the page before ended with. So a page costs as much at the list's end
as at its beginning, and sessions that come or end meanwhile move nobody else.

The registry tells of sessions in memory, the ledger of finals. Whatever is in memory is shown as it
is there: of a session that goes on after a provisional final, the ledger's row is passed over. A
page of the ledger that is full may have more behind it: then nothing behind its last row is shown
yet. So a page may be shorter than was asked for and not be the last; its mark says which.
"""

import heapq
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.ledger_port import Query
from penstock.engine.outcomes import Reason, Tally

# Shorter beginnings of an id are of too many sessions to be looked through.
LEAST_LOOKED_FOR = 4
_WHOLE_ID = 36


class Stage(StrEnum):
    """Where a session stands. The order is that of the list sorted by it."""

    LIVE = "live"
    RESTING = "resting"
    FAILED = "failed"
    PROVISIONAL = "provisional"
    ENDED = "ended"


RANKS = {stage: rank for rank, stage in enumerate(Stage)}
# Those of sessions in memory.
IN_MEMORY = (Stage.LIVE, Stage.RESTING, Stage.FAILED)


class Sort(StrEnum):
    """What the list is sorted by."""

    STARTED = "started"
    FRAMES = "frames"
    LOST = "lost"
    STATE = "state"


class Which(StrEnum):
    """Which sessions are shown. The last two are finals that are not delivered."""

    LIVE = "live"
    RESTING = "resting"
    FAILED = "failed"
    PROVISIONAL = "provisional"
    ENDED = "ended"
    UNDELIVERED = "undelivered"
    DEAD = "dead"


class SessionRow(NamedTuple):
    """One session of the list.

    `lost_basis_points` is the share, in hundredths of a percent, of the frames there were that the
    figures are not made of. `status` and `delivery` are "" while it is in memory.
    """

    identity: SessionIdentity
    stage: Stage
    started_unix_ms: int
    ended_unix_ms: int | None
    frames: int
    lost_basis_points: int
    status: str = ""
    delivery: str = ""

    def place(self, sort: Sort) -> "Mark":
        """Give its place in a list."""
        return Mark(*_KEYS[sort](self))


class Mark(NamedTuple):
    """A place in a list."""

    key: int
    session_id: str


Key = tuple[int, str]
_KEYS: dict[Sort, Callable[[SessionRow], Key]] = {
    Sort.STARTED: lambda row: (row.started_unix_ms, row.identity.session_id),
    Sort.FRAMES: lambda row: (row.frames, row.identity.session_id),
    Sort.LOST: lambda row: (row.lost_basis_points, row.identity.session_id),
    Sort.STATE: lambda row: (RANKS[row.stage], row.identity.session_id),
}


@dataclass(slots=True, frozen=True)
class Choice:
    """Which sessions are asked for, and in which order.

    `looked_for` is how session ids begin (at least LEAST_LOOKED_FOR characters, in lower case), or
    a whole id: a session's or a person's.
    """

    sort: Sort = Sort.STARTED
    descending: bool = True
    which: Which | None = None
    org_id: str | None = None
    looked_for: str = ""

    @property
    def whole_id(self) -> bool:
        """Say whether a whole id is looked for."""
        return len(self.looked_for) == _WHOLE_ID

    @property
    def wants_memory(self) -> bool:
        """Say whether sessions in memory can be among those asked for."""
        return self.which is None or self.which.value in IN_MEMORY

    @property
    def wants_ledger(self) -> bool:
        """Say whether finals can be among those asked for."""
        return self.which is None or self.which.value not in IN_MEMORY

    def of(self, identity: SessionIdentity) -> bool:
        """Say whether a session is asked for, by whose it is."""
        if self.org_id is not None and identity.org_id != self.org_id:
            return False
        if not self.looked_for:
            return True
        if self.whole_id:
            return self.looked_for in (identity.session_id, identity.principal_id)
        return identity.session_id.startswith(self.looked_for)


@dataclass(slots=True, frozen=True)
class FinalRows(Query[list[SessionRow]]):
    """The newest finals of sessions, as a choice has them, from behind a mark on."""

    choice: Choice
    limit: int
    after: Mark | None = None


class SessionPage(NamedTuple):
    """A page of the list; `after` is the mark for the next one, None at the end."""

    rows: tuple[SessionRow, ...]
    after: Mark | None


def first_rows(
    choice: Choice, limit: int, after: Mark | None, rows: Iterable[SessionRow]
) -> list[SessionRow]:
    """Give those of a choice's rows in memory that may be on a page: one more than it has."""
    key = _KEYS[choice.sort]
    if choice.which is not None:
        rows = [row for row in rows if row.stage.value == choice.which.value]
    if after is not None:
        rows = [row for row in rows if _before(choice, after, key(row))]
    pick = heapq.nlargest if choice.descending else heapq.nsmallest
    return pick(limit + 1, rows, key=key)


def page_of(
    choice: Choice,
    limit: int,
    in_memory: Sequence[SessionRow],
    stored: Sequence[SessionRow],
    known: Container[str],
) -> SessionPage:
    """Make a page of the first rows in memory and of what the ledger gave, for the same mark.

    `known` has the ids of sessions in memory, of those that the ledger gave at least.
    """
    key = _KEYS[choice.sort]
    # What is behind the last of a full page of the ledger is not known yet.
    horizon = key(stored[-1]) if len(stored) == limit else None
    found = [row for row in in_memory if horizon is None or not _before(choice, horizon, key(row))]
    found += (row for row in stored if row.identity.session_id not in known)
    found.sort(key=key, reverse=choice.descending)
    rows = tuple(found[:limit])
    if len(found) > limit:
        return SessionPage(rows, rows[-1].place(choice.sort))
    return SessionPage(rows, None if horizon is None else Mark(*horizon))


def _before(choice: Choice, one: Key, other: Key) -> bool:
    return one > other if choice.descending else one < other


def lost_basis_points(completeness: float | None) -> int:
    """Give the share of lost frames of a final, by its completeness."""
    return 0 if completeness is None else min(10_000, max(0, round(10_000 * (1 - completeness))))


def lost_so_far(tally: Tally) -> int:
    """Give the share of lost frames of a session that goes on; what waits is not lost."""
    ended = tally.ended
    there_were = tally.seen - ended.get(Reason.REPEATED, 0) + sum(tally.unsent.values())
    kept = ended.get(Reason.USED, 0) + tally.pending
    return 0 if kept == there_were else lost_basis_points(kept / there_were)
