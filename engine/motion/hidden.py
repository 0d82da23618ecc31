"""Repetitions that nobody saw, because frames are missing: how many there must have been.

Theory of operation
-------------------
Between two turns that were seen for certain (no gap beside them) there is a known time, and the
usual half repetition takes a known time too. Turns alternate, so the number of halves in between is
even or odd as the two turns are of one kind or not::

    halves seen + 2 x hidden  =  time without pauses / half a period      (rounded)

A gap can hide a repetition only if it is long enough for one, and a pause that was seen going on on
both sides of a gap goes on in it as well.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from math import floor
from statistics import median
from typing import Final

from penstock.engine.motion.track import Track

# Above the lowest third of its height a repetition spends about this share of its period, and from
# less it would not have been seen to begin.
_HIDDEN_SHARE: Final = 0.55
_SLACK_SHARE: Final = 0.15
# With the hidden ones the tempo is no slower than so many times the usual one, or it was a rest.
_STEADY: Final = 1.35
_LEAST_PERIOD_MS: Final = 300.0
# Nobody's tempo is known from fewer, and later ones tell more of now than earlier ones.
_LEAST_CYCLES: Final = 3
_NEAREST_CYCLES: Final = 6


@dataclass(slots=True, frozen=True)
class Rhythm:
    """A track's usual times: its cycles and their middles, and how long it stays at turns."""

    cycles: tuple[float, ...]
    middles: tuple[int, ...]
    stay: tuple[float, float]

    def near(self, at: float) -> float:
        """Give the period at about that time."""
        # Middles are in order, so the nearest stand together; of two as near the earlier one.
        first = last = bisect_left(self.middles, at)
        for _ in range(min(_NEAREST_CYCLES, len(self.cycles))):
            later = last < len(self.middles) and (
                first == 0 or self.middles[last] - at < at - self.middles[first - 1]
            )
            first, last = (first, last + 1) if later else (first - 1, last)
        return max(_LEAST_PERIOD_MS, median(self.cycles[first:last]))


def rhythm(track: Track, tops: list[bool]) -> Rhythm:
    """Find the usual times of a track; `tops` tells the turns at which a repetition turns."""
    departs, unseen = track.departs(), track.unseen()
    count = len(track)
    stays: tuple[list[int], list[int]] = ([], [])
    for n in range(1, count - 1):
        if not track.blind_after[n] and not track.blind_before[n + 1]:
            stays[tops[n]].append(departs[n] - track.arrive[n])
    stay = tuple(float(median(found)) if found else 0.0 for found in stays)
    cycles, middles = [], []
    for n in range(count - 2):
        if unseen[n + 1] or unseen[n + 2]:
            continue
        middle = departs[n + 1] - track.arrive[n + 1]
        whole = track.arrive[n + 2] - departs[n] - max(0.0, middle - stay[tops[n + 1]])
        cycles.append(max(1.0, whole + stay[tops[n]]))
        middles.append(track.at[n + 1])
    return Rhythm(tuple(cycles), tuple(middles), (stay[0], stay[1]))


def hidden(track: Track, tops: list[bool], usual: Rhythm) -> dict[int, int]:
    """Give how many repetitions are hidden on the way into each turn that has any."""
    if len(usual.cycles) < _LEAST_CYCLES:
        return {}
    unseen, departs = track.unseen(), track.departs()
    last = len(track) - 1
    certain = [n for n in range(last + 1) if not track.gap[n] or n in (0, last)]
    found = {}
    for a, b in pairwise(certain):
        blind = unseen[a + 1 : b + 1]
        if not any(blind):
            continue
        period = usual.near((track.at[a] + track.at[b]) / 2)
        time, gaps = _without_pauses(track, tops, usual, departs, (a, b), period)
        more = floor((2 * time / period - (b - a)) / 2 + 0.5)
        room = sum(int((gap + _SLACK_SHARE * period) / (_HIDDEN_SHARE * period)) for gap in gaps)
        number = min(more, room)
        steady = _STEADY * period / 2 * (b - a + 2 * number)
        if number > 0 and track.at[b] - track.at[a] <= steady:
            found[a + 1 + blind.index(max(blind))] = number
    return found


def _without_pauses(
    track: Track,
    tops: list[bool],
    usual: Rhythm,
    departs: list[int],
    ends: tuple[int, int],
    period: float,
) -> tuple[float, list[int]]:
    a, b = ends
    time, gaps = 0.0, []
    for n in range(a, b + 1):
        stay = usual.stay[tops[n]]
        if n == a:
            stayed, parts = departs[a] - track.at[a], [track.blind_before[a + 1]]
        elif n == b:
            stayed, parts = track.at[b] - track.arrive[b], [track.blind_after[b]]
        else:
            stayed = departs[n] - track.arrive[n]
            parts = [track.blind_after[n], track.blind_before[n + 1]]
        if n > a:
            time += max(0, track.arrive[n] - departs[n - 1])
            gaps.append(track.blind_moving[n])
        unseen = sum(parts)
        seen = max(0, stayed - unseen)
        half = stay / 2 if n in ends else stay
        if not unseen:
            time += half if n in ends else min(stayed, stay)
        elif seen > 2 * stay + period / 2:
            time += half
        else:
            # Two repetitions have two stays, so up to twice the usual one is no pause.
            time += unseen + min(seen, 2 * stay)
            gaps += parts
    return time, gaps
