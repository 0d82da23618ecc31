"""What the patients of `penstock bench scale` send: batches of any size, going forward in time.

A batch stands for a second of exercise, however many frames that has.
"""

from collections.abc import Sequence

import numpy as np

from penstock.bench.closed_loop import NextRequest
from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS, encode

_BATCH_MS = 1000
_SWAY_MS = 3000


class Patients:
    """Sessions that each count what they have sent. A session never sends a batch twice."""

    def __init__(self, heads: Sequence[bytes], batches: Sequence[bytes]) -> None:
        self._heads = heads
        self._batches = batches
        self._sent = [0] * len(heads)

    @property
    def body_bytes(self) -> float:
        """Give the mean size of a request's body."""
        bodies = [batch.partition(b"\r\n\r\n")[2] for batch in self._batches]
        return sum(map(len, bodies)) / len(bodies)

    def over(self, sessions: range) -> NextRequest:
        """Give requests in turn over some of the sessions, whichever connection asks."""
        turn = 0

        def next_request(_connection: int) -> bytes:
            nonlocal turn
            request = self._next(sessions[turn])
            turn = (turn + 1) % len(sessions)
            return request

        return next_request

    def each_on_its_own(self, sessions: range) -> NextRequest:
        """Give requests of the nth of the sessions to connection n."""
        return lambda connection: self._next(sessions[connection])

    def sent(self, session: int) -> int:
        """Give how many batches the session has sent."""
        return self._sent[session]

    def _next(self, session: int) -> bytes:
        batch = self._sent[session]
        self._sent[session] = batch + 1
        return self._heads[session] + self._batches[batch]


def encode_batches(frames: int, count: int) -> list[bytes]:
    """Encode the first batches of a session, with the header that depends on their size."""
    members = (_member(number, frames) for number in range(count))
    return [b"Content-Length: %d\r\n\r\n%b" % (len(member), member) for member in members]


def _member(number: int, frames: int) -> bytes:
    # A body that sways, with a tracker's jitter: it is the jitter that no compressor gets rid of.
    random = np.random.default_rng(number)
    times = number * _BATCH_MS + np.arange(frames) * _BATCH_MS // frames
    body = np.random.default_rng(0).uniform(0.2, 0.8, (LANDMARKS, LANDMARK_VALUES))
    sway = 0.1 * np.sin(2 * np.pi * times / _SWAY_MS)[:, None, None]
    points = body + sway + random.normal(0, 0.004, (frames, LANDMARKS, LANDMARK_VALUES))
    points[..., 3] = np.clip(points[..., 3], 0, 1)
    return encode(points, times, fps_hint=frames)
