"""What the companion Core keeps: exercise sessions and their figures; and what is asked of them.

An exercise session is there from the moment that its token was minted, or else from its first
figures on: those of a session whose token somebody else made are as good.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.engine.ledger_port import Entry, OrgQuery, Query

# The status of a session that has not ended.
OPEN = "open"


@dataclass(slots=True, frozen=True)
class ExerciseSessionEntry(Entry):
    """A session that begins. Its key is the session; `exercise_id` is "" where none was named."""

    session_id: str
    org_id: str
    principal_id: str
    exercise_id: str
    created_unix_ms: int


@dataclass(slots=True, frozen=True)
class AggregateEntry(Entry):
    """The figures of one revision of a session. Its key is the session with the revision.

    An older revision than what is there, or the same, is repeated: it changes nothing. A session
    of another principal or organisation is a conflict. `exercise_id` is "" where none was named:
    that which the session began with stays.
    """

    session_id: str
    org_id: str
    principal_id: str
    revision: int
    status: str
    provisional: bool
    exercise_id: str
    started_unix_ms: int | None
    ended_unix_ms: int
    completeness: float | None
    session_metrics: dict[str, Any]
    rep_metrics: tuple[dict[str, Any], ...]
    media_metrics: dict[str, Any] | None


@dataclass(slots=True, frozen=True)
class ExerciseSession:
    """A session as it stands. `revision` is 0 and the figures are None until they have come."""

    session_id: str
    org_id: str
    principal_id: str
    exercise_id: str
    created_unix_ms: int
    status: str
    provisional: bool
    revision: int
    started_unix_ms: int | None
    ended_unix_ms: int | None
    completeness: float | None
    session_metrics: dict[str, Any] | None
    media_metrics: dict[str, Any] | None

    @property
    def ended(self) -> bool:
        """Say whether it has ended for good: not if the service itself closed it."""
        return self.status != OPEN and not self.provisional


class SessionMark(NamedTuple):
    """A place in a patient's sessions, which go from the newest to the oldest."""

    created_unix_ms: int
    session_id: str


@dataclass(slots=True, frozen=True)
class PatientSessions(OrgQuery[list[ExerciseSession]]):
    """A patient's sessions in an organisation, the newest first, from behind a mark on."""

    principal_id: str
    limit: int
    after: SessionMark | None = None


@dataclass(slots=True, frozen=True)
class ExerciseSessionOf(OrgQuery[ExerciseSession | None]):
    """One session of an organisation; only if it is that principal's, where one is named."""

    session_id: str
    principal_id: str | None = None


@dataclass(slots=True, frozen=True)
class RepMetricsOf(OrgQuery[list[dict[str, Any]]]):
    """The figures of a session's repetitions, in their order."""

    session_id: str


class Days(NamedTuple):
    """UTC days, by their beginnings: from the first one up to, and without, the last one."""

    first_unix_ms: int
    end_unix_ms: int


class Adherence(NamedTuple):
    """What a patient did of an exercise within some days."""

    principal_id: str
    exercise_id: str
    sessions: int
    completed_sessions: int
    rep_count: int
    exercised_ms: int
    active_days: int
    last_ended_unix_ms: int


class AdherenceMark(NamedTuple):
    """A place in a cohort."""

    principal_id: str
    exercise_id: str


@dataclass(slots=True, frozen=True)
class CohortAdherence(OrgQuery[list[Adherence]]):
    """What an organisation's patients did, by patient and exercise, from behind a mark on."""

    days: Days
    limit: int
    after: AdherenceMark | None = None
    exercise_id: str | None = None


class ExerciseCounts(NamedTuple):
    """What all patients of all organisations together did of an exercise; of nobody alone."""

    exercise_id: str
    patients: int
    orgs: int
    sessions: int
    completed_sessions: int
    rep_count: int
    exercised_ms: int


@dataclass(slots=True, frozen=True)
class PlatformCounts(Query[list[ExerciseCounts]]):
    """What was done of each exercise within some days, by at least so many patients.

    By exercise, from behind a mark on. What fewer did is not in the answer at all.
    """

    days: Days
    fewest_patients: int
    limit: int
    after: str | None = None
