"""Turning points, many rows at once, against the plain way of finding them in one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.motion.zigzag import turning_points

rows_of_values = st.lists(
    st.lists(st.integers(-40, 40).map(float), min_size=1, max_size=60), min_size=1, max_size=5
)


def _plainly(values: list[float], floor: float) -> list[float]:
    high = low = turned = 0
    found: list[float] = []
    for place, value in enumerate(values):
        high = place if value > values[high] else high
        low = place if value < values[low] else low
        if turned >= 0 and values[high] - value >= floor and (turned or low > high):
            found.append(values[high])
            turned, low = -1, place
        elif turned <= 0 and value - values[low] >= floor and (turned or high > low):
            found.append(values[low])
            turned, high = 1, place
        elif turned > 0:
            low = place
        elif turned < 0:
            high = place
    return [*found, values[high] if turned > 0 else values[low]] if turned else []


@given(rows_of_values, st.integers(1, 30))
def test_rows_turn_where_each_alone_does(rows: list[list[float]], floor: int) -> None:
    """Every swing that reaches the floor is found, and no other, whatever rows are beside it."""
    values = np.array([value for row in rows for value in row], np.float32)
    numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    places = turning_points(values, numbers, np.full(len(rows), floor, np.float32))
    for number, row in enumerate(rows):
        found = values[places[numbers[places] == number]].tolist()
        if max(row) - min(row) >= floor:
            assert found == _plainly(row, floor)
        else:
            assert sorted(set(found)) == sorted({min(row), max(row)})
