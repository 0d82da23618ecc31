"""What a tracker makes of a body: jitter, doubt about what it cannot see, gaps, and nonsense.

Theory of operation
-------------------
MediaPipe filters its landmarks (One Euro), so their error is not white: a jitter that lasts about
an eighth of a second, and a slow drift. Depth is worse than the picture's plane, hands and feet are
worse than the trunk, and what is hidden is worst. A lost body is NaN with visibility 0.

Each kind of error has its own stream of random numbers, so that more of one leaves the others as
they were.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from penstock.bench.skeleton import LANDMARKS, Floats
from penstock.bench.traits import Traits

_Singles = npt.NDArray[np.float32]

_JITTER_SECONDS = 0.12
_MOST_TAPS = 24
_DRIFT_SECONDS = 2.0
_DEPTH_FACTOR = 3.0
_HIDDEN_FACTOR = 3.0
# A landmark outside the picture is a guess.
_OUTSIDE_VISIBILITY = 0.15
# How long a false detection stays where it is.
_GARBAGE_SECONDS = 0.3


def _by_landmark(face: float, trunk: float, limbs: float, ends: float) -> _Singles:
    values = np.full(LANDMARKS, face, np.float32)
    values[[11, 12, 23, 24]] = trunk
    values[[13, 14, 25, 26]] = limbs
    values[[*range(15, 23), *range(27, 33)]] = ends
    return values


_USUAL_VISIBILITY: Final = _by_landmark(0.9999, 0.9998, 0.994, 0.98)
_HIDES: Final = _by_landmark(0.25, 0.4, 0.95, 1.0)
_UNSTEADY: Final = _by_landmark(0.8, 0.8, 1.0, 1.4)
# 1 for a landmark of the left side, -1 for one of the right, 0 for the nose.
_SIDE: Final = np.array([0, 1, 1, 1, -1, -1, -1, *([1, -1] * 13)], np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class Sight:
    """What the tracker has before it: the body in the coordinates asked for, and in the picture."""

    points: Floats
    picture: Floats
    seconds: Floats
    # The middle of the picture, and its width along x, y and z, in the coordinates asked for.
    middle: tuple[float, float, float]
    scale: tuple[float, float, float]


def track(sight: Sight, traits: Traits, seeds: list[np.random.SeedSequence]) -> _Singles:
    """Give frames x 33 x (x, y, z, visibility) as the tracker reports them."""
    jitter, drift, doubt, losses, garbage = (np.random.default_rng(seed) for seed in seeds)
    frames, seconds = len(sight.points), sight.seconds
    found = np.empty((frames, LANDMARKS, 4), np.float32)
    found[..., 3] = visibility = _visibility(sight, traits, doubt)
    unsteady = (_UNSTEADY * (1 + _HIDDEN_FACTOR * (1 - visibility)))[..., np.newaxis]
    noise = traits.jitter * _jitter(jitter, seconds) + traits.drift * _drift(drift, seconds)
    noise *= unsteady * np.array([1, 1, _DEPTH_FACTOR], np.float32)
    found[..., :3] = sight.points + noise * np.array(sight.scale, np.float32)
    _mislead(found, sight, traits, garbage)
    lost = _lost(seconds, traits, losses)
    found[lost] = (np.nan, np.nan, np.nan, 0.0)
    return found


def _interval(seconds: Floats) -> float:
    return float(seconds[-1] / (len(seconds) - 1)) if len(seconds) > 1 else _JITTER_SECONDS


def _jitter(random: np.random.Generator, seconds: Floats) -> _Singles:
    # An exponential filter over white noise, as a sum of its first terms: all frames at once.
    keeps = np.exp(-_interval(seconds) / _JITTER_SECONDS)
    taps = keeps ** np.arange(max(1, min(_MOST_TAPS, int(np.ceil(np.log(0.02) / np.log(keeps))))))
    taps = (taps / np.sqrt((taps**2).sum())).astype(np.float32)
    frames = len(seconds)
    white = random.standard_normal((frames + len(taps) - 1, LANDMARKS, 3), np.float32)
    smooth = np.zeros((frames, LANDMARKS, 3), np.float32)
    for back, tap in enumerate(taps, 1):
        smooth += tap * white[len(taps) - back : len(taps) - back + frames]
    return smooth


def _drift(random: np.random.Generator, seconds: Floats, values: int = 3) -> _Singles:
    # Straight lines from knot to knot.
    place = seconds / _DRIFT_SECONDS
    at = place.astype(int)
    knots = random.standard_normal((int(at[-1]) + 2, LANDMARKS, values), np.float32)
    share = (place - at).astype(np.float32)[:, np.newaxis, np.newaxis]
    lines: _Singles = np.add(knots[at] * (1 - share), knots[at + 1] * share, dtype=np.float32)
    return lines


def _visibility(sight: Sight, traits: Traits, random: np.random.Generator) -> _Singles:
    frames = len(sight.points)
    flicker = random.standard_normal((frames, LANDMARKS), np.float32)
    wanders = _drift(random, sight.seconds, 1)[..., 0]
    # Positive yaw turns the patient's right side to the camera, so the left is hidden.
    aside = np.sin(np.radians(traits.yaw_degrees))
    hidden = np.maximum(0, _SIDE * aside).astype(np.float32) * _HIDES * traits.occlusion
    seen = _USUAL_VISIBILITY * traits.visibility * (1 - 0.9 * hidden * (1 + 0.1 * wanders))
    # As a logistic output does: certainty is steadier than doubt.
    seen += flicker * 0.2 * seen * np.abs(1 - seen)
    plane = sight.picture[..., :2]
    outside = ((plane < 0) | (plane > 1)).any(axis=2)
    return np.asarray(np.where(outside, _OUTSIDE_VISIBILITY * seen, seen).clip(0, 1), np.float32)


def _mislead(found: _Singles, sight: Sight, traits: Traits, random: np.random.Generator) -> None:
    # At the start some trackers find bodies where none are.
    wrong = int(np.searchsorted(sight.seconds, traits.garbage_seconds))
    at = (sight.seconds[:wrong] / _GARBAGE_SECONDS).astype(int)
    bodies = random.uniform(-0.4, 0.4, (wrong + 1, 1, 3)) + random.normal(
        0, 0.12, (wrong + 1, LANDMARKS, 3)
    )
    shaken = bodies[at] + random.normal(0, 0.02, (wrong, LANDMARKS, 3))
    found[:wrong, :, :3] = sight.middle + shaken * np.array(sight.scale)
    found[:wrong, :, 3] = random.uniform(0.1, 0.9, (wrong, LANDMARKS))


def _lost(seconds: Floats, traits: Traits, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    # One gap at a random place in every stretch that should hold one.
    lost = np.zeros(len(seconds), np.bool_)
    if not (traits.lost_share and traits.lost_seconds):
        return lost
    stretch = traits.lost_seconds / traits.lost_share
    starts = np.arange(0, seconds[-1] + stretch, stretch)
    lengths = np.minimum(traits.lost_seconds * random.uniform(0.6, 1.4, starts.size), stretch)
    starts += random.uniform(0, 1, starts.size) * (stretch - lengths)
    at = np.maximum(np.searchsorted(starts, seconds, side="right") - 1, 0)
    return np.asarray((seconds >= starts[at]) & (seconds < starts[at] + lengths[at]))
