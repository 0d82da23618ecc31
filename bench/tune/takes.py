"""The sessions that policies are tried on: as batches for the service, as signals for the figures.

A take is one session without its landmarks: times, what was measured in each frame, and where its
batches end. That is 80 bytes a frame instead of 532, and all that counting needs. Sources say where
a take comes from; they are small and travel to other processes, takes do not.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from penstock.bench.errors import BenchError
from penstock.bench.patients import draw_traits, record
from penstock.engine.motion.signals import Floats, measure
from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS

Times = npt.NDArray[np.int64]

PATIENT_SECONDS = 60.0
# The Portal's: what it has seen in about a second goes out together.
BATCH_SECONDS = 1.0
_PATIENT_FPS = 10.0
# A synthetic patient is another one for each number, whatever else is drawn by the seed.
_PATIENTS_A_SEED = 1 << 16
_LATEST_MS = 0xFFFF_FFFF


class TakeError(BenchError):
    """A session cannot be read, or nothing can be learnt from it. One line, for the operator."""


class Take(NamedTuple):
    """One session: `values` has a row of signals for each of `times`, `sizes` cuts the batches.

    Times are in milliseconds and never fall within a batch.
    """

    times: Times
    values: Floats
    sizes: tuple[int, ...]
    world: bool
    exercise: str | None


class Outline(NamedTuple):
    """What the model needs of a take: its batches, in milliseconds from the first frame."""

    name: str
    frames: tuple[int, ...]
    first_ms: tuple[int, ...]
    last_ms: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Give how long the session occupies its place: to where a further batch would begin."""
        newest = self.last_ms[-1] / 1000
        return max(BATCH_SECONDS, newest + newest / max(1, sum(self.frames) - 1))


class Source(Protocol):
    """Where a take comes from. Picklable, and equal to itself in another process."""

    @property
    def name(self) -> str:
        """Give a name for people, one of its own in a run."""
        ...

    @property
    def told(self) -> str | None:
        """Give the name that a result may hold; None where it would lead to a person."""
        ...

    def read(self, longest_seconds: float) -> Take:
        """Read the session, of a longer one its beginning; TakeError when that is impossible."""
        ...


@dataclass(slots=True, frozen=True)
class PatientSource:
    """A synthetic patient, drawn by the seed and the number."""

    seed: int
    number: int

    @property
    def name(self) -> str:
        """Give the patient's number."""
        return f"patient {self.number} of seed {self.seed}"

    @property
    def told(self) -> str:
        """Give the same."""
        return self.name

    def read(self, longest_seconds: float) -> Take:
        """Record the patient."""
        own = self.seed * _PATIENTS_A_SEED + self.number
        traits = draw_traits(own)
        seconds = min(PATIENT_SECONDS, longest_seconds)
        found = record(traits, seconds=seconds, fps=_PATIENT_FPS, seed=own)
        times = found.timestamps_ms.astype(np.int64)
        values = measure(found.landmarks, found.aspect)
        return Take(times, values, cut(times), world=False, exercise=traits.exercise.value)


@dataclass(slots=True, frozen=True)
class RecordingSource:
    """A motion recording: an .npz with `landmarks`, `timestamp_ms`, `coords` and `aspect`."""

    path: Path

    @property
    def name(self) -> str:
        """Give the file's name without its ending."""
        return self.path.stem

    @property
    def told(self) -> str:
        """Give the same."""
        return self.name

    def read(self, longest_seconds: float) -> Take:
        """Read the file."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                points = np.ascontiguousarray(file["landmarks"], np.float32)
                times = file["timestamp_ms"].astype(np.int64)
                world = str(file["coords"]) == "metres3d"
                aspect = float(file["aspect"])
                exercise = str(file["exercise"]) if "exercise" in file.files else None
        except KeyError as error:
            raise TakeError(f"{self.path}: it has no array named {error}") from None
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise TakeError(f"{self.path}: no motion recording: {error}") from None
        self._check(points, times, aspect)
        kept = times - times[0] <= longest_seconds * 1000
        times, points = times[kept], points[kept]
        return Take(times, measure(points, aspect, world=world), cut(times), world, exercise)

    def _check(self, points: npt.NDArray[np.float32], times: Times, aspect: float) -> None:
        shape = (len(times), LANDMARKS, LANDMARK_VALUES)
        if times.ndim != 1 or not len(times) or points.shape != shape:
            raise TakeError(
                f"{self.path}: landmarks has the shape {points.shape} and timestamp_ms "
                f"{times.shape}; it must be (frames, {LANDMARKS}, {LANDMARK_VALUES}) and (frames,)"
            )
        if (np.diff(times) < 0).any() or times[0] < 0 or times[-1] > _LATEST_MS:
            raise TakeError(f"{self.path}: timestamp_ms must not fall, nor leave 0 to {_LATEST_MS}")
        if not 0.1 <= aspect <= 10:
            raise TakeError(f"{self.path}: aspect is {aspect:g}; it must be from 0.1 to 10")


def cut(times: Times) -> tuple[int, ...]:
    """Cut a session into batches as a client does: what a second has seen goes out together."""
    numbers = (times - times[0]) // round(BATCH_SECONDS * 1000)
    return tuple(int(size) for size in np.unique(numbers, return_counts=True)[1])


def shortened(take: Take, longest_seconds: float) -> Take:
    """Give the beginning of a longer session, in whole batches and at least one."""
    kept = frames = 0
    for size in take.sizes:
        if kept and take.times[frames + size - 1] - take.times[0] > longest_seconds * 1000:
            break
        kept, frames = kept + 1, frames + size
    if kept == len(take.sizes):
        return take
    return take._replace(
        times=take.times[:frames], values=take.values[:frames], sizes=take.sizes[:kept]
    )


def outline(name: str, take: Take) -> Outline:
    """Give what the service's model needs."""
    ends = np.cumsum(take.sizes)
    starts = ends - take.sizes
    # A client's clock that began anew must not make batches come before those ahead of them.
    first = np.maximum.accumulate(take.times[starts] - take.times[0])
    last = np.maximum(np.maximum.accumulate(take.times[ends - 1] - take.times[0]), first)
    return Outline(name, take.sizes, tuple(first.tolist()), tuple(last.tolist()))
