"""Everything that is known of one session, from memory, the ledger and the policy at work."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.delivery_records import DeliveryOf, Progress
from penstock.engine.endings import stored_final
from penstock.engine.figures import figures
from penstock.engine.finals import Final
from penstock.engine.ledger_port import Ledger
from penstock.engine.media.recall import recalled
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.records import ErasedSession, FinalOf
from penstock.engine.session import SessionState
from penstock.engine.session_list import Stage, lost_basis_points, lost_so_far
from penstock.engine.session_picture import Now
from penstock.engine.sessions import Sessions

_STAGES = {SessionState.RESTING: Stage.RESTING, SessionState.FAILED: Stage.FAILED}


@dataclass(slots=True, frozen=True)
class Loss:
    """Frames that came to nothing for one reason; `share` of all that there were."""

    reason: Reason
    frames: int
    share: float


@dataclass(slots=True, frozen=True)
class SessionStory:
    """One session as it stands. `final` is its newest one, also where it goes on behind it."""

    identity: SessionIdentity
    stage: Stage
    started_unix_ms: int
    frames: int
    tally: Tally
    lost_basis_points: int
    session_metrics: Mapping[str, Any]
    rep_metrics: tuple[Mapping[str, Any], ...]
    media_metrics: Mapping[str, Any] | None
    final: Final | None
    progress: Progress | None
    now: Now

    @property
    def goes_on(self) -> bool:
        """Say whether it is in memory, so that more may come."""
        return self.stage in (Stage.LIVE, Stage.RESTING, Stage.FAILED)

    def losses(self) -> list[Loss]:
        """Give why frames came to nothing, the most frequent reason first."""
        there_were = self.tally.seen + self.tally.count(Outcome.UNSENT)
        found = [
            Loss(reason, count, count / there_were)
            for reason, count in (*self.tally.ended.items(), *self.tally.unsent.items())
            if count and reason.outcome is not Outcome.AGGREGATED
        ]
        return sorted(found, key=lambda loss: -loss.frames)


async def story_of(
    sessions: Sessions, ledger: Ledger, session_id: str
) -> SessionStory | ErasedSession | None:
    """Tell of a session; None where nothing of it ever came. LedgerUnavailableError."""
    entry = await ledger.read(FinalOf(session_id))
    if isinstance(entry, ErasedSession):
        return entry
    if entry is None and sessions.in_memory(session_id) is None:
        # It may be in a file that an earlier process left: it rests here from now on.
        await sessions.revive_file(session_id)
    checkpoint, state = sessions.in_memory(session_id), sessions.state(session_id)
    final = None if entry is None else stored_final(entry)
    delivery = None if entry is None else await ledger.read(DeliveryOf(session_id))
    progress = None if delivery is None else delivery.progress
    if checkpoint is not None:
        stage = Stage.LIVE if state is None else _STAGES.get(state, Stage.LIVE)
        return await _in_memory(ledger, checkpoint, stage, final, progress)
    return None if final is None else _ended(final, progress)


async def _in_memory(
    ledger: Ledger,
    checkpoint: Checkpoint,
    stage: Stage,
    final: Final | None,
    progress: Progress | None,
) -> SessionStory:
    identity = checkpoint.identity
    # Some milliseconds, which batches on their way would feel.
    found = await trio.to_thread.run_sync(
        partial(
            figures,
            checkpoint.motion,
            checkpoint.accepted_frames,
            checkpoint.tally,
            checkpoint.losses,
            checkpoint.reported,
        )
    )
    _, media = await recalled(ledger, identity.session_id, closed=False)
    return SessionStory(
        identity,
        stage,
        checkpoint.started_unix_ms,
        checkpoint.accepted_frames,
        checkpoint.tally,
        lost_so_far(checkpoint.tally),
        found.session_metrics,
        tuple(found.rep_metrics),
        None if media is None else media.plain(),
        final,
        progress,
        Now(identity, checkpoint.tally, checkpoint.losses),
    )


def _ended(final: Final, progress: Progress | None) -> SessionStory:
    tally = Tally.from_plain(final.tally)
    return SessionStory(
        final.identity,
        Stage.PROVISIONAL if final.provisional else Stage.ENDED,
        final.started_unix_ms,
        final.frames_received,
        tally,
        lost_basis_points(final.completeness),
        final.session_metrics,
        tuple(final.rep_metrics),
        final.media_metrics,
        final,
        progress,
        Now(final.identity, tally),
    )
