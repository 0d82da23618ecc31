"""What every ledger promises, whichever store is behind it."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError, Together, Verdict
from penstock.engine.records import (
    AuditEntry,
    AuditPage,
    FinalEntry,
    FinalOf,
    NewestBook,
    NewestChanges,
    PolicyEntry,
)


class _NoJson:
    def __repr__(self) -> str:
        return "what JSON cannot hold"


_NO_JSON = _NoJson()

MakeFinal = Callable[..., FinalEntry]
MakePolicy = Callable[..., PolicyEntry]
MakeAudit = Callable[..., AuditEntry]
STORED, REPEATED, CONFLICT, UNFIT, FULL = Verdict


def verdicts(outcomes: Any) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]


async def test_what_was_stored_is_read_back_also_after_a_restart(
    site: Any, make_final: MakeFinal, make_policy: MakePolicy, make_audit: MakeAudit
) -> None:
    """Every value comes back equal, from the ledger that took it and from the next one."""
    final = make_final(1, frames=3, share=0.25, none=None, nested={"ä": ["\u2028", True]})
    policy, audit = make_policy(1), make_audit(5)
    for verdict in (STORED, REPEATED):
        async with site.open() as ledger:
            assert verdicts(await ledger.commit([final, policy, audit])) == [verdict] * 3
            assert await ledger.read(FinalOf(final.session_id)) == final
            assert await ledger.read(NewestBook()) == (1, policy.book)
            assert await ledger.read(NewestChanges(10)) == [(1, policy.change)]
            assert [row.entry for row in await ledger.read(AuditPage(10))] == [audit]


async def test_an_empty_ledger_knows_nothing(site: Any) -> None:
    """What was never stored is None or an empty list, not an error."""
    async with site.open() as ledger:
        assert await ledger.commit([]) == []
        assert await ledger.read(FinalOf("nobody")) is None
        assert await ledger.read(NewestBook()) is None
        assert await ledger.read(NewestChanges(10)) == []
        assert await ledger.read(AuditPage(10)) == []


async def test_what_cannot_be_in_the_ledger_can_be_asked_for(site: Any) -> None:
    """A key from outside that no text of the ledger can hold is not found: no error."""
    async with site.open() as ledger:
        assert await ledger.read(FinalOf("a\x00b")) is None


async def test_an_entry_that_is_written_again_changes_nothing(
    site: Any, make_final: MakeFinal, make_policy: MakePolicy, make_audit: MakeAudit
) -> None:
    """Each kind is told apart by its key, in the same group and in a later one."""
    entries = [make_final(1, x=1), make_policy(1), make_audit(1)]
    async with site.open() as ledger:
        both = await ledger.commit(entries + entries)
        assert verdicts(both) == [STORED] * 3 + [REPEATED] * 3
        assert verdicts(await ledger.commit(entries)) == [REPEATED] * 3
        assert len(await ledger.read(AuditPage(10))) == 1
        statistics = ledger.statistics()
        assert (statistics.stored, statistics.repeated, statistics.rejected) == (3, 6, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"status": "error"},
        {"x": 2},
        {"x": 1, "y": 1},
    ],
)
async def test_another_final_of_the_same_revision_is_a_conflict(
    site: Any, make_final: MakeFinal, other: dict[str, Any]
) -> None:
    """Who comes second is told, and the first one stays; a new revision replaces it for readers."""
    async with site.open() as ledger:
        assert verdicts(await ledger.commit([make_final(1, x=1)])) == [STORED]
        (outcome,) = await ledger.commit([make_final(1, **other)])
        assert outcome.verdict is CONFLICT
        assert "revision 1" in outcome.detail
        assert await ledger.read(FinalOf(make_final(1).session_id)) == make_final(1, x=1)
        later = make_final(1, 2, **other)
        assert verdicts(await ledger.commit([later, make_final(2)])) == [STORED, STORED]
        assert await ledger.read(FinalOf(later.session_id)) == later


async def test_the_policy_book_only_goes_forward(site: Any, make_policy: MakePolicy) -> None:
    """A revision belongs to one change, and what is older than the newest book is too late."""
    async with site.open() as ledger:
        assert verdicts(await ledger.commit([make_policy(1), make_policy(3)])) == [STORED] * 2
        late = [make_policy(2), make_policy(3, "eve"), make_policy(1)]
        assert verdicts(await ledger.commit(late)) == [CONFLICT, CONFLICT, REPEATED]
        assert await ledger.read(NewestBook()) == (3, make_policy(3).book)
        changes = await ledger.read(NewestChanges(10))
        assert [change.revision for change in changes] == [3, 1]
        assert await ledger.read(NewestChanges(1)) == changes[:1]


@pytest.mark.parametrize(
    "unfit",
    [
        {"body": {"x": _NO_JSON}},
        {"body": {1: "x"}},
        {"body": {"x": 2**70}},
        {"ended_unix_ms": 2**70},
        {"org_id": "\ud800"},
        {"revision": 0},
        {"session_id": ""},
        {"status": None},
    ],
    ids=str,
)
async def test_what_cannot_be_stored_fails_alone(
    site: Any, make_final: MakeFinal, unfit: dict[str, Any]
) -> None:
    """An entry that the store cannot hold is told so; those before and behind it are stored."""
    good = make_final(1)
    fields: dict[str, Any] = {n: getattr(good, n) for n in FinalEntry.__dataclass_fields__}
    bad = FinalEntry(**{**fields, "session_id": "bad", **unfit})
    async with site.open() as ledger:
        outcomes = await ledger.commit([make_final(1), bad, make_final(2)])
        assert verdicts(outcomes) == [STORED, UNFIT, STORED]
        assert outcomes[1].detail
        assert await ledger.read(FinalOf(make_final(2).session_id)) is not None
        assert await ledger.read(FinalOf("bad")) is None


@pytest.mark.parametrize("failing", [CONFLICT, REPEATED, UNFIT])
async def test_entries_together_are_stored_all_or_none(
    site: Any,
    make_final: MakeFinal,
    make_policy: MakePolicy,
    make_audit: MakeAudit,
    failing: Verdict,
) -> None:
    """A change is never there without its audit, wherever in the entry the obstacle stands."""
    last = {
        CONFLICT: make_policy(1, "eve"),
        REPEATED: make_policy(1),
        UNFIT: make_final(3, bad=object()),
    }[failing]
    async with site.open() as ledger:
        whole = Together((make_policy(1), make_audit(1)))
        assert verdicts(await ledger.commit([whole])) == [STORED]
        assert verdicts(await ledger.commit([whole])) == [REPEATED]
        for entries in ((make_audit(2), last), (last, make_audit(2))):
            group = [Together(entries), make_final(4)]
            assert verdicts(await ledger.commit(group))[0] is failing
            assert await ledger.read(FinalOf(make_final(4).session_id)) == make_final(4)
        assert [row.entry.at_unix_ms for row in await ledger.read(AuditPage(10))] == [1]


async def test_the_audit_is_read_in_pages_from_the_newest(site: Any, make_audit: MakeAudit) -> None:
    """A page goes on where the one before ended, also while new entries come."""
    async with site.open() as ledger:
        await ledger.commit([make_audit(number) for number in range(10)])
        seen = []
        before = None
        while page := await ledger.read(AuditPage(4, before)):
            seen += [row.entry.at_unix_ms for row in page]
            before = page[-1].position
            await ledger.commit([make_audit(100)])
        assert seen == [*range(9, -1, -1)]


async def test_a_full_disk_stores_nothing_of_the_group_and_is_named(
    site: Any, make_final: MakeFinal
) -> None:
    """Nothing of a group that did not fit is there; given room, the same group is stored."""
    group = [make_final(1), make_final(2, filler="x" * 100_000), make_final(3)]
    async with site.open() as ledger:
        assert verdicts(await ledger.commit([make_final(9)])) == [STORED]
        with site.full(ledger):
            for _ in range(2):
                with pytest.raises(LedgerUnavailableError) as full:
                    await ledger.commit(group)
                assert full.value.reason is LedgerReason.DISK_FULL
                assert full.value.detail
            assert await ledger.read(FinalOf(group[0].session_id)) is None
            assert await ledger.read(FinalOf(make_final(9).session_id)) == make_final(9)
        assert ledger.statistics().failures == 2
        await ledger.probe()
        assert verdicts(await ledger.commit(group)) == [STORED] * 3


async def test_a_ledger_that_somebody_else_holds_is_locked_and_can_be_read(
    site: Any, make_final: MakeFinal
) -> None:
    """A lock is an answer after a while, not an endless wait; reading goes on meanwhile."""
    async with site.open() as ledger:
        await ledger.commit([make_final(1)])
        with site.held():
            for write in (lambda: ledger.commit([make_final(2)]), ledger.probe):
                with pytest.raises(LedgerUnavailableError) as locked:
                    await write()
                assert locked.value.reason is LedgerReason.LOCKED
            assert await ledger.read(FinalOf(make_final(1).session_id)) == make_final(1)
        assert verdicts(await ledger.commit([make_final(2)])) == [STORED]


async def test_a_cancelled_commit_is_not_begun_or_is_whole(
    site: Any, make_final: MakeFinal
) -> None:
    """Cancelled before, nothing is stored; cancelled while it works, the outcome still comes."""
    async with site.open() as ledger:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ledger.commit([make_final(1)])
        assert scope.cancelled_caught
        assert await ledger.read(FinalOf(make_final(1).session_id)) is None
        told: list[Any] = []

        async def commit() -> None:
            told.append(await ledger.commit([make_final(2)]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit)
            await trio.testing.wait_all_tasks_blocked(0.0)
            nursery.cancel_scope.cancel()
        there = await ledger.read(FinalOf(make_final(2).session_id)) is not None
        assert there is bool(told)


async def test_two_ledgers_on_one_store_see_each_other_s_entries(
    site: Any, make_final: MakeFinal
) -> None:
    """What one has committed the other reads, and knows as repeated."""
    async with site.open() as one, site.open() as two:
        assert verdicts(await one.commit([make_final(1)])) == [STORED]
        assert await two.read(FinalOf(make_final(1).session_id)) == make_final(1)
        assert verdicts(await two.commit([make_final(1), make_final(2)])) == [REPEATED, STORED]
        assert await one.read(FinalOf(make_final(2).session_id)) == make_final(2)


async def test_statistics_count_commits_and_size(site: Any, make_final: MakeFinal) -> None:
    """The totals are those since it was opened."""
    async with site.open() as ledger:
        before = ledger.statistics()
        assert before.commits == before.reads == before.failures == 0
        assert before.schema_version >= 1
        filler = random.Random(1).randbytes(75_000).hex()  # noqa: S311 - what cannot be compressed
        await ledger.commit([make_final(1, filler=filler), make_final(1)])
        await ledger.read(FinalOf("nobody"))
        after = ledger.statistics()
        assert (after.commits, after.stored, after.rejected, after.reads) == (1, 1, 1, 1)
        # A database is asked for its size from time to time.
        with trio.fail_after(10):
            while ledger.statistics().file_bytes <= before.file_bytes + 50_000:  # noqa: ASYNC110
                await trio.sleep(0.01)
