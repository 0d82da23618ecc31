"""Frames that wait to be sent, and the count of those that never will be."""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.engine import wire
from penstock.engine.unsent import MAX_UNSENT_FRAMES, UNSENT_WORDS

# So many fit into a batch whatever they hold: 528 bytes each, if nothing can be compressed.
MAX_BATCH_FRAMES = 120


class Frame(NamedTuple):
    """33 landmarks (x, y, z, visibility) and when they were seen, since the session began."""

    landmarks: npt.NDArray[np.float32]
    timestamp_ms: int


class FrameBuffer:
    """A bounded number of frames, the oldest first; those that it has no room for are counted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: deque[Frame] = deque()
        self._unsent: dict[str, int] = {}
        # Every frame that there was, whatever became of it.
        self.attempted = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, landmarks: npt.ArrayLike, timestamp_ms: int, *, full_because: str) -> None:
        """Take a frame; when there is no room the oldest goes, for that reason.

        ValueError for landmarks or a time that a batch cannot hold.
        """
        points = np.asarray(landmarks, np.float32)
        if points.shape != (wire.LANDMARKS, wire.LANDMARK_VALUES):
            shape = (wire.LANDMARKS, wire.LANDMARK_VALUES)
            raise ValueError(f"a frame's landmarks must have shape {shape}, not {points.shape}")
        if not 0 <= timestamp_ms <= 0xFFFF_FFFF:
            raise ValueError(f"timestamp_ms must be from 0 to {0xFFFF_FFFF}, not {timestamp_ms}")
        if self._frames and timestamp_ms < self._frames[-1].timestamp_ms:
            raise ValueError(f"timestamp_ms {timestamp_ms} lies before the last frame's")
        self.attempted += 1
        self._frames.append(Frame(points.copy(), timestamp_ms))
        if len(self._frames) > self._limit:
            self.give_up(1, full_because)

    def batch(self, fps_hint: int) -> tuple[int, bytes]:
        """Encode the oldest frames, as many as fit; they stay. Give their number and the body."""
        frames = [self._frames[at] for at in range(min(len(self._frames), MAX_BATCH_FRAMES))]
        body = wire.encode(
            np.stack([frame.landmarks for frame in frames]),
            [frame.timestamp_ms for frame in frames],
            fps_hint=fps_hint,
            level=1,
        )
        return len(frames), body

    def remove(self, frames: int) -> None:
        """Let the oldest go: somebody else has counted them."""
        for _ in range(min(frames, len(self._frames))):
            self._frames.popleft()

    def give_up(self, frames: int, reason: str) -> None:
        """Let the oldest go, and count them as never sent."""
        gone = min(frames, len(self._frames))
        self.remove(gone)
        self._count(gone, reason)

    def never_made(self, frames: int, reason: str) -> None:
        """Count frames that could not even be made; ValueError for another reason than there is."""
        if reason not in UNSENT_WORDS:
            raise ValueError(f"reason must be one of {', '.join(UNSENT_WORDS)}, not {reason!r}")
        if frames < 1:
            raise ValueError(f"frames must be at least 1, not {frames}")
        self.attempted += frames
        self._count(frames, reason)

    def untold(self) -> Mapping[str, int]:
        """Give what is to be told of in the next request."""
        return {why: min(frames, MAX_UNSENT_FRAMES) for why, frames in self._unsent.items()}

    def told(self, unsent: Mapping[str, int]) -> None:
        """Forget what has been told of."""
        for reason, frames in unsent.items():
            self._unsent[reason] -= frames
            if not self._unsent[reason]:
                del self._unsent[reason]

    def _count(self, frames: int, reason: str) -> None:
        if frames:
            self._unsent[reason] = self._unsent.get(reason, 0) + frames
