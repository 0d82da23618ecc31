"""What the console shows of tunings, and the port that it is read by.

The composition root gives a `TuningShelf`, as tunings are made and read by what this front knows
nothing of. Its methods read files: they are called in a thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class TuningState(StrEnum):
    """What has become of a tuning."""

    DONE = "done"
    UNDER_WAY = "under way"
    STOPPED = "stopped"
    DAMAGED = "damaged"


@dataclass(slots=True, frozen=True)
class Progress:
    """How far a step of a tuning has come."""

    step: str
    done: int
    total: int


@dataclass(slots=True, frozen=True)
class TuningEntry:
    """A tuning in the list. Of one that is not done, all but the first three is left out."""

    name: str
    state: TuningState
    told: str = ""
    progress: tuple[Progress, ...] = ()
    made_unix: float | None = None
    sessions: int = 0
    policies: int = 0
    loads: tuple[str, ...] = ()
    best: str = ""
    best_load: str = ""
    best_error: str = ""


@dataclass(slots=True, frozen=True)
class TriedPolicy:
    """One policy at one load: what it turns, and its figures in the order of the sheet's head."""

    turns: str
    in_force: bool
    best: bool
    figures: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class TuningSheet:
    """All that a tuning's page tells. `policies` are by load; `prefill` is for the policy's form.

    `chart` is the JSON that tuner.js draws, None where there are more points than can be told
    apart; `others` is how many policies and `more_sessions` how many sessions are not shown.
    """

    name: str
    made_unix: float | None
    made_at: str
    version: str
    command: str
    told: tuple[str, ...]
    line: str | None
    prefill: Mapping[str, str]
    best_load: str
    head: tuple[str, ...]
    policies: Mapping[str, Sequence[TriedPolicy]]
    others: int
    sessions_head: tuple[str, ...]
    sessions: Sequence[tuple[str, ...]]
    more_sessions: int
    chart: bytes | None
    has_plot: bool = False


class TuningShelf(Protocol):
    """The tunings of the data folder."""

    @property
    def place(self) -> str:
        """Say where they are, for people."""
        ...

    def entries(self) -> Sequence[TuningEntry]:
        """List them, the newest first, and last those that are not done."""
        ...

    def sheet(self, name: str) -> TuningSheet | str:
        """Give one that is done, or say in one line why there is nothing to show."""
        ...

    def plot(self, name: str) -> bytes | None:
        """Give the PNG of one, where it has one."""
        ...
