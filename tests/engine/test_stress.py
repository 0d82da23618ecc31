import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.stress import NO_STRESS, Readings, StressGauge

amounts = st.integers(0, 10**12)
seconds = st.floats(0, 1e6)
readings = st.builds(Readings, amounts, amounts, amounts, amounts, seconds, seconds)


@given(st.lists(st.tuples(readings, st.floats(0, 5)), max_size=20))
def test_stress_stays_within_its_scale_and_is_its_largest_part(
    series: list[tuple[Readings, float]],
) -> None:
    """Whatever is read, each part is 0 to 100, and the level is the largest of them."""
    gauge, now = StressGauge(), 0.0
    for reading, pause in series:
        now += pause
        stress = gauge.read(reading, now)
        assert all(0.0 <= part <= 100.0 for part in stress)
        assert stress.level == max(stress[1:])
        assert gauge.stress is stress


@pytest.mark.parametrize(
    ("reading", "part"),
    [
        (Readings(50, 100, 0, 1, 0, 0), "memory"),
        (Readings(0, 1, 50, 100, 0, 0), "backlog"),
        (Readings(0, 1, 0, 1, 2.5, 0), "writer"),
        (Readings(0, 1, 0, 1, 0, 0.125), "delay"),
    ],
)
def test_each_part_has_its_full_mark(reading: Readings, part: str) -> None:
    """Half of the limit, of the room, of 5 s of lag or of 0.125 s of delay is a stress of 50."""
    stress = StressGauge().read(reading, 0.0)
    assert stress.level == getattr(stress, part) == 50.0
    assert sum(stress) == 100.0


def test_one_reading_is_no_overload_but_several_are() -> None:
    """A full reading between idle ones is smoothed; full readings for a second are seen."""
    idle, full = Readings(0, 100, 0, 1, 0, 0), Readings(100, 100, 0, 1, 0, 0)
    gauge = StressGauge()
    gauge.read(idle, 0.0)
    assert gauge.read(full, 0.1).level < 50
    for tenth in range(2, 12):
        gauge.read(full, tenth / 10)
    assert gauge.stress.level > 95


def test_smoothing_is_over_time_and_not_over_readings() -> None:
    """Reading twice as often does not make the stress follow twice as fast."""
    idle, full = Readings(0, 100, 0, 1, 0, 0), Readings(100, 100, 0, 1, 0, 0)
    often, seldom = StressGauge(), StressGauge()
    for gauge, step in ((often, 1), (seldom, 2)):
        gauge.read(idle, 0.0)
        for twentieth in range(step, 21, step):
            gauge.read(full, twentieth / 20)
    assert often.stress.level == pytest.approx(seldom.stress.level)


def test_no_room_is_full_as_soon_as_anything_is_held() -> None:
    """A limit of nothing divides nothing by zero."""
    gauge = StressGauge()
    assert gauge.read(Readings(0, 0, 0, 0, 0, 0), 0.0) == NO_STRESS
    assert StressGauge().read(Readings(1, 0, 0, 0, 0, 0), 0.0).memory == 100.0
