"""What every ledger promises of erasures: all of a person goes, of nobody else, and for good."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from media_session import good_session
from penstock.engine.core.grant_records import ConsentEntry, ConsentOf
from penstock.engine.core.records import (
    AggregateEntry,
    CohortAdherence,
    Days,
    ExerciseSessionEntry,
    ExerciseSessionOf,
    RepMetricsOf,
)
from penstock.engine.delivery_records import DeliveryEntry, DeliveryOf, OutboxCounts
from penstock.engine.erasure_records import (
    AuditsThatName,
    BeginErasure,
    ConsentOrgsOf,
    EraseRows,
    EraseSession,
    ErasureOf,
    FinishErasure,
    HoldingsOf,
    NewestErasures,
    OpenErasures,
    RedactAudits,
    SessionsOf,
    SweptSession,
    UnsweptSessions,
    digest_of,
    stand_in,
)
from penstock.engine.ledger_port import Together, Verdict
from penstock.engine.media.records import MediaEventEntry, MediaEventsOf
from penstock.engine.media.rollup import NOWHERE
from penstock.engine.ports import Purpose
from penstock.engine.records import AuditEntry, AuditPage, ErasedSession, FinalEntry, FinalOf
from penstock.storage.ledger import erasures, platform_erasures
from penstock.storage.ledger.migrate import load_migrations

STORED, REPEATED, CONFLICT, UNFIT, _FULL = Verdict
NOW = 1_700_000_000_000
DAY_MS = 24 * 3600 * 1000
ALWAYS = Days(0, 40_000 * DAY_MS)


def name(number: int) -> str:
    return str(UUID(int=number))


ORG, OTHER_ORG, ANN, BOB, ADA = (name(number) for number in (8, 9, 100, 101, 102))
ORDER = BeginErasure("e1", ANN, NOW, ADA)


def session(number: int, person: str = ANN, org: str = ORG) -> tuple[Any, ...]:
    """Give everything that the ledger may have of a session."""
    who = (name(number), org, person)
    return (
        ExerciseSessionEntry(*who, "squat", NOW),
        Together(
            (
                FinalEntry(*who, 1, "completed", NOW, {"person": person}),
                DeliveryEntry(name(number), 1, org, replay_due=True, created_unix_ms=NOW),
            )
        ),
        figures(number, person, org),
    )


def figures(number: int, person: str = ANN, org: str = ORG, revision: int = 1) -> AggregateEntry:
    reps = tuple({"rep_number": n} for n in (1, 2, 3))
    return AggregateEntry(
        session_id=name(number),
        org_id=org,
        principal_id=person,
        revision=revision,
        status="completed",
        provisional=False,
        exercise_id="",
        started_unix_ms=NOW,
        ended_unix_ms=NOW,
        completeness=1.0,
        session_metrics={"rep_count": 3, "duration_s": 60.0},
        rep_metrics=reps,
        media_metrics={"watch_time_ms": 5},
    )


def consent(person: str, org: str = ORG) -> ConsentEntry:
    return ConsentEntry(org, person, frozenset(Purpose), NOW, person)


async def commit(ledger: Any, *entries: Any) -> list[Verdict]:
    return [outcome.verdict for outcome in await ledger.commit(entries)]


async def value(ledger: Any, entry: Any) -> Any:
    (outcome,) = await ledger.commit([entry])
    assert outcome.verdict in {STORED, REPEATED}, outcome
    return outcome.value


async def fill(ledger: Any) -> None:
    entries = [
        *session(1), *session(2, org=OTHER_ORG), *session(3, BOB), *session(4, BOB, OTHER_ORG),
        consent(ANN), consent(ANN, OTHER_ORG), consent(BOB),
    ]  # fmt: skip
    assert await commit(ledger, *entries) == [STORED] * len(entries)


async def test_an_erasure_is_ordered_once(site: Any) -> None:
    """Ordered again, by whomever, it is the one under way; its order outlives a restart."""
    async with site.open() as ledger:
        assert await value(ledger, ORDER) == "e1"
        (again,) = await ledger.commit([BeginErasure("e2", ANN, NOW + 5, BOB)])
        assert (again.verdict, again.value) == (REPEATED, "e1")
        assert await value(ledger, BeginErasure("e3", BOB, NOW + 9, ADA)) == "e3"
    async with site.open() as ledger:
        found = await ledger.read(OpenErasures())
        assert [erasure.erasure_id for erasure in found] == ["e1", "e3"]
        assert (found[0].principal_id, found[0].digest) == (ANN, digest_of(ANN))
        assert await ledger.read(ErasureOf("e1")) == found[0]
        assert await ledger.read(ErasureOf("e2")) is None
        newest = await ledger.read(NewestErasures(1))
        assert [erasure.erasure_id for erasure in newest] == ["e3"]


async def test_consents_go_with_the_order(site: Any) -> None:
    """In all organisations, in the same transaction; nobody else's."""
    async with site.open() as ledger:
        await fill(ledger)
        assert sorted(await ledger.read(ConsentOrgsOf(ANN))) == [ORG, OTHER_ORG]
        await ledger.commit([ORDER])
        assert await ledger.read(ConsentOf(ORG, ANN)) is None
        assert await ledger.read(ConsentOf(OTHER_ORG, ANN)) is None
        assert await ledger.read(ConsentOf(ORG, BOB)) == consent(BOB)
        # Where the person was is still known, so that what is cached of it can be forgotten.
        assert sorted(await ledger.read(ConsentOrgsOf(ANN))) == [ORG, OTHER_ORG]


async def test_a_session_goes_with_all_its_rows(site: Any) -> None:
    """Final, order, figures and repetitions, in one transaction; other sessions are untouched."""
    async with site.open() as ledger:
        await fill(ledger)
        await ledger.commit([ORDER])
        found = await ledger.read(SessionsOf(ANN, 10))
        assert sorted(found) == [(name(1), ORG), (name(2), OTHER_ORG)]
        assert len(await ledger.read(SessionsOf(ANN, 1))) == 1
        rows = await value(ledger, EraseSession(name(1), ORG, "e1"))
        assert rows == 8  # final, delivery, session, its figures twice, three repetitions
        assert await ledger.read(FinalOf(name(1))) == ErasedSession(name(1))
        assert await ledger.read(DeliveryOf(name(1))) is None
        assert await ledger.read(ExerciseSessionOf(ORG, name(1))) is None
        assert await ledger.read(RepMetricsOf(ORG, name(1))) == []
        for number, org in ((3, ORG), (4, OTHER_ORG), (2, OTHER_ORG)):
            assert isinstance(await ledger.read(FinalOf(name(number))), FinalEntry)
            assert len(await ledger.read(RepMetricsOf(org, name(number)))) == 3
        assert await value(ledger, EraseSession(name(1), ORG, "e1")) == 0
        assert (await ledger.read(ErasureOf("e1")))[6:8] == (10, 1)  # with two consents, once


async def test_nothing_of_an_erased_session_is_stored_again(site: Any) -> None:
    """Neither a late final of any revision nor late figures, also after a restart."""
    async with site.open() as ledger:
        await ledger.commit([ORDER, EraseSession(name(1), ORG, "e1")])
    async with site.open() as ledger:
        _, final, late = session(1)
        newer = Together(
            (
                FinalEntry(name(1), ORG, ANN, 2, "completed", NOW, {}),
                DeliveryEntry(name(1), 2, ORG, replay_due=True, created_unix_ms=NOW),
            )
        )
        assert await commit(ledger, final, newer, late, figures(1, revision=7)) == [CONFLICT] * 4
        assert await ledger.read(SessionsOf(ANN, 10)) == []
        assert await ledger.read(OutboxCounts()) == (0, None, 0)
        assert await ledger.read(FinalOf(name(1))) == ErasedSession(name(1))


async def test_what_is_elsewhere_is_not_forgotten(site: Any) -> None:
    """An erased session is named until it is swept, and an erasure is not done before that."""
    async with site.open() as ledger:
        await fill(ledger)
        await ledger.commit([ORDER, EraseSession(name(1), ORG, "e1")])
    async with site.open() as ledger:
        assert await ledger.read(UnsweptSessions("e1", 10)) == [(name(1), ORG)]
        assert await commit(ledger, FinishErasure("e1", NOW + 1)) == [CONFLICT]
        swept = SweptSession(name(1), "e1", blobs=1, files=2)
        assert await commit(ledger, swept, swept) == [STORED, REPEATED]
        assert await ledger.read(UnsweptSessions("e1", 10)) == []
        assert (await ledger.read(ErasureOf("e1")))[8:10] == (1, 2)


async def test_rows_of_a_person_go_a_few_at_a_time(site: Any) -> None:
    """Each step removes at most so many; the last one finds none."""
    async with site.open() as ledger:
        await fill(ledger)
        await ledger.commit([ORDER])
        steps = [await value(ledger, EraseRows("e1", ANN, 1)) for _ in range(3)]
        assert steps == [1, 1, 0]
        days = await ledger.read(CohortAdherence(ORG, ALWAYS, 10))
        assert [day.principal_id for day in days] == [BOB]


async def test_audit_entries_keep_what_happened_but_not_to_whom(site: Any) -> None:
    """Wherever the id is, a stand-in takes its place: the same one each time."""
    entries = [
        AuditEntry(NOW, ADA, "consent.set", f"principal:{ANN}", {"org_id": ORG}),
        AuditEntry(NOW, ANN, "replay.linked", f"session:{name(1)}", {"role": "patient"}),
        AuditEntry(NOW, ADA, "policy.edited", "global", {"for": [ANN, BOB], "ä": ANN}),
        AuditEntry(NOW, BOB, "consent.set", f"principal:{BOB}", {}),
    ]
    async with site.open() as ledger:
        await ledger.commit([ORDER, *entries])
        positions: list[int] = []
        after: int | None = 0
        looks = 0
        while after is not None:
            found = await ledger.read(AuditsThatName(ANN, 2, after))
            positions += found.positions
            after = found.after
            looks += 1
        assert (len(positions), looks) == (3, 3)
        assert await value(ledger, RedactAudits("e1", tuple(positions), ANN, NOW)) == 3
        assert await value(ledger, RedactAudits("e1", tuple(positions), ANN, NOW)) == 0
        *kept, record = [row.entry for row in reversed(await ledger.read(AuditPage(10)))]
        assert record.action == "audit.redacted"
        assert kept[0].subject == f"principal:{stand_in(ANN)}"
        assert kept[1].actor == stand_in(ANN)
        assert kept[2].detail == {"for": [stand_in(ANN), BOB], "ä": stand_in(ANN)}
        assert kept[3] == entries[3]
        assert (await ledger.read(ErasureOf("e1"))).audits == 3


async def test_when_it_is_done_the_order_forgets_the_person(site: Any) -> None:
    """A digest stays; ordered again later, it is a new one."""
    async with site.open() as ledger:
        await ledger.commit([ORDER])
        assert await commit(ledger, FinishErasure("e1", NOW + 1), FinishErasure("e1", NOW + 2)) == [
            STORED, REPEATED,
        ]  # fmt: skip
        found = await ledger.read(ErasureOf("e1"))
        assert (found.principal_id, found.done_unix_ms) == (None, NOW + 1)
        assert found.digest == digest_of(ANN)
        assert await ledger.read(OpenErasures()) == []
        assert await value(ledger, BeginErasure("e2", ANN, NOW + 5, ADA)) == "e2"


async def test_a_dry_run_counts_what_there_is(site: Any) -> None:
    """Sessions and rows of that person, and nothing is changed by asking."""
    async with site.open() as ledger:
        await fill(ledger)
        assert await ledger.read(HoldingsOf(ANN)) == (2, 20, 2)
        assert await ledger.read(HoldingsOf(ANN)) == (2, 20, 2)
        assert await ledger.read(HoldingsOf(name(999))) == (0, 0, 0)


async def test_done_step_by_step_nothing_names_the_person(sqlite_site: Any) -> None:
    """In the file as it lies on the disk, beside a neighbour's rows that are all there."""
    path: Path = sqlite_site.path
    async with sqlite_site.open() as ledger:
        for n in range(0, 200, 2):
            await ledger.commit([*session(1000 + n), *session(1001 + n, BOB), consent(ANN)])
        assert ANN.encode() in _bytes(path)
        await ledger.commit([ORDER])
        while owned := await ledger.read(SessionsOf(ANN, 10)):
            await ledger.commit([EraseSession(one.session_id, one.org_id, "e1") for one in owned])
            await ledger.commit([SweptSession(one.session_id, "e1", 0, 0) for one in owned])
        while await value(ledger, EraseRows("e1", ANN, 50)):
            pass
        await ledger.commit([FinishErasure("e1", NOW)])
        assert await ledger.scrub()
        assert ANN.encode() not in _bytes(path)
        assert (await ledger.read(HoldingsOf(BOB))).sessions == 100


def _bytes(path: Path) -> bytes:
    files = (path, path.with_name(path.name + "-wal"))
    return b"".join(file.read_bytes() for file in files if file.exists())


@pytest.mark.parametrize("column", ["principal_id", "user_id", "session_id", "actor"])
async def test_every_table_that_names_somebody_is_erased_from(
    sqlite_site: Any, column: str
) -> None:
    """Or is named among those that are kept, with a reason: a new table cannot be forgotten."""
    async with sqlite_site.open():
        pass
    with closing(sqlite3.connect(sqlite_site.path)) as db:
        tables = [
            name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        naming = {
            table
            for table in tables
            if column in {row[1] for row in db.execute(f"PRAGMA table_xinfo({table})")}
        }
    people = {shelf.table for shelf in erasures.OF_PEOPLE}
    people |= platform_erasures.NAMED.keys()
    known = people | set(erasures.OF_SESSIONS) | erasures.KEPT.keys()
    assert naming <= known, naming - known
    assert known <= set(tables)
    assert all(erasures.KEPT.values())


async def test_every_shelf_is_emptied_of_one_person_alone(site: Any) -> None:
    """Whatever table holds rows of people: each has one of two persons, and one of them stays."""
    async with site.open() as ledger:
        await ledger.commit([ORDER])
        for shelf in erasures.OF_PEOPLE:
            for person in (ANN, BOB):
                _fill(site, shelf, person)
        removed = 0
        while step := await value(ledger, EraseRows("e1", ANN, 3)):
            removed += step
        assert removed == len(erasures.OF_PEOPLE)
        rows = (await ledger.read(HoldingsOf(ANN)), await ledger.read(HoldingsOf(BOB)))
        assert [found.rows for found in rows] == [0, len(erasures.OF_PEOPLE)]


def _fill(site: Any, shelf: erasures.Shelf, person: str) -> None:
    """Give a person a row, of whatever values the table takes."""
    with closing(sqlite3.connect(":memory:")) as db:
        for step in load_migrations("sqlite"):
            db.executescript(step.sql)
        columns = db.execute(f"PRAGMA table_info({shelf.table})").fetchall()
    row = {
        f'"{name}"': f"'{person}'" if kind == "TEXT" else "1"
        for _, name, kind, needed, *_ in columns
        if needed
    }
    names, values = ", ".join(row), ", ".join(row.values())
    statement = f"INSERT INTO {shelf.table} ({names}) VALUES ({values})"
    if hasattr(site, "path"):
        with closing(sqlite3.connect(site.path)) as db, db:
            db.execute(statement)
    else:
        site.sql(statement)


async def test_media_events_go_with_their_session(site: Any) -> None:
    """Whose it is, is known by them as well; a late one of any kind is refused."""
    first, *later = good_session()
    owned = (ORG, ANN, NOWHERE)
    async with site.open() as ledger:
        for event in (first, *later[:2]):
            assert await commit(ledger, MediaEventEntry(event, *owned)) == [STORED]
        await ledger.commit([ORDER])
        assert await ledger.read(SessionsOf(ANN, 9)) == [(first.session_id, ORG)]
        assert await value(ledger, EraseSession(first.session_id, ORG, "e1")) == 4
        late = [MediaEventEntry(event, *owned) for event in (first, later[3])]
        assert await commit(ledger, *late) == [CONFLICT] * 2
        assert await ledger.read(MediaEventsOf(first.session_id)) == []
        assert await ledger.read(SessionsOf(ANN, 9)) == []
