"""One repetition as it is told: its times, how far and how fast it went, and how much was seen."""

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

import numpy as np

from penstock.engine.motion.counting import Counted
from penstock.engine.motion.excursions import Excursion, Side
from penstock.engine.motion.track import Track
from penstock.engine.motion.turns import UNKNOWN

Levels = dict[Side, list[list[float]]]

_SIDES: Final[tuple[Side, ...]] = ("left", "right", "both", "middle")
# A side that goes through less than this share of the other one does not take part.
_TAKES_PART: Final = 0.3
_STORED = np.dtype(
    [
        ("start_ms", "<u4"),
        ("turn_ms", "<u4"),
        ("end_ms", "<u4"),
        ("out_ms", "<i4"),
        ("hold_ms", "<i4"),
        ("back_ms", "<i4"),
        ("degrees", "<f4"),
        ("left", "<f4"),
        ("right", "<f4"),
        ("speed", "<f4"),
        ("sparc", "<f4"),
        ("ldlj", "<f4"),
        ("unseen", "<f4"),
        ("likeness", "<f4"),
        ("side", "u1"),
        ("cut", "u1"),
        ("seen", "u1"),
    ]
)
STORED_BYTES: Final = _STORED.itemsize
_NO_TIME: Final = -1
# Beside the bit that says whether it was cut.
_PARTLY: Final = 2


class Repetition(NamedTuple):
    """One repetition; None is what was not seen. Times are of the session, in milliseconds.

    `degrees` is what the working joint went through, `left` and `right` the same of each side.
    `out`, `hold` and `back` are the ways from the resting position to the turn and back, and the
    stay there. `unseen` is the share
    of its time without frames. A `cut` one began before the session or ended after it; one that
    was not `seen` took place where frames are missing. One that is `partly` seen went through
    `degrees` at least: a gap hides how far it really went.
    """

    start_ms: int
    turn_ms: int
    end_ms: int
    out_ms: int | None
    hold_ms: int | None
    back_ms: int | None
    degrees: float | None
    left: float | None
    right: float | None
    speed: float | None
    sparc: float | None
    ldlj: float | None
    unseen: float
    likeness: float
    side: Side
    cut: bool
    seen: bool
    partly: bool = False


def repetitions(counted: Counted, after_ms: int = -1) -> list[Repetition]:
    """Tell every repetition that was counted and turned after that time."""
    found = [one for one in counted.excursions if max(0, round(one.turn)) > after_ms]
    times = np.array([(one.start, one.turn, one.end) for one in found], np.float64)
    angles: Levels = {
        side: track.at_times(times).tolist() for side, track in counted.angles.items()
    }
    return [
        _told(counted, one, {side: levels[n] for side, levels in angles.items()})
        if one.seen
        else _hidden(one)
        for n, one in enumerate(found)
    ]


def _hidden(one: Excursion) -> Repetition:
    return Repetition(
        max(0, one.start), max(0, round(one.turn)), max(0, one.end), None, None, None, None, None,
        None, None, None, None, 1.0, 0.0, one.side, cut=False, seen=False,
    )  # fmt: skip


def _told(counted: Counted, one: Excursion, levels: dict[Side, list[float]]) -> Repetition:
    start, end = max(0, one.start), max(0, one.end)
    track = counted.tracks[one.side]
    n = one.number
    ways = [m for m in (n, n + 1) if 0 < m < len(track)]
    smooth = [track.sparc[m] for m in ways]
    jerk = [track.ldlj[m] for m in ways]
    left = _range_of(counted, "left", one, levels)
    right = _range_of(counted, "right", one, levels)
    side = one.side
    if side == "left":
        degrees = left
    else:
        degrees = right if side == "right" else _range_of(counted, side, one, levels)
    partly = degrees is None and counted.angle == counted.joint
    if partly:
        degrees = max(
            abs(track.value[n] - track.value[m]) for m in (n - 1, n + 1) if 0 <= m < len(track)
        )
    turning = track if counted.angle == counted.joint else None
    if side != "middle" and counted.side != "both" and left and right:
        both = min(left, right) > _TAKES_PART * max(left, right)
        side = "both" if both else side
    whole = one.kind == "whole"
    return Repetition(
        start,
        max(0, round(one.turn)),
        end,
        track.arrive[n] - track.leave[n] if n else None,
        track.departs()[n] - track.arrive[n] if whole else None,
        track.arrive[n + 1] - track.leave[n + 1] if n + 1 < len(track) else None,
        degrees,
        left,
        right,
        None if turning is None else float(max(turning.speed[m] for m in ways)),
        _mean(smooth),
        _mean(jerk),
        min(1.0, one.unseen_ms / max(1, end - start)),
        one.likeness,
        side,
        not whole,
        seen=True,
        partly=partly,
    )


def _mean(thousandths: list[int]) -> float | None:
    known = [value / 1000 for value in thousandths if value != UNKNOWN]
    return sum(known) / len(known) if known else None


def _range_of(
    counted: Counted, side: Side, one: Excursion, levels: dict[Side, list[float]]
) -> float | None:
    """Give how far a side's angle went within a repetition; None where a gap hides how far.

    `levels` are the angles when it began, turned and ended.
    """
    if side == one.side and counted.angle == counted.joint:
        return _of_ways(counted.tracks[side], one.number)
    track = counted.angles.get(side)
    if track is None:
        return None
    inside = slice(bisect_left(track.at, one.start), bisect_right(track.at, one.end))
    if any(track.gap[inside]):
        return None
    value = levels[side] + track.value[inside]
    return max(value) - min(value)


def _of_ways(track: Track, n: int) -> float | None:
    """Give the mean of the ways to a turn and back, of those whose both ends were seen."""
    found = [
        abs(track.value[n] - track.value[m])
        for m in (n - 1, n + 1)
        if 0 <= m < len(track) and not track.gap[n] and not track.gap[m]
    ]
    return sum(found) / len(found) if found else None


def stored(found: list[Repetition]) -> bytes:
    """Give repetitions as bytes, `STORED_BYTES` each."""
    rows = []
    for one in found:
        out, hold, back = (_NO_TIME if at is None else at for at in one[3:6])
        figures = (np.nan if value is None else value for value in one[6:12])
        cut = one.cut + _PARTLY * one.partly
        rest = (one.unseen, one.likeness, _SIDES.index(one.side), cut, one.seen)
        rows.append((*one[:3], out, hold, back, *figures, *rest))
    return np.array(rows, _STORED).tobytes()


def restored(data: bytes) -> list[Repetition]:
    """Read what `stored` gave."""
    found = []
    for row in np.frombuffer(data, _STORED).tolist():
        plain = dict(zip(_STORED.names or (), row, strict=True))
        for name in ("out_ms", "hold_ms", "back_ms"):
            plain[name] = None if plain[name] == _NO_TIME else plain[name]
        for name in ("degrees", "left", "right", "speed", "sparc", "ldlj"):
            plain[name] = None if plain[name] != plain[name] else plain[name]
        plain["side"] = _SIDES[plain["side"]]
        plain["partly"] = bool(plain["cut"] & _PARTLY)
        plain["cut"], plain["seen"] = bool(plain["cut"] & 1), bool(plain["seen"])
        found.append(Repetition(**plain))
    return found
