"""What one record adds, and that adding and taking away are exact."""

from typing import Any

import pytest

from penstock.engine.sync.kinds import MOST_COUNT, RecordKind
from penstock.engine.sync.sums import (
    Cell,
    Deltas,
    Grouping,
    Share,
    Sums,
    add_share,
    share_fault,
    share_of,
)
from sync_rig import event, recount, source, summary


def share(record: dict[str, Any], kind: RecordKind = RecordKind.SUMMARY) -> Share:
    found = share_of(kind, record)
    assert found is not None
    return found


def test_a_share_adds_what_a_recount_finds_and_takes_it_away_again() -> None:
    """In every period and grouping, and from its text as well."""
    record = summary(1, tokens=70, models={"a": 50, "b": 30}, project="p")
    told = share(record)
    assert Share.from_text(told.text()) == told
    deltas: Deltas = {}
    add_share(deltas, told)
    assert deltas == recount([record])
    add_share(deltas, told, -1)
    assert not any(any(sums) for sums in deltas.values())


@pytest.mark.parametrize(
    ("cost", "micro"),
    [
        ({}, 0),
        ({"estimated_api_equivalent_usd": 3}, 30_000),
        ({"estimated_api_equivalent_usd": 3, "provider_reported_usd": 0}, 0),
        ({"estimated_api_equivalent_usd": 3, "estimated_api_equivalent_micro_usd": 5}, 5),
        ({"estimated_api_equivalent_micro_usd": 5, "provider_reported_usd": 2}, 20_000),
        ({"provider_reported_usd": 2, "provider_reported_micro_usd": 19_999.0}, 19_999),
        ({"provider_reported_usd": -2}, -20_000),
    ],
)
def test_the_provider_s_word_and_the_finer_unit_count(cost: dict[str, Any], micro: int) -> None:
    """Reported before estimated, millionths before cents."""
    assert share(summary(cost=cost)).whole.cost_micro_usd == micro


def test_a_missing_total_is_the_sum_of_the_token_counters() -> None:
    """All seven of them, and a total that is given is taken at its word."""
    names = ("input", "output", "cache_creation", "cache_read", "reasoning")
    usage = {f"{name}_tokens": 10.0**place for place, name in enumerate(names)}
    usage |= {"local_prompt_eval_tokens": 100_000, "local_eval_tokens": 1_000_000}
    assert share(summary(usage=usage)).whole.total_tokens == 1_111_111
    assert share(summary(usage={**usage, "total_tokens": 0})).whole.total_tokens == 0


def test_the_day_is_the_period_s_utc_day_or_the_newest_usage_s() -> None:
    """A zone counts, and a summary without a period is of the day of its newest usage."""
    assert share(summary(period_start="2026-06-09T23:30:00-01:00")).day == "2026-06-10"
    late = summary(period_start=None, observed_at="2026-07-01T00:00:00Z")
    assert share(late).day == "2026-07-01"


def test_a_model_goes_by_its_normalised_name() -> None:
    """Then by its name; parts of one model are one, and no models mean the summary's own."""
    usage = {"usage": {"total_tokens": 5}, "cost": {}}
    models = [
        {"model": {"normalized_name": "m", "name": "x"}, **usage},
        {"model": {"name": "m"}, **usage},
        {"model": {}, **usage},
    ]
    record = {**summary(usage={"total_tokens": 15}, cost={}), "models": models}
    told = {key: (part.records, part.total_tokens) for key, part in share(record).models}
    assert told == {"m": (1, 10), "unknown": (1, 5)}
    alone = {**summary(model={"name": "solo"}), "models": []}
    assert share(alone).models == (("solo", share(alone).whole),)


def test_events_and_other_summaries_stand_apart() -> None:
    """They are summed by what they are, and in no grouping of usage."""
    other = summary(metadata={"summary_format": "claude_stats_cache"})
    assert share(other).keys == ((Grouping.APART, "summaries:claude_stats_cache"),)
    assert share(event(), RecordKind.EVENT).keys == ((Grouping.APART, "events"),)
    assert share(other).models == ()
    assert share_of(RecordKind.SOURCE, source()) is None


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (summary(provider="p" * 257), "its provider must have at most 256 bytes"),
        (summary(models={"\0": 1}), "its model must hold no NUL character"),
        (summary(project="é" * 200), "its project must have at most 256 bytes"),
        (summary(tokens=MOST_COUNT + 1), f"a sum of it is over {MOST_COUNT}"),
        (summary(tokens=1, models={"a": MOST_COUNT + 1}), f"a sum of it is over {MOST_COUNT}"),
        (summary(), None),
    ],
)
def test_what_no_ledger_could_keep_is_told(record: dict[str, Any], fault: str | None) -> None:
    """Keys that are no keys and numbers that clients cannot hold are faults of the record."""
    assert share_fault(share(record)) == fault


def test_sums_add_field_by_field() -> None:
    """Nothing is carried from one field to another."""
    one = Sums(*range(1, 10))
    assert one.plus(one) == Sums(*range(2, 20, 2))
    assert one.plus(one, -1) == Sums()
    assert Cell("daily", "total", "2026-06-09", "") < Cell("daily", "total", "2026-06-10", "")
