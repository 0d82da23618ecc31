"""Runs in the ledger: what is written is found by every filter, on each adapter alike."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from penstock.engine.ledger_port import Verdict
from penstock.engine.runs.records import (
    CommitOfRun,
    KnownRuns,
    NamesOfRuns,
    Place,
    RunOf,
    RunPage,
    RunsEntry,
    RunTotals,
    RunUpdate,
    TotalsOfRuns,
)
from penstock.engine.runs.run import Run, StoredRun
from penstock.storage.ledger import runs as storage_runs
from penstock.storage.ledger.kinds import MOST_JOINED_ROWS, parts_of

Make = Callable[..., Run]


def _run(number: int, **changes: Any) -> Run:
    run = Run(
        event_id=f"event-{number}",
        run_id=f"run-{number}",
        agent_name="agent",
        job_type="job",
        start_time="2026-01-01T00:00:00Z",
        start_unix_us=number,
        created_at="2026-01-01T00:00:00Z",
        created_unix_us=number,
        updated_at="2026-01-01T00:00:00Z",
    )
    return replace(run, **changes)


async def test_a_run_is_kept_whole(site: Any) -> None:
    """Every field comes back as it went in: the largest numbers, the smallest times, any text."""
    run = _run(
        1,
        start_unix_us=-62_135_596_800_000_000,
        duration_ms=2**63 - 1,
        items_failed=7,
        metrics_json='{"a":1}',
        context_json="no JSON",
        api_posted=True,
        output_summary="ä\U0001f600'\"; DROP TABLE runs; --",
        error_details="x" * 100_000,
        parent_run_id="",
    )
    async with site.open() as ledger:
        (outcome,) = await ledger.commit([RunsEntry((run,))])
        assert (outcome.verdict, outcome.value) == (Verdict.STORED, (True,))
        stored = await ledger.read(RunOf("event-1"))
        assert stored is not None
        assert stored.run == run
        assert await ledger.read(RunOf("event-2")) is None


async def test_each_run_is_stored_once(site: Any) -> None:
    """A known event id changes nothing and is told, alone, among others, and twice in one entry."""
    async with site.open() as ledger:
        first = RunsEntry((_run(1), _run(2), _run(1, agent_name="late")))
        (outcome,) = await ledger.commit([first])
        assert outcome.value == (True, True, False)
        again, mixed = await ledger.commit(
            [RunsEntry((_run(1, status="failure"),)), RunsEntry((_run(2), _run(3)))]
        )
        assert (again.verdict, again.value) == (Verdict.REPEATED, (False,))
        assert (mixed.verdict, mixed.value) == (Verdict.STORED, (False, True))
        stored = await ledger.read(RunOf("event-1"))
        assert stored is not None
        assert stored.run == _run(1)
        assert await ledger.read(TotalsOfRuns(2)) == RunTotals({"agent": 3}, 2)
        assert await ledger.read(KnownRuns(("event-1", "event-3", "event-4"))) == 2
        assert await ledger.read(KnownRuns(())) == 0


async def test_entries_written_at_once_are_answered_each(site: Any) -> None:
    """Neighbours share a statement; which of them brought a run first, each is told by itself."""
    async with site.open() as ledger:
        await ledger.commit([RunsEntry((_run(0),))])
        group = [
            RunsEntry((_run(1),)),
            RunsEntry((_run(0, agent_name="late"),)),
            RunsEntry((_run(2), _run(1, agent_name="late"))),
            RunsEntry((_run(2, agent_name="late"),)),
            RunUpdate("event-3", (("status", "success"),)),
            RunsEntry((_run(3),)),
            RunUpdate("event-3", (("status", "failure"),)),
            *(RunsEntry((_run(number),)) for number in range(4, 104)),
            RunsEntry(tuple(_run(number) for number in range(60, 124))),
        ]
        outcomes = await ledger.commit(group)
        stored, repeated = Verdict.STORED, Verdict.REPEATED
        assert [(outcome.verdict, outcome.value) for outcome in outcomes] == [
            (stored, (True,)),
            (repeated, (False,)),
            (stored, (True, False)),
            (repeated, (False,)),
            (stored, False),  # it comes before its run
            (stored, (True,)),
            (stored, True),
            *[(stored, (True,))] * 100,
            (stored, (False,) * 44 + (True,) * 20),
        ]
        assert await ledger.read(TotalsOfRuns(10_000)) == RunTotals({"agent": 124}, 0)
        page = await ledger.read(RunPage(1000))
        assert [stored.run.event_id for stored in page] == [
            f"event-{n}" for n in range(123, -1, -1)
        ]
        assert page[-4].run.status == "failure"


def test_only_neighbours_are_written_at_once() -> None:
    """Order stays, other kinds stand alone, and no statement grows without end."""
    update = RunUpdate("event-1", (("status", "success"),))
    one, many = RunsEntry((_run(1),)), RunsEntry(tuple(_run(n) for n in range(64)))
    group = [one, one, update, update, many, *[one] * 40, many, RunsEntry((_run(1), _run(2)))]
    parts = list(parts_of(group))
    assert [entry for part in parts for entry in part] == group
    assert [len(part) for part in parts] == [2, 1, 1, 1, MOST_JOINED_ROWS, 8, 1, 1]


@pytest.mark.parametrize(
    "unfit",
    [{"duration_ms": -1}, {"duration_ms": 2**63}, {"output_summary": "\ud800"}, {"event_id": ""}],
    ids=["a check", "too large", "no text", "no id"],
)
async def test_one_run_that_does_not_fit_takes_no_other_along(
    site: Any, unfit: dict[str, Any]
) -> None:
    """Written at once with it, the others are stored all the same, and told as if it were not."""
    async with site.open() as ledger:
        entries = [RunsEntry((_run(number),)) for number in range(40)]
        entries[20] = RunsEntry((_run(20, **unfit),))
        entries[30] = RunsEntry((_run(5, agent_name="late"),))
        outcomes = await ledger.commit(entries)
        wanted = [Verdict.STORED] * 40
        wanted[20], wanted[30] = Verdict.UNFIT, Verdict.REPEATED
        assert [outcome.verdict for outcome in outcomes] == wanted
        assert await ledger.read(TotalsOfRuns(1000)) == RunTotals({"agent": 38}, 0)


async def test_updates_and_commits(site: Any) -> None:
    """Only what is said changes; a commit replaces all of the one before; unknown runs are told."""
    async with site.open() as ledger:
        await ledger.commit([RunsEntry((_run(1),)), RunsEntry((_run(2),))])
        update = RunUpdate("event-1", (("status", "success"), ("duration_ms", 5)))
        commit = CommitOfRun("event-1", "abc1234", "llm", "ada", "2026-01-02T00:00:00Z", "later")
        bare = CommitOfRun("event-1", "def5678", "ci", None, None, "latest")
        unknown = [
            RunUpdate("event-9", (("status", "success"),)),
            replace(bare, event_id="event-9"),
        ]
        outcomes = await ledger.commit([update, update, commit, bare, *unknown])
        assert [outcome.value for outcome in outcomes] == [
            True,
            True,
            "run-1",
            "run-1",
            False,
            None,
        ]
        stored = await ledger.read(RunOf("event-1"))
        assert stored is not None
        assert stored.run == _run(
            1,
            status="success",
            duration_ms=5,
            git_commit_hash="def5678",
            git_commit_source="ci",
            updated_at="latest",
        )
        untouched = await ledger.read(RunOf("event-2"))
        assert untouched is not None
        assert untouched.run == _run(2)


async def test_names_are_each_told_once_and_in_order(site: Any) -> None:
    """However many runs have them."""
    async with site.open() as ledger:
        assert await ledger.read(NamesOfRuns()) == ([], [])
        await ledger.commit(
            [
                RunsEntry((_run(number, agent_name=f"a{number % 3}", job_type=f"j{number % 2}"),))
                for number in range(12)
            ]
        )
        assert await ledger.read(NamesOfRuns()) == (["a0", "a1", "a2"], ["j0", "j1"])


def _passes(run: Run, query: RunPage) -> bool:
    return (
        query.agent_name in {None, run.agent_name}
        and query.status in {None, run.status}
        and query.job_type in {None, run.job_type}
        and (query.created_before_us is None or run.created_unix_us < query.created_before_us)
        and (query.created_after_us is None or run.created_unix_us > query.created_after_us)
        and (query.start_from_us is None or run.start_unix_us >= query.start_from_us)
        and (query.start_to_us is None or run.start_unix_us <= query.start_to_us)
    )


def _random_query(dice: Random) -> RunPage:
    def maybe(value: Any) -> Any:
        return value if dice.random() < 0.4 else None

    return RunPage(
        limit=dice.choice((1, 3, 1000)),
        offset=dice.choice((0, 0, 2, 50)),
        agent_name=maybe(f"agent-{dice.randrange(3)}"),
        status=maybe(dice.choice(("success", "failure"))),
        job_type=maybe(f"job-{dice.randrange(2)}"),
        created_before_us=maybe(dice.randrange(50)),
        created_after_us=maybe(dice.randrange(50)),
        start_from_us=maybe(dice.randrange(50)),
        start_to_us=maybe(dice.randrange(50)),
    )


@pytest.mark.parametrize("few", [storage_runs.FEW_RUNS, 3], ids=["sorted", "in order"])
async def test_every_query_gives_what_a_plain_search_gives(
    site: Any, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All filters, alone and together, on both ways to a page, against a list and a loop."""
    monkeypatch.setattr(storage_runs, "FEW_RUNS", few)
    dice = Random(few)  # noqa: S311 - made-up runs
    made = [
        _run(
            number,
            agent_name=f"agent-{dice.randrange(3)}",
            job_type=f"job-{dice.randrange(2)}",
            status=dice.choice(("success", "failure")),
            created_unix_us=dice.randrange(50),
            start_unix_us=dice.randrange(50),
        )
        for number in range(150)
    ]
    async with site.open() as ledger:
        for first in range(0, 150, 50):
            await ledger.commit([RunsEntry(tuple(made[first : first + 50]))])
        everything = await ledger.read(RunPage(1000))
        assert len(everything) == 150
        order = [(stored.run.created_unix_us, stored.number) for stored in everything]
        assert all(one > other for one, other in pairwise(order))
        for _ in range(150):
            query = _random_query(dice)
            passing = [stored for stored in everything if _passes(stored.run, query)]
            wanted = passing[query.offset : query.offset + query.limit]
            assert await ledger.read(query) == wanted, query


async def test_a_cursor_goes_on_where_a_page_ended(site: Any) -> None:
    """Page after page gives every run once, also while new ones come, with a filter or without."""
    async with site.open() as ledger:
        await ledger.commit([RunsEntry(tuple(_run(n, created_unix_us=n // 4) for n in range(40)))])
        for start in (None, 10):
            seen: list[StoredRun] = []
            after = None
            while page := await ledger.read(RunPage(7, after=after, start_from_us=start)):
                seen += page
                after = Place(page[-1].run.created_unix_us, page[-1].number)
                fresh = _run(1000 + len(seen) + (start or 0), created_unix_us=10_000)
                await ledger.commit([RunsEntry((fresh,))])
            old = [stored.run.event_id for stored in seen if stored.run.created_unix_us < 10_000]
            assert len(set(old)) == len(old) == 40 - (start or 0)


async def test_a_deep_page_is_found_in_an_index(sqlite_site: Any) -> None:
    """No query of a documented filter reads or sorts the rows of the table itself."""
    queries = [
        RunPage(100, offset=1000),
        RunPage(100, agent_name="a", offset=10),
        RunPage(100, status="success"),
        RunPage(100, job_type="j"),
        RunPage(100, created_before_us=5),
        RunPage(100, created_after_us=5, agent_name="a", status="s", job_type="j"),
        RunPage(100, start_from_us=5),
        RunPage(100, after=Place(1, 1)),
    ]
    async with sqlite_site.open() as ledger:
        for query in queries:
            steps = storage_runs.run_page(query)
            statement = next(steps)
            if "COUNT" in statement.sql:
                statement = steps.send([(storage_runs.FEW_RUNS + 1,)])
            plan = [
                row[3]
                for row in ledger._reader.execute(
                    f"EXPLAIN QUERY PLAN {statement.sql}", statement.values
                )
            ]
            inner = plan[plan.index(next(line for line in plan if "SUBQUERY" in line)) + 1 :]
            assert "COVERING INDEX runs_by" in inner[0], plan
            assert plan[0].startswith("SEARCH runs USING INTEGER PRIMARY KEY"), plan
            assert sum("TEMP B-TREE" in line for line in plan) == 1, plan
