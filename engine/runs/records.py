"""What is written of runs, and what can be asked.

Every entry can be written again without a further effect: a run is known by its event id, and what
an update or a commit says replaces what was there.
"""

from dataclasses import dataclass
from typing import NamedTuple

from penstock.engine.ledger_port import Entry, Query
from penstock.engine.runs.run import Run, StoredRun

# Of one entry. More would hold up the finals that are written between entries.
MAX_RUNS_TOGETHER = 64


@dataclass(slots=True, frozen=True)
class RunsEntry(Entry):
    """Some runs, at most MAX_RUNS_TOGETHER, each new or left as it is.

    The value says for each, in order, whether it is new. All known: the entry is repeated.
    """

    runs: tuple[Run, ...]


@dataclass(slots=True, frozen=True)
class RunUpdate(Entry):
    """Fields of one run and their new values. The value says whether there is such a run."""

    event_id: str
    changes: tuple[tuple[str, str | int], ...]


@dataclass(slots=True, frozen=True)
class CommitOfRun(Entry):
    """The commit that a run belongs to. The value is the run's `run_id`, None without the run."""

    event_id: str
    commit_hash: str
    commit_source: str
    commit_author: str | None
    commit_timestamp: str | None
    updated_at: str


@dataclass(slots=True, frozen=True)
class RunOf(Query[StoredRun | None]):
    """One run by its event id."""

    event_id: str


class Place(NamedTuple):
    """Where a page ended: a run's instant of creation and its number."""

    created_unix_us: int
    number: int


@dataclass(slots=True, frozen=True)
class RunPage(Query[list[StoredRun]]):
    """Runs that pass every filter given, newest first: so many, after so many or after a place.

    `created_before` and `created_after` are not included in what they bound; the two of
    `start_time` are.
    """

    limit: int
    offset: int = 0
    after: Place | None = None
    agent_name: str | None = None
    status: str | None = None
    job_type: str | None = None
    created_before_us: int | None = None
    created_after_us: int | None = None
    start_from_us: int | None = None
    start_to_us: int | None = None


class RunNames(NamedTuple):
    """Every agent's name and job's type that a run has, in order."""

    agent_names: list[str]
    job_types: list[str]


@dataclass(slots=True, frozen=True)
class NamesOfRuns(Query[RunNames]):
    """The names in use."""


class RunTotals(NamedTuple):
    """How many runs there are, by agent, and how many were created since the instant asked for."""

    by_agent: dict[str, int]
    recent: int

    @property
    def total(self) -> int:
        """Count them all."""
        return sum(self.by_agent.values())


@dataclass(slots=True, frozen=True)
class TotalsOfRuns(Query[RunTotals]):
    """The totals."""

    recent_since_us: int


@dataclass(slots=True, frozen=True)
class KnownRuns(Query[int]):
    """How many of these event ids are those of runs."""

    event_ids: tuple[str, ...]
