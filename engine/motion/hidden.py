"""Repetitions that nobody saw, because frames are missing: how many there must have been.

Theory of operation
-------------------
Between two turns that were seen for certain (no gap beside them) there is a known time, and the
usual half repetition takes a known time too. Turns alternate, so the number of halves in between is
even or odd as the two turns are of one kind or not::

    halves seen + 2 x hidden  =  time without pauses / half a period      (rounded)

A gap can hide a repetition only if it is long enough for one. How long that is depends on how far
the movement has come before the gap and after it: from rest to rest all but what would not have
been noticed, on the way most of a cycle, and where both sides of the gap are turns of the signal
their heights tell the cycle's part. A pause that was seen going on on both sides of a gap goes on
in it as well.

Turns beside a gap are no turns of the movement but what was seen last and first. Where the time
leaves room for all of them, there was a repetition each, however little of it was seen.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from math import acos, floor, pi
from statistics import median
from typing import Final

from penstock.engine.motion.track import Track

# Of a cycle, what can be missing at a gap. Near a turn, a tenth of the way to both sides was not
# seen to be left, which by the least jerk is almost half of a cycle's time.
_SLACK_NEAR: Final = 0.6
_SLACK_MOVING: Final = 0.2
# A turn is where a gap begins or ends when no more time than this was seen beside it.
_SEEN_MS: Final = 100
# With the hidden ones the tempo is no slower than so many times the usual one, or it was a rest.
_STEADY: Final = 1.35
_LEAST_PERIOD_MS: Final = 300.0
# Nobody's tempo is known from fewer, and later ones tell more of now than earlier ones.
_LEAST_CYCLES: Final = 3
_NEAREST_CYCLES: Final = 4


@dataclass(slots=True, frozen=True)
class Rhythm:
    """A track's usual times: its cycles and their middles, and how long it stays at turns."""

    cycles: tuple[float, ...]
    middles: tuple[int, ...]
    stay: tuple[float, float]

    def near(self, at: float) -> float:
        """Give the period at about that time."""
        # The middles are in order, so the nearest are the narrowest run around that time.
        last = max(0, len(self.cycles) - _NEAREST_CYCLES)
        first = min(bisect_left(self.middles, at), last)
        while first and at - self.middles[first - 1] < self._beyond(first, at):
            first -= 1
        return max(_LEAST_PERIOD_MS, median(self.cycles[first : first + _NEAREST_CYCLES]))

    def _beyond(self, first: int, at: float) -> float:
        return self.middles[min(first + _NEAREST_CYCLES, len(self.middles)) - 1] - at


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


def hidden(track: Track, tops: list[bool], usual: Rhythm) -> tuple[dict[int, int], set[int]]:
    """Give how many repetitions are hidden on the way into each turn that has any.

    Second come the turns beside gaps that the time leaves room for.
    """
    unseen, departs = track.unseen(), track.departs()
    if len(usual.cycles) < _LEAST_CYCLES or not any(unseen):
        return {}, set()
    last = len(track) - 1
    certain = [n for n in range(last + 1) if not track.gap[n] or n in (0, last)]
    found: dict[int, int] = {}
    timed: set[int] = set()
    levels = _levels(track, tops)
    for a, b in pairwise(certain):
        blind = unseen[a + 1 : b + 1]
        if not any(blind):
            continue
        period = usual.near((track.at[a] + track.at[b]) / 2)
        time, gaps = _without_pauses(track, tops, usual, departs, (a, b), period)
        more = floor((2 * time / period - (b - a)) / 2 + 0.5)
        room = sum(_room(track, n, levels, period, gaps[n]) for n in range(a + 1, b + 1))
        number = min(more, room)
        if more >= 0:
            timed.update(range(a + 1, b))
        steady = _STEADY * period / 2 * (b - a + 2 * number)
        if number > 0 and track.at[b] - track.at[a] <= steady:
            found[a + 1 + blind.index(max(blind))] = number
    return found, timed


def _levels(track: Track, tops: list[bool]) -> tuple[float, float]:
    """Give the usual heights of the turns that are no tops, and of those that are."""
    heights: tuple[list[float], list[float]] = ([], [])
    for n, value in enumerate(track.value):
        if not track.gap[n]:
            heights[tops[n]].append(value)
    low, high = (float(median(found)) if found else 0.0 for found in heights)
    return low, high


def _room(
    track: Track, n: int, levels: tuple[float, float], period: float, gaps: list[tuple[int, float]]
) -> int:
    """Give how many repetitions the way into a turn can hide."""
    a, b = n - 1, n
    apart = track.at[b] - track.at[a]
    if apart <= max(gap for gap, _ in gaps) + 2 * _SEEN_MS and levels[0] != levels[1]:
        # Both turns are where the gap begins and ends: how far the movement had come is known.
        return max(0, floor(apart / period - _cycles(track, a, b, levels) + _SLACK_MOVING))
    return sum(max(0, floor(gap / period + slack)) for gap, slack in gaps)


def _cycles(track: Track, a: int, b: int, levels: tuple[float, float]) -> float:
    """Give how much of a cycle passes from one side of a gap to the other, at least."""
    low, high = levels
    begun, ended = (
        acos(1 - 2 * min(1.0, max(0.0, (track.value[n] - low) / (high - low)))) / (2 * pi)
        for n in (a, b)
    )
    # What was seen last is as a top when it was on the way out, and else it was on the way back.
    out = (track.value[a] > track.value[b]) == (high > low)
    return 1 + (ended - begun if out else begun - ended)


def _without_pauses(
    track: Track,
    tops: list[bool],
    usual: Rhythm,
    departs: list[int],
    ends: tuple[int, int],
    period: float,
) -> tuple[float, dict[int, list[tuple[int, float]]]]:
    a, b = ends
    time = 0.0
    gaps: dict[int, list[tuple[int, float]]] = {n: [] for n in range(a + 1, b + 1)}
    for n in range(a, b + 1):
        stay = usual.stay[tops[n]]
        if n == a:
            stayed, parts = departs[a] - track.at[a], {a + 1: track.blind_before[a + 1]}
        elif n == b:
            stayed, parts = track.at[b] - track.arrive[b], {b: track.blind_after[b]}
        else:
            stayed = departs[n] - track.arrive[n]
            parts = {n: track.blind_after[n], n + 1: track.blind_before[n + 1]}
        if n > a:
            time += max(0, track.arrive[n] - departs[n - 1])
            gaps[n].append((track.blind_moving[n], _SLACK_MOVING))
        unseen = sum(parts.values())
        seen = max(0, stayed - unseen)
        half = stay / 2 if n in ends else stay
        if not unseen:
            time += half if n in ends else min(stayed, stay)
        elif seen > 2 * stay + period / 2:
            time += half
        else:
            # Two repetitions have two stays, so up to twice the usual one is no pause.
            time += unseen + min(seen, 2 * stay)
            for way, part in parts.items():
                gaps[way].append((part, _SLACK_NEAR))
    return time, gaps
