"""What distinguishes one patient from another: explicit knobs, or a draw of plausible ones."""

from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from penstock.bench.exercises import KINDS, Exercise, Kind, Working
from penstock.bench.skeleton import Proportions

# Of the longer side of the picture: a field of view of 55 degrees, as phones and webcams have.
FOCAL_SHARE: Final = 0.95

_RESOLUTIONS = ((640, 480), (1280, 720), (480, 640), (720, 1280), (1920, 1080))
# Of landmarks, as a share of the picture's width; MediaPipe's filter leaves about this much.
_USUAL_JITTER = 0.003


@dataclass(frozen=True, slots=True)
class Traits:
    """One patient before one camera. The defaults are an able patient and a good picture.

    Shares are of 1; degrees are those of the primary joint. What is called usual takes one value a
    recording, and each repetition varies around it.
    """

    exercise: Exercise = Exercise.SQUAT
    body: Proportions = field(default_factory=Proportions)

    # The repetitions. None takes what is usual for the exercise. The range is what the joint itself
    # is driven through; the angle between landmarks can be a few degrees less, as limbs are spread.
    working: Working | None = None
    range_degrees: float | None = None
    range_variation: float = 0.03
    # Of both ways together; the hold and the time between two repetitions come on top.
    repetition_seconds: float = 2.8
    tempo_variation: float = 0.06
    # Of `repetition_seconds`, the way from the starting position to the turn.
    outward_share: float = 0.55
    hold_seconds: float = 0.3
    between_seconds: float = 0.4
    # How far the right side goes beyond the left, as a share of their mean.
    asymmetry: float = 0.0
    # By the end of a set: the share of the range that is lost, and of the time that is added.
    fatigue_range: float = 0.0
    fatigue_tempo: float = 0.0
    # The chance, at each repetition, of a pause after it, and its usual length.
    pause_chance: float = 0.0
    pause_seconds: float = 4.0
    repetitions_a_set: int = 10
    rest_seconds: float = 30.0

    # The edges of the recording. A patient who begins inside a repetition, that share into it, has
    # no set-up; one who ends inside has no put-down, and goes on until the recording stops.
    setup_seconds: float = 3.0
    put_down_seconds: float = 2.0
    begins_inside: float = 0.0
    ends_inside: bool = False
    # How far joints wander by themselves; it is true motion.
    sway_degrees: float = 0.8

    # The camera. Yaw 0 sees the front; 90 the right side, -90 the left. Pitch looks down.
    resolution: tuple[int, int] = (640, 480)
    yaw_degrees: float = 35.0
    distance_metres: float = 3.2
    pitch_degrees: float = 4.0
    tilt_degrees: float = 0.0

    # The tracker. Jitter and drift are shares of the picture's width.
    jitter: float = _USUAL_JITTER
    drift: float = 0.002
    visibility: float = 1.0
    # How much of the far side's visibility is lost when the camera sees the body from the side.
    occlusion: float = 0.5
    lost_share: float = 0.0
    lost_seconds: float = 1.5
    garbage_seconds: float = 0.0
    # Of the interval of frames, to both sides.
    cadence_jitter: float = 0.08

    def __post_init__(self) -> None:
        kind = KINDS[self.exercise]
        if self.working is not None and self.working not in kind.working:
            raise ValueError(f"{self.exercise} is not done with {self.working!r}")
        if not kind.least_degrees <= self.degrees <= kind.most_degrees:
            raise ValueError(
                f"{self.exercise} goes through {kind.least_degrees:g} to {kind.most_degrees:g} "
                f"degrees, not {self.degrees:g}"
            )
        if self.repetition_seconds < 0.3 or self.repetitions_a_set < 1:
            raise ValueError("a repetition takes at least 0.3 s, and a set has at least one")
        if not (0.1 <= self.outward_share <= 0.9 and 0 <= self.begins_inside < 1):
            raise ValueError("outward_share is from 0.1 to 0.9, begins_inside from 0 to below 1")
        for name in ("fatigue_range", "pause_chance", "lost_share", "occlusion", "visibility"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, from 0 to 1")
        if abs(self.asymmetry) > 1:
            raise ValueError("asymmetry is from -1 to 1")
        for told in fields(self):
            value = getattr(self, told.name)
            signed = told.name in {"asymmetry", "yaw_degrees", "pitch_degrees", "tilt_degrees"}
            if isinstance(value, float) and not (np.isfinite(value) and (signed or value >= 0)):
                raise ValueError(f"{told.name} cannot be {value}")

    @property
    def kind(self) -> Kind:
        """Give what is fixed about the exercise."""
        return KINDS[self.exercise]

    @property
    def degrees(self) -> float:
        """Give the usual range of the primary joint."""
        return self.kind.degrees if self.range_degrees is None else self.range_degrees

    @property
    def way_of_working(self) -> Working:
        """Give which sides work."""
        return self.kind.working[0] if self.working is None else self.working

    @property
    def aspect(self) -> float:
        """Give the picture's width over its height."""
        return self.resolution[0] / self.resolution[1]


def draw_traits(seed: int, exercise: Exercise | None = None) -> Traits:
    """Draw a plausible patient. Equal arguments give the same one."""
    random = np.random.default_rng(seed)
    if exercise is None:
        exercise = list(Exercise)[int(random.integers(len(Exercise)))]
    else:
        # So that a patient is the same person in every exercise.
        random.integers(len(Exercise))
    kind = KINDS[exercise]
    body = _draw_body(random)
    resolution = _RESOLUTIONS[int(random.integers(len(_RESOLUTIONS)))]
    return Traits(
        exercise=exercise,
        body=body,
        working=kind.working[int(random.integers(len(kind.working)))],
        range_degrees=float(
            np.clip(
                kind.degrees * random.uniform(0.55, 1.15), kind.least_degrees, kind.most_degrees
            )
        ),
        range_variation=float(random.uniform(0.01, 0.08)),
        repetition_seconds=float(np.clip(random.lognormal(np.log(2.8), 0.35), 1.2, 7.0)),
        tempo_variation=float(random.uniform(0.02, 0.15)),
        outward_share=float(random.uniform(0.35, 0.65)),
        hold_seconds=_sometimes(random, 0.6, 0.1, 1.5),
        between_seconds=float(random.uniform(0.0, 1.2)),
        asymmetry=float(np.clip(random.normal(0, 0.06), -0.25, 0.25)),
        fatigue_range=_sometimes(random, 0.5, 0.05, 0.45),
        fatigue_tempo=_sometimes(random, 0.5, 0.05, 0.5),
        pause_chance=_sometimes(random, 0.3, 0.05, 0.25),
        pause_seconds=float(random.uniform(2, 8)),
        repetitions_a_set=int(random.integers(6, 16)),
        rest_seconds=float(random.uniform(15, 60)),
        setup_seconds=float(random.uniform(1.5, 6)),
        put_down_seconds=float(random.uniform(1, 4)),
        begins_inside=_sometimes(random, 0.12, 0.1, 0.9),
        ends_inside=bool(random.random() < 0.15),
        sway_degrees=float(random.uniform(0.3, 1.5)),
        resolution=resolution,
        yaw_degrees=_draw_yaw(random, exercise),
        distance_metres=_draw_distance(random, kind, resolution),
        pitch_degrees=float(random.uniform(-3, 12)),
        tilt_degrees=float(random.normal(0, 1.5)),
        jitter=float(_USUAL_JITTER * random.lognormal(0, 0.4)),
        drift=float(random.uniform(0.0005, 0.005)),
        visibility=1 - _sometimes(random, 0.35, 0.01, 0.1),
        occlusion=float(random.uniform(0.1, 1.0)),
        lost_share=_sometimes(random, 0.3, 0.01, 0.25),
        lost_seconds=float(random.uniform(0.3, 3)),
        garbage_seconds=_sometimes(random, 0.15, 0.5, 3),
        cadence_jitter=float(random.uniform(0.01, 0.2)),
    )


def _sometimes(random: np.random.Generator, chance: float, low: float, high: float) -> float:
    # Both draws always, so that one trait does not shift those after it.
    chosen, value = random.random() < chance, float(random.uniform(low, high))
    return value if chosen else 0.0


def _draw_body(random: np.random.Generator) -> Proportions:
    height = random.uniform(1.5, 1.95) / 1.72
    spread = random.normal(1, 0.04, len(fields(Proportions)))
    return Proportions().scaled(
        {
            told.name: float(height * np.clip(factor, 0.88, 1.12))
            for told, factor in zip(fields(Proportions), spread, strict=True)
        }
    )


def _draw_yaw(random: np.random.Generator, exercise: Exercise) -> float:
    # Who is told to put the phone up does so as the exercise asks, more or less.
    match exercise:
        case Exercise.SHOULDER_ABDUCTION:
            low, high = 0, 30
        case Exercise.STRAIGHT_LEG_RAISE | Exercise.PUSH_UP:
            low, high = 60, 90
        case _:
            low, high = 0, 90
    return float(random.uniform(low, high) * random.choice([-1, 1]))


def _draw_distance(random: np.random.Generator, kind: Kind, resolution: tuple[int, int]) -> float:
    # So that the whole body fits into the picture, with some room.
    width, height = resolution
    wide, high = (2.1, 1.2) if kind.lying else (1.3, 2.2)
    needed = FOCAL_SHARE * max(resolution) * max(wide / width, high / height)
    return float(needed * random.uniform(1.0, 1.4))
