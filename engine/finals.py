"""A session's final: what its client said when it ended, beside what was really received.

Pure: a checkpoint and the client's words in, one value out. What it claims is only what is on disk,
so the checkpoint must hold nothing pending.

A session that the service itself closed has a *provisional* final. When its client ends it after
all, the final of the next revision takes its place.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.figures import figures
from penstock.engine.outcomes import REASONS, Outcome, Reason, Tally
from penstock.engine.unsent import Unsent

FINAL_VERSION = 2
# Without figures, and never provisional.
_WITHOUT_FIGURES = 1

# A client's count and ours differ by what was under way when it counted, a batch or two. What is
# more than this share of its attempts, and more than these frames, needs another explanation.
_SUSPICIOUS_SHARE = 0.05
_SUSPICIOUS_FRAMES = 20


class ClientStatus(StrEnum):
    """How the exercise ended, in the client's words."""

    COMPLETED = "completed"
    ABANDONED = "abandoned"
    CANCELLED = "cancelled"
    ERROR = "error"


class EndRequest(NamedTuple):
    """What a client says when its session ends."""

    status: ClientStatus
    ended_unix_ms: int
    exercise_id: str | None = None
    frames_attempted: int | None = None
    unsent: tuple[Unsent, ...] = ()
    provisional: bool = False


@dataclass(slots=True, frozen=True)
class Final:
    """One session's end, as it is kept and answered.

    `frames_received` were accepted; `frames_dropped` is how many more the client attempted.
    """

    identity: SessionIdentity
    revision: int
    status: ClientStatus
    ended_unix_ms: int
    started_unix_ms: int
    exercise_id: str | None
    frames_attempted: int | None
    frames_received: int
    frames_dropped: int
    frames_shed: int
    frames_lost: int
    suspicious_gap: bool
    completeness: float | None
    tally: dict[str, int]
    provisional: bool = False
    session_metrics: dict[str, Any] = field(default_factory=dict)
    rep_metrics: list[dict[str, Any]] = field(default_factory=list)
    media_metrics: dict[str, Any] | None = None

    @property
    def has_replay(self) -> bool:
        """Say whether frames of it came to disk, so that there is, or was, a file of them."""
        return any(REASONS[name].outcome is Outcome.AGGREGATED for name in self.tally)

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return {
            "v": FINAL_VERSION,
            "session_id": self.identity.session_id,
            "principal_id": self.identity.principal_id,
            "org_id": self.identity.org_id,
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild from `plain`; a foreign value raises KeyError or ValueError."""
        version = plain["v"]
        if version not in (_WITHOUT_FIGURES, FINAL_VERSION):
            raise ValueError(f"final version {version}, not {FINAL_VERSION}")
        identity = SessionIdentity(plain["session_id"], plain["principal_id"], plain["org_id"])
        names = _PLAIN if version == FINAL_VERSION else _PLAIN_BEFORE
        values: dict[str, Any] = {name: plain[name] for name in names}
        values["status"] = ClientStatus(values["status"])
        return cls(identity, **values)


_PLAIN = tuple(name for name in Final.__dataclass_fields__ if name != "identity")
_PLAIN_BEFORE = _PLAIN[: _PLAIN.index("provisional")]


def make_final(checkpoint: Checkpoint, request: EndRequest, revision: int = 1) -> Final:
    """Set what the client attempted against what was received, and take the figures."""
    tally = checkpoint.tally.settled()
    for frames, reason in request.unsent:
        tally.unsent[reason] = tally.unsent.get(reason, 0) + frames
    received = checkpoint.accepted_frames
    found = figures(checkpoint.motion, received, tally, checkpoint.losses, checkpoint.reported)
    attempted = request.frames_attempted
    return Final(
        identity=checkpoint.identity,
        revision=revision,
        status=request.status,
        ended_unix_ms=request.ended_unix_ms,
        started_unix_ms=checkpoint.started_unix_ms,
        exercise_id=request.exercise_id,
        frames_attempted=attempted,
        frames_received=received,
        frames_dropped=max(0, (attempted or 0) - received),
        frames_shed=tally.count(Outcome.SHED),
        frames_lost=tally.count(Outcome.LOST),
        suspicious_gap=_suspicious(tally, attempted),
        completeness=_completeness(tally, attempted),
        tally=tally.plain(),
        provisional=request.provisional,
        session_metrics=found.session_metrics,
        rep_metrics=found.rep_metrics,
    )


def superseded(final: Final, request: EndRequest) -> Final:
    """Give the next revision of a session of which nothing is left but its provisional final."""
    attempted = request.frames_attempted
    tally = Tally.from_plain(final.tally)
    for frames, reason in request.unsent:
        tally.unsent[reason] = tally.unsent.get(reason, 0) + frames
    return replace(
        final,
        revision=final.revision + 1,
        status=request.status,
        ended_unix_ms=request.ended_unix_ms,
        exercise_id=request.exercise_id,
        frames_attempted=attempted,
        frames_dropped=max(0, (attempted or 0) - final.frames_received),
        suspicious_gap=_suspicious(tally, attempted),
        completeness=_completeness(tally, attempted),
        tally=tally.plain(),
        provisional=request.provisional,
    )


def _distinct(tally: Tally) -> int:
    """Count the frames that arrived in whatever state, overlaps once."""
    return tally.seen - tally.ended.get(Reason.REPEATED, 0)


def _suspicious(tally: Tally, attempted: int | None) -> bool:
    """Say whether frames are missing that nobody has accounted for."""
    if attempted is None:
        return False
    missing = attempted - _distinct(tally) - tally.count(Outcome.UNSENT)
    return missing > max(_SUSPICIOUS_FRAMES, _SUSPICIOUS_SHARE * attempted)


def _completeness(tally: Tally, attempted: int | None) -> float | None:
    """Give the share of the frames that there were which the figures are made of."""
    there_were = max(attempted or 0, _distinct(tally) + tally.count(Outcome.UNSENT))
    if not there_were:
        return None
    return round(tally.ended.get(Reason.USED, 0) / there_were, 4)
