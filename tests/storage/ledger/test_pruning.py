"""What every ledger lets go of for its age, and what it does not."""

from typing import Any
from uuid import UUID

from penstock.engine.delivery_records import (
    DeliveryEntry,
    OutboxCounts,
    Progress,
    ProgressEntry,
    StoredReplay,
)
from penstock.engine.ledger_port import Together
from penstock.engine.records import AuditEntry, AuditPage, FinalEntry, FinalOf
from penstock.engine.retention_records import (
    PrunableAudits,
    PrunableFinals,
    PruneAudits,
    PruneFinals,
)

NOW = 1_700_000_000_000
DONE = Progress(replay_due=True, replay=StoredReplay("file:///x", 1, "a"), published_unix_ms=NOW)
DEAD = Progress(replay_due=True, attempts=60, error="core", dead=True)


def name(number: int) -> str:
    return str(UUID(int=number))


def final(session: int, revision: int = 1, *, at: int = NOW, said: int = NOW) -> Together:
    entry = FinalEntry(name(session), name(8), name(7), revision, "completed", said, {})
    order = DeliveryEntry(name(session), revision, name(8), replay_due=True, created_unix_ms=at)
    return Together((entry, order))


def done(session: int, revision: int = 1, progress: Progress = DONE) -> ProgressEntry:
    return ProgressEntry(name(session), revision, progress)


async def value(ledger: Any, entry: Any) -> int:
    (outcome,) = await ledger.commit([entry])
    return int(outcome.value)


async def left(ledger: Any, *sessions: int) -> list[int]:
    return [n for n in sessions if await ledger.read(FinalOf(name(n))) is not None]


async def test_what_is_older_and_delivered_goes(site: Any) -> None:
    """By the service's clock, whatever the client said; what is exactly as old is kept."""
    async with site.open() as ledger:
        await ledger.commit([final(1, at=NOW - 1), done(1), final(2, at=NOW), done(2)])
        await ledger.commit([final(3, at=NOW + 5, said=0), done(3)])
        assert await ledger.read(PrunableFinals(NOW)) == 1
        assert await value(ledger, PruneFinals(NOW, 10)) == 1
        assert await left(ledger, 1, 2, 3) == [2, 3]
        assert await ledger.read(PrunableFinals(NOW)) == 0


async def test_what_waits_is_kept_however_old(site: Any) -> None:
    """A final that is on its way, or dead, is all that its patient has."""
    async with site.open() as ledger:
        await ledger.commit([final(1, at=1), final(2, at=1), done(2, progress=DEAD)])
        assert await value(ledger, PruneFinals(NOW, 10)) == 0
        assert await ledger.read(OutboxCounts()) == (1, 1, 1)
        await ledger.commit([done(1)])
        assert await value(ledger, PruneFinals(NOW, 10)) == 1
        assert await left(ledger, 1, 2) == [2]


async def test_a_session_goes_with_all_its_revisions_or_not_at_all(site: Any) -> None:
    """A young revision keeps the older ones, and one that waits does."""
    async with site.open() as ledger:
        await ledger.commit([final(1, at=1), done(1), final(1, 2, at=NOW + 1), done(1, 2)])
        await ledger.commit([final(2, at=1), done(2), final(2, 2, at=2)])
        await ledger.commit([final(3, at=1), final(3, 2, at=2), done(3, 2)])
        assert await ledger.read(PrunableFinals(NOW)) == 1
        assert await value(ledger, PruneFinals(NOW, 10)) == 1
        assert await left(ledger, 1, 2, 3) == [1, 2]


async def test_so_many_go_in_one_step(site: Any) -> None:
    """The last step removes fewer than it might, and so says that it is the last."""
    async with site.open() as ledger:
        for n in range(7):
            await ledger.commit([final(n, at=n), done(n)])
        assert [await value(ledger, PruneFinals(NOW, 3)) for _ in range(3)] == [3, 3, 1]
        assert await left(ledger, *range(7)) == []


async def test_old_audit_entries_go_the_oldest_first(site: Any) -> None:
    """So many in one step; what is exactly as old is kept, and positions are not used again."""
    async with site.open() as ledger:
        for n in range(6):
            await ledger.commit([AuditEntry(NOW + n, "ada", "a", "s", {})])
        last = (await ledger.read(AuditPage(1)))[0].position
        assert await ledger.read(PrunableAudits(NOW + 5)) == 5
        assert [await value(ledger, PruneAudits(NOW + 5, 3)) for _ in range(2)] == [3, 2]
        assert [row.entry.at_unix_ms for row in await ledger.read(AuditPage(9))] == [NOW + 5]
        assert await value(ledger, PruneAudits(NOW + 6, 3)) == 1
        await ledger.commit([AuditEntry(NOW + 9, "ada", "a", "s", {})])
        assert (await ledger.read(AuditPage(1)))[0].position > last
