"""Which turns are repetitions: the working joint, where it rests, and what does not belong.

Theory of operation
-------------------
::

    tracks -> for each joint: swings that count -> out and back again -> hidden ones filled in
                                             -> those unlike the others taken out -> a score
           -> the joint with the best score

A repetition leaves the resting level, turns, and comes back. All joints move in an exercise, so a
repetition is also a pattern over all signals: how far each is at the turn from where it is before
and after. Setting up, putting down and walking off have other patterns, which is how they are told
from the exercise although one joint goes as far in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.exercises import ANGLES_OF, WEIGHTS, Guide
from penstock.engine.motion.hidden import hidden, rhythm
from penstock.engine.motion.signals import LEAN, SIDED, SIDES
from penstock.engine.motion.track import Track, quantile
from penstock.engine.motion.turning import NEAR_DEGREES, NEAR_SHARE

Matrix = npt.NDArray[np.float64]
Kind = Literal["whole", "head", "tail", "hidden"]
Side = Literal["left", "right", "both", "middle"]

# A repetition that the session's beginning or end cuts counts if it came as far as this, compared
# with its neighbours: then its turn was seen.
_CUT_SHARE: Final = 0.6
# What is seen of it lasts at most so many times the usual half; who stays longer was not moving.
_CUT_TIMES: Final = 1.5
# Cosine of a repetition's pattern with the most typical one: below the first it is another motion,
# below the second also when parts of it were not seen; at the edges of a set it has to be within
# the third, or four times their usual distance, of the others.
_LIKE: Final = 0.7
_LIKE_UNSEEN: Final = 0.5
_LIKE_EDGE: Final = 0.2
_EDGE_SPREADS: Final = 4.0
_UNSEEN_SHARE: Final = 0.25
# A pause of so many periods parts two sets.
_PAUSE_PERIODS: Final = 2.5
_LEAST_PATTERNS: Final = 3
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


class Excursion(NamedTuple):
    """One way out and back on one track. `number` is its turn's there; -1 for a hidden one."""

    start: int
    turn: float
    end: int
    degrees: float
    kind: Kind
    side: Side
    number: int
    unseen_ms: int
    likeness: float = 1.0

    @property
    def seen(self) -> bool:
        """Tell whether its turn was seen."""
        return self.kind != "hidden"


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
    names = told.signals if told else _liveliest(tracks)
    if decided is not None:
        names = decided[:1]
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
    sign = fixed or _resting(lead, prior, whole=whole, named=told is not None)
    found = _excursions(lead, sign, side)
    if len(kept) > 1:
        _, other_side, other = kept[1]
        both = _alternating(found, lead, _excursions(other, sign, other_side), sign)
        if both is not None:
            found, side = both, "both"
    found = _alike(tracks, found)
    seen = [one for one in found if one.seen]
    if not seen:
        return None
    degrees = np.array([one.degrees for one in seen])
    apart = np.diff([one.turn for one in found])
    uneven = float(degrees.std() / max(degrees.mean(), 1e-9))
    uneven += float(apart.std() / max(apart.mean(), 1.0)) if len(apart) > 1 else 0.5
    likeness = max(0.0, float(np.mean([one.likeness for one in seen])))
    score = median([one.degrees for one in seen]) * WEIGHTS.get(joint, 0.5) * np.exp(-uneven)
    score *= np.sqrt(len(seen)) * (len(seen) / len(found)) ** 2 * likeness**2
    return Counted(
        joint, side, sign, tuple(found), {one: track for _, one, track in kept}, float(score)
    )


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


def _excursions(track: Track, sign: int, side: Side) -> list[Excursion]:
    value = [sign * one for one in track.value]
    last = len(track) - 1
    tops = [(n % 2 == 0) == (value[0] > value[1]) for n in range(last + 1)]
    usual = rhythm(track, tops)
    period = median(usual.cycles) if usual.cycles else None
    unseen, departs = track.unseen(), track.departs()
    missing = hidden(track, tops, usual)
    found = []
    for n in range(last + 1):
        for step in range(missing.get(n, 0)):
            way = (step + 1) / (missing[n] + 1)
            turn = track.at[n - 1] + (track.at[n] - track.at[n - 1]) * way
            half = (period or 0.0) / 2
            found.append(
                Excursion(
                    round(turn - half), turn, round(turn + half), float("nan"), "hidden", side,
                    -1, round(2 * half),
                )
            )  # fmt: skip
        if not tops[n]:
            continue
        ways = [value[n] - value[m] for m in (n - 1, n + 1) if 0 <= m <= last]
        kind: Kind = "whole" if len(ways) > 1 else "head" if n == 0 else "tail"
        if kind != "whole":
            # Who stays there for long has not been caught in the middle of a repetition.
            stayed = departs[0] - track.at[0] if n == 0 else track.at[-1] - track.arrive[-1]
            if period is None or stayed > 2 * usual.stay[True] + _RESTING_SHARE * period:
                continue
        found.append(
            Excursion(
                _begun(track, n) if n else track.at[n],
                (track.arrive[n] + departs[n]) / 2,
                _ended(track, n + 1) if n < last else track.at[n],
                sum(ways) / len(ways),
                kind,
                side,
                n,
                (unseen[n] if n else 0) + (unseen[n + 1] if n < last else 0),
            )
        )
    return _without_short_cuts(found)


def _begun(track: Track, n: int) -> int:
    """Give when the way into a turn really began: before it was seen to leave."""
    return max(track.at[n - 1], round(track.leave[n] - _unnoticed(track, n)))


def _ended(track: Track, n: int) -> int:
    """Give when the way into a turn really ended: after it came near."""
    return min(track.at[n], round(track.arrive[n] + _unnoticed(track, n)))


def _unnoticed(track: Track, n: int) -> float:
    # People move with the least jerk (Flash and Hogan 1985): the first share f of a way takes about
    # half the cube root of f of its time, and the last share as well.
    swing = abs(track.value[n] - track.value[n - 1])
    share = max(NEAR_SHARE, NEAR_DEGREES / max(swing, 2 * NEAR_DEGREES))
    part = 0.52 * float(share ** (1 / 3))
    return (track.arrive[n] - track.leave[n]) * part / (1 - 2 * part)


def _without_short_cuts(found: list[Excursion]) -> list[Excursion]:
    wholes = [one for one in found if one.kind == "whole"]
    if not wholes:
        return found
    whole = [one.degrees for one in wholes]
    longest = {
        "head": _CUT_TIMES * median([one.end - one.turn for one in wholes]),
        "tail": _CUT_TIMES * median([one.turn - one.start for one in wholes]),
    }
    kept = []
    for n, one in enumerate(found):
        if one.kind in ("head", "tail"):
            near = [x.degrees for x in found[max(0, n - 4) : n + 5] if x.kind == "whole"]
            if one.degrees < _CUT_SHARE * median(near or whole):
                continue
            if one.end - one.start > longest[one.kind]:
                continue
        kept.append(one)
    return kept


def _alternating(
    lead: list[Excursion], track: Track, other: list[Excursion], sign: int
) -> list[Excursion] | None:
    seen = [one.degrees for one in lead if one.seen]
    turns = [one for one in other if one.seen]
    if not seen or not turns:
        return None
    usual = median(seen)
    low = quantile([sign * one for one in track.value], 0.25) + _RESTING_SHARE * usual
    heights = sign * track.at_times([one.turn for one in turns])
    apart = {
        id(one)
        for one, height in zip(turns, heights, strict=True)
        if one.degrees > _SAME_SHARE * usual and height < low
    }
    of_lead, of_other = _ALTERNATES
    if len(apart) < of_lead * len(lead) or len(apart) < of_other * len(other):
        return None
    added = [one for one in other if not one.seen or id(one) in apart]
    return sorted((*lead, *added), key=lambda one: one.turn)


def _alike(tracks: Mapping[str, Track], found: list[Excursion]) -> list[Excursion]:
    """Take out what has another pattern than the rest."""
    seen = [one for one in found if one.seen]
    if len(seen) < _LEAST_PATTERNS:
        return found
    likeness = _likeness(_patterns(tracks, seen))
    middle = median(likeness.tolist())
    spread = median(np.abs(likeness - middle).tolist())
    at_edges = middle - max(_LIKE_EDGE, _EDGE_SPREADS * spread)
    pause = _PAUSE_PERIODS * median([b.turn - a.turn for a, b in pairwise(seen)])
    judged: dict[int, Excursion | None] = {}
    for n, one in enumerate(seen):
        first = n == 0 or one.turn - seen[n - 1].turn > pause
        last = n == len(seen) - 1 or seen[n + 1].turn - one.turn > pause
        least = max(_LIKE, at_edges) if first or last else _LIKE
        if one.kind != "whole" or one.unseen_ms > _UNSEEN_SHARE * (one.end - one.start):
            least = _LIKE_UNSEEN
        like = float(likeness[n])
        judged[id(one)] = one._replace(likeness=like) if like > least else None
    kept = []
    for one in found:
        nearest = one if one.seen else min(seen, key=lambda x: abs(x.turn - one.turn))
        verdict = judged[id(nearest)]
        if verdict is not None:
            kept.append(verdict if one.seen else one)
    return kept


def _patterns(tracks: Mapping[str, Track], found: list[Excursion]) -> Matrix:
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
    changes = {name: _changes(track, times) for name, track in tracks.items()}
    still = np.zeros(len(found))
    right = np.array([one.side == "right" for one in found])
    columns = []
    for name in SIDED:
        left_one, right_one = (changes.get(f"{name}_{side}", still) for side in SIDES)
        # The working side first, so that alternating sides do alike.
        columns.append(np.where(right, right_one, left_one))
        columns.append(np.where(right, left_one, right_one))
    columns.append(changes.get(LEAN, still))
    return np.array(columns).T


def _changes(track: Track, times: Matrix) -> Matrix:
    value = track.at_times(times)
    change: Matrix = value[:, 1] - (value[:, 0] + value[:, 2]) / 2
    if not track.followed:
        change[times[:, 1] > track.at[-1]] = np.nan
    return change


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
