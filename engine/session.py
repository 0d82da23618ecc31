"""One live session: an actor that owns its frames, its counts and its file's end.

Theory of operation
-------------------
::

    offer_nowait -> inbox -> chunk (with the writer) -> folded into the state, forgotten

The front calls `offer_nowait`; it accepts or refuses at once and never waits. When the pacer says
so (or early, when the inbox holds a flush's worth of bytes) what waits becomes one chunk for the
writer; when that is on disk it goes through the turbine and is folded into the state. At most one
chunk is with the writer, so a checkpoint taken when a chunk begins is exactly the state before it.

None of these steps waits for anything, so none of them needs a switch to the actor's task: at ten
thousand sessions that would cost more than the steps. The task stands behind them: whatever fails
in a step is raised there, under the registry's supervision, and resting is its decision.

The file comes first: frames are folded only when they are on disk. So the state is at any moment
the fold of what the file holds, and recovery is to fold it again.

============  =======================================================================
state         what it means
============  =======================================================================
RECOVERING    its file, left by an earlier process, is being read; offers wait for that
LIVE          it takes batches
RESTING       idle for long; its task is gone, its checkpoint is kept
FAILED        its actor crashed; the checkpoint before the crash is kept
============  =======================================================================
"""

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import NamedTuple

from penstock.engine import wire
from penstock.engine.checkpoint import Checkpoint
from penstock.engine.decisions import ADMIT_CALM, Offer, Refuse, Thin
from penstock.engine.folding import fold, last_word
from penstock.engine.inbox import Arrival, Inbox
from penstock.engine.level import Level
from penstock.engine.loss import LossAccount
from penstock.engine.losses import LossMap
from penstock.engine.motion.motion import Folded, Motion
from penstock.engine.outcomes import FrameLedger, Reason, Tally
from penstock.engine.pacer import Pacer
from penstock.engine.ports import MAX_CHUNK_BATCHES, Clock, SpoolChunk
from penstock.engine.sluice import Sluice
from penstock.engine.timeline import Timeline
from penstock.engine.turbine import Turbine
from penstock.engine.unsent import Unsent
from penstock.engine.wakeup import WakeUp
from penstock.engine.watches import Watches
from penstock.engine.wire import LANDMARK_BYTES_PER_FRAME
from penstock.engine.writer import Writer

logger = logging.getLogger(__name__)


class SessionState(StrEnum):
    """The states of a session that this process knows."""

    RECOVERING = "recovering"
    LIVE = "live"
    RESTING = "resting"
    FAILED = "failed"


# None stands for a session that this process does not know: it is in its file, or nowhere.
TRANSITIONS: dict[SessionState | None, frozenset[SessionState | None]] = {
    None: frozenset({SessionState.RECOVERING, SessionState.LIVE}),
    # None when the file could not be read, or held nothing.
    SessionState.RECOVERING: frozenset({SessionState.RESTING, None}),
    # None at the end of the process, and below also when too many rest.
    SessionState.LIVE: frozenset({SessionState.RESTING, SessionState.FAILED, None}),
    SessionState.RESTING: frozenset({SessionState.LIVE, None}),
    SessionState.FAILED: frozenset({SessionState.LIVE, None}),
}


@dataclass(slots=True, frozen=True)
class Plant:
    """What all actors share: the engine's parts, made once a process.

    `inboxes` counts the bytes in all inboxes, `waiting` the batches.
    """

    ledger: FrameLedger
    memory: Level
    inboxes: Level
    waiting: Level
    pacer: Pacer
    writer: Writer
    turbine: Turbine
    sluice: Sluice
    clock: Clock
    spool_flush_bytes: int
    watches: Watches = field(default_factory=Watches)


class Admitted(NamedTuple):
    """The batch was accepted. `position_bytes` counts landmark bytes accepted in the session."""

    frame_count: int
    position_bytes: int


@dataclass(slots=True, frozen=True)
class Refusal:
    """The batch was not accepted, why, and when it may be worth another try.

    A bound that was hit names its setting, its limit and the value seen.
    """

    reason: Reason
    detail: str
    retry_after: float | None = None
    setting: str | None = None
    limit: float | None = None
    seen: float | None = None


@dataclass(slots=True, frozen=True)
class SessionStatistics:
    """What one live session holds."""

    inbox_batches: int
    inbox_bytes: int
    unsettled_frames: int
    accepted_frames: int
    tally: Tally
    timeline: Timeline


@dataclass(slots=True, eq=False)
class _Chunk:
    """Frames on their way to disk and into the state."""

    before: Checkpoint
    arrivals: list[Arrival]
    held_bytes: int


class SessionActor:
    """The owner of one session. Only its methods change its state."""

    __slots__ = (
        "_chunk",
        "_failure",
        "_hurried",
        "_inbox",
        "_losses",
        "_paced",
        "_place",
        "_plant",
        "_reported",
        "_rest_wanted",
        "_saved_motion",
        "_unsaved",
        "_wake_up",
        "accepted_frames",
        "identity",
        "last_offer",
        "motion",
        "started_unix_ms",
        "tally",
        "timeline",
        "token_until_unix",
    )

    def __init__(self, plant: Plant, state: Checkpoint) -> None:
        self._plant = plant
        self._inbox = Inbox(plant.inboxes, plant.waiting)
        self._wake_up = WakeUp()
        self._failure: Exception | None = None
        self._chunk: _Chunk | None = None
        self._paced = False
        self._rest_wanted = False
        self._hurried = False
        # What the file's newest checkpoint does not know yet, in frames refused or lost.
        self._unsaved = 0
        self.started_unix_ms = state.started_unix_ms
        self.identity = state.identity
        self.accepted_frames = state.accepted_frames
        # Copies: the writer's thread may still have to write this very checkpoint.
        self.tally = state.tally.settled()
        self.timeline = state.timeline.copy()
        self.motion = state.motion
        self._reported = state.reported
        self._losses = LossMap(state.losses, state.timeline.newest_ms)
        # What the file's newest checkpoint that has a motion knows of it.
        self._saved_motion: Folded | None = state.motion.folded if state.motion_due else None
        identity = state.identity
        self._place = plant.sluice.join(
            identity.session_id, identity.org_id, LossAccount.of_tally(self.tally)
        )
        self.last_offer = plant.clock.monotonic()
        # When the token expires that the newest batch came with.
        self.token_until_unix = inf

    # What the front calls; nothing here waits.

    def offer_nowait(self, arrival: Arrival) -> Admitted | Refusal:
        """Do with a batch what the policy says, and count it, whatever that is."""
        plant = self._plant
        inbox = self._inbox
        times = arrival.batch.timestamps_ms
        frames = arrival.frame_count
        self.last_offer = plant.clock.monotonic()
        decision = plant.sluice.decide(
            self._place,
            Offer(
                frames,
                times[0],
                times[-1],
                arrival.batch.held_bytes,
                inbox.held_batches,
                inbox.held_bytes,
            ),
        )
        kept = arrival
        if decision is not ADMIT_CALM:
            if isinstance(decision, Refuse):
                self._losses.place(times[0], times[-1], decision.reason)
                return self._turn_away(_refusal(decision), frames)
            if isinstance(decision, Thin):
                kept = _thinned(arrival, decision)
            elif decision.make_room:
                self._make_room(arrival.batch.held_bytes)
        size = kept.batch.held_bytes
        if not plant.memory.take_nowait(size):
            plant.sluice.lose(self._place, kept.frame_count, times[0], times[-1])
            self._losses.place(times[0], times[-1], Reason.FRAME_MEMORY_FULL)
            return self._turn_away(
                Refusal(
                    Reason.FRAME_MEMORY_FULL,
                    "the frames that wait have used up the process's frame memory",
                    retry_after=1.0,
                    setting="frame_memory_bytes",
                    limit=plant.memory.limit,
                    seen=plant.memory.held + size,
                ),
                frames,
            )
        inbox.put_nowait(kept)
        plant.ledger.admit(self.tally, frames)
        if kept is not arrival:
            plant.ledger.settle(self.tally, Reason.POLICY_THINNED, frames - kept.frame_count)
        if arrival.unsent:
            self._leave_unsent(arrival.unsent)
        self._losses.arrived(times[0], times[-1])
        self.accepted_frames += kept.frame_count
        self._rest_wanted = False
        if inbox.held_bytes >= plant.spool_flush_bytes:
            self.flush_nowait()
        elif not self._paced:
            self._pace()
        return Admitted(kept.frame_count, self.accepted_frames * LANDMARK_BYTES_PER_FRAME)

    def refuse_nowait(self, refusal: Refusal, frames: int) -> Refusal:
        """Count frames that were turned away before their times were looked at."""
        self._losses.note(refusal.reason)
        return self._turn_away(refusal, frames)

    def _turn_away(self, refusal: Refusal, frames: int) -> Refusal:
        self._plant.ledger.refuse(self.tally, refusal.reason, frames)
        self._unsaved += frames
        return refusal

    def _make_room(self, size: int) -> None:
        """Let the oldest batches go until one of this size is within the inbox's bounds."""
        plant, inbox, policy = self._plant, self._inbox, self._place.policy
        while inbox.held_batches and (
            inbox.held_batches >= policy.inbox_batches
            or inbox.held_bytes + size > policy.inbox_bytes
        ):
            for arrival in inbox.take_nowait(1):
                plant.memory.give(arrival.batch.held_bytes)
                plant.ledger.settle(self.tally, Reason.INBOX_DROPPED_OLDEST, arrival.frame_count)
                self._place_loss(arrival, Reason.INBOX_DROPPED_OLDEST)
                self._unsaved += arrival.frame_count

    def _place_loss(self, arrival: Arrival, reason: Reason) -> None:
        times = arrival.batch.timestamps_ms
        self._losses.place(times[0], times[-1], reason)

    def _leave_unsent(self, unsent: tuple[Unsent, ...]) -> None:
        for frames, reason in unsent:
            self._plant.ledger.leave_unsent(self.tally, reason, frames)
            self._plant.sluice.leave_unsent(self._place, frames)
            self._losses.tell(reason)
            self._unsaved += frames

    def flush_nowait(self) -> None:
        """Hand what waits to the writer."""
        try:
            if self._chunk is None and self._inbox.held_batches:
                self._begin_chunk()
        except Exception as error:  # noqa: BLE001 - raised again by `run`, in the actor's own task
            self._fail(error)

    def end_nowait(self) -> None:
        """Bring everything to disk, ahead of other sessions, and rest. No batch may follow."""
        self._hurried = True
        self._plant.writer.hurry_nowait(self.identity.session_id)
        self.rest()

    @property
    def last_heard_of(self) -> float:
        """Say when the session was last heard of, or will be: a client told to wait is expected."""
        promised_at = self._place.promised_at
        return self.last_offer if promised_at is None else max(self.last_offer, promised_at)

    def rest(self) -> None:
        """Ask the task to bring everything to disk and return. A new batch withdraws it."""
        self._rest_wanted = True
        self._wake_up.set()

    # The task.

    async def run(self) -> None:
        """Answer for the session until it may rest: its failures are raised here."""
        while True:
            await self._wake_up.wait()
            if self._failure is not None:
                raise self._failure
            if not self._rest_wanted or self._chunk is not None:
                continue
            if not self._inbox.held_batches and not self._unsaved:
                return
            self._begin_chunk()

    def leave(self) -> None:
        """Give up the session's place at the sluice: the actor takes no more batches."""
        self._plant.sluice.leave(self._place)

    def checkpoint(self) -> Checkpoint:
        """Give the state without what is pending."""
        return Checkpoint(
            self.identity,
            self.started_unix_ms,
            self.accepted_frames - self.tally.pending,
            self.timeline.copy(),
            self.tally.settled(),
            self.motion,
            losses=self._losses.spans,
            reported=self._reported,
        )

    def abandon(self, reason: Reason) -> Checkpoint:
        """Count everything that is still held as lost; give the last state that is sound.

        What woke the task is forgotten too: it must neither write those counts nor rest on them.
        """
        self._failure, self._rest_wanted, self._unsaved = None, False, 0
        chunk = self._chunk
        last = self.checkpoint() if chunk is None else chunk.before
        held = self._inbox.take_nowait(self._inbox.held_batches)
        for arrival in [*(chunk.arrivals if chunk is not None else ()), *held]:
            self._place_loss(arrival, reason)
        self._plant.memory.give(sum(arrival.batch.held_bytes for arrival in held))
        if chunk is not None:
            self._plant.memory.give(chunk.held_bytes)
            self._chunk = None
        self._plant.ledger.settle(self.tally, reason, self.tally.pending)
        return last._replace(
            accepted_frames=self.accepted_frames,
            tally=self.tally.settled(),
            motion_due=True,
            losses=self._losses.spans,
        )

    def statistics(self) -> SessionStatistics:
        """Give what the session holds now."""
        return SessionStatistics(
            self._inbox.held_batches,
            self._inbox.held_bytes,
            self.tally.pending,
            self.accepted_frames,
            self.tally.copy(),
            self.timeline.copy(),
        )

    def _pace(self) -> None:
        if not self._paced:
            self._paced = True
            self._plant.pacer.call_later(self._paced_flush)

    def _paced_flush(self) -> None:
        self._paced = False
        self.flush_nowait()
        if self._rest_wanted:  # the task may have found the writer full
            self._wake_up.set()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._wake_up.set()

    def _begin_chunk(self) -> None:
        writer = self._plant.writer
        if writer.urgent_full if self._hurried else writer.full:
            # The frames stay in the inbox, which then refuses.
            self._pace()
            return
        motion_due = self.motion.folded is not self._saved_motion
        before = self.checkpoint()._replace(motion_due=motion_due)
        held_bytes = self._inbox.held_bytes
        arrivals = self._inbox.take_nowait(MAX_CHUNK_BATCHES)
        self._unsaved = 0
        self._chunk = _Chunk(before, arrivals, held_bytes - self._inbox.held_bytes)
        writer.submit_nowait(
            SpoolChunk(before, tuple(arrivals)), self._chunk_written, urgent=self._hurried
        )

    def _chunk_written(self, shed: Reason | None) -> None:
        # Runs in the writer's task.
        chunk = self._chunk
        if chunk is None:  # abandoned meanwhile
            return
        if shed is None and chunk.arrivals:
            self._plant.turbine.feed_nowait(self.motion, chunk.arrivals, self._chunk_measured)
        else:
            self._end_chunk(chunk, shed, self.motion)

    def _chunk_measured(self, motion: Motion) -> None:
        if self._chunk is not None:
            self._end_chunk(self._chunk, None, motion)

    def _end_chunk(self, chunk: _Chunk, shed: Reason | None, motion: Motion) -> None:
        try:
            self._settle_chunk(chunk, shed, motion)
        except Exception as error:  # noqa: BLE001 - raised again by `run`, in the actor's own task
            self._fail(error)
            return
        if self._rest_wanted:
            self._wake_up.set()
        elif self._inbox.held_bytes >= self._plant.spool_flush_bytes:
            self.flush_nowait()
        elif self._inbox.held_batches:
            self._pace()

    def _settle_chunk(self, chunk: _Chunk, shed: Reason | None, motion: Motion) -> None:
        ledger = self._plant.ledger
        if shed is None:
            # All folded before any is counted: a chunk that fails has failed as a whole.
            used, repeated = fold(self.timeline, chunk.arrivals)
            self.motion = motion
            self._reported = last_word(self._reported, chunk.arrivals)
            if chunk.before.motion_due:
                self._saved_motion = chunk.before.motion.folded
            ledger.settle(self.tally, Reason.USED, used)
            ledger.settle(self.tally, Reason.REPEATED, repeated)
            watches = self._plant.watches
            if watches.watched:
                watches.tell_nowait(self.identity.session_id, chunk.arrivals, motion, self.tally)
        else:
            for arrival in chunk.arrivals:
                times = arrival.batch.timestamps_ms
                ledger.settle(self.tally, shed, arrival.frame_count)
                self._plant.sluice.lose(self._place, arrival.frame_count, times[0], times[-1])
                self._losses.place(times[0], times[-1], shed)
                self._unsaved += arrival.frame_count
            self._saved_motion = None
        self._chunk = None
        self._plant.memory.give(chunk.held_bytes)


def _refusal(decision: Refuse) -> Refusal:
    return Refusal(
        decision.reason,
        decision.cause.words,
        decision.retry_after,
        decision.knob,
        decision.limit,
        decision.seen,
    )


def _thinned(arrival: Arrival, decision: Thin) -> Arrival:
    batch = wire.thinned(arrival.batch, decision.keep_every, decision.first)
    # What fits into no member stays whole. The account has been charged: it errs to be kind.
    return arrival if batch is None else arrival._replace(batch=batch)
