"""One number from 0 to 100 for how good it was to watch. docs/explanation/experience-score.md.

Four parts, each from 0 to 100 and each falling when what it is made of grows worse. A part that
nothing is known of is None and has no say. The score is the weighted geometric mean of the others:
it never falls when a part rises, and one part at 0 cannot be made up for by the rest.
"""

import math
from dataclasses import dataclass, fields

SCORE_VERSION = 1

WEIGHTS = {"success": 0.30, "startup": 0.20, "smoothness": 0.35, "quality": 0.15}

# Where a part is at half of what it could be.
_STARTUP_HALF_SECONDS = 8.0  # Mux's public startup score has the same form and the same constant
_STALLED_HALF_RATIO = 0.05
_STALLS_HALF_PER_MINUTE = 2.0
_ERRORS_HALF = 4
_DROPS_HALF_PER_MINUTE = 4.0
# Whoever gave up before the first frame had no failure that we know of, and did not see anything.
_EXIT_BEFORE_START = 50.0


@dataclass(slots=True, frozen=True)
class Watching:
    """What the score is made of. What is not known is None."""

    failed: bool = False
    errors: int = 0
    exited_before_start: bool = False
    started: bool = True
    startup_ms: float | None = None
    watched_ms: int = 0
    stalled_ms: int = 0
    stalls: int = 0
    bitrate_bps: float | None = None
    top_bitrate_bps: float | None = None
    switches_down: int = 0


@dataclass(slots=True, frozen=True)
class Parts:
    """The parts of the score, from 0 to 100 each."""

    success: float | None
    startup: float | None
    smoothness: float | None
    quality: float | None


@dataclass(slots=True, frozen=True)
class Experience:
    """The score and its parts, to a tenth of a point. The score is of the exact parts."""

    score: float | None
    parts: Parts


def experience_of(watching: Watching) -> Experience:
    """Rate one session."""
    parts = Parts(_success(watching), _startup(watching), _smoothness(watching), _quality(watching))
    score = combined(parts)
    return Experience(
        None if score is None else round(score, 1),
        Parts(*(None if part is None else round(part, 1) for part in _values(parts).values())),
    )


def combined(parts: Parts) -> float | None:
    """Give the weighted geometric mean of the parts that are known; None if there is none."""
    known = {name: part for name, part in _values(parts).items() if part is not None}
    if not known:
        return None
    if not all(known.values()):
        return 0.0
    logs = sum(WEIGHTS[name] * math.log(part) for name, part in known.items())
    return min(100.0, math.exp(logs / sum(WEIGHTS[name] for name in known)))


def _values(parts: Parts) -> dict[str, float | None]:
    return {field.name: getattr(parts, field.name) for field in fields(parts)}


def _success(watching: Watching) -> float | None:
    if watching.failed:
        return 0.0
    if not watching.started and not watching.exited_before_start:
        return None  # it may still come
    best = _EXIT_BEFORE_START if watching.exited_before_start else 100.0
    return best / (1 + watching.errors / _ERRORS_HALF)


def _startup(watching: Watching) -> float | None:
    if watching.startup_ms is None:
        return None
    return 100.0 / (1 + watching.startup_ms / 1000 / _STARTUP_HALF_SECONDS)


def _smoothness(watching: Watching) -> float | None:
    time = watching.watched_ms + watching.stalled_ms
    if not time:
        return None
    ratio = watching.stalled_ms / time
    stalls = watching.stalls / _minutes(time)
    return 100.0 / (1 + ratio / _STALLED_HALF_RATIO) / (1 + stalls / _STALLS_HALF_PER_MINUTE)


def _quality(watching: Watching) -> float | None:
    bitrate, top = watching.bitrate_bps, watching.top_bitrate_bps
    if bitrate is None or not top:
        return None
    drops = watching.switches_down / _minutes(watching.watched_ms + watching.stalled_ms)
    return 100.0 * math.sqrt(min(1.0, bitrate / top)) / (1 + drops / _DROPS_HALF_PER_MINUTE)


def _minutes(milliseconds: int) -> float:
    # Of a few seconds, one stall is not thirty a minute.
    return max(1.0, milliseconds / 60_000)
