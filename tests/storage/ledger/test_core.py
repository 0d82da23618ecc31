"""What every ledger keeps of the embedded Core: sessions, figures, days, consents, quotas."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.engine.core.grant_records import ConsentEntry, ConsentOf, QuotaEntry, QuotaOf
from penstock.engine.core.records import (
    OPEN,
    Adherence,
    AdherenceMark,
    AggregateEntry,
    CohortAdherence,
    Days,
    ExerciseSessionEntry,
    ExerciseSessionOf,
    PatientSessions,
    PlatformCounts,
    RepMetricsOf,
    SessionMark,
)
from penstock.engine.ledger_port import Verdict
from penstock.engine.ports import Purpose, Quota

STORED, REPEATED, CONFLICT, UNFIT, _FULL = Verdict
DAY_MS = 24 * 3600 * 1000
DAY = 20_000 * DAY_MS
ALWAYS = Days(0, 40_000 * DAY_MS)


def name(number: int) -> str:
    return str(UUID(int=number))


ORG, OTHER_ORG, ANN, BOB = (name(number) for number in (8, 9, 100, 101))


def start(session: int, at: int = DAY, **changes: Any) -> ExerciseSessionEntry:
    entry = ExerciseSessionEntry(name(session), ORG, ANN, "squat", at)
    return replace(entry, **changes)


def aggregate(session: int, revision: int = 1, /, **changes: Any) -> AggregateEntry:
    reps = changes.pop("reps", 2)
    entry = AggregateEntry(
        session_id=name(session),
        org_id=ORG,
        principal_id=ANN,
        revision=revision,
        status="completed",
        provisional=False,
        exercise_id="",
        started_unix_ms=DAY,
        ended_unix_ms=DAY + 60_000,
        completeness=0.5,
        session_metrics={"rep_count": reps, "duration_s": 60.25, "range_deg": {"ä": 1.5}},
        rep_metrics=tuple({"rep_number": n, "range_deg": n * 1.5} for n in range(1, reps + 1)),
        media_metrics={"watch_time_ms": 5},
    )
    return replace(entry, **changes)


async def commit(ledger: Any, *entries: Any) -> list[Verdict]:
    return [outcome.verdict for outcome in await ledger.commit(entries)]


async def test_a_session_begins_and_gets_its_figures(site: Any) -> None:
    """Open at first, without figures; then with all of them, also after a restart."""
    async with site.open() as ledger:
        assert await commit(ledger, start(1)) == [STORED]
        found = await ledger.read(ExerciseSessionOf(ORG, name(1)))
        assert (found.status, found.revision, found.ended) == (OPEN, 0, False)
        assert (found.session_metrics, found.media_metrics) == (None, None)
        assert await commit(ledger, start(1), aggregate(1)) == [REPEATED, STORED]
    async with site.open() as ledger:
        found = await ledger.read(ExerciseSessionOf(ORG, name(1)))
        entry = aggregate(1)
        assert (found.status, found.revision, found.ended) == ("completed", 1, True)
        assert found.exercise_id == "squat"  # as it began: the end named none
        assert found.session_metrics == entry.session_metrics
        assert found.media_metrics == entry.media_metrics
        assert found.completeness == 0.5
        assert tuple(await ledger.read(RepMetricsOf(ORG, name(1)))) == entry.rep_metrics


async def test_figures_of_a_session_that_nobody_began_are_kept(site: Any) -> None:
    """A token may have been made elsewhere; it begins with its first frame, or else its end."""
    async with site.open() as ledger:
        later = aggregate(2, started_unix_ms=None)
        assert await commit(ledger, aggregate(1), later) == [STORED] * 2
        first = await ledger.read(ExerciseSessionOf(ORG, name(1)))
        second = await ledger.read(ExerciseSessionOf(ORG, name(2)))
        assert (first.created_unix_ms, second.created_unix_ms) == (DAY, DAY + 60_000)


async def test_a_newer_revision_replaces_everything_and_an_older_one_nothing(site: Any) -> None:
    """Repetitions and media that the newer revision does not have are gone."""
    newer = aggregate(1, 3, reps=1, status="error", media_metrics=None, exercise_id="lunge")
    async with site.open() as ledger:
        provisional = aggregate(1, 2, provisional=True, status="abandoned")
        assert await commit(ledger, provisional) == [STORED]
        assert not (await ledger.read(ExerciseSessionOf(ORG, name(1)))).ended
        assert await commit(ledger, newer, newer, aggregate(1, 2), aggregate(1, 1)) == [
            STORED, REPEATED, REPEATED, REPEATED,
        ]  # fmt: skip
        found = await ledger.read(ExerciseSessionOf(ORG, name(1)))
        assert (found.revision, found.status, found.exercise_id) == (3, "error", "lunge")
        assert (found.provisional, found.media_metrics) == (False, None)
        assert len(await ledger.read(RepMetricsOf(ORG, name(1)))) == 1
        days = await ledger.read(CohortAdherence(ORG, ALWAYS, 10))
        assert [(day.exercise_id, day.rep_count) for day in days] == [("lunge", 1)]


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
async def test_any_number_of_repetitions_is_kept_in_order(site: Any, count: int) -> None:
    """All of them, by their numbers, however many are written at once."""
    async with site.open() as ledger:
        assert await commit(ledger, aggregate(1, reps=count)) == [STORED]
        reps = await ledger.read(RepMetricsOf(ORG, name(1)))
        assert [rep["rep_number"] for rep in reps] == list(range(1, count + 1))


@pytest.mark.parametrize("other", [{"org_id": OTHER_ORG}, {"principal_id": BOB}], ids=str)
async def test_nobody_writes_figures_into_another_ones_session(
    site: Any, other: dict[str, Any]
) -> None:
    """Whatever the revision, it is a conflict, and nothing is changed."""
    async with site.open() as ledger:
        await commit(ledger, start(1), aggregate(1))
        assert await commit(ledger, aggregate(1, 9, **other)) == [CONFLICT]
        assert await commit(ledger, start(1, **other)) == [CONFLICT]
        assert (await ledger.read(ExerciseSessionOf(ORG, name(1)))).revision == 1
        assert await ledger.read(ExerciseSessionOf(OTHER_ORG, name(1))) is None


async def test_what_cannot_be_stored_leaves_nothing_behind(site: Any) -> None:
    """Figures that fail half-way are not there at all; the group's others are."""
    reps = ({"rep_number": 1}, {"rep_number": 2, "x": object()})
    async with site.open() as ledger:
        bad = aggregate(1, rep_metrics=reps)
        assert await commit(ledger, aggregate(2), bad, aggregate(3)) == [STORED, UNFIT, STORED]
        assert await ledger.read(ExerciseSessionOf(ORG, name(1))) is None
        assert await ledger.read(RepMetricsOf(ORG, name(1))) == []
        (cohort,) = await ledger.read(CohortAdherence(ORG, ALWAYS, 10))
        assert cohort.sessions == 2


async def test_pages_of_a_patient_are_whole_and_in_order(site: Any) -> None:
    """From the newest to the oldest, each session once, also where many began at one moment."""
    async with site.open() as ledger:
        sessions = [start(number, DAY + number // 3) for number in range(1, 12)]
        others = [start(50, principal_id=BOB), start(51, org_id=OTHER_ORG)]
        await commit(ledger, *sessions, *others)
        seen: list[str] = []
        mark = None
        while page := await ledger.read(PatientSessions(ORG, ANN, 4, mark)):
            assert len(page) <= 4
            seen += [session.session_id for session in page]
            mark = SessionMark(page[-1].created_unix_ms, page[-1].session_id)
        assert seen == [name(number) for number in range(11, 0, -1)]
        assert await ledger.read(ExerciseSessionOf(ORG, name(50), ANN)) is None
        assert await ledger.read(ExerciseSessionOf(ORG, name(51))) is None
        assert await ledger.read(RepMetricsOf(OTHER_ORG, name(1))) == []


async def test_days_add_up_by_patient_and_exercise(site: Any) -> None:
    """Sessions, completions, repetitions, time and active days of the window asked for."""
    async with site.open() as ledger:
        await commit(
            ledger,
            aggregate(1, exercise_id="squat", reps=3),
            aggregate(2, exercise_id="squat", reps=4, status="abandoned"),
            aggregate(3, exercise_id="squat", reps=5, ended_unix_ms=DAY + DAY_MS),
            aggregate(4, exercise_id="lunge", reps=6),
            aggregate(5, exercise_id="squat", principal_id=BOB, session_metrics={}),
            aggregate(6, exercise_id="squat", org_id=OTHER_ORG, principal_id=name(200)),
            start(7, principal_id=BOB),
        )
        whole = await ledger.read(CohortAdherence(ORG, ALWAYS, 10))
        assert whole == [
            Adherence(ANN, "lunge", 1, 1, 6, 60_250, 1, DAY + 60_000),
            Adherence(ANN, "squat", 3, 2, 12, 180_750, 2, DAY + DAY_MS),
            Adherence(BOB, "squat", 1, 1, 0, 0, 1, DAY + 60_000),
        ]
        first = await ledger.read(CohortAdherence(ORG, ALWAYS, 1))
        assert first == whole[:1]
        assert (
            await ledger.read(CohortAdherence(ORG, ALWAYS, 9, AdherenceMark(ANN, "lunge")))
            == whole[1:]
        )
        (squats,) = await ledger.read(CohortAdherence(ORG, Days(DAY, DAY + 1), 1, None, "squat"))
        assert (squats.sessions, squats.completed_sessions, squats.active_days) == (2, 1, 1)
        assert await ledger.read(CohortAdherence(ORG, Days(0, DAY), 10)) == []


async def test_the_platforms_counts_tell_of_nobody_alone(site: Any) -> None:
    """An exercise that fewer patients did than are needed is not there; of others the sums are."""
    entries = [
        aggregate(number, exercise_id="squat", principal_id=name(300 + number % 3), org_id=org)
        for number, org in enumerate([ORG, ORG, ORG, OTHER_ORG, OTHER_ORG, OTHER_ORG], start=1)
    ]
    entries += [
        aggregate(20 + number, exercise_id="rare", principal_id=name(400 + number % 2))
        for number in range(4)
    ]
    async with site.open() as ledger:
        await commit(ledger, *entries)
        (row,) = await ledger.read(PlatformCounts(ALWAYS, 3, 10))
        assert row == ("squat", 3, 2, 6, 6, 12, 6 * 60_250)
        (first,) = await ledger.read(PlatformCounts(ALWAYS, 1, 1))
        (second,) = await ledger.read(PlatformCounts(ALWAYS, 1, 10, first.exercise_id))
        assert (first.exercise_id, second) == ("rare", row)


async def test_what_was_said_last_of_consents_and_quotas_holds(site: Any) -> None:
    """A withdrawal is not the same as no record, and nothing crosses an organisation."""
    both = frozenset(Purpose)
    async with site.open() as ledger:
        assert await ledger.read(ConsentOf(ORG, ANN)) is None
        assert await ledger.read(QuotaOf(ORG)) is None
        granted = ConsentEntry(ORG, ANN, both, 5, ANN)
        withdrawn = ConsentEntry(ORG, ANN, frozenset(), 4, "admin")
        assert await commit(ledger, granted) == [STORED]
        assert await ledger.read(ConsentOf(ORG, ANN)) == granted
        assert await commit(ledger, withdrawn, QuotaEntry(ORG, Quota(2.5), 6, "admin")) == [
            STORED, STORED,
        ]  # fmt: skip
        assert await ledger.read(ConsentOf(ORG, ANN)) == withdrawn
        assert await ledger.read(ConsentOf(OTHER_ORG, ANN)) is None
        assert (await ledger.read(QuotaOf(ORG))).quota == Quota(2.5)
        await commit(ledger, QuotaEntry(ORG, Quota(None), 7, "admin"))
        assert (await ledger.read(QuotaOf(ORG))).quota == Quota(None)
        assert await ledger.read(QuotaOf(OTHER_ORG)) is None


REVISIONS = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(1, 4), st.integers(0, 3), st.sampled_from(["", "a", "b"])
    ),
    max_size=12,
)


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(REVISIONS)
async def test_days_are_the_sums_of_the_newest_revisions(
    sqlite_site: Any, events: list[tuple[int, int, int, str]]
) -> None:
    """In whatever order and however often revisions come, each session counts once, by its last."""
    principal = name(abs(hash(tuple(events))) % 10**12 + 1000)
    newest: dict[int, tuple[int, int, str]] = {}
    async with sqlite_site.open() as ledger:
        for session, revision, reps, exercise in events:
            entry = aggregate(
                session, revision, reps=reps, exercise_id=exercise, principal_id=principal
            )
            entry = replace(
                entry,
                session_id=f"{principal[:30]}-{session}-{principal[-8:]}",
                ended_unix_ms=DAY + revision * DAY_MS,
            )
            await commit(ledger, entry)
            before = newest.get(session, (0, 0, ""))
            if revision > before[0]:
                newest[session] = (revision, reps, exercise or before[2])
        found = await ledger.read(CohortAdherence(ORG, ALWAYS, 50))
    mine = [row for row in found if row.principal_id == principal]
    expected: dict[str, tuple[int, int]] = {}
    for _, reps, exercise in newest.values():
        sessions, total = expected.get(exercise, (0, 0))
        expected[exercise] = (sessions + 1, total + reps)
    assert {row.exercise_id: (row.sessions, row.rep_count) for row in mine} == expected
