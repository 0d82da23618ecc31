"""What each session lost, as its client knows it, and how fairly the loss is spread. Pure.

Theory of operation
-------------------
A session's batches are concluded one after the other, in order of session time, so two running
numbers are enough: of a batch some frames are kept, or none. Frames that are lost in a row make a
run; a kept frame ends it. Thinning keeps frames evenly, so its runs are as long as what lies
between two kept frames. A batch that is given up while the one ahead of it is still under way is
*passed over*: it counts at once, but in the runs it comes after that one.

The fairest distribution of a loss takes the same share of every session's frames. Against it is
held what was: the frames that some sessions lost beyond that share, as a part of all lost frames,
are what would have to be moved to the others.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from penstock.bench.report.models import SessionLosses

_MOST_PLACES = 201

Floats = npt.NDArray[np.float64]


class SessionLoss:
    """Counts one session's frames as its batches are concluded, in order."""

    __slots__ = ("_passed", "_run", "due", "kept", "longest_run", "org")

    def __init__(self, org: int) -> None:
        self.org = org
        self.due = self.kept = self.longest_run = 0
        self._run = self._passed = 0

    def pass_over(self, frames: int) -> None:
        """Count a batch that is lost while the one ahead of it has no outcome yet."""
        self.due += frames
        self._passed += frames

    def conclude(self, frames: int, kept: int) -> None:
        """Count a batch of which so many frames were kept."""
        self.due += frames
        self.kept += kept
        if kept <= 0:
            self._run += frames
            run = self._run
        else:
            # Between two kept frames of a thinned batch; what was lost before it ends here.
            self._run = 0
            run = -(-frames // kept) - 1
        if self._passed:
            self._run += self._passed
            self._passed = 0
            run = max(run, self._run)
        self.longest_run = max(self.longest_run, run)


@dataclass(slots=True)
class LossTable:
    """The same of many sessions, column by column; picklable. Runs are in frames."""

    due: "array[int]" = field(default_factory=lambda: array("I"))
    kept: "array[int]" = field(default_factory=lambda: array("I"))
    longest_run: "array[int]" = field(default_factory=lambda: array("I"))
    org: "array[int]" = field(default_factory=lambda: array("I"))

    @classmethod
    def of(cls, sessions: Iterable[SessionLoss]) -> "LossTable":
        """Write down the sessions that had anything to send."""
        table = cls()
        for one in sessions:
            if one.due:
                table.due.append(one.due)
                table.kept.append(one.kept)
                table.longest_run.append(one.longest_run)
                table.org.append(one.org)
        return table


def spread(
    tables: Sequence[LossTable], *, frame_ms: float, others: bool = False
) -> SessionLosses | None:
    """Sum up what sessions lost; of `others`, those of the first organisation left out.

    `frame_ms` is the session time from one frame to the next. None when there is no session.
    """
    due, kept, runs, orgs = (
        np.array([value for table in tables for value in getattr(table, name)], np.float64)
        for name in ("due", "kept", "longest_run", "org")
    )
    if others:
        due, kept, runs = (column[orgs > 0] for column in (due, kept, runs))
    if not due.size:
        return None
    lost = due - kept
    shares = np.sort(lost / due)
    # A run of lost frames lies between two kept ones.
    gaps = np.where(runs > 0, (runs + 1) * frame_ms, 0.0)
    return SessionLosses(
        sessions=due.size,
        frames_due=round(due.sum()),
        frames_lost=round(lost.sum()),
        unfair_share=unfair_share(due, lost),
        share_min=float(shares[0]),
        share_median=_quantile(shares, 0.5),
        share_p95=_quantile(shares, 0.95),
        share_max=float(shares[-1]),
        gap_median_ms=_quantile(gaps, 0.5),
        gap_p95_ms=_quantile(gaps, 0.95),
        gap_max_ms=float(gaps.max()),
        shares=_places(shares),
    )


def unfair_share(due: Floats, lost: Floats) -> float:
    """Give the part of all lost frames that would have to be other sessions'; 0 is the fairest."""
    total = lost.sum()
    if not total:
        return 0.0
    fairest = due * (total / due.sum())
    return float(np.maximum(lost - fairest, 0.0).sum() / total)


def _quantile(values: Floats, share: float) -> float:
    return float(np.quantile(values, share))


def _places(ordered: Floats) -> list[float]:
    at = np.linspace(0, ordered.size - 1, min(ordered.size, _MOST_PLACES)).round().astype(int)
    return [round(float(value), 5) for value in ordered[at]]
