"""What every ledger tells of finals for the operators' list."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID

import orjson
import pytest

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.delivery_records import DeliveryEntry, Progress, ProgressEntry
from penstock.engine.ledger_port import Verdict
from penstock.engine.records import FinalEntry
from penstock.engine.session_list import (
    Choice,
    FinalRows,
    Mark,
    SessionRow,
    Sort,
    Stage,
    Which,
)
from penstock.storage.ledger.migrate import load_migrations
from penstock.storage.ledger.session_rows import final_rows

ORGS = (str(UUID(int=8)), str(UUID(int=9)))
PEOPLE = tuple(str(UUID(int=n)) for n in (100, 101, 102))


def name(number: int) -> str:
    # Ids that begin alike in twos.
    return f"{number // 2:08x}-0000-4000-8000-{number:012x}"


def final(number: int, revision: int = 1, **changes: Any) -> FinalEntry:
    body = {
        "started_unix_ms": 1_000_000 + number % 5,
        "frames_received": 10 * (number % 4),
        "completeness": 1 - (number % 3) / 100,
        "provisional": number % 4 == 0 and revision == 1,
    }
    return FinalEntry(
        name(number),
        ORGS[number % 2],
        PEOPLE[number % 3],
        revision,
        "completed",
        2_000_000 + number,
        body | changes,
    )


def row(entry: FinalEntry, delivery: str = "") -> SessionRow:
    body = entry.body
    return SessionRow(
        identity=SessionIdentity(entry.session_id, entry.principal_id, entry.org_id),
        stage=Stage.PROVISIONAL if body["provisional"] else Stage.ENDED,
        started_unix_ms=body["started_unix_ms"],
        ended_unix_ms=entry.ended_unix_ms,
        frames=body["frames_received"],
        lost_basis_points=round(10_000 * (1 - body["completeness"])),
        status=entry.status,
        delivery=delivery,
    )


def fits(choice: Choice, one: SessionRow) -> bool:
    states = {Which.UNDELIVERED: "pending", Which.DEAD: "dead"}
    if choice.which is not None and choice.which in states:
        return choice.of(one.identity) and one.delivery == states[choice.which]
    return choice.of(one.identity) and choice.which in (None, one.stage.value)


CHOICES = [
    Choice(sort, descending, which, org_id, looked_for)
    for sort in Sort
    for descending in (False, True)
    for which in (None, Which.PROVISIONAL, Which.ENDED, Which.UNDELIVERED, Which.DEAD)
    for org_id in (None, ORGS[0])
    for looked_for in ("", "00000003", name(5), PEOPLE[1])
]


async def test_every_choice_is_answered_as_by_hand(site: Any) -> None:
    """Sorted, filtered and paged, both databases give what going through all finals gives."""
    finals = [final(number) for number in range(1, 25)]
    again = [final(4, 2), final(8, 2, provisional=True)]
    orders = [
        DeliveryEntry(one.session_id, one.revision, one.org_id, True, 5)  # noqa: FBT003
        for one in (*finals, *again)
    ]
    dead = [
        ProgressEntry(one.session_id, 1, Progress(replay_due=True, dead=True, attempts=3))
        for one in finals
        if one.session_id in {name(3), name(6), name(7)}
    ]
    states = {entry.session_id: "dead" for entry in dead}
    newest = {one.session_id: one for one in (*finals, *again)}
    rows = [row(one, states.get(one.session_id, "pending")) for one in newest.values()]
    async with site.open() as ledger:
        for group in (finals, again, orders, dead):
            outcomes = await ledger.commit(group)
            assert {outcome.verdict for outcome in outcomes} == {Verdict.STORED}
        for choice in CHOICES:
            wanted = [one for one in rows if fits(choice, one)]
            wanted.sort(key=lambda one: one.place(choice.sort), reverse=choice.descending)
            assert await ledger.read(FinalRows(choice, 100)) == wanted, choice
            after, found = None, []
            while page := await ledger.read(FinalRows(choice, 7, after)):
                found += page
                after = page[-1].place(choice.sort)
            assert found == wanted, choice


async def test_a_final_without_its_facts_is_listed_all_the_same(
    site: Any, make_final: Callable[..., FinalEntry]
) -> None:
    """What another version wrote without them counts as begun when it ended, and whole."""
    entry = make_final(1)
    async with site.open() as ledger:
        await ledger.commit([entry])
        (found,) = await ledger.read(FinalRows(Choice(), 10))
    assert found.started_unix_ms == entry.ended_unix_ms
    assert (found.frames, found.lost_basis_points, found.stage) == (0, 0, Stage.ENDED)


async def test_what_cannot_be_an_id_is_looked_for_in_vain(site: Any) -> None:
    """A text that no database can hold finds nothing, and is no error."""
    async with site.open() as ledger:
        assert await ledger.read(FinalRows(Choice(looked_for="ab\x00d"), 10)) == []
        assert await ledger.read(FinalRows(Choice(org_id="*"), 10)) == []


def _migrated(db: sqlite3.Connection, first: int, last: int) -> None:
    for step in load_migrations("sqlite")[first - 1 : last]:
        db.executescript(step.sql)


def _number() -> int:
    return next(
        step.number for step in load_migrations("sqlite") if step.name.startswith("session_list")
    )


def test_finals_from_before_the_list_are_in_it() -> None:
    """The migration takes out of the bodies what `put_final` writes beside them since."""
    before = _number() - 1
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        _migrated(db, 1, before)
        entries = [final(1), final(4), final(5, completeness=None)]
        for one in entries:
            db.execute(
                "INSERT INTO session_finals (session_id, revision, org_id, principal_id, status,"
                " ended_unix_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*_values(one), orjson.dumps(one.body).decode()),
            )
        db.execute("UPDATE session_finals SET body = '?' WHERE session_id = ?", (name(5),))
        _migrated(db, before + 1, before + 1)
        found = {one.identity.session_id: one for one in _asked(db, Choice())}
    assert found[name(1)] == row(entries[0])
    assert found[name(4)] == row(entries[1])
    assert found[name(5)].frames == 0


async def test_postgres_takes_them_out_alike(postgres_site: Any) -> None:
    """Its migration's expression and `put_final` agree on a stored body."""
    number = _number()
    (sql,) = (step.sql for step in load_migrations("postgres") if step.number == number)
    update = sql[sql.index("UPDATE session_finals") :].split(";")[0]
    wanted = [row(final(n)) for n in (1, 4, 6)]
    async with postgres_site.open() as ledger:
        await ledger.commit([final(n) for n in (1, 4, 6)])
        postgres_site.sql(
            "UPDATE session_finals SET started_unix_ms = 0, frames = 0, lost_basis_points = 0,"
            " for_good = 1"
        )
        postgres_site.sql(update)
        found = await ledger.read(FinalRows(Choice(Sort.STATE, descending=False), 10))
    assert {one.identity.session_id: one for one in found} == {
        one.identity.session_id: one for one in wanted
    }


def _values(entry: FinalEntry) -> tuple[Any, ...]:
    return (
        entry.session_id,
        entry.revision,
        entry.org_id,
        entry.principal_id,
        entry.status,
        entry.ended_unix_ms,
    )


def _asked(db: sqlite3.Connection, choice: Choice) -> list[SessionRow]:
    steps = final_rows(FinalRows(choice, 50))
    try:
        statement = next(steps)
        while True:
            statement = steps.send(db.execute(statement.sql, statement.values).fetchall())
    except StopIteration as end:
        found: list[SessionRow] = end.value
        return found


@pytest.mark.parametrize(
    ("choice", "index"),
    [
        (Choice(Sort.STARTED), "session_finals_by_start"),
        (Choice(Sort.STARTED, org_id=ORGS[0]), "session_finals_of_org"),
        (Choice(Sort.FRAMES), "session_finals_by_frames"),
        (Choice(Sort.LOST), "session_finals_by_loss"),
        (Choice(Sort.LOST, descending=False), "sqlite_autoindex_session_finals_1"),
        (Choice(Sort.LOST, which=Which.DEAD), "deliveries_dead"),
        (Choice(Sort.LOST, which=Which.PROVISIONAL), "session_finals_provisional"),
        (Choice(Sort.LOST, looked_for="abcd"), "sqlite_autoindex_session_finals_1"),
        (Choice(Sort.LOST, looked_for=PEOPLE[0]), "session_finals_of_person"),
        (Choice(Sort.STATE, descending=False), "session_finals_provisional"),
    ],
)
def test_an_index_serves_every_choice(choice: Choice, index: str) -> None:
    """No page walks through what nobody asked for; orders over all finals are not sorted for."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        _migrated(db, 1, len(load_migrations("sqlite")))
        after = Mark(5, name(3)) if choice.sort is not Sort.STATE and choice.descending else None
        statement = next(final_rows(FinalRows(choice, 50, after)))
        plan = [
            told for *_, told in db.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.values)
        ]
    assert any(index in told for told in plan), plan
    few = choice.looked_for or choice.which
    # Only those of the same key are sorted, by their ids.
    assert few or not any("TEMP B-TREE FOR ORDER BY" in told for told in plan), plan
