"""How entries and queries become SQL, whichever database it is for.

Theory of operation
-------------------
Each kind of entry and query has *steps*: a generator that yields one statement at a time and is
sent its rows, and returns what came of it. It does no I/O, so an adapter runs it as it likes: one
on a thread, another over a socket. The SQL is what SQLite and PostgreSQL both understand, with `?`
for values; what a statement has changed, it says by RETURNING.

The steps of an entry raise `RepeatedError` or `RejectedError` instead of returning, and most do so
before they have written anything. Those that may have written already are marked
`may_half_write`, and an adapter takes back what they wrote.

Entries of some kinds that are neighbours in a group can be written by one statement (`Join`): over
a socket each one spared is a round trip, and on a thread a chance less to wait for Python's lock.
Such a statement is all or nothing. Where the database refuses it for one entry's sake, an adapter
writes each by itself, and so finds out which.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import orjson

from penstock.engine.ledger_port import EntryOutcome, Verdict

T = TypeVar("T")


class Statement(NamedTuple):
    """One statement and its values, in the order of its question marks."""

    sql: str
    values: tuple[Any, ...] = ()


Row = tuple[Any, ...]
Steps = Generator[Statement, list[Row], T]


class Join(NamedTuple):
    """How several entries of a kind are written at once: by one statement, an outcome for each."""

    rows: Callable[[Any], int]
    steps: Callable[[Sequence[Any]], Steps[list[EntryOutcome]]]


class Put(NamedTuple):
    """How one kind of entry is written. What the steps return is the outcome's value."""

    steps: Callable[[Any], Steps[Any]]
    may_half_write: bool = False
    join: Join | None = None


Puts = Mapping[type, Put]
Answers = Mapping[type, Callable[[Any], Steps[Any]]]


class LedgerFaultError(Exception):
    """The database refused what this software asked for: a mistake of this software."""


class RepeatedError(Exception):
    """The entry is there already, exactly so; `value` is what was made of it then."""

    def __init__(self, value: Any = None) -> None:  # noqa: ANN401 - each kind has its own
        super().__init__()
        self.value = value


class RejectedError(Exception):
    """The entry cannot be stored, for good."""

    def __init__(self, verdict: Verdict, detail: str) -> None:
        super().__init__(detail)
        self.verdict = verdict
        self.detail = detail


def compare(there: Row, row: Row, otherwise: str) -> None:
    """Say of an entry whose key is taken that it is repeated, or else in conflict."""
    if tuple(there) == row:
        raise RepeatedError
    raise RejectedError(Verdict.CONFLICT, otherwise)


def encode(value: object) -> str:
    """Write JSON that is the same for equal values; RejectedError for what JSON cannot hold."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:
        raise RejectedError(Verdict.UNFIT, f"no JSON: {error}") from None
