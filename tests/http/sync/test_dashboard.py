"""The sums over HTTP: by period and grouping, in pages, for their owner only."""

from typing import Any
from uuid import UUID

import pytest

from sync_rig import batch, example, summary

DAY = example("expected")["daily"]["2026-06-09"]


def keyed(document: Any, figure: str = "total_tokens") -> dict[str, int]:
    return {row["key"]: row[figure] for row in document["rows"]}


async def test_the_worked_example_is_shown_as_expected(collect: Any) -> None:
    """Each grouping of the contract's day, its total, and what stands apart."""
    async with collect() as collector:
        await collector.send(example("day"))
        (total,) = (await collector.get("rollups"))["rows"]
        assert total["period"] == "2026-06-09"
        for figure in ("requests", "total_tokens", "cost_cents"):
            assert total[figure] == DAY[figure]
        for grouping in ("provider", "model", "account"):
            document = await collector.get("rollups", group_by=grouping)
            assert keyed(document) == DAY[f"by_{grouping}"]
        month = await collector.get("rollups", granularity="monthly", group_by="device")
        assert [row["period"] for row in month["rows"]] == ["2026-06"]
        apart = await collector.get("rollups", granularity="all_time", group_by="apart")
        assert keyed(apart) == {"events": 51500, "summaries:claude_stats_cache": 6_630_000}
        assert keyed(apart, "cost_cents")["summaries:claude_stats_cache"] == 4120


async def test_pages_and_days(collect: Any) -> None:
    """A page says where the next begins; days bound months, too."""
    days = [f"2026-0{month}-10" for month in range(1, 6)]
    async with collect() as collector:
        records = [summary(number, day=day) for number, day in enumerate(days)]
        await collector.send(batch(summaries=records))
        seen, after = [], {}
        while True:
            page = await collector.get("rollups", limit="2", **after)
            seen += [row["period"] for row in page["rows"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert seen == days
        bounded = await collector.get(
            "rollups", granularity="monthly", **{"from": "2026-02-28", "to": "2026-03-01"}
        )
        assert [row["period"] for row in bounded["rows"]] == ["2026-02", "2026-03"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"granularity": "weekly"}, "granularity"),
        ({"group_by": "colour"}, "group_by"),
        ({"limit": "0"}, "limit"),
        ({"limit": "5001"}, "limit"),
        ({"limit": "\u0663"}, "limit"),
        ({"from": "2026-6-9"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"granularity": "all_time", "from": "2026-01-01"}, "from"),
        ({"after": "x"}, "after"),
        ({"after": "\0|"}, "after"),
        ({"colour": "red"}, "parameters"),
    ],
    ids=str,
)
async def test_a_wrong_parameter_is_named(collect: Any, query: dict[str, str], named: str) -> None:
    """With what it may be, as 400."""
    async with collect() as collector:
        answer = await collector.client.get("/api/sync/rollups", params=query)
        assert answer.status_code == 400
        assert answer.json()["error"] == "invalid_parameter"
        assert answer.json()["message"].startswith(f"{named}: ")


async def test_people_see_their_own(collect: Any, user_header: Any) -> None:
    """The user's own token shows the same, another's shows nothing, and none is a 401."""
    async with collect() as collector:
        await collector.send(batch(summaries=[summary(1)]))
        for header, rows in ((user_header(), 1), (user_header(principal_id=str(UUID(int=9))), 0)):
            answer = await collector.client.get("/api/sync/rollups", headers=header)
            assert len(answer.json()["rows"]) == rows
        bare = await collector.client.get("/api/sync/rollups", headers={"Authorization": ""})
        assert (bare.status_code, bare.json()["error"]) == (401, "user_token_missing")
