"""Batches of plausible patients, encoded before a run and shared by all of its sessions.

To encode while the load runs would make the harness the slowest part of what it measures. A track
is one patient from the first batch on; sessions are spread over the tracks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from penstock.bench.patients import Exercise, Traits, draw_traits, record
from penstock.engine.wire import encode

# About 40 MB of the usual batches of ten frames, made within seconds.
_MEMBERS: Final = 8192
_LEAST_TRACKS: Final = 4
_MOST_TRACKS: Final = 64
# A longer track is several recordings of the patient, one after the other: an array of a whole day
# would take gigabytes.
_MOST_FRAMES: Final = 16_384
# Jitter hardly compresses: a higher level takes as long and gains nothing.
_LEVEL: Final = 1
_SEEDS_A_LIBRARY: Final = 1 << 16


@dataclass(frozen=True, eq=False, slots=True)
class Library:
    """Gzip members by track. Timestamps go forward all along a track."""

    tracks: tuple[tuple[bytes, ...], ...]
    frames_a_batch: int

    @property
    def member_bytes(self) -> float:
        """Give the mean size of a member."""
        return sum(len(m) for track in self.tracks for m in track) / sum(map(len, self.tracks))

    def member(self, session: int, number: int) -> bytes:
        """Give a session's batch by its number, from 0.

        A session that sends more batches than a track has begins its track again; the server then
        counts the frames as repeated.
        """
        track = self.tracks[session % len(self.tracks)]
        return track[number % len(track)]


def make_library(
    *,
    batches: int,
    frames_a_batch: int,
    seed: int,
    fps: float = 10,
    tracks: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Library:
    """Make the tracks, for sessions that send that many batches at most.

    Neighbouring tracks are different exercises. Equal arguments give the same bytes.
    """
    count = min(max(_MEMBERS // batches, _LEAST_TRACKS), _MOST_TRACKS) if tracks is None else tracks
    if count < 1:
        raise ValueError("a library has at least one track")
    exercises = list(Exercise)
    made = []
    for number in range(count):
        if progress is not None:
            progress(f"encoding batches: track {number + 1} of {count}")
        own_seed = seed * _SEEDS_A_LIBRARY + number
        traits = draw_traits(own_seed, exercises[number % len(exercises)])
        made.append(
            make_track(
                traits, batches=batches, frames_a_batch=frames_a_batch, seed=own_seed, fps=fps
            )
        )
    return Library(tuple(made), frames_a_batch)


def make_track(
    traits: Traits, *, batches: int, frames_a_batch: int, seed: int, fps: float = 10
) -> tuple[bytes, ...]:
    """Encode one patient's batches."""
    if batches < 1 or frames_a_batch < 1:
        raise ValueError("a track has at least one batch, and a batch at least one frame")
    a_recording = max(1, _MOST_FRAMES // frames_a_batch)
    members: list[bytes] = []
    for first in range(0, batches, a_recording):
        frames = min(a_recording, batches - first) * frames_a_batch
        recording = record(traits, seconds=frames / fps, fps=fps, seed=seed + first)
        # Jitter is less than half an interval, so times go forward from one recording to the next.
        begins_ms = round(first * frames_a_batch * 1000 / fps)
        times = recording.timestamps_ms.astype(np.int64) + begins_ms
        members += (
            encode(
                recording.landmarks[at : at + frames_a_batch],
                times[at : at + frames_a_batch],
                fps_hint=max(1, round(fps)),
                level=_LEVEL,
            )
            for at in range(0, frames, frames_a_batch)
        )
    return tuple(members)
