"""Sessions' figures are made anew while events come, whatever is in the way."""

from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
import trio

from media_session import SESSION, good_session, told
from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.ledger_port import EntryOutcome, LedgerReason, LedgerUnavailableError, Verdict
from penstock.engine.media.folder import LOOK_SECONDS, PORTION, MediaFolder
from penstock.engine.media.metrics import MediaStatus, media_metrics
from penstock.engine.media.recall import MediaRecall
from penstock.engine.media.records import (
    IDLE_AFTER_MS,
    DueMediaSession,
    DueMediaSessions,
    MediaEventsOf,
    MediaFoldEntry,
    MediaOwnerOf,
    StoredMediaEvent,
)
from penstock.engine.media.rollup import NOWHERE, standing_of
from penstock.engine.receipts import Receipt, answer_of

NOW_MS = good_session()[0].received_ms + 100_000


def stored(*events: Any) -> list[StoredMediaEvent]:
    return [
        StoredMediaEvent(
            event.kind.value,
            event.at_ms,
            event.received_ms,
            event.media_id,
            event.media_type.value,
            orjson.dumps(event.data.plain()).decode(),
        )
        for event in events
    ]


@dataclass(eq=False)
class World:
    """A ledger, a writer and a clock: those parts of them that the folder uses."""

    events: dict[str, list[StoredMediaEvent]]
    due: list[DueMediaSession]
    now_ms: int = NOW_MS
    broken: bool = False
    refuses: set[str] = field(default_factory=set)
    folds: list[MediaFoldEntry] = field(default_factory=list)
    looks: int = 0

    def unix(self) -> float:
        return self.now_ms / 1000

    async def read(self, query: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise LedgerUnavailableError(LedgerReason.IO_ERROR, "as the test wishes")
        if isinstance(query, DueMediaSessions):
            self.looks += 1
            assert query.now_unix_ms == self.now_ms
            return self.due[: query.limit]
        if isinstance(query, MediaOwnerOf):
            return SessionIdentity(query.session_id, "ann", "clinic")
        assert isinstance(query, MediaEventsOf)
        return self.events[query.session_id]

    def enter_nowait(self, entry: MediaFoldEntry, _lane: Any) -> Receipt:
        self.folds.append(entry)
        refused = entry.session_id in self.refuses and entry.standing is not None
        if not refused:
            self.due = [one for one in self.due if one.session_id != entry.session_id]
        return Receipt(answer_of(EntryOutcome(Verdict.CONFLICT if refused else Verdict.STORED)))

    def folder(self, **given: Any) -> MediaFolder:
        parts: Any = self
        return MediaFolder(parts, parts, parts, **given)


def one(session_id: str = SESSION, **given: Any) -> DueMediaSession:
    plain = DueMediaSession(
        session_id, ended=False, last_received_unix_ms=NOW_MS, surroundings=NOWHERE
    )
    return plain._replace(**given)


async def test_a_due_session_is_made_anew() -> None:
    """Of all its events, and of how many they are; then nothing is due."""
    world = World({SESSION: stored(*good_session())}, [one()])
    folder = world.folder()
    assert await folder.fold_portion() == 1
    metrics = media_metrics(good_session())
    assert metrics is not None
    standing = standing_of(metrics, NOWHERE)
    count = len(good_session())
    assert world.folds == [
        MediaFoldEntry(SESSION, count, standing, closed=False, at_unix_ms=NOW_MS)
    ]
    assert await folder.fold_portion() == 0
    assert folder.statistics().folded == 1


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, MediaStatus.ACTIVE),
        ({"ended": True}, MediaStatus.ABANDONED),
        ({"last_received_unix_ms": NOW_MS - IDLE_AFTER_MS + 1}, MediaStatus.ACTIVE),
        ({"last_received_unix_ms": NOW_MS - IDLE_AFTER_MS}, MediaStatus.ABANDONED),
    ],
    ids=["live", "ended", "nearly idle", "idle"],
)
async def test_what_is_over_is_counted_so(given: dict[str, Any], status: MediaStatus) -> None:
    """A session that has ended, or that nothing was heard of for long, is not active any more."""
    world = World({SESSION: stored(told("play", 0))}, [one(**given)])
    await world.folder().fold_portion()
    (fold,) = world.folds
    assert fold.standing is not None
    assert fold.standing.status is status
    assert fold.closed is (status is MediaStatus.ABANDONED)


async def test_a_silent_session_is_closed_first() -> None:
    """Its owner and the time of its last event are told, and it stays due until it is closed."""
    silent = NOW_MS - IDLE_AFTER_MS
    names = ["silent", "ended", "live"]
    due = [
        one("silent", last_received_unix_ms=silent),
        one("ended", last_received_unix_ms=silent, ended=True),
        one("live"),
    ]
    world = World({name: stored(replace(told("play", 0), session_id=name)) for name in names}, due)
    asked: list[tuple[SessionIdentity, float]] = []

    async def close(owner: SessionIdentity, heard_unix: float) -> bool:
        await trio.lowlevel.checkpoint()
        asked.append((owner, heard_unix))
        return len(asked) == 2

    folder = world.folder(close_silent=close)
    assert await folder.fold_portion() == 2
    assert [session.session_id for session in world.due] == ["silent"]
    assert await folder.fold_portion() == 1
    assert world.due == []
    assert asked == [(SessionIdentity("silent", "ann", "clinic"), silent / 1000)] * 2


async def test_one_that_is_refused_does_not_stand_in_the_way() -> None:
    """It is left as it is until its next event, and the others are made anew."""
    names = [str(number) for number in range(3)]
    events = {name: stored(replace(told("play", 0), session_id=name)) for name in names}
    world = World(events, [one(name) for name in names], refuses={"1"})
    folder = world.folder()
    assert await folder.fold_portion() == 3
    assert world.due == []
    assert [fold.session_id for fold in world.folds if fold.standing is None] == ["1"]
    assert (folder.statistics().folded, folder.statistics().refused) == (2, 1)


async def test_an_event_that_cannot_be_read_is_left_out() -> None:
    """One of another program's making costs a session that event, and not its figures or end."""
    events = [*stored(told("play", 0)), StoredMediaEvent("explode", 1, 1, "m", "video", "{}")]
    world = World({SESSION: events}, [one()])
    await world.folder().fold_portion()
    assert world.folds[0].events == 2
    ledger: Any = world
    metrics = await MediaRecall(ledger).metrics_of(SESSION)
    assert metrics is not None
    assert metrics["events"] == 1


async def test_it_goes_on_when_the_ledger_is_back(autojump_clock: trio.testing.MockClock) -> None:  # noqa: ARG001
    """A ledger that cannot be read ends nothing; more than a portion is done in one go."""
    names = [str(number) for number in range(PORTION + 3)]
    # Without events no thread is needed, which no mock clock waits for.
    world = World({name: [] for name in names}, [one(name) for name in names], broken=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.folder().run)
        await trio.sleep(3 * LOOK_SECONDS + 0.1)
        assert world.folds == []
        world.broken = False
        await trio.sleep(LOOK_SECONDS)
        assert len(world.folds) == PORTION + 3
        nursery.cancel_scope.cancel()


async def test_it_rests_while_bulk_is_refused(autojump_clock: trio.testing.MockClock) -> None:  # noqa: ARG001
    """Statistics can wait for what cannot."""
    world = World({SESSION: []}, [one()])
    rests = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.folder(rests=lambda: rests).run)
        await trio.sleep(5 * LOOK_SECONDS + 0.1)
        assert world.looks == 0
        rests = False
        await trio.sleep(LOOK_SECONDS)
        assert len(world.folds) == 1
        nursery.cancel_scope.cancel()
