"""One signal's turns over a session, and those of them that are large enough to count.

The log holds every turn above the floor of noise. Which of them a repetition is made of depends on
how far this person goes, and that is known best when all is known: so the smaller swings are taken
out here, whenever somebody asks, and not while frames come in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import cos, pi
from operator import itemgetter
from statistics import median
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.turns import (
    FLOOR_DEGREES,
    NEAR_DEGREES,
    NEAR_SHARE,
    UNKNOWN,
    Records,
)

# A swing counts from this share of the usual large one on; hysteresis at 0.3 and 0.7 of the range,
# which counts every set of UI-PRMD, is 0.4. Patients who tire go through less.
_LEAST_SHARE: Final = 0.3
# The usual large swing is the third quartile of the largest in each stretch of this length: neither
# a rest nor a fall moves it.
_STRETCH_MS: Final = 8000
_LARGE_QUANTILE: Final = 0.75
_SPANS: Final = ("blind_before", "blind_moving", "blind_after", "gap")


@dataclass(slots=True, eq=False)
class Track:
    """Turns in order. `leave` and `arrive` are times of the way into a turn, as are the blinds.

    `blind_before` was unseen near the turn before, `blind_moving` on the way, `blind_after` near
    this turn, all in milliseconds. `gap` is the longest time without a sample beside the turn, and
    `sparc` and `ldlj` are thousandths, UNKNOWN where they were not measured.
    """

    at: list[int]
    value: list[float]
    leave: list[int]
    arrive: list[int]
    blind_before: list[int]
    blind_moving: list[int]
    blind_after: list[int]
    gap: list[int]
    speed: list[int]
    sparc: list[int]
    ldlj: list[int]
    # Until when the signal stayed near the last turn, as far as is known.
    left: int
    # Of a signal that is not followed any more, nothing is known after its last turn.
    followed: bool = True
    knots: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    departures: list[int] | None = None
    blinds: list[int] | None = None

    def __len__(self) -> int:
        return len(self.at)

    def swings(self) -> list[float]:
        """Give how far it is from each turn to the next."""
        return [abs(b - a) for a, b in pairwise(self.value)]

    def unseen(self) -> list[int]:
        """Give for how long the signal was not seen on the way into each turn."""
        if self.blinds is None:
            parts = zip(self.blind_before, self.blind_moving, self.blind_after, strict=True)
            self.blinds = [a + b + c for a, b, c in parts]
        return self.blinds

    def departs(self) -> list[int]:
        """Give when each turn was left for the next one."""
        if self.departures is None:
            until = [*self.leave[1:], self.left]
            self.departures = [max(a, b) for a, b in zip(until, self.arrive, strict=True)]
        return self.departures

    def large_swing(self) -> float:
        """Give the size of a usual large swing."""
        largest: dict[int, float] = {}
        begin = self.at[0]
        for at, swing in zip(self.at[1:], self.swings(), strict=True):
            stretch = (at - begin) // _STRETCH_MS
            if swing >= largest.get(stretch, 0.0):
                largest[stretch] = swing
        stretches = max(largest, default=0) + 1
        return quantile(
            (0.0,) * (stretches - len(largest)) + tuple(largest.values()), _LARGE_QUANTILE
        )

    def at_times(self, times: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Give the signal at times, as straight lines between leaving and arriving."""
        if self.knots is None:
            self.knots = self._knots()
        return np.asarray(np.interp(times, *self.knots), np.float64)

    def _knots(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        at, value = np.array(self.at), np.array(self.value)
        knots = np.empty(3 * len(at) - 2)
        values = np.empty_like(knots)
        knots[::3], values[::3] = at, value
        knots[1::3], values[1::3] = self.leave[1:], value[:-1]
        knots[2::3], values[2::3] = self.arrive[1:], value[1:]
        return knots, values

    def pruned(self, large: float, period_ms: float | None = None) -> "Track":
        """Give the turns whose swings count, where a usual large swing is `large`.

        Beside a gap the turn itself was not seen. Where the period is known, so is how much of a
        repetition's height the gap can have hidden at most, and the swing counts from that much
        less on.
        """
        value, gap = self.value, self.gap
        least = max(FLOOR_DEGREES, _LEAST_SHARE * large)
        places = list(range(len(value)))
        while len(places) > 1:
            size = [abs(value[b] - value[a]) for a, b in pairwise(places)]
            last = len(size) - 1
            going: set[int] = set()
            for number, swing in [one for one in enumerate(size) if one[1] < least]:
                if (number and swing > size[number - 1]) or (
                    number < last and swing >= size[number + 1]
                ):
                    continue
                a, b = places[number], places[number + 1]
                if period_ms is not None and (beside := max(gap[a], gap[b])):
                    share = _seen_share(beside, period_ms)
                    if swing >= max(FLOOR_DEGREES, _LEAST_SHARE * large * share):
                        continue
                if number or last == 0:
                    going.add(b)
                if number < last:
                    going.add(a)
            if not going:
                break
            places = [place for place in places if place not in going]
        return self._only(places)

    def _only(self, places: list[int]) -> "Track":
        """Give the turns at these places; the ways between them take in what is left out."""
        if len(places) == len(self.at):
            return self

        # Of one place, an itemgetter gives no tuple.
        chosen = itemgetter(*places, places[-1])

        def at(column: list[Any]) -> list[Any]:
            return list(chosen(column)[:-1])

        found = Track(
            at(self.at),
            at(self.value),
            at(self.leave),
            [max(self.leave[place], self.arrive[place]) for place in places],
            at(self.blind_before),
            at(self.blind_moving),
            at(self.blind_after),
            at(self.gap),
            at(self.speed),
            at(self.sparc),
            at(self.ldlj),
            self.left,
        )
        # There is no way into the first one; the ways into most others are what they were.
        found.blind_before[0] = found.blind_after[0] = 0
        found.sparc[0] = found.ldlj[0] = UNKNOWN
        blind = list(accumulate(self.unseen()))
        for number, (previous, place) in enumerate(pairwise(places), 1):
            if place - previous > 1:
                self._join(found, number, previous, place, blind)
        return found

    def _join(
        self, found: "Track", number: int, previous: int, place: int, blind: list[int]
    ) -> None:
        """Make one way of several; `blind` is what was not seen from the beginning to each turn."""
        value = self.value
        begun, came = previous + 1, place  # whose way in is the way out of the one before
        near = max(NEAR_DEGREES, NEAR_SHARE * abs(value[place] - value[previous]))
        for between in range(place - 1, previous, -1):
            if abs(value[between] - value[previous]) <= near:
                begun = between + 1
                break
        for between in range(begun, place):
            if abs(value[between] - value[place]) <= near:
                came = between
                break
        start = self.leave[begun]
        start_blind = blind[begun - 1] + self.blind_before[begun]
        stop_blind = max(start_blind, blind[came] - self.blind_after[came])
        found.leave[number] = start
        found.arrive[number] = max(start, self.arrive[came])
        found.blind_before[number] = start_blind - blind[previous]
        found.blind_moving[number] = stop_blind - start_blind
        found.blind_after[number] = blind[place] - stop_blind
        found.speed[number] = max(self.speed[previous + 1 : place + 1])
        found.sparc[number] = found.ldlj[number] = UNKNOWN

    def period(self) -> float | None:
        """Give the usual time from a turn to the next of its kind, where nothing is hidden."""
        unseen = self.unseen()
        spans = [
            self.at[number + 2] - self.at[number]
            for number in range(len(self.at) - 2)
            if not unseen[number + 1] and not unseen[number + 2]
        ]
        return float(median(spans)) if len(spans) > 2 else None


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value below which that share lies, between two of them in proportion."""
    sizes = sorted(values)
    place = share * (len(sizes) - 1)
    low = int(place)
    return sizes[low] + (place - low) * (sizes[min(low + 1, len(sizes) - 1)] - sizes[low])


def _seen_share(gap_ms: int, period_ms: float) -> float:
    # Of a sine with that period, how high what is left of it reaches on both sides of the gap.
    return 0.5 * (1 + cos(pi * min(1.0, gap_ms / period_ms)))


class Columns:
    """The turns of some signals behind one another, as plain numbers."""

    __slots__ = ("at", "knots", "lists", "values")

    def __init__(self, turns: Records) -> None:
        rows: Any = turns
        at = rows["at_ms"].astype(np.int64)
        value = rows["value"] / 10
        leave, arrive = (at - rows[name].astype(np.int64) * 10 for name in ("leave", "arrive"))
        spans = [(rows[name].astype(np.int64) * 10).tolist() for name in _SPANS]
        rest = [rows[name].tolist() for name in ("speed", "sparc", "ldlj")]
        self.at: list[int] = at.tolist()
        self.lists: list[list[Any]] = [
            self.at, value.tolist(), leave.tolist(), arrive.tolist(), *spans, *rest
        ]  # fmt: skip
        # Straight lines from turn to turn: when it was left, come near to, and turned.
        self.knots = np.stack((leave, arrive, at), axis=1, dtype=np.float64).ravel()
        before = np.concatenate((value[:1], value[:-1]))
        self.values = np.stack((before, value, value), axis=1).ravel()

    def track(self, begin: int, end: int, left: int, *, followed: bool = True) -> Track:
        """Make the track of one signal's turns, which are those from `begin` to `end`."""
        columns: list[Any] = [column[begin:end] for column in self.lists]
        # The first turn has no way into it.
        lines = slice(3 * begin + 2, 3 * end)
        knots = self.knots[lines], self.values[lines]
        at, value, leave, arrive, *rest, speed, sparc, ldlj = columns
        before, moving, after, gap = rest
        until = max(left, self.at[end - 1])
        return Track(
            at, value, leave, arrive, before, moving, after, gap, speed, sparc, ldlj, until,
            followed, knots,
        )  # fmt: skip
