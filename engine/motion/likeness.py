"""Which excursions belong to the exercise: those during which the whole body did alike.

Theory of operation
-------------------
All joints move in an exercise, so a repetition is a pattern over all signals: how far each is at
the turn from where it is before and after. The pattern that is most like all others is typical;
what is too unlike it is another motion, whatever one joint does in it. At the edges of a set, where
people set up, put down and walk off, it has to be more alike, and it has to be where the others
are: who stoops before lying down moves the hips as in a sit-up, but elsewhere.

What a gap cut through is judged by the time instead, as little of its pattern was seen.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.excursions import Excursion
from penstock.engine.motion.signals import LEAN, ROTATION, SIDED, SIDES
from penstock.engine.motion.track import Track, quantile

Matrix = npt.NDArray[np.float64]

# Cosine of a repetition's pattern with the most typical one: below the first it is another motion,
# below the second also when parts of it were not seen, and below the third when the time says that
# there was one. At the edges of a set it has to be within `_LIKE_EDGE`, or four times their usual
# distance, of the others.
_LIKE: Final = 0.7
_LIKE_UNSEEN: Final = 0.5
_LIKE_TIMED: Final = 0.0
_LIKE_EDGE: Final = 0.2
_EDGE_SPREADS: Final = 4.0
_UNSEEN_SHARE: Final = 0.25
# How far from the usual places a turn at an edge, and the rest on its inner side, may be, in usual
# swings of the whole body.
_AWAY: Final = 1.3
# A pause of so many periods parts two sets.
_PAUSE_PERIODS: Final = 2.5
_LEAST_PATTERNS: Final = 3


def alike(tracks: Mapping[str, Track], found: list[Excursion], joint: str) -> list[Excursion]:
    """Take out what is another motion than the rest; what is hidden goes with its neighbour."""
    seen = [one for one in found if one.seen]
    if len(seen) < _LEAST_PATTERNS:
        return found
    places = _places(tracks, seen, joint)
    likeness = _likeness(places[:, 1] - (places[:, 0] + places[:, 2]) / 2)
    likes = likeness.tolist()
    seen = [one._replace(likeness=like) for one, like in zip(seen, likes, strict=True)]
    middle = median(likes)
    spread = median(np.abs(likeness - middle).tolist())
    apart = [b.turn - a.turn for a, b in pairwise(seen)]
    pause = _PAUSE_PERIODS * median(apart)
    at_edges = max(_LIKE, middle - max(_LIKE_EDGE, _EDGE_SPREADS * spread))
    parted = [True, *(time > pause for time in apart), True]
    left = []
    for n, one in enumerate(seen):
        least = _least(one)
        if least == _LIKE and (parted[n] or parted[n + 1]):
            least = at_edges
        if one.likeness > least:
            left.append(n)
    kept = {seen[n].turn: seen[n] for n in _in_place(seen, left, _away(places), pause)}
    sure = [one for one in seen if not one.timed] or seen
    result = []
    for one in found:
        judged = one if one.seen else min(sure, key=lambda x: abs(x.turn - one.turn))
        if (verdict := kept.get(judged.turn)) is not None:
            result.append(verdict if one.seen else one)
    return result


def _least(one: Excursion) -> float:
    if one.timed:
        return _LIKE_TIMED
    cut = one.kind != "whole" or one.unseen_ms > _UNSEEN_SHARE * (one.end - one.start)
    return _LIKE_UNSEEN if cut else _LIKE


def _edges(
    seen: list[Excursion], left: Sequence[int], place: int, pause: float
) -> tuple[bool, bool]:
    """Tell whether one of those left begins a set, and whether it ends one."""
    turn = seen[left[place]].turn
    first = place == 0 or turn - seen[left[place - 1]].turn > pause
    last = place == len(left) - 1 or seen[left[place + 1]].turn - turn > pause
    return first, last


def _in_place(seen: list[Excursion], left: list[int], away: Matrix, pause: float) -> list[int]:
    """Take from the edges of sets what is elsewhere, until what is at the edges is in place."""
    place = 0
    while place < len(left):
        n = left[place]
        first, last = _edges(seen, left, place, pause)
        # Walking in leads to the first one's beginning, and out of the last one's end.
        inner = away[n, 1:] if first and not last else away[n, :2]
        if (first or last) and not seen[n].timed and inner.max() > _AWAY:
            del left[place]
            # What was beside it is at the edge now.
            place = max(0, place - 1)
        else:
            place += 1
    return left


def _places(tracks: Mapping[str, Track], found: list[Excursion], joint: str) -> Matrix:
    """Give where the body was: repetitions x (beginning, turn, end) x signals."""
    times = np.array(
        [
            (
                one.end if one.kind == "head" else one.start,
                one.turn,
                one.start if one.kind == "tail" else one.end,
            )
            for one in found
        ]
    )
    # A side that never turned has not moved.
    values = {name: _values(track, times) for name, track in tracks.items()}
    still = np.zeros(times.shape)
    right = np.array([one.side == "right" for one in found])[:, None]
    columns = []
    for name in SIDED:
        # How forearms are turned is hardly known in a picture, and part of few exercises.
        if name == ROTATION and joint != ROTATION:
            continue
        left_one, right_one = (values.get(f"{name}_{side}", still) for side in SIDES)
        # The working side first, so that alternating sides do alike.
        columns.append(np.where(right, right_one, left_one))
        columns.append(np.where(right, left_one, right_one))
    columns.append(values.get(LEAN, still))
    return np.stack(columns, axis=-1)


def _values(track: Track, times: Matrix) -> Matrix:
    value = track.at_times(times)
    if not track.followed:
        value[times[:, 1] > track.at[-1]] = np.nan
    return value


def _away(places: Matrix) -> Matrix:
    """Give how far each beginning, turn and end is from the usual one, in usual swings."""
    rest = np.concatenate((places[:, 0], places[:, 2]))
    # A signal that was followed at first only is unknown from then on.
    known = np.isfinite(places).all(axis=(0, 1))
    rest, places = rest[:, known], places[..., known]
    usual, turn = _middle(rest), _middle(places[:, 1])
    off = places - np.stack((usual, turn, usual))
    size = max(float(np.linalg.norm(turn - usual)), 1.0)
    found: Matrix = np.sqrt((off**2).sum(axis=2)) / size
    return found


def _middle(rows: Matrix) -> Matrix:
    """Give the median of each column, which NumPy's own takes ten times as long for."""
    found: Matrix = np.sort(rows, axis=0)[[(len(rows) - 1) // 2, len(rows) // 2]].sum(axis=0) / 2
    return found


def _likeness(patterns: Matrix) -> Matrix:
    """Give the cosine of each pattern with the one that is most like all, by what both know."""
    known = np.isfinite(patterns)
    pattern = np.where(known, patterns, 0)
    squares = pattern**2 @ known.T
    sizes = squares.T * squares
    cosines = pattern @ pattern.T / np.sqrt(sizes + 1e-9)
    ratio = np.sqrt(np.minimum(squares, squares.T) / (np.maximum(squares, squares.T) + 1e-9))
    size = np.sqrt(np.diagonal(squares))
    weight = np.minimum(size, quantile(size.tolist(), 0.75))
    found: Matrix = cosines[np.argmax((cosines * np.abs(cosines) * ratio) @ weight)]
    return found
