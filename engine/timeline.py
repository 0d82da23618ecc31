"""Which frames of a session are new in time, and where time is missing.

Pure: batches of timestamps in, counts out. The state is a handful of integers whatever the length
of the session, so it travels in every checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Two frames further apart than this leave a gap. At the Portal's 10 frames a second it is five
# missing frames; shorter pauses are jitter. The loss budget's "no gap longer than one second"
# is about gaps like these.
GAP_MS = 600


@dataclass(slots=True)
class Timeline:
    """The times of a session's frames so far. `newest_ms` is None before the first frame."""

    first_ms: int | None = None
    newest_ms: int | None = None
    used: int = 0
    repeated: int = 0
    gaps: int = 0
    gap_ms_total: int = 0
    longest_gap_ms: int = 0

    def copy(self) -> "Timeline":
        """Give the same state, apart from this one."""
        return Timeline(
            self.first_ms,
            self.newest_ms,
            self.used,
            self.repeated,
            self.gaps,
            self.gap_ms_total,
            self.longest_gap_ms,
        )

    def fold(self, timestamps_ms: Sequence[int]) -> tuple[int, int]:
        """Take the (never falling) times of one batch; give how many were used and repeated."""
        used = repeated = 0
        newest = self.newest_ms
        for at in timestamps_ms:
            if newest is None:
                self.first_ms = at
            elif at <= newest:
                repeated += 1
                continue
            elif at - newest > GAP_MS:
                self._gap(at - newest)
            newest = at
            used += 1
        self.newest_ms = newest
        self.used += used
        self.repeated += repeated
        return used, repeated

    def _gap(self, length_ms: int) -> None:
        self.gaps += 1
        self.gap_ms_total += length_ms
        self.longest_gap_ms = max(self.longest_gap_ms, length_ms)
