"""When each repetition begins, turns and ends, and how far the body has got at any moment.

Theory of operation
-------------------
The plan of a recording is drawn first, repetition by repetition::

    set-up | repetition between repetition pause repetition ... | rest | next set ... | put-down

Every motion is then a closed formula of the time: the way out and the way back are minimum-jerk
curves (Flash and Hogan 1985), which is how people reach for a place. So the truth is exact at any
moment and not only at frames, and all frames are one array operation.
"""

from dataclasses import dataclass

import numpy as np

from penstock.bench.exercises import Side
from penstock.bench.skeleton import Floats
from penstock.bench.traits import Traits

# A short recording keeps most of its time for repetitions.
_MOST_EDGE_SHARE = 0.2
# Joints wander at these frequencies, as bodies do that are held still.
_SWAY_HERTZ = (0.11, 0.6)
_SWAY_WAVES = 3


@dataclass(frozen=True, slots=True)
class Planned:
    """One repetition, in seconds; it can begin before the recording or end after it."""

    start: float
    arrives: float
    leaves: float
    end: float
    side: Side
    # Degrees of the left and of the right side's primary joint.
    bend: tuple[float, float]


@dataclass(frozen=True, eq=False, slots=True)
class Schedule:
    """The plan of a recording, and how far it has come at any times (in seconds)."""

    seconds: float
    setup_seconds: float
    put_down_seconds: float
    repetitions: tuple[Planned, ...]
    # Beginning and end of each rest between two sets.
    rests: tuple[tuple[float, float], ...]

    def bend(self, times: Floats) -> Floats:
        """Give the degrees (2, times) that the primary joints have left their starting position."""
        if not self.repetitions:
            return np.zeros((2, times.size))
        starts, arrives, leaves, ends = np.array(
            [(r.start, r.arrives, r.leaves, r.end) for r in self.repetitions]
        ).T
        at = np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)
        out = ease((times - starts[at]) / (arrives - starts)[at])
        back = ease((times - leaves[at]) / (ends - leaves)[at])
        return np.array([r.bend for r in self.repetitions]).T[:, at] * (out - back)

    def settled(self, times: Floats) -> Floats:
        """Give how far the patient has come from walking in (0) to the starting position (1)."""
        settled = np.ones_like(times)
        if self.setup_seconds:
            settled = np.minimum(settled, times / self.setup_seconds)
        if self.put_down_seconds:
            settled = np.minimum(settled, (self.seconds - times) / self.put_down_seconds)
        return np.clip(settled, 0, 1)

    def resting(self, times: Floats) -> Floats:
        """Give how far the patient has left the starting position for a rest, 0 to 1."""
        share = np.zeros_like(times)
        for start, end in self.rests:
            ramp = min(2.0, (end - start) / 2)
            share += ease(np.minimum(times - start, end - times) / ramp)
        return share


def ease(share: Floats) -> Floats:
    """Go from 0 to 1 with the least jerk."""
    done = np.clip(share, 0, 1)
    return done**3 * (10 - 15 * done + 6 * done**2)


def plan(traits: Traits, seconds: float, random: np.random.Generator) -> Schedule:
    """Draw the plan of a recording of that length."""
    edge = _MOST_EDGE_SHARE * seconds
    setup = 0.0 if traits.begins_inside else min(traits.setup_seconds, edge)
    put_down = 0.0 if traits.ends_inside else min(traits.put_down_seconds, edge)
    done: list[Planned] = []
    rests: list[tuple[float, float]] = []
    at, in_set = setup, 0
    while True:
        repetition = _draw(traits, random, at, in_set, len(done))
        if not done and traits.begins_inside:
            before = traits.begins_inside * (repetition.end - repetition.start)
            repetition = _moved(repetition, -before)
        late = repetition.start if traits.ends_inside else repetition.end
        if late >= seconds - put_down:
            break
        done.append(repetition)
        at = repetition.end + traits.between_seconds
        in_set += 1
        # Both draws always, so that a pause changes only what comes after it in time.
        pauses, length = random.random() < traits.pause_chance, random.uniform(0.7, 1.3)
        if in_set == traits.repetitions_a_set:
            in_set = 0
            rest = traits.rest_seconds * length
            # The last rest of a recording, if nothing comes after it, is cut by its end.
            if rest > 0:
                rests.append((at, at + rest))
            at += rest
        elif pauses:
            at += traits.pause_seconds * length
    inside = tuple((a, min(b, seconds - put_down)) for a, b in rests if a + 1 < seconds - put_down)
    return Schedule(seconds, setup, put_down, tuple(done), inside)


def _draw(
    traits: Traits, random: np.random.Generator, at: float, in_set: int, number: int
) -> Planned:
    tired = in_set / max(1, traits.repetitions_a_set - 1)
    slower, deeper = np.clip(random.standard_normal(2), -2.5, 2.5)
    moving = traits.repetition_seconds * (1 + traits.fatigue_tempo * tired)
    moving *= float(np.exp(traits.tempo_variation * slower))
    kind = traits.kind
    degrees = traits.degrees * (1 - traits.fatigue_range * tired)
    degrees *= 1 + traits.range_variation * deeper
    side, left, right = _shares(traits, number)
    bend = (
        min(float(degrees) * left, kind.most_degrees),
        min(float(degrees) * right, kind.most_degrees),
    )
    arrives = at + moving * traits.outward_share
    leaves = arrives + traits.hold_seconds
    end = at + moving + traits.hold_seconds
    return Planned(at, arrives, leaves, end, side, bend)


def _shares(traits: Traits, number: int) -> tuple[Side, float, float]:
    # Who works, and how much of the range the left and the right side go through.
    left, right = 1 - traits.asymmetry / 2, 1 + traits.asymmetry / 2
    match traits.way_of_working:
        case "left":
            return "left", 1, 0
        case "right":
            return "right", 0, 1
        case "alternating":
            return ("left", left, 0) if number % 2 else ("right", 0, right)
        case _:
            return "both", left, right


def _moved(r: Planned, by: float) -> Planned:
    return Planned(r.start + by, r.arrives + by, r.leaves + by, r.end + by, r.side, r.bend)


@dataclass(frozen=True, eq=False, slots=True)
class Sway:
    """Slow waves that differ from joint to joint, each of about the same size."""

    hertz: Floats
    phase: Floats
    degrees: float

    def __call__(self, times: Floats) -> Floats:
        """Give the degrees (joints, times)."""
        turns = self.hertz[..., np.newaxis] * times + self.phase[..., np.newaxis]
        waves = np.sin(2 * np.pi * turns).sum(axis=1)
        return np.asarray(self.degrees * np.sqrt(2 / _SWAY_WAVES) * waves)


def draw_sway(random: np.random.Generator, joints: int, degrees: float) -> Sway:
    """Draw the waves of that many joints."""
    shape = (joints, _SWAY_WAVES)
    return Sway(random.uniform(*_SWAY_HERTZ, shape), random.uniform(0, 1, shape), degrees)
