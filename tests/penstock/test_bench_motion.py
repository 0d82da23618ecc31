"""`penstock bench motion` measures what the figures cost."""

import json
from typing import Any


def test_the_cost_of_motion_is_measured(run: Any) -> None:
    """Each number of sessions has a row: the cost of a batch and of figures, and states' sizes."""
    few = ("--minutes", "1", "--in-a-turn", "2", "--in-a-turn", "1", "--quiet")
    ran = run("bench", "motion", "--json", *few)
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)
    assert [row["in_a_turn"] for row in rows] == [2, 1]
    for row in rows:
        assert row["us_a_batch"] > 0
        assert len(row["minutes_us"]) == 1
        assert 0 < row["figures_ms"][0] <= row["figures_ms"][1] <= row["figures_ms"][2]
        assert 0 < row["mean_bytes"] <= row["largest_bytes"] <= 32 * 1024


def test_its_table_names_the_columns(run: Any) -> None:
    """Without --json there is a table, and progress beside it."""
    ran = run("bench", "motion", "--minutes", "1", "--in-a-turn", "1")
    assert ran.code == 0, ran.err
    assert "µs a batch" in ran.out
    assert "1 in a turn: minute 1 of 1" in ran.err
