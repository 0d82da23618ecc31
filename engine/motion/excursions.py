"""From turns to repetitions: out from the resting position, a turn, and back again.

A repetition begins and ends where the way really did, not where it was first seen to: nearer than
a tenth of the way to a turn nothing can be told from noise. What the recording's beginning or end
cuts counts when its turn was seen. Between them go those that a gap hides.
"""

from statistics import median
from typing import Final, Literal, NamedTuple

import numpy as np

from penstock.engine.motion.hidden import hidden, rhythm
from penstock.engine.motion.track import Track
from penstock.engine.motion.turns import NEAR_DEGREES, NEAR_SHARE

Kind = Literal["whole", "head", "tail", "hidden"]
Side = Literal["left", "right", "both", "middle"]

# A repetition that the session's beginning or end cuts counts if it came as far as this, compared
# with its neighbours: then its turn was seen.
_CUT_SHARE: Final = 0.6
# What is seen of it lasts at most so many times the usual half; who stays longer was not moving.
_CUT_TIMES: Final = 1.5
# Who stays at its turn for the usual time twice and this share of a period was not caught in it.
_STAYS_SHARE: Final = 0.35


class Excursion(NamedTuple):
    """One way out and back on one track. `number` is its turn's there; -1 for a hidden one.

    A `timed` one turns beside a gap, where the time before and after leaves room for it.
    """

    start: int
    turn: float
    end: int
    degrees: float
    kind: Kind
    side: Side
    number: int
    unseen_ms: int
    likeness: float = 1.0
    timed: bool = False

    @property
    def seen(self) -> bool:
        """Tell whether its turn was seen."""
        return self.kind != "hidden"


def excursions(track: Track, sign: int, side: Side) -> list[Excursion]:
    """Give what a track of a joint that rests low (`sign` 1) or high (-1) went through."""
    value = [sign * one for one in track.value]
    last = len(track) - 1
    tops = [(n % 2 == 0) == (value[0] > value[1]) for n in range(last + 1)]
    usual = rhythm(track, tops)
    period = median(usual.cycles) if usual.cycles else None
    unseen, departs = track.unseen(), track.departs()
    begun, ended = _ways(track)
    missing, timed = hidden(track, tops, usual)
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
            if period is None or stayed > 2 * usual.stay[True] + _STAYS_SHARE * period:
                continue
        found.append(
            Excursion(
                begun[n] if n else track.at[n],
                (track.arrive[n] + departs[n]) / 2,
                ended[n + 1] if n < last else track.at[n],
                sum(ways) / len(ways),
                kind,
                side,
                n,
                (unseen[n] if n else 0) + (unseen[n + 1] if n < last else 0),
                timed=n in timed,
            )
        )
    return _without_short_cuts(found)


def _ways(track: Track) -> tuple[list[int], list[int]]:
    """Give when the way into each turn really began and ended.

    It began before it was seen to leave, and ended after it came near.
    """
    # People move with the least jerk (Flash and Hogan 1985): the first share f of a way takes about
    # half the cube root of f of its time, and the last share as well.
    at, value, leave, arrive = (
        np.array(column) for column in (track.at, track.value, track.leave, track.arrive)
    )
    swing = np.abs(np.diff(value, prepend=value[:1]))
    share = np.maximum(NEAR_SHARE, NEAR_DEGREES / np.maximum(swing, 2 * NEAR_DEGREES))
    part = 0.52 * np.cbrt(share)
    unnoticed = (arrive - leave) * part / (1 - 2 * part)
    begun = np.maximum(np.concatenate((at[:1], at[:-1])), np.rint(leave - unnoticed))
    ended = np.minimum(at, np.rint(arrive + unnoticed))
    return begun.astype(np.int64).tolist(), ended.astype(np.int64).tolist()


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
