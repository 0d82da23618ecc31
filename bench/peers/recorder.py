"""What the form `full` adds in the Python peers: every session's file, and its joints' angles.

Theory of operation
-------------------
::

    keep -> recording.batches, and the queue -> (a second later) flush -> file, angles -> forgotten

A session enters the queue with the first batch that waits, so the queue is in order of age, and a
flush takes from its front what has waited for a second. Nothing is synced: the promise is that of
Penstock's spool. A flush computes the angles of all its frames, of all its sessions, in one pass:
NumPy's price is by the call. Flushes come often, so that each is short; a write goes to the page
cache and is not worth a thread. A write that fails is not contained: it ends the process.
"""

import os
import resource
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from penstock.engine.motion.joints import JOINTS, joint_angles
from penstock.engine.wire import FrameBatch

# The harness asks for a flush this often; each takes what is due.
FLUSH_EVERY_SECONDS = 0.1

_FLUSH_SECONDS = 1.0
_MOST_OPEN_FILES = 16_384  # Penstock's default
_OTHER_FILES = 1024
_FIRST_ROWS = 1024


class Recording:
    """What waits of one session, since when, and its row in the table of reaches."""

    __slots__ = ("batches", "name", "row", "since")

    def __init__(self, name: str, row: int) -> None:
        self.name = name
        self.row = row
        self.since = 0.0
        self.batches: list[FrameBatch] = []


class Recorder:
    """Files of all sessions, and how far each session's joints went: least and greatest angle."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = _Files(folder)
        self._clock = clock
        self._queue: deque[Recording] = deque()
        self._least = np.full((_FIRST_ROWS, len(JOINTS)), np.nan, np.float32)
        self._greatest = self._least.copy()
        self._rows = 0

    def begin(self, session_id: str) -> Recording:
        """Make room for a session."""
        if self._rows == len(self._least):
            more = np.full_like(self._least, np.nan)
            self._least = np.concatenate((self._least, more))
            self._greatest = np.concatenate((self._greatest, more))
        self._rows += 1
        return Recording(session_id, self._rows - 1)

    def keep(self, recording: Recording, batch: FrameBatch) -> None:
        """Take a batch that will be in the session's file about a second later."""
        if not recording.batches:
            recording.since = self._clock()
            self._queue.append(recording)
        recording.batches.append(batch)

    def flush(self, *, everything: bool = False) -> None:
        """Write what has waited long enough, or everything, and compute its angles."""
        due = self._clock() - _FLUSH_SECONDS
        queue = self._queue
        taken: list[Recording] = []
        while queue and (everything or queue[0].since <= due):
            taken.append(queue.popleft())
        for recording in taken:
            self._files.append(recording.name, [batch.member for batch in recording.batches])
        if taken:
            self._widen(taken)
        for recording in taken:
            recording.batches = []

    def reach_json(self, recording: Recording) -> bytes:
        """Give a session's least and greatest angles; null where no frame had one."""
        rows = {"least": self._least[recording.row], "greatest": self._greatest[recording.row]}
        return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)

    def close(self) -> None:
        """Bring everything to disk and close the files."""
        self.flush(everything=True)
        self._files.close()

    def _widen(self, taken: Sequence[Recording]) -> None:
        landmarks: list[npt.NDArray[np.float32]] = []
        starts: list[int] = []
        frames = 0
        for recording in taken:
            starts.append(frames)
            for batch in recording.batches:
                landmarks.append(batch.landmarks)
                frames += batch.frame_count
        angles = joint_angles(np.concatenate(landmarks))
        # A session is in the queue once, so no row is here twice.
        rows = [recording.row for recording in taken]
        self._least[rows] = np.fmin(self._least[rows], np.fmin.reduceat(angles, starts))
        self._greatest[rows] = np.fmax(self._greatest[rows], np.fmax.reduceat(angles, starts))


class _Files:
    """Append-only files by name; the one not used for longest is closed when too many are open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[str, int] = OrderedDict()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES
        self._most = max(1, min(_MOST_OPEN_FILES, limit))

    def append(self, name: str, members: Sequence[bytes]) -> None:
        descriptor = self._open.get(name)
        if descriptor is None:
            if len(self._open) >= self._most:
                os.close(self._open.popitem(last=False)[1])
            path = f"{self._folder}/{name}.bin.gz"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._open[name] = descriptor
        else:
            self._open.move_to_end(name)
        data = members[0] if len(members) == 1 else b"".join(members)
        if os.write(descriptor, data) != len(data):
            raise OSError(f"{name}: only a part could be written")

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
