"""What is near to a turn, and when a way left the one and came near to the other."""

import numpy as np

from motion_sets import bent, clock, folded, squats
from penstock.engine.motion.line import nearness
from penstock.engine.motion.log import tracks
from penstock.engine.motion.turns import NEAR_DEGREES, NEAR_SHARE


def test_nearness_is_a_share_of_large_swings() -> None:
    """Small swings have the floor's half, large ones a tenth, in both directions."""
    swings = np.array([0, 20, -20, 200, -200], np.float32)
    large = NEAR_SHARE * 200
    assert nearness(swings).tolist() == [NEAR_DEGREES] * 3 + [large] * 2


def test_a_way_is_left_and_arrived_at() -> None:
    """Over many blocks, each way leaves its turn after it and comes near to the next before it."""
    times = clock(60)
    values = squats(bent(times, [1000 + 4000 * n for n in range(14)], 3000))
    found = tracks(folded(times, values).folded, None)["knee_flexion_left"]
    assert len(found) > 20
    ways = list(zip(found.at, found.leave[1:], found.arrive[1:], found.at[1:], strict=False))
    assert all(a <= left < came <= b for a, left, came, b in ways)
    # Of 1.5 s with the least jerk, from a tenth of the way to nine tenths it takes about half.
    assert all(600 <= came - left <= 1000 for _, left, came, _ in ways)
