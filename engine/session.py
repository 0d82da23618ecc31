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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.inbox import Arrival, Inbox, InboxFullError
from penstock.engine.level import Level
from penstock.engine.motion.motion import Folded, Motion
from penstock.engine.outcomes import FrameLedger, Reason, Tally
from penstock.engine.pacer import Pacer
from penstock.engine.ports import MAX_CHUNK_BATCHES, Clock, Recovered, SpoolChunk
from penstock.engine.timeline import Timeline
from penstock.engine.turbine import Turbine, moved
from penstock.engine.wakeup import WakeUp
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
class SessionLimits:
    """The bounds of one session, by their settings' names."""

    inbox_batches: int
    inbox_bytes: int
    spool_flush_bytes: int


@dataclass(slots=True, frozen=True)
class Plant:
    """What all actors share: the engine's parts, made once a process."""

    ledger: FrameLedger
    memory: Level
    inboxes: Level
    pacer: Pacer
    writer: Writer
    turbine: Turbine
    clock: Clock
    limits: SessionLimits


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
        "_inbox",
        "_paced",
        "_plant",
        "_rest_wanted",
        "_saved_motion",
        "_started_unix_ms",
        "_unsaved",
        "_wake_up",
        "accepted_frames",
        "identity",
        "last_offer",
        "motion",
        "tally",
        "timeline",
    )

    def __init__(self, plant: Plant, state: Checkpoint) -> None:
        self._plant = plant
        self._inbox = Inbox(plant.limits.inbox_batches, plant.limits.inbox_bytes, plant.inboxes)
        self._wake_up = WakeUp()
        self._failure: Exception | None = None
        self._chunk: _Chunk | None = None
        self._paced = False
        self._rest_wanted = False
        # What the file's newest checkpoint does not know yet, in frames refused or lost.
        self._unsaved = 0
        self._started_unix_ms = state.started_unix_ms
        self.identity = state.identity
        self.accepted_frames = state.accepted_frames
        # Copies: the writer's thread may still have to write this very checkpoint.
        self.tally = state.tally.settled()
        self.timeline = state.timeline.copy()
        self.motion = state.motion
        # What the file's newest checkpoint that has a motion knows of it.
        self._saved_motion: Folded | None = state.motion.folded if state.motion_due else None
        self.last_offer = plant.clock.monotonic()

    # What the front calls; nothing here waits.

    def offer_nowait(self, arrival: Arrival) -> Admitted | Refusal:
        """Accept a batch into the inbox, or refuse it. Counts it either way."""
        plant = self._plant
        batch = arrival.batch
        size = batch.held_bytes
        self.last_offer = plant.clock.monotonic()
        if not plant.memory.take_nowait(size):
            return self.refuse_nowait(
                Refusal(
                    Reason.FRAME_MEMORY_FULL,
                    "the frames that wait have used up the process's frame memory",
                    retry_after=1.0,
                    setting="frame_memory_bytes",
                    limit=plant.memory.limit,
                    seen=plant.memory.held + size,
                ),
                batch.frame_count,
            )
        try:
            self._inbox.put_nowait(arrival)
        except InboxFullError as full:
            plant.memory.give(size)
            return self.refuse_nowait(
                Refusal(
                    Reason.INBOX_FULL,
                    "the session's inbox is full",
                    retry_after=1.0,
                    setting=full.setting,
                    limit=full.limit,
                    seen=full.seen,
                ),
                batch.frame_count,
            )
        plant.ledger.admit(self.tally, batch.frame_count)
        self.accepted_frames += batch.frame_count
        self._rest_wanted = False
        if self._inbox.held_bytes >= plant.limits.spool_flush_bytes:
            self.flush_nowait()
        elif not self._paced:
            self._pace()
        return Admitted(batch.frame_count, self.accepted_frames * LANDMARK_BYTES_PER_FRAME)

    def refuse_nowait(self, refusal: Refusal, frames: int) -> Refusal:
        """Count frames that were turned away."""
        self._plant.ledger.refuse(self.tally, refusal.reason, frames)
        self._unsaved += frames
        return refusal

    def flush_nowait(self) -> None:
        """Hand what waits to the writer."""
        try:
            if self._chunk is None and self._inbox.held_batches:
                self._begin_chunk()
        except Exception as error:  # noqa: BLE001 - raised again by `run`, in the actor's own task
            self._fail(error)

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

    def checkpoint(self) -> Checkpoint:
        """Give the state without what is pending."""
        return Checkpoint(
            self.identity,
            self._started_unix_ms,
            self.accepted_frames - self.tally.pending,
            self.timeline.copy(),
            self.tally.settled(),
            self.motion,
        )

    def abandon(self, reason: Reason) -> Checkpoint:
        """Count everything that is still held as lost; give the last state that is sound."""
        chunk = self._chunk
        last = self.checkpoint() if chunk is None else chunk.before
        held = self._inbox.take_nowait(self._plant.limits.inbox_batches)
        self._plant.memory.give(sum(arrival.batch.held_bytes for arrival in held))
        if chunk is not None:
            self._plant.memory.give(chunk.held_bytes)
            self._chunk = None
        self._plant.ledger.settle(self.tally, reason, self.tally.pending)
        return last._replace(
            accepted_frames=self.accepted_frames,
            tally=self.tally.settled(),
            motion_due=True,
        )

    def statistics(self) -> SessionStatistics:
        """Give what the session holds now."""
        return SessionStatistics(
            self._inbox.held_batches,
            self._inbox.held_bytes,
            self.tally.pending,
            self.accepted_frames,
            Tally(self.tally.seen, self.tally.pending, dict(self.tally.ended)),
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
        if self._plant.writer.full:  # the frames stay in the inbox, which then refuses
            self._pace()
            return
        motion_due = self.motion.folded is not self._saved_motion
        before = self.checkpoint()._replace(motion_due=motion_due)
        held_bytes = self._inbox.held_bytes
        arrivals = self._inbox.take_nowait(MAX_CHUNK_BATCHES)
        self._unsaved = 0
        self._chunk = _Chunk(before, arrivals, held_bytes - self._inbox.held_bytes)
        self._plant.writer.submit_nowait(SpoolChunk(before, tuple(arrivals)), self._chunk_written)

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
        elif self._inbox.held_bytes >= self._plant.limits.spool_flush_bytes:
            self.flush_nowait()
        elif self._inbox.held_batches:
            self._pace()

    def _settle_chunk(self, chunk: _Chunk, shed: Reason | None, motion: Motion) -> None:
        ledger = self._plant.ledger
        if shed is None:
            # All folded before any is counted: a chunk that fails has failed as a whole.
            used, repeated = _fold(self.timeline, chunk.arrivals)
            self.motion = motion
            if chunk.before.motion_due:
                self._saved_motion = chunk.before.motion.folded
            ledger.settle(self.tally, Reason.USED, used)
            ledger.settle(self.tally, Reason.REPEATED, repeated)
        else:
            frames = sum(arrival.frame_count for arrival in chunk.arrivals)
            ledger.settle(self.tally, shed, frames)
            self._unsaved += frames
            self._saved_motion = None
        self._chunk = None
        self._plant.memory.give(chunk.held_bytes)


def _fold(timeline: Timeline, arrivals: Sequence[Arrival]) -> tuple[int, int]:
    used = repeated = 0
    for arrival in arrivals:
        fresh, again = timeline.fold(arrival.batch.timestamps_ms)
        used += fresh
        repeated += again
    return used, repeated


def new_checkpoint(identity: SessionIdentity, clock: Clock) -> Checkpoint:
    """Give the state of a session that has just been seen for the first time."""
    return Checkpoint(identity, int(clock.unix() * 1000), 0, Timeline(), Tally())


def fold_recovered(recovered: Recovered, warn: Callable[[str], None]) -> Checkpoint:
    """Turn what a file gave back into the state that a session goes on from."""
    before = recovered.before
    timeline = before.timeline.copy()
    ledger = FrameLedger()
    tally = before.tally
    motion = before.motion
    frames = sum(arrival.frame_count for arrival in recovered.batches)
    ledger.admit(tally, frames + recovered.torn_frames)
    ledger.settle(tally, Reason.TORN_SPOOL, recovered.torn_frames)
    try:
        used, repeated = _fold(timeline, recovered.batches)
        if recovered.earlier or recovered.batches:
            motion = moved([(motion, (*recovered.earlier, *recovered.batches))])[0]
        ledger.settle(tally, Reason.USED, used)
        ledger.settle(tally, Reason.REPEATED, repeated)
    except Exception as error:  # noqa: BLE001 - what crashed the actor before must not crash every restart
        warn(f"{type(error).__name__}: {error}")
        timeline, motion = before.timeline, before.motion
        ledger.settle(tally, Reason.ACTOR_CRASHED, tally.pending)
    return before._replace(
        accepted_frames=before.accepted_frames + frames,
        timeline=timeline,
        tally=tally,
        motion=motion,
        motion_due=False,
    )
