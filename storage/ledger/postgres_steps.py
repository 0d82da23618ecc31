"""Groups of entries, and queries, over one connection to PostgreSQL.

Theory of operation
-------------------
A group is one transaction. It is tried without savepoints first and with neighbours joined, since
nearly always all of it can be stored. When an entry is turned down after it may have written, or
the database turns one down and with it the transaction, all is rolled back and done once more, each
entry alone with a savepoint: then each is stored whole or not at all, and has an outcome of its
own. So bad entries cost a group a second attempt and no more, however many there are.

Another process may write the same key between an entry's question and its insert. Then, within its
savepoint, the entry is asked once more, and finds what is there.
"""

import contextlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]

from penstock.engine.ledger_port import Entry, EntryOutcome, OrgQuery, Query, Verdict
from penstock.storage.ledger.kinds import parts_of, put_of, steps_of
from penstock.storage.ledger.postgres_errors import (
    UNIQUE_VIOLATION,
    is_unfit,
    state_of,
    unfit_detail,
)
from penstock.storage.ledger.postgres_link import EVERY_ORG, Connection, Patience, Work
from penstock.storage.ledger.sql import Join, LedgerFaultError, RejectedError, RepeatedError, Steps

T = TypeVar("T")

WRITES = "ISOLATION LEVEL READ COMMITTED"
# Of several statements, all see the same moment.
READS = "ISOLATION LEVEL REPEATABLE READ READ ONLY"

_TAKE_BACK = "ROLLBACK TO entry; RELEASE entry"
_STORED = EntryOutcome(Verdict.STORED)
# A question mark outside of quotes.
_QUOTED_OR_MARK = re.compile(r"'[^']*'|\"[^\"]*\"|\?")
# What text cannot hold in PostgreSQL: NUL, and halves of surrogate pairs.
_UNHOLDABLE = re.compile("[\x00\ud800-\udfff]")
_NOTHING = "\ufffe"  # no character, by Unicode: nobody's text has it


class _OneByOneError(Exception):
    """The group has an entry that must not take the others along."""


async def store(
    connection: Connection, group: Sequence[Entry], patience: Patience
) -> list[EntryOutcome]:
    """Store what can be stored of a group, in one transaction; an outcome for each."""
    try:
        return await transact(connection, patience.begin(WRITES), _all_at_once(group))
    except _OneByOneError:
        return await transact(connection, patience.begin(WRITES), _one_by_one(group))


async def probe(connection: Connection, patience: Patience) -> None:
    """Commit one small change."""

    async def work(connection: Connection) -> None:
        await connection.execute("UPDATE probes SET count = count + 1")

    await transact(connection, patience.begin(WRITES), work)


async def answer(connection: Connection, query: Query[T], patience: Patience) -> T:
    """Answer a query. Of one within an organisation, the database itself sees no other's rows."""

    async def work(connection: Connection) -> T:
        if isinstance(query, OrgQuery):
            # An organisation of that name cannot be; asked for, it has no rows.
            org = "" if query.org_id == EVERY_ORG else _holdable(query.org_id)
            await connection.fetch("SELECT set_config('penstock.org_id', $1, true)", org)
        return await _run(connection, steps_of(query), _askable)

    return await transact(connection, patience.begin(READS), work)


async def transact(connection: Connection, begin: str, work: Work[T]) -> T:
    """Do something in a transaction: committed on return, taken back when it raises."""
    await connection.execute(begin)
    try:
        result = await work(connection)
        told = await connection.execute("COMMIT")
    except Exception:
        # Where that fails too, the connection is in a transaction still, and thrown away for it.
        with contextlib.suppress(Exception):
            await connection.execute("ROLLBACK")
        raise
    if told != "COMMIT":
        raise LedgerFaultError(f"a transaction ended by {told}, with no error before it")
    return result


@lru_cache(maxsize=1024)
def numbered(sql: str) -> str:
    """Write `$1`, `$2` and so on for the question marks."""
    numbers = count(1)
    return _QUOTED_OR_MARK.sub(
        lambda found: f"${next(numbers)}" if found[0] == "?" else found[0], sql
    )


def _all_at_once(group: Sequence[Entry]) -> Work[list[EntryOutcome]]:
    async def work(connection: Connection) -> list[EntryOutcome]:
        outcomes: list[EntryOutcome] = []
        for part in parts_of(group):
            join = put_of(part[0]).join
            if join is not None and len(part) > 1:
                outcomes += await _put_joined(connection, join, part)
            else:
                outcomes += [await _put(connection, entry) for entry in part]
        return outcomes

    return work


def _one_by_one(group: Sequence[Entry]) -> Work[list[EntryOutcome]]:
    async def work(connection: Connection) -> list[EntryOutcome]:
        return [await _put_alone(connection, entry) for entry in group]

    return work


async def _put(connection: Connection, entry: Entry) -> EntryOutcome:
    """Write an entry as part of a group; _OneByOneError when the group must not go on so."""
    put = put_of(entry)
    try:
        return _stored(await _run(connection, put.steps(entry)))
    except (RepeatedError, RejectedError) as error:
        if put.may_half_write:
            raise _OneByOneError from None
        return _turned_down(error)
    except asyncpg.PostgresError as error:
        if is_unfit(error):
            raise _OneByOneError from None
        raise


async def _put_joined(
    connection: Connection, join: Join, part: Sequence[Entry]
) -> list[EntryOutcome]:
    """Write neighbours at once; _OneByOneError when one of them cannot be stored."""
    try:
        return await _run(connection, join.steps(part))
    except asyncpg.PostgresError as error:
        if is_unfit(error):
            raise _OneByOneError from None
        raise


async def _put_alone(connection: Connection, entry: Entry, *, again: bool = True) -> EntryOutcome:
    """Write an entry within a savepoint; with `again`, once more when its key was just taken."""
    await connection.execute("SAVEPOINT entry")
    try:
        outcome = _stored(await _run(connection, put_of(entry).steps(entry)))
    except (RepeatedError, RejectedError) as error:
        await connection.execute(_TAKE_BACK)
        return _turned_down(error)
    except asyncpg.PostgresError as error:
        if not is_unfit(error):
            raise
        await connection.execute(_TAKE_BACK)
        if again and state_of(error) == UNIQUE_VIOLATION:
            return await _put_alone(connection, entry, again=False)
        return EntryOutcome(Verdict.UNFIT, unfit_detail(error))
    await connection.execute("RELEASE entry")
    return outcome


def _stored(value: object) -> EntryOutcome:
    return _STORED if value is None else EntryOutcome(Verdict.STORED, value=value)


def _turned_down(error: RepeatedError | RejectedError) -> EntryOutcome:
    if isinstance(error, RepeatedError):
        return EntryOutcome(Verdict.REPEATED, value=error.value)
    return EntryOutcome(error.verdict, error.detail)


async def _run(
    connection: Connection,
    steps: Steps[T],
    outgoing: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None = None,
) -> T:
    """Run steps to their end."""
    try:
        statement = next(steps)
        while True:
            values = statement.values if outgoing is None else outgoing(statement.values)
            rows = await connection.fetch(numbered(statement.sql), *values)
            statement = steps.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result


def _askable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Ask for what cannot be there in such a way that it is not found, rather than refused."""
    return tuple(_holdable(value) if isinstance(value, str) else value for value in values)


def _holdable(text: str) -> str:
    return _UNHOLDABLE.sub(_NOTHING, text)
