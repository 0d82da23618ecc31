"""What finalization publishes passes the check that events from elsewhere pass."""

from typing import Any
from uuid import UUID

import pytest

from penstock.engine.core_port import CoreRefusedError
from penstock.engine.deliveries import aggregation_event
from penstock.engine.records import FinalEntry
from penstock.http.core.bodies import read_event

NOW_MS = 1_750_000_000_000
SESSION, ORG, ANN = (str(UUID(int=n)) for n in (1, 8, 7))


def final(status: str = "completed", **body: Any) -> FinalEntry:
    return FinalEntry(SESSION, ORG, ANN, 2, status, NOW_MS - 5, body)


def test_a_final_without_figures_is_taken() -> None:
    """Those of an older version have none, and their sessions are no less over."""
    entry = read_event(aggregation_event(final()), NOW_MS)
    assert (entry.session_id, entry.revision, entry.ended_unix_ms) == (SESSION, 2, NOW_MS - 5)
    assert (entry.session_metrics, entry.rep_metrics, entry.media_metrics) == ({}, (), None)


@pytest.mark.parametrize("status", ["completed", "abandoned", "cancelled", "error"])
@pytest.mark.parametrize("provisional", [True, False])
def test_a_final_with_figures_comes_through_whole(status: str, *, provisional: bool) -> None:
    """Every figure as it was made, also those that Core does not know."""
    metrics = {"rep_count": None, "duration_s": 60, "gaps": [{"reason": None}], "confidence": "low"}
    reps = [{"rep_number": 3, "range_deg": None, "partial": True}]
    event = aggregation_event(
        final(
            status,
            provisional=provisional,
            exercise_id="a\u0000b",
            started_unix_ms=5,
            completeness=1.0,
            session_metrics=metrics,
            rep_metrics=reps,
            media_metrics={"watch_time_ms": 1},
        )
    )
    entry = read_event(event, NOW_MS)
    assert (entry.status, entry.provisional) == (status, provisional)
    assert entry.session_metrics == metrics
    assert list(entry.rep_metrics) == reps
    assert entry.media_metrics == {"watch_time_ms": 1}
    assert (entry.exercise_id, entry.started_unix_ms) == ("a\ufffdb", 5)


def test_a_misfit_of_this_process_is_named_like_any_other() -> None:
    """The line for the operator has the field, and nothing of the values."""
    event = aggregation_event(final(session_metrics={"rep_count": "a secret"}))
    with pytest.raises(CoreRefusedError) as refused:
        read_event(event, NOW_MS)
    assert refused.value.detail.startswith("session_metrics.rep_count: ")
    assert "secret" not in refused.value.detail
