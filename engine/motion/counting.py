"""Which joint shows the exercise, where it rests, and what that counts to.

Theory of operation
-------------------
::

    tracks -> for each joint: swings that count -> out and back again -> hidden ones filled in
                                             -> those unlike the others taken out -> a score
           -> the joint with the best score

A joint that goes far and evenly, through repetitions that the whole body does alike and that were
seen, shows the exercise best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import exp, sqrt
from statistics import median
from typing import Final

import numpy as np

from penstock.engine.motion.excursions import Excursion, Side, excursions
from penstock.engine.motion.exercises import ANGLES_OF, WEIGHTS, Guide
from penstock.engine.motion.likeness import alike
from penstock.engine.motion.signals import LEAN, SIDES
from penstock.engine.motion.track import Track, quantile

# How many joints are looked at when nobody names the exercise.
_LIVELIEST: Final = 4
# The exercise's first signal against its others.
_FIRST_WEIGHT: Final = 1.5
# The other side alternates with the working one when it turns while that one rests, as often.
_ALTERNATES: Final = (0.4, 0.7)
_RESTING_SHARE: Final = 0.35
_SAME_SHARE: Final = 0.5
# Who stays bent so many times as long as straight rests bent.
_MUCH_LONGER: Final = 1.5


@dataclass(slots=True, frozen=True, eq=False)
class Counted:
    """What one joint's tracks say. `sign` is 1 where the joint rests low, -1 where it rests high.

    `angle` is the joint whose range is told, and `angles` its tracks: the same joint, unless that
    is a height.
    """

    joint: str
    side: Side
    sign: int
    excursions: tuple[Excursion, ...]
    tracks: Mapping[Side, Track]
    score: float
    angle: str = ""
    angles: Mapping[Side, Track] = field(default_factory=dict)


def count(
    tracks: Mapping[str, Track],
    told: Guide | None,
    decided: tuple[str, int] | None = None,
    *,
    whole: bool = True,
) -> Counted | None:
    """Count by the joint that shows the exercise best; None when nothing moves.

    `decided` gives the joint and its sign where they are known from before. The tracks are `whole`
    when they begin and end as the recording does.
    """
    if decided is not None:
        names: Sequence[str] = decided[:1]
    else:
        names = told.signals if told else _liveliest(tracks)
    best: Counted | None = None
    for name in names:
        found = _by_joint(tracks, name, told, decided[1] if decided else 0, whole=whole)
        if found is None:
            continue
        if told and name == names[0]:
            found = replace(found, score=found.score * _FIRST_WEIGHT)
        if best is None or found.score > best.score:
            best = found
    return None if best is None else _with_angle(tracks, best, told)


def _with_angle(tracks: Mapping[str, Track], found: Counted, told: Guide | None) -> Counted:
    if found.joint not in ANGLES_OF:
        return replace(found, angle=found.joint, angles=found.tracks)
    angles: tuple[str, ...] = ANGLES_OF[found.joint]
    if told and told.signals[0] in angles:
        angles = (told.signals[0],)
    own = {name: _sides(tracks, name) for name in angles}
    most = max(
        angles,
        key=lambda name: max((track.large_swing() for track in own[name].values()), default=0.0),
    )
    return replace(found, angle=most, angles=own[most])


def _sides(tracks: Mapping[str, Track], joint: str) -> dict[Side, Track]:
    if joint == LEAN:
        return {"middle": tracks[LEAN]} if LEAN in tracks else {}
    sides: dict[Side, Track] = {}
    for side in SIDES:
        if (found := tracks.get(f"{joint}_{side}")) is not None:
            sides["left" if side == "left" else "right"] = found
    return sides


def _liveliest(tracks: Mapping[str, Track]) -> list[str]:
    """Give the joints whose swings have the most energy."""
    energy = dict.fromkeys(WEIGHTS, 0.0)
    for name, track in tracks.items():
        joint = name.removesuffix("_left").removesuffix("_right")
        if joint in energy:
            own = WEIGHTS[joint] ** 2 * sum(swing**2 for swing in track.swings())
            energy[joint] = max(energy[joint], own)
    return sorted(energy, key=lambda joint: -energy[joint])[:_LIVELIEST]


def _by_joint(
    tracks: Mapping[str, Track], joint: str, told: Guide | None, fixed: int, *, whole: bool
) -> Counted | None:
    sides = _sides(tracks, joint)
    if not sides or not all(track.followed for track in sides.values()):
        return None
    large = max(track.large_swing() for track in sides.values())
    kept: list[tuple[float, Side, Track]] = []
    for named, track in sides.items():
        counting = track.pruned(large)
        if any(track.gap) and (period := counting.period()) is not None:
            counting = track.pruned(large, period)
        if len(counting) > 1:
            kept.append((sum(counting.swings()), named, counting))
    if not kept:
        return None
    kept.sort(key=lambda one: -one[0])
    _, side, lead = kept[0]
    # People rest straight: with joints low and legs long.
    prior = -1 if (told is not None and told.rests_high) != (joint == "leg_height") else 1
    # Whether the way out yields to gravity is known only of exercises whose beginning is known.
    sure = told is not None and told.lowers is not None and not told.rests_high
    sign = fixed or (prior if sure else _resting(lead, prior, whole=whole, named=told is not None))
    found = excursions(lead, sign, side)
    if len(kept) > 1:
        _, other_side, other = kept[1]
        both = _alternating(found, lead, other, sign, other_side)
        if both is not None:
            found, side = both, "both"
    found = alike(tracks, found, joint)
    seen = [one for one in found if one.seen]
    if not seen:
        return None
    degrees = [one.degrees for one in seen]
    apart = [b.turn - a.turn for a, b in pairwise(found)]
    uneven = _uneven(degrees, 1e-9) + (_uneven(apart, 1.0) if len(apart) > 1 else 0.5)
    likeness = max(0.0, sum([one.likeness for one in seen]) / len(seen))
    score = median(degrees) * WEIGHTS.get(joint, 0.5) * exp(-uneven)
    score *= sqrt(len(seen)) * (len(seen) / len(found)) ** 2 * likeness**2
    return Counted(joint, side, sign, tuple(found), {one: track for _, one, track in kept}, score)


def _uneven(values: Sequence[float], least: float) -> float:
    """Give the standard deviation as a share of the mean, which is taken as `least` at least."""
    mean = sum(values) / len(values)
    return sqrt(sum([(value - mean) ** 2 for value in values]) / len(values)) / max(mean, least)


def _resting(track: Track, prior: int, *, whole: bool, named: bool) -> int:
    """Tell where it rests: 1 low, -1 high."""
    value = track.value
    first_high, last_high = value[0] > value[1], value[-1] > value[-2]
    departs = track.departs()
    if whole and first_high == last_high:
        # A recording that was cut tightly begins and ends at rest.
        half = median([b - a for a, b in pairwise(track.at)])
        if max(departs[0] - track.at[0], track.at[-1] - track.arrive[-1]) <= half / 2:
            return -1 if first_high else 1
    if named:
        return prior
    stayed = [0, 0]
    for n, (arrived, left) in enumerate(zip(track.arrive, departs, strict=True)):
        stayed[(n % 2 == 0) == first_high] += left - arrived
    usual, other = stayed[prior < 0], stayed[prior > 0]
    return prior if other <= _MUCH_LONGER * usual else -prior


def _alternating(
    lead: list[Excursion], track: Track, other: Track, sign: int, side: Side
) -> list[Excursion] | None:
    seen = [one.degrees for one in lead if one.seen]
    if not seen:
        return None
    usual = median(seen)
    low = quantile([sign * one for one in track.value], 0.25) + _RESTING_SHARE * usual
    of_lead, of_other = _ALTERNATES
    # Nearly nobody alternates, and that takes no excursions to see.
    if np.count_nonzero(sign * track.at_times(_tops(other, sign)) < low) < of_lead * len(lead):
        return None
    found = excursions(other, sign, side)
    turns = [one for one in found if one.seen]
    heights = sign * track.at_times([one.turn for one in turns])
    apart = {
        id(one)
        for one, height in zip(turns, heights, strict=True)
        if one.degrees > _SAME_SHARE * usual and height < low
    }
    if len(apart) < of_lead * len(lead) or len(apart) < of_other * len(found):
        return None
    added = [one for one in found if not one.seen or id(one) in apart]
    return sorted((*lead, *added), key=lambda one: one.turn)


def _tops(track: Track, sign: int) -> list[float]:
    """Give when a track is at its turns away from where it rests."""
    first = 0 if sign * track.value[0] > sign * track.value[1] else 1
    middles = zip(track.arrive[first::2], track.departs()[first::2], strict=True)
    return [(arrived + left) / 2 for arrived, left in middles]
