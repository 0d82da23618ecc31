"""Media events, sessions and cells in the ledger, whichever store is behind it."""

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import orjson
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media_session import SESSION, any_event, good_session, told
from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.ledger_port import Ledger, Verdict
from penstock.engine.media.events import EventKey, MediaEvent
from penstock.engine.media.metrics import MediaStatus, media_metrics
from penstock.engine.media.recall import recalled
from penstock.engine.media.records import (
    FOLD_AFTER_MS,
    IDLE_AFTER_MS,
    DimensionCells,
    DueMediaSessions,
    MediaEndedEntry,
    MediaEventEntry,
    MediaEventsOf,
    MediaFoldEntry,
    MediaOwnerOf,
    MediaStandingOf,
    StatusCells,
)
from penstock.engine.media.rollup import (
    ALL_MEDIA,
    Cell,
    Change,
    Dimension,
    Standing,
    Surroundings,
    keys_of,
    standing_of,
)

ORG, PRINCIPAL = "an org", "a principal"
AROUND = Surroundings("RO", "mobile", "Firefox")
STORED, REPEATED, CONFLICT, _UNFIT, FULL = Verdict
FAR = 1 << 60


def entry(event: MediaEvent, principal: str = PRINCIPAL) -> MediaEventEntry:
    return MediaEventEntry(event, ORG, principal, AROUND)


async def commit(ledger: Ledger, *entries: Any) -> list[Verdict]:
    return [outcome.verdict for outcome in await ledger.commit(entries)]


async def fold_of(ledger: Ledger, session_id: str, **given: Any) -> MediaFoldEntry:
    """Make a session's fold of what the ledger holds of it now."""
    plain: dict[str, Any] = {"closed": False, "at_unix_ms": 0} | given
    events, metrics = await recalled(ledger, session_id, closed=plain["closed"])
    standing = None if metrics is None else standing_of(metrics, AROUND)
    return MediaFoldEntry(session_id, events, standing, **plain)


async def cells_of(ledger: Ledger, media_ids: Iterable[str]) -> dict[Any, Cell]:
    """Give everything that the statistics are made of, by dimension, value and medium."""
    found: dict[Any, Cell] = {}
    for dimension in Dimension:
        for media_id in (ALL_MEDIA, *media_ids):
            for value, cell in await ledger.read(DimensionCells(0, dimension, media_id)):
                found[dimension, value, media_id] = cell
    for status, cell in await ledger.read(StatusCells(0)):
        assert found[Dimension.STATUS, status.value, ALL_MEDIA].sums == cell.sums
        found[Dimension.STATUS, status.value, ALL_MEDIA] = cell
    return found


def counted(standings: Iterable[Standing]) -> dict[Any, Cell]:
    """Count standings in cells the plain way: each once, at its last."""
    found: dict[Any, Cell] = {}
    for standing in standings:
        for key in keys_of(standing):
            cell = found.setdefault((key.dimension, key.value, key.media_id), Cell())
            Change(key, None, standing).apply(cell)
    return found


async def test_an_event_comes_back_as_it_was(site: Any) -> None:
    """Every field survives, from the ledger that took it and from the next one."""
    events = good_session()
    for verdict in (STORED, REPEATED):
        async with site.open() as ledger:
            assert set(await commit(ledger, *map(entry, events))) == {verdict}
            stored = await ledger.read(MediaEventsOf(SESSION))
            read = [one.event(SESSION) for one in stored]
            assert sorted(read, key=lambda e: e.key) == sorted(events, key=lambda e: e.key)
            owner = await ledger.read(MediaOwnerOf(SESSION))
            assert owner == SessionIdentity(SESSION, PRINCIPAL, ORG)
            assert await ledger.read(MediaOwnerOf(str(uuid4()))) is None


async def test_a_session_belongs_to_whom_its_first_event_was_of(site: Any) -> None:
    """Another principal's event is refused, also a repeated one, and nothing of it is kept."""
    async with site.open() as ledger:
        assert await commit(ledger, entry(told("play", 0))) == [STORED]
        foreign = [entry(told(kind, 0), "another") for kind in ("play", "pause")]
        assert await commit(ledger, *foreign) == [CONFLICT] * 2
        assert len(await ledger.read(MediaEventsOf(SESSION))) == 1


async def test_a_session_has_room_for_so_many_events(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last place is an end's; a repeated event needs none; another session has its own."""
    monkeypatch.setattr("penstock.engine.media.events.MAX_SESSION_EVENTS", 3)
    async with site.open() as ledger:
        beats = [entry(told("heartbeat", at)) for at in (1, 2, 3)]
        assert await commit(ledger, *beats) == [STORED, STORED, FULL]
        assert await commit(ledger, beats[0]) == [REPEATED]
        ends = [entry(told("session_end", at)) for at in (4, 5)]
        assert await commit(ledger, *ends) == [STORED, FULL]
        assert ledger.statistics().rejected == 2
        other = replace(told("heartbeat", 3), session_id=str(uuid4()))
        assert await commit(ledger, entry(other)) == [STORED]


async def due_at(ledger: Ledger) -> int | None:
    """Find out when the one session is due."""
    low, high = 0, FAR
    if not await ledger.read(DueMediaSessions(high, 1)):
        return None
    while low < high:
        middle = (low + high) // 2
        if await ledger.read(DueMediaSessions(middle, 1)):
            high = middle
        else:
            low = middle + 1
    return low


async def test_when_a_session_is_due(site: Any) -> None:
    """After its first new event by so much, at once at an end, and once more when it is silent."""
    first, later = told("play", 0), told("heartbeat", 20_000, playing=True)
    async with site.open() as ledger:
        await commit(ledger, entry(first), entry(later))
        assert await due_at(ledger) == first.received_ms + FOLD_AFTER_MS
        fold = await fold_of(ledger, SESSION)
        assert fold.standing is not None
        assert fold.standing.status is MediaStatus.ACTIVE
        await commit(ledger, fold)
        assert await due_at(ledger) == later.received_ms + IDLE_AFTER_MS
        closed = await fold_of(ledger, SESSION, closed=True)
        await commit(ledger, closed)
        assert await due_at(ledger) is None
        end = told("session_end", 30_000)
        await commit(ledger, entry(end))
        assert await due_at(ledger) == end.received_ms
        # What comes between the look and the exchange is not forgotten.
        fold = await fold_of(ledger, SESSION, at_unix_ms=77)
        await commit(ledger, entry(told("error", 31_000)), fold)
        assert await due_at(ledger) == 77
        # A player's end is not the session's: that may still come, and is waited for as long.
        fold = await fold_of(ledger, SESSION, at_unix_ms=78)
        assert fold.standing is not None
        assert fold.standing.status is MediaStatus.ABANDONED
        await commit(ledger, fold)
        assert await due_at(ledger) == told("error", 31_000).received_ms + IDLE_AFTER_MS
        await commit(ledger, await fold_of(ledger, SESSION, closed=True))
        assert await due_at(ledger) is None


async def test_an_ended_session_is_due_at_once(site: Any) -> None:
    """Its final closes it for the statistics; one without events has nothing to close."""
    async with site.open() as ledger:
        await commit(ledger, entry(told("play", 0)))
        fold = await fold_of(ledger, SESSION, at_unix_ms=5)
        ended = [MediaEndedEntry(SESSION, 3), MediaEndedEntry(str(uuid4()), 3)]
        assert await commit(ledger, *ended) == [STORED] * 2
        ((session_id, is_ended, _, around),) = await ledger.read(DueMediaSessions(3, 10))
        assert (session_id, is_ended, around) == (SESSION, True, AROUND)
        # One that had been begun before the end does not hide it.
        await commit(ledger, fold)
        assert await due_at(ledger) == 5
        await commit(ledger, await fold_of(ledger, SESSION, closed=True))
        assert await due_at(ledger) is None


async def test_cells_that_hold_nothing_are_gone(site: Any) -> None:
    """A session that moves on leaves no row, and no bucket, where it was."""
    async with site.open() as ledger:
        await commit(ledger, entry(told("session_start", 0, ttfb_ms=40.0)))
        await commit(ledger, await fold_of(ledger, SESSION))
        before = await cells_of(ledger, ["squat", "lunge"])
        assert (Dimension.STATUS, "active", ALL_MEDIA) in before
        # Earlier than the first, so that it decides which medium the session is of.
        await commit(ledger, entry(told("session_start", -5, media_id="lunge", ttfb_ms=90.0)))
        fold = await fold_of(ledger, SESSION, closed=True)
        await commit(ledger, fold)
        after = await cells_of(ledger, ["squat", "lunge"])
        assert fold.standing is not None
        assert after == counted([fold.standing])


async def test_more_is_never_taken_out_than_there_is(site: Any) -> None:
    """Cells that do not hold what a session counted for are left as they are, and it says so."""
    async with site.open() as ledger:
        await commit(ledger, entry(told("session_start", 0, ttfb_ms=40.0)))
        fold = await fold_of(ledger, SESSION)
        await commit(ledger, fold)
        assert fold.standing is not None
        # The session's row says that it had counted for more than the cells were ever told.
        wrong = replace(fold.standing, watch_time_ms=fold.standing.watch_time_ms + 1)
        _tamper(site, orjson.dumps(wrong.plain()).decode())
        before = await cells_of(ledger, ["squat"])
        await commit(ledger, entry(told("play", 10)))
        (outcome,) = await ledger.commit([await fold_of(ledger, SESSION)])
        assert outcome.verdict is CONFLICT
        assert await cells_of(ledger, ["squat"]) == before
        given_up = MediaFoldEntry(SESSION, 0, None, closed=False, at_unix_ms=0)
        assert await commit(ledger, given_up) == [STORED]
        assert await due_at(ledger) is None
        assert await ledger.read(MediaStandingOf(SESSION)) == wrong


async def test_a_standing_that_nobody_knows_stays_its_sessions_trouble(site: Any) -> None:
    """It is refused, and given up without being read; other sessions of the group are stored."""
    other = replace(told("play", 0), session_id=str(uuid4()))
    async with site.open() as ledger:
        await commit(ledger, entry(told("play", 0)), entry(other))
        await commit(ledger, await fold_of(ledger, SESSION))
        for text in ("{}", "[", '{"v": 99}'):
            _tamper(site, text)
            folds = [await fold_of(ledger, name) for name in (SESSION, other.session_id)]
            assert await commit(ledger, *folds) == [CONFLICT, STORED]
            given_up = MediaFoldEntry(SESSION, 0, None, closed=False, at_unix_ms=0)
            assert await commit(ledger, given_up) == [STORED]


def _tamper(site: Any, text: str, session_id: str = SESSION) -> None:
    if hasattr(site, "path"):
        with sqlite3.connect(site.path) as db:
            db.execute(
                "UPDATE media_sessions SET standing = ? WHERE session_id = ?", (text, session_id)
            )
        db.close()
    else:
        site.sql(f"UPDATE media_sessions SET standing = '{text}' WHERE session_id = '{session_id}'")


async def test_two_processes_fold_one_session(site: Any) -> None:
    """Each exchange sees what the other has made of the cells: the session counts once."""
    async with site.open() as one, site.open() as other:
        await commit(one, entry(told("session_start", 0, ttfb_ms=40.0)))
        early = await fold_of(one, SESSION)
        await commit(other, entry(told("play", 500)), entry(told("session_end", 9000)))
        late = await fold_of(other, SESSION)
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(commit_in_turn, one, early)
                nursery.start_soon(commit_in_turn, other, late)
        assert late.standing is not None
        assert await cells_of(one, ["squat"]) == counted([late.standing])


async def commit_in_turn(ledger: Ledger, fold: MediaFoldEntry) -> None:
    while True:
        try:
            assert await commit(ledger, fold) == [STORED]
        except Exception as error:  # the other one is at it
            if "lock" not in str(error):
                raise
        else:
            return


# Which event of the pool comes, and with the data of which one; or a session is folded, at once or
# with the next of these.
_EVENTS = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 1))
_FOLDS = st.tuples(st.sampled_from(["look", "exchange"]), st.integers(0, 1))
_SCRIPT = st.lists(_EVENTS | _FOLDS, min_size=1, max_size=30)


@pytest.mark.parametrize("name", ["sqlite_site", "postgres_site"])
def test_duplicates_and_order_do_not_matter(name: str, request: pytest.FixtureRequest) -> None:
    """Of any script of events, repetitions and folds, what is kept is as a dict would keep it.

    The cells are as if each session had been counted once, whatever was folded on the way.
    """
    site = request.getfixturevalue(name)

    @settings(
        max_examples=25 if name == "sqlite_site" else 10,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(any_event(), min_size=10, max_size=10), _SCRIPT)
    def check(pool: list[MediaEvent], script: list[Any]) -> None:
        trio.run(_play, site, pool, script)

    check()


async def _play(site: Any, pool: list[MediaEvent], script: list[Any]) -> None:
    names = [str(uuid4()), str(uuid4())]
    kept: dict[str, dict[EventKey, MediaEvent]] = {name: {} for name in names}
    looked: list[MediaFoldEntry] = []
    media = {event.media_id for event in pool}
    async with site.open() as ledger:
        before = await cells_of(ledger, media)
        for step in script:
            if step[0] == "look":
                looked.append(await fold_of(ledger, names[step[1]]))
            elif step[0] == "exchange":
                # The newest look first: the others come too late.
                folds = [looked.pop()] if looked else []
                assert set(await commit(ledger, *folds)) <= {STORED, CONFLICT}
            else:
                which, data, session = step
                name = names[session]
                event = replace(pool[which], session_id=name, data=pool[data].data)
                expected = REPEATED if event.key in kept[name] else STORED
                kept[name].setdefault(event.key, event)
                assert await commit(ledger, entry(event), entry(event)) == [expected, REPEATED]
        standings = []
        for name, events in kept.items():
            stored = await ledger.read(MediaEventsOf(name))
            assert {one.event(name).key: one.event(name) for one in stored} == events
            if events:
                await commit(ledger, await fold_of(ledger, name))
                metrics = media_metrics(events.values())
                assert metrics is not None
                standings.append(standing_of(metrics, AROUND))
                assert await ledger.read(MediaStandingOf(name)) == standings[-1]
        expected_cells = before
        for key, cell in counted(standings).items():
            expected_cells.setdefault(key, Cell()).merge(cell)
        assert await cells_of(ledger, media) == expected_cells


async def test_a_window_begins_with_its_hour(site: Any) -> None:
    """What was first heard of before it is not counted."""
    hour = 3_600_000
    async with site.open() as ledger:
        for number in range(3):
            event = replace(told("play", number * hour), session_id=str(uuid4()))
            await commit(ledger, entry(event))
            await commit(ledger, await fold_of(ledger, event.session_id))
        start = told("play", hour).received_ms // hour * 3600
        for since, count in ((start - 3600, 3), (start, 2), (start + 3600, 1), (start + 7200, 0)):
            found = await ledger.read(DimensionCells(since, Dimension.COUNTRY_CODE))
            assert sum(cell.of("sessions") for _, cell in found) == count
            by_status = await ledger.read(StatusCells(since, MediaStatus.ACTIVE))
            assert sum(cell.of("sessions") for _, cell in by_status) == count
        assert await ledger.read(StatusCells(0, MediaStatus.COMPLETED)) == []
