from collections import defaultdict
from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from media_session import good_session, told
from penstock.engine.media.metrics import MediaStatus, media_metrics
from penstock.engine.media.rollup import (
    ALL_MEDIA,
    COLUMNS,
    Cell,
    CellKey,
    Dimension,
    Measure,
    Standing,
    Surroundings,
    changes,
    keys_of,
    standing_of,
)
from penstock.engine.media.sketch import Sketch

amounts = st.none() | st.integers(0, 5000)
standings = st.builds(
    Standing,
    session_id=st.just("s"),
    media_id=st.sampled_from(["squat", "lunge"]),
    hour_unix=st.sampled_from([0, 3600]),
    status=st.sampled_from(MediaStatus),
    errored=st.booleans(),
    country_code=st.sampled_from(["RO", "IT", "unknown"]),
    device_type=st.sampled_from(["mobile", "desktop"]),
    connection_type=st.sampled_from(["wifi", "4g"]),
    browser_family=st.sampled_from(["Firefox", "Safari"]),
    ttfb_ms=amounts,
    load_time_ms=amounts,
    buffering_count=amounts,
    buffering_duration_ms=amounts,
    bitrate_bps=amounts,
    watch_time_ms=st.integers(0, 5000),
    completion_basis_points=amounts,
)


def counted(standings: list[Standing], key: CellKey) -> Cell:
    """Make a cell the slow way: look at every session."""
    cell = Cell()
    for standing in standings:
        if standing.hour_unix != key.hour_unix:
            continue
        if key.media_id not in {ALL_MEDIA, standing.media_id}:
            continue
        if getattr(standing, key.dimension) == key.value:
            for column in COLUMNS:
                cell.sums[COLUMNS.index(column)] += _amount(standing, column)
            if key.dimension is Dimension.STATUS:
                for measure in (
                    Measure.TTFB_MS,
                    Measure.LOAD_TIME_MS,
                    Measure.BUFFERING_DURATION_MS,
                ):
                    value = getattr(standing, measure)
                    if value is not None:
                        cell.sketches.setdefault(measure, Sketch()).add(value)
    return cell


def _amount(standing: Standing, column: str) -> int:
    if column == "sessions":
        return 1
    if column == "errored":
        return int(standing.errored)
    if column in set(MediaStatus):
        return int(standing.status == column)
    name, _, part = column.rpartition("_")
    value: int | None = getattr(standing, name)
    return 0 if value is None else value if part == "sum" else 1


class Rollup(RuleBasedStateMachine):
    """Sessions come, change and go; the cells must be those of a count from nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[int, Standing] = {}
        self.cells: defaultdict[CellKey, Cell] = defaultdict(Cell)

    @rule(number=st.integers(0, 4), after=st.none() | standings)
    def change(self, number: int, after: Standing | None) -> None:
        """Give one session another standing, or none."""
        for change in changes(self.sessions.get(number), after):
            change.apply(self.cells[change.key])
        self.sessions.pop(number, None)
        if after is not None:
            self.sessions[number] = after

    @invariant()
    def cells_are_counts(self) -> None:
        """Compare every cell with the slow count."""
        there = list(self.sessions.values())
        keys = {key for standing in there for key in keys_of(standing)} | self.cells.keys()
        for key in keys:
            cell, slow = self.cells[key], counted(there, key)
            assert cell.sums == slow.sums
            for measure in Measure:
                mine = cell.sketches.get(measure, Sketch())
                assert mine == slow.sketches.get(measure, Sketch())


TestRollup = Rollup.TestCase
TestRollup.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)


@given(st.none() | standings, st.none() | standings)
def test_the_changes_of_columns_are_those_of_cells(
    before: Standing | None, after: Standing | None
) -> None:
    """A ledger that adds the differences to its columns has the sums of a cell."""
    for change in changes(before, after):
        cell = Cell()
        if change.removed is not None:
            cell.add(change.removed, sketched=change.sketched)
        expected = list(cell.sums)
        change.apply(cell)
        for column, by in change.columns().items():
            expected[COLUMNS.index(column)] += by
        assert cell.sums == expected


@given(st.lists(standings, max_size=6), st.lists(standings, max_size=6))
def test_merged_cells_are_the_cell_of_both(one: list[Standing], other: list[Standing]) -> None:
    """Hours can be added up."""
    cells = [Cell(), Cell(), Cell()]
    for index, part in enumerate((one, other, one + other)):
        for standing in part:
            cells[index].add(standing, sketched=True)
    cells[0].merge(cells[1])
    assert cells[0] == cells[2]


@given(st.lists(standings, max_size=5))
def test_a_cell_survives_the_ledger(found: list[Standing]) -> None:
    """What is written as JSON and read again is the same cell."""
    cell = Cell()
    for standing in found:
        cell.add(standing, sketched=True)
    assert Cell.from_plain(orjson.loads(orjson.dumps(cell.plain()))) == cell


@given(standings)
def test_a_standing_survives_the_ledger(standing: Standing) -> None:
    """The old one must be known exactly, to be taken out."""
    assert Standing.from_plain(orjson.loads(orjson.dumps(standing.plain()))) == standing


def test_what_was_not_counted_cannot_be_taken_out() -> None:
    """Sums do not become negative unnoticed."""
    metrics = media_metrics(good_session())
    assert metrics is not None
    with pytest.raises(ValueError, match="no session"):
        Cell().remove(standing_of(metrics, Surroundings()), sketched=False)


def test_a_session_is_counted_in_nine_cells() -> None:
    """Each dimension once among all media and, but for the status, among its own medium's."""
    metrics = media_metrics(good_session())
    assert metrics is not None
    standing = standing_of(metrics, Surroundings("RO", "mobile", "Firefox"))
    found = {(key.dimension.value, key.value, key.media_id) for key in keys_of(standing)}
    values = {
        "country_code": "RO",
        "device_type": "mobile",
        "connection_type": "wifi",
        "browser_family": "Firefox",
        "status": "completed",
    }
    every = {(name, v, m) for name, v in values.items() for m in ("", "squat")}
    assert found == every - {("status", "completed", "squat")}


def test_a_standing_is_the_figures_in_whole_numbers() -> None:
    """What statistics add up is what the session's own figures say."""
    metrics = media_metrics(good_session())
    assert metrics is not None
    standing = standing_of(metrics, Surroundings())
    assert standing.hour_unix == metrics.first_received_unix_ms // 3_600_000 * 3600
    assert standing.country_code == standing.browser_family == "unknown"
    assert (standing.ttfb_ms, standing.load_time_ms) == (340, 1200)
    assert (standing.buffering_count, standing.buffering_duration_ms) == (2, 3000)
    assert (standing.watch_time_ms, standing.completion_basis_points) == (50_000, 10_000)
    assert changes(standing, replace(standing)) == []


def test_what_never_played_has_no_buffering() -> None:
    """A session without a first frame does not make the others look smoother."""
    metrics = media_metrics([told("session_start", 0)], closed=True)
    assert metrics is not None
    standing = standing_of(metrics, Surroundings())
    assert (standing.buffering_count, standing.buffering_duration_ms) == (None, None)
