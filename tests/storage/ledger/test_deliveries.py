"""What every ledger keeps of finals on their way: each step once, and never taken back."""

from dataclasses import replace
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.engine.delivery_records import (
    Delivery,
    DeliveryEntry,
    DeliveryOf,
    DueDeliveries,
    OutboxCounts,
    OutboxPage,
    Progress,
    ProgressEntry,
    RetryEntry,
    StoredReplay,
)
from penstock.engine.ledger_port import Together, Verdict
from penstock.engine.records import AuditEntry, AuditPage, FinalEntry

STORED, REPEATED, CONFLICT, UNFIT = Verdict
REPLAY = StoredReplay("file:///blobs/x.bin.gz", 528, "ab" * 32)
NOW = 1_700_000_000_000
HALF = Progress(replay_due=True, replay=REPLAY)
DONE = replace(HALF, published_unix_ms=NOW)


def name(number: int) -> str:
    return str(UUID(int=number))


def final(session: int, revision: int = 1) -> FinalEntry:
    return FinalEntry(name(session), name(8), name(7), revision, "completed", NOW, {"n": revision})


def order(session: int, revision: int = 1, *, due: bool = True, at: int = NOW) -> DeliveryEntry:
    return DeliveryEntry(name(session), revision, name(8), due, at)


def both(session: int, revision: int = 1, *, due: bool = True, at: int = NOW) -> Together:
    return Together((final(session, revision), order(session, revision, due=due, at=at)))


def told(session: int, progress: Progress, revision: int = 1) -> ProgressEntry:
    return ProgressEntry(name(session), revision, progress)


async def commit(ledger: Any, *entries: Any) -> list[Verdict]:
    return [outcome.verdict for outcome in await ledger.commit(entries)]


async def due(ledger: Any, at: int = NOW, limit: int = 10) -> list[str]:
    return [d.final.session_id for d in await ledger.read(DueDeliveries(at, limit))]


async def test_an_order_is_due_from_its_final_on(site: Any) -> None:
    """With its final, word for word, also after a restart; asking again changes nothing."""
    async with site.open() as ledger:
        assert await commit(ledger, both(1)) == [STORED]
        assert await commit(ledger, both(1)) == [REPEATED]
    async with site.open() as ledger:
        wanted = Delivery(final(1), Progress(replay_due=True, next_unix_ms=NOW))
        assert await ledger.read(DueDeliveries(NOW, 10)) == [wanted]
        assert await ledger.read(DueDeliveries(NOW - 1, 10)) == []
        assert await ledger.read(DeliveryOf(name(1))) == wanted
        assert await ledger.read(DeliveryOf(name(2))) is None


async def test_an_order_needs_its_final(site: Any) -> None:
    """Nobody can order what there is not: an outbox of such rows would never be empty."""
    async with site.open() as ledger:
        assert await commit(ledger, order(1)) == [UNFIT]
        assert await ledger.read(OutboxCounts()) == (0, None, 0)


async def test_the_longest_due_comes_first_and_not_more_than_asked_for(site: Any) -> None:
    """So that after an outage the oldest are delivered first."""
    async with site.open() as ledger:
        await commit(ledger, *(both(n, at=NOW - n) for n in (1, 3, 2)))
        assert await due(ledger) == [name(3), name(2), name(1)]
        assert await due(ledger, limit=1) == [name(3)]
        assert await due(ledger, at=NOW - 2) == [name(3), name(2)]
        assert await ledger.read(OutboxCounts()) == (3, NOW - 3, 0)


async def test_progress_is_kept_whole(site: Any) -> None:
    """Every field comes back; an error is an operator's to read."""
    waits = Progress(
        replay_due=True, replay=REPLAY, attempts=3, next_unix_ms=NOW + 5, error='core: "ä" refused'
    )
    async with site.open() as ledger:
        assert await commit(ledger, both(1), told(1, waits)) == [STORED, STORED]
        assert (await ledger.read(DeliveryOf(name(1)))).progress == waits
        assert await due(ledger) == []
        assert await due(ledger, at=NOW + 5) == [name(1)]


async def test_progress_of_nothing_is_a_conflict(site: Any) -> None:
    """Of a delivery that nobody ordered, or that is gone, nothing is kept."""
    async with site.open() as ledger:
        assert await commit(ledger, told(1, Progress(replay_due=True))) == [CONFLICT]
        await commit(ledger, both(1))
        assert await commit(ledger, told(1, Progress(replay_due=True), 2)) == [CONFLICT]


async def test_what_is_done_stays_done(site: Any) -> None:
    """A late report of an earlier attempt takes back neither the replay nor the publication."""
    done = replace(DONE, published_unix_ms=NOW + 1)
    async with site.open() as ledger:
        await commit(ledger, both(1), told(1, done))
        assert await ledger.read(OutboxCounts()) == (0, None, 0)
        late = Progress(replay_due=True, attempts=2, next_unix_ms=NOW + 9, error="late", dead=True)
        assert await commit(ledger, told(1, late)) == [STORED]
        found = (await ledger.read(DeliveryOf(name(1)))).progress
        assert (found.replay, found.published_unix_ms, found.dead) == (REPLAY, NOW + 1, False)
        assert await due(ledger, at=NOW + 99) == []
        # Published when it was first told, not when it was told again.
        await commit(ledger, told(1, replace(done, published_unix_ms=NOW + 50)))
        assert (await ledger.read(DeliveryOf(name(1)))).progress.published_unix_ms == NOW + 1


@pytest.mark.parametrize("dead", [False, True])
async def test_a_newer_revision_supersedes_what_is_not_done(site: Any, *, dead: bool) -> None:
    """Waiting or dead, nothing of the older one is tried again, whatever is told of it later."""
    waits = Progress(replay_due=True, attempts=1, next_unix_ms=NOW, error="core", dead=dead)
    async with site.open() as ledger:
        await commit(ledger, both(1), told(1, waits))
        assert await commit(ledger, both(1, 2)) == [STORED]
        assert await ledger.read(OutboxCounts()) == (1, NOW, 0)
        assert (await ledger.read(DeliveryOf(name(1)))).final.revision == 2
        await commit(ledger, told(1, waits))
        assert [d.final.revision for d in await ledger.read(DueDeliveries(NOW, 9))] == [2]
        assert [row.revision for row in await ledger.read(OutboxPage(9))] == [2]
        outcome = (await ledger.commit([RetryEntry(NOW)]))[0]
        assert outcome.value == 0


async def test_a_newer_revision_leaves_what_is_done(site: Any) -> None:
    """Two revisions, each published once: the older one is not superseded any more."""
    async with site.open() as ledger:
        await commit(ledger, both(1), told(1, DONE))
        await commit(ledger, both(1, 2))
        await commit(ledger, told(1, Progress(replay_due=True, error="late")))
        assert [d.final.revision for d in await ledger.read(DueDeliveries(NOW, 9))] == [2]


async def test_a_revision_without_frames_takes_over_the_replay(site: Any) -> None:
    """Of the newest older one: stored already, or still to be stored from the same file."""
    async with site.open() as ledger:
        await commit(ledger, both(1), told(1, DONE))
        await commit(ledger, both(1, 2, due=False))
        found = (await ledger.read(DeliveryOf(name(1)))).progress
        assert (found.replay, found.replay_due, found.stored) == (REPLAY, True, True)
        assert found.published_unix_ms is None  # its own aggregates are still to be published

        await commit(ledger, both(2), both(2, 2, due=False))
        found = (await ledger.read(DeliveryOf(name(2)))).progress
        assert (found.replay, found.replay_due, found.stored) == (None, True, False)

        await commit(ledger, both(3, due=False), both(3, 2, due=False))
        assert (await ledger.read(DeliveryOf(name(3)))).progress.stored


async def test_a_revision_with_frames_stores_its_own_replay(site: Any) -> None:
    """The blob of the older one has not all of them."""
    async with site.open() as ledger:
        await commit(ledger, both(1), told(1, DONE), both(1, 2))
        found = (await ledger.read(DeliveryOf(name(1)))).progress
        assert (found.replay, found.stored) == (None, False)


async def test_a_repeated_order_supersedes_nothing(site: Any) -> None:
    """Written again after a lost answer, it must not undo what has happened since."""
    async with site.open() as ledger:
        await commit(ledger, both(1), both(1, 2), told(1, HALF, 2))
        assert await commit(ledger, both(1), both(1, 2)) == [REPEATED, REPEATED]
        assert (await ledger.read(DeliveryOf(name(1)))).progress.replay == REPLAY


async def test_the_dead_come_back_by_an_operators_wish_only(site: Any) -> None:
    """One session's or all; attempts begin anew, what was stored stays, the last error too."""
    dead = replace(HALF, attempts=60, next_unix_ms=NOW + 9, error="core", dead=True)
    async with site.open() as ledger:
        for n in (1, 2, 3):
            await commit(ledger, both(n), told(n, dead))
        await commit(ledger, both(4))
        assert await due(ledger, at=NOW + 99) == [name(4)]
        assert await ledger.read(OutboxCounts()) == (1, NOW, 3)

        (one, none, unknown) = await ledger.commit(
            [RetryEntry(NOW, name(2)), RetryEntry(NOW, name(4)), RetryEntry(NOW, name(99))]
        )
        assert [outcome.value for outcome in (one, none, unknown)] == [1, 0, 0]
        revived = (await ledger.read(DeliveryOf(name(2)))).progress
        assert revived == replace(dead, attempts=0, next_unix_ms=NOW, dead=False)

        (rest,) = await ledger.commit([RetryEntry(NOW + 1)])
        assert rest.value == 2
        assert await ledger.read(OutboxCounts()) == (4, NOW, 0)


async def test_a_wish_and_its_audit_are_one(site: Any) -> None:
    """Both are there or neither is; the value tells how many came back."""
    dead = Progress(replay_due=True, attempts=60, dead=True)
    audit = AuditEntry(NOW, "ada", "outbox.retried", "outbox", {})
    async with site.open() as ledger:
        await commit(ledger, both(1), told(1, dead))
        (outcome,) = await ledger.commit([Together((RetryEntry(NOW), audit))])
        assert (outcome.verdict, outcome.value) == (STORED, (1, None))
        await commit(ledger, told(1, dead))
        (again,) = await ledger.commit([Together((RetryEntry(NOW), audit))])
        assert again.verdict is REPEATED
        assert await ledger.read(OutboxCounts()) == (0, None, 1)
        assert len(await ledger.read(AuditPage(10))) == 1


async def test_an_operator_pages_through_what_is_not_done(site: Any) -> None:
    """By session, each once, the done ones left out; the dead alone where only they are asked."""
    waits = Progress(replay_due=True, attempts=2, next_unix_ms=NOW + 7, error="blob_timed_out")
    async with site.open() as ledger:
        await commit(ledger, *(both(n, at=NOW + n) for n in range(1, 8)))
        await commit(ledger, told(2, DONE), told(3, waits))
        await commit(ledger, told(5, replace(waits, dead=True)), told(6, replace(waits, dead=True)))
        seen: list[str] = []
        after = ""
        while page := await ledger.read(OutboxPage(2, after)):
            assert len(page) <= 2
            after = page[-1].session_id
            seen += [row.session_id for row in page]
        assert seen == [name(n) for n in (1, 3, 4, 5, 6, 7)]
        third = (await ledger.read(OutboxPage(1, name(2))))[0]
        assert third == (name(3), 1, name(8), NOW + 3, waits)
        dead = await ledger.read(OutboxPage(9, only_dead=True))
        assert [row.session_id for row in dead] == [name(5), name(6)]
        assert all(row.progress.dead for row in dead)


async def test_many_at_once_are_each_delivered_once(site: Any) -> None:
    """Orders, reports and wishes that come side by side leave what they would one by one."""
    async with site.open() as ledger:

        async def deliver(session: int) -> None:
            await ledger.commit([both(session)])
            failed = Progress(replay_due=True, attempts=60, error="core", dead=session % 2 == 0)
            await ledger.commit([told(session, failed)])
            await ledger.commit([RetryEntry(NOW, name(session))])
            await ledger.commit([told(session, DONE)])

        async with trio.open_nursery() as nursery:
            for session in range(1, 21):
                nursery.start_soon(deliver, session)
        assert await ledger.read(OutboxCounts()) == (0, None, 0)
        assert await ledger.read(OutboxPage(50)) == []


SESSIONS = count(1000)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["order", "stored", "published", "failed", "dead", "retry"]),
        st.integers(1, 3),
    ),
    max_size=14,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_whatever_is_told_in_whatever_order_the_outbox_is_right(
    sqlite_site: Any, steps: Any
) -> None:
    """Published stays published, at most the newest revision is on its way, no step is undone."""

    async def run() -> None:
        session = name(next(SESSIONS))
        orders = 0
        stored: set[int] = set()
        sent: set[int] = set()
        async with sqlite_site.open() as ledger:
            for what, revision in steps:
                if what == "order":
                    revision = orders + 1  # noqa: PLW2901 - they come in their order
                    entry = Together(
                        (
                            FinalEntry(session, name(8), name(7), revision, "completed", NOW, {}),
                            DeliveryEntry(session, revision, name(8), True, NOW),  # noqa: FBT003
                        )
                    )
                    assert await commit(ledger, entry) == [STORED]
                    orders = revision
                    continue
                if what == "retry":
                    await ledger.commit([RetryEntry(NOW, session)])
                    continue
                known = REPLAY if revision in stored or what == "stored" else None
                progress = Progress(
                    True,  # noqa: FBT003
                    known,
                    NOW if what == "published" and known else None,
                    attempts=1,
                    dead=what == "dead",
                )
                verdict = (await commit(ledger, ProgressEntry(session, revision, progress)))[0]
                assert verdict is (STORED if revision <= orders else CONFLICT)
                if verdict is STORED:
                    stored |= {revision} if known else set()
                    sent |= {revision} if progress.published_unix_ms else set()
            rows = [row for row in await ledger.read(OutboxPage(50)) if row.session_id == session]
            assert len(rows) <= 1
            assert all(row.revision == orders for row in rows)
            if orders:
                newest = (await ledger.read(DeliveryOf(session))).progress
                assert (newest.published_unix_ms is not None) == (orders in sent)
                assert (newest.replay is not None) == (orders in stored)
                assert bool(rows) == (not newest.done)

    trio.run(run)
