import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.http.console.flow_log import MOST_MARKS, SECONDS, FlowLog, Mark
from penstock.http.console.flow_sampler import bounds_of
from penstock.http.meters import BUCKETS, Histogram

NAMES = st.sampled_from(["a", "b", "c"])
SAMPLES = st.lists(st.dictionaries(NAMES, st.integers(0, 10**6)), max_size=40)


def _read(event: bytes) -> tuple[str, str, Any]:
    """Take an event apart as a browser does."""
    head, identifier, data, end, rest = event.decode().split("\n")
    assert (end, rest) == ("", "")
    return (
        head.removeprefix("event: "),
        identifier.removeprefix("id: "),
        json.loads(data.removeprefix("data: ")),
    )


@given(SAMPLES)
def test_everything_is_what_was_appended(samples: list[dict[str, int]]) -> None:
    """In order, with a gap wherever a column was not told, and no column of gaps alone at first."""
    log = FlowLog()
    for second, values in enumerate(samples):
        log.append(second * 1000, values)
    _, _, told = _read(log.everything())
    assert told["at"] == [second * 1000 for second in range(len(samples))]
    assert told["columns"].keys() == {name for values in samples for name in values}
    for name, column in told["columns"].items():
        assert column == [values.get(name) for values in samples]


def test_the_log_is_bounded() -> None:
    """It keeps the newest SECONDS samples, few marks, and forgets columns that ended long ago."""
    log = FlowLog()
    for second in range(2 * SECONDS + 5):
        values = {f"old{second}": 1.0} if second < 50 else {}
        mark = Mark(second * 1000, f"r{second}", "a change")
        log.append(second * 1000, {"steady": second, **values}, (mark,))
    _, _, told = _read(log.everything())
    assert told["at"] == [at * 1000 for at in range(SECONDS + 5, 2 * SECONDS + 5)]
    assert told["columns"] == {"steady": list(range(SECONDS + 5, 2 * SECONDS + 5))}
    assert len(told["marks"]) == MOST_MARKS
    for number in range(200):
        log.append(0, {f"c{n}": 1.0 for n in range(200)}, ())
        assert log.column_bytes < 2_000_000, number


def test_who_comes_back_is_told_what_it_missed() -> None:
    """Nothing, the newest, or everything, also where the id is another process's or none."""
    log, other = FlowLog(), FlowLog()
    for second in range(5):
        log.append(second, {"a": second})
        other.append(second, {"a": second})
    _, newest, _ = _read(log.newest())
    process = newest.partition("-")[0]
    assert log.since(newest) == b""
    assert _read(log.since(f"{process}-4"))[0] == "sample"
    strange = (f"{process}-2", _read(other.newest())[1], "", "-", f"{process}-99", f"{process}-x")
    for event_id in (*strange, f"{process}-{'9' * 40}", "\u0663-\u0663"):
        assert _read(log.since(event_id))[0] == "history", event_id


@given(SAMPLES, st.integers(1, 50))
def test_what_is_compared_was_measured_together(
    samples: list[dict[str, int]], seconds: int
) -> None:
    """Only samples in which all the columns speak are summed, and their number is told."""
    log = FlowLog()
    for second, values in enumerate(samples):
        log.append(second, values)
    newest = samples[-seconds:]
    both = [values for values in newest if {"a", "b"} <= values.keys()]
    count, sums = log.shared(("a", "b"), seconds)
    assert count == len(both)
    for name, found in sums.items():
        assert found == sum(values[name] for values in both)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.sampled_from([0.5, 0.99]))
def test_a_percentile_lies_between_its_bounds(times: list[float], quantile: float) -> None:
    """Whatever was measured, the true percentile is in the interval that is claimed."""
    histogram = Histogram()
    for seconds in times:
        histogram.observe(seconds)
    found = bounds_of(histogram.counts, quantile)
    assert found is not None
    low, high = found
    rank = max(1, -int(-quantile * len(times) // 1))
    true = sorted(times)[rank - 1]
    assert low <= true
    assert high is None or true <= high
    assert (high is None) == (true > BUCKETS[-1])


def test_no_requests_have_no_percentile() -> None:
    """An idle service is not told to be fast."""
    assert bounds_of([0] * (len(BUCKETS) + 1), 0.5) is None
