"""All sessions that this process knows, and the only way to them.

Theory of operation
-------------------
A session is in one of three places: `_live` (an actor's task runs), `_dormant` (its checkpoint is
kept: it rests, or its actor failed), or only in its file (left by an earlier process, or forgotten
here because too many rest). An offer brings it to life from any of them. Only the last one has to
wait, for the file to be read; everybody who offers meanwhile waits for the same reading, which
goes on when the first of them is cancelled.

One wrapper supervises each actor. A session's failure is counted, logged and contained.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Any

import trio

from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.deliveries import Deliveries
from penstock.engine.endings import SHUTTING_DOWN, EndDelayed, Endings, EndOutcome, WrongOwner
from penstock.engine.finals import EndRequest, Final
from penstock.engine.folding import fold_recovered, new_checkpoint
from penstock.engine.inbox import Arrival
from penstock.engine.ledger_port import Ledger, LedgerReason, LedgerUnavailableError
from penstock.engine.outcomes import Reason
from penstock.engine.ports import RecoveryError, Spool, SpoolChunk
from penstock.engine.records import ErasedSession
from penstock.engine.session import (
    Admitted,
    Plant,
    Refusal,
    SessionActor,
    SessionState,
)
from penstock.engine.session_list import SessionRow, Stage, lost_so_far

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 1.0
# So many rows of the operators' list are made before others may run: a millisecond's worth.
_ROWS_AT_ONCE = 256


@dataclass(slots=True, frozen=True)
class SessionsLimits:
    """The bounds over all sessions, by their settings' names."""

    max_live_sessions: int
    max_resting_sessions: int
    session_rest_seconds: float
    end_wait_seconds: float
    session_idle_seconds: float


@dataclass(slots=True, frozen=True)
class SessionsStatistics:
    """How many sessions there are, by state, and what became of sessions so far."""

    recovering: int
    live: int
    resting: int
    failed: int
    started: int
    woken: int
    recovered: int
    crashed: int


@dataclass(slots=True, eq=False)
class _Dormant:
    """A session without an actor. `saving` is set once the writer has written its checkpoint."""

    checkpoint: Checkpoint
    state: SessionState
    last_heard_of: float
    token_until_unix: float
    saving: trio.Event | None = None


@dataclass(slots=True, eq=False)
class _Reading:
    """A file that is being read. What is here is known once `done` is set.

    `failure` says why it could not be read; None is success. The file of a session that has `ended`
    is left alone. A `new` one has neither a final with frames nor a file. What is none of these has
    to be looked for again.
    """

    done: trio.Event
    failure: str | None = "the reading of the session's spool file was cut short"
    ended: bool = False
    new: bool = False


class Sessions:
    """The registry: finds, starts, wakes, rests and supervises actors."""

    def __init__(
        self,
        plant: Plant,
        spool: Spool,
        ledger: Ledger,
        deliveries: Deliveries,
        limits: SessionsLimits,
        nursery: trio.Nursery,
        run_blocking: Callable[..., Awaitable[Any]],
    ) -> None:
        self._plant = plant
        self._spool = spool
        self._limits = limits
        self._nursery = nursery
        self._run_blocking = run_blocking
        self._live: dict[str, SessionActor] = {}
        self._dormant: dict[str, _Dormant] = {}
        self._reading: dict[str, _Reading] = {}
        self._draining = False
        self._endings = Endings(
            nursery,
            plant.writer,
            ledger,
            deliveries,
            plant.ledger,
            self._settle,
            self._release,
            self._forget,
            plant.clock,
            max_kept=limits.max_resting_sessions,
            wait_seconds=limits.end_wait_seconds,
        )
        # Who waits for an actor to have brought everything to disk.
        self._gone: dict[str, trio.Event] = {}
        self._none_live = trio.Event()
        self._started = self._woken = self._recovered = self._crashed = 0

    # What handlers call.

    async def offer(
        self, identity: SessionIdentity, arrival: Arrival, token_until_unix: float = inf
    ) -> Admitted | Refusal | WrongOwner:
        """Hand a batch to its session. Waits only to find out what is known of the session."""
        # Again after each reading: what was read may have been forgotten before this task ran.
        while not self.at_hand(identity.session_id):
            if (closing := self._endings.closing(identity.session_id)) is not None:
                await closing.wait()
                continue
            reading = await self._read_file(identity.session_id)
            if reading.failure is not None:
                reason = Reason.RECOVERY_FAILED
                self.refuse(identity, reason, arrival.frame_count)
                return Refusal(reason, reading.failure, retry_after=5.0)
            if reading.ended:
                return self._refuse_late(identity, arrival)
            if reading.new:
                break
        return self.offer_nowait(identity, arrival, token_until_unix)

    def at_hand(self, session_id: str) -> bool:
        """Say whether an offer need not wait until it is known whether the session goes on."""
        if session_id in self._endings:
            return True
        return self._is_known(session_id) and self._endings.closing(session_id) is None

    def _is_known(self, session_id: str) -> bool:
        return session_id in self._live or session_id in self._dormant or self._draining

    def offer_nowait(
        self, identity: SessionIdentity, arrival: Arrival, token_until_unix: float = inf
    ) -> Admitted | Refusal | WrongOwner:
        """Hand a batch to its session, which must be `at_hand`."""
        session_id = identity.session_id
        if session_id in self._endings:
            return self._refuse_late(identity, arrival)
        actor = self._live.get(session_id)
        if actor is None:
            found = _DRAINING if self._draining else self._revive_nowait(identity)
            if not isinstance(found, SessionActor):
                if isinstance(found, Refusal):
                    self.refuse(identity, found.reason, arrival.frame_count)
                return found
            actor = found
        if actor.identity is not identity and actor.identity != identity:  # mostly the same object
            return WrongOwner()
        if self._draining:
            return actor.refuse_nowait(_DRAINING, arrival.frame_count)
        actor.token_until_unix = token_until_unix
        return actor.offer_nowait(arrival)

    def _refuse_late(self, identity: SessionIdentity, arrival: Arrival) -> Refusal:
        self.refuse(identity, Reason.SESSION_FINALIZED, arrival.frame_count)
        return _FINALIZED

    def refuse(self, identity: SessionIdentity, reason: Reason, frames: int) -> None:
        """Count frames that a gate turned away before they reached their session."""
        actor = self._live.get(identity.session_id)
        if actor is not None and actor.identity == identity:
            actor.refuse_nowait(Refusal(reason, ""), frames)
        else:
            self._plant.ledger.refuse(None, reason, frames)

    async def end(self, identity: SessionIdentity, request: EndRequest) -> EndOutcome:
        """End a session, or say how it ended. Waits for its final to be on disk."""
        if self._draining:
            return SHUTTING_DOWN
        return await self._endings.end(identity, request)

    # What the operators' side reads.

    @property
    def live(self) -> int:
        """Count the sessions with an actor."""
        return len(self._live)

    def state(self, session_id: str) -> SessionState | None:
        """Tell a session's state; None when this process does not know it."""
        if session_id in self._live:
            return SessionState.LIVE
        if session_id in self._reading:
            return SessionState.RECOVERING
        dormant = self._dormant.get(session_id)
        return None if dormant is None else dormant.state

    def statistics(self) -> SessionsStatistics:
        """Count the sessions by state."""
        failed = sum(d.state is SessionState.FAILED for d in self._dormant.values())
        return SessionsStatistics(
            len(self._reading),
            len(self._live),
            len(self._dormant) - failed,
            failed,
            self._started,
            self._woken,
            self._recovered,
            self._crashed,
        )

    def in_memory(self, session_id: str) -> Checkpoint | None:
        """Give what is settled of a session that is in memory; None when it is not."""
        if (actor := self._live.get(session_id)) is not None:
            return actor.checkpoint()
        dormant = self._dormant.get(session_id)
        return None if dormant is None else dormant.checkpoint

    async def rows(
        self,
        wanted: Callable[[SessionIdentity], bool],
        first: Callable[[list[SessionRow]], list[SessionRow]],
    ) -> list[SessionRow]:
        """Tell of the sessions in memory that are wanted, a few at a time: others run in between.

        `first` is asked each time which of the rows so far to keep. A session that changes its
        state meanwhile is told once or not at all.
        """
        found: dict[str, SessionRow] = {}
        for number, actor in enumerate(list(self._live.values()), 1):
            if wanted(actor.identity):
                found[actor.identity.session_id] = _live_row(actor)
            if not number % _ROWS_AT_ONCE:
                found = _by_id(first(list(found.values())))
                await trio.lowlevel.checkpoint()
        for number, dormant in enumerate(list(self._dormant.values()), 1):
            if wanted(dormant.checkpoint.identity):
                found[dormant.checkpoint.identity.session_id] = _dormant_row(dormant)
            if not number % _ROWS_AT_ONCE:
                found = _by_id(first(list(found.values())))
                await trio.lowlevel.checkpoint()
        return first(list(found.values()))

    # Coming to life.

    async def _read_file(self, session_id: str) -> _Reading:
        if (reading := self._reading.get(session_id)) is None:
            reading = self._reading[session_id] = _Reading(trio.Event())
            self._nursery.start_soon(self._recover, session_id, reading)
        await reading.done.wait()
        return reading

    def _revive_nowait(self, identity: SessionIdentity) -> SessionActor | Refusal | WrongOwner:
        session_id = identity.session_id
        if len(self._live) >= self._limits.max_live_sessions:
            return Refusal(
                Reason.SESSIONS_FULL,
                "the process holds as many live sessions as it may",
                retry_after=5.0,
                setting="max_live_sessions",
                limit=self._limits.max_live_sessions,
                seen=len(self._live),
            )
        dormant = self._dormant.get(session_id)
        if dormant is None:
            self._started += 1
            return self._start(new_checkpoint(identity, self._plant.clock))
        if dormant.checkpoint.identity != identity:
            return WrongOwner()
        del self._dormant[session_id]
        self._woken += 1
        return self._start(dormant.checkpoint)

    def _start(self, state: Checkpoint) -> SessionActor:
        actor = SessionActor(self._plant, state)
        self._live[state.identity.session_id] = actor
        self._nursery.start_soon(self._supervise, actor)
        return actor

    async def _final_if_known(self, session_id: str) -> Final | ErasedSession | None:
        """Give a session's final. While the ledger is away, one without a file counts as new.

        Nearly all such sessions are, and their frames cannot wait for the ledger. The late frames
        of one that has ended gain nothing by it: its end will be told that it has a final.
        """
        try:
            return await self._endings.look_up(session_id)
        except LedgerUnavailableError as error:
            if error.reason is LedgerReason.CORRUPT or self._spool.holds(session_id):
                raise
            return None

    async def _recover(self, session_id: str, reading: _Reading) -> None:
        try:
            # What has ended must not come to life again. A provisional final is no end by itself.
            final = await self._final_if_known(session_id)
            # Begun anew without its file, it would take the place of the replay that is stored.
            reading.ended = final is not None and not (
                isinstance(final, Final)
                and final.provisional
                and (self._spool.holds(session_id) or not final.has_replay)
            )
            recovered, touched = None, 0.0
            if not reading.ended and self._spool.holds(session_id):
                touched = await self._run_blocking(self._spool.touched_unix, session_id)
                recovered = await self._run_blocking(self._spool.recover, session_id)
        except (RecoveryError, LedgerUnavailableError) as error:
            what = "spool file" if isinstance(error, RecoveryError) else "final"
            reading.failure = f"the session's {what} could not be read"
            logger.error(  # noqa: TRY400 - the message says it all; the stack is the store's
                "session.recovery_failed", extra={"session_id": session_id, "error": str(error)}
            )
        except Exception as error:  # noqa: BLE001 - a session's failure stays in its session
            reading.failure = "a fault of this service; its log has the session"
            _log_crash(session_id, f"{type(error).__name__}: {error}", error)
        else:
            reading.failure = None
            reading.new = recovered is None and not reading.ended
            if recovered is not None:
                state = fold_recovered(recovered, lambda why: _log_crash(session_id, why))
                self._recovered += 1
                # The file no longer tells of torn frames: the next process must know as well.
                clock = self._plant.clock
                since = clock.monotonic() - max(0.0, clock.unix() - touched)
                dormant = _Dormant(state, SessionState.RESTING, since, inf)
                self._keep(dormant, save=recovered.torn_frames > 0)
                logger.info(
                    "session.recovered",
                    extra={
                        "session_id": session_id,
                        "frames": state.accepted_frames,
                        "torn_frames": recovered.torn_frames,
                    },
                )
        finally:
            del self._reading[session_id]
            reading.done.set()

    # Ending.

    async def _settle(self, identity: SessionIdentity) -> Checkpoint | EndDelayed | None:
        """Bring a session to disk, ahead of all others; None when there is no such session."""
        session_id = identity.session_id
        # Again after each wait: what rests may have been forgotten before this task ran.
        while True:
            actor = self._live.get(session_id)
            if actor is not None and actor.identity == identity:
                gone = self._gone.setdefault(session_id, trio.Event())
                actor.end_nowait()
                await gone.wait()
            elif actor is not None:
                return actor.checkpoint()
            elif self._is_known(session_id):
                dormant = self._dormant.get(session_id)
                if dormant is None:
                    return None
                if dormant.saving is None or dormant.saving.is_set():
                    return dormant.checkpoint
                await dormant.saving.wait()
            else:
                reading = await self._read_file(session_id)
                if reading.failure is not None:
                    return EndDelayed(reading.failure, 5.0, Reason.RECOVERY_FAILED.value)
                if reading.ended or reading.new:
                    return None

    def _release(self, session_id: str) -> bool:
        """Close a session's file; say whether there is one."""
        self._spool.release(session_id)
        return self._spool.holds(session_id)

    def _forget(self, session_id: str) -> None:
        self._dormant.pop(session_id, None)
        self._spool.release(session_id)

    # Erasing.

    def of_person(self, principal_id: str) -> list[SessionIdentity]:
        """Give a person's sessions that have not ended, as far as they are in memory."""
        known = [actor.identity for actor in self._live.values()]
        known += [dormant.checkpoint.identity for dormant in self._dormant.values()]
        return [identity for identity in known if identity.principal_id == principal_id]

    async def erase(self, session_id: str) -> None:
        """Let go of a session, whatever it does now; it comes to life no more.

        What waits goes to its file first, so that every frame is accounted for.
        """
        await self._endings.erase(session_id)
        while True:
            if (reading := self._reading.get(session_id)) is not None:
                await reading.done.wait()
            elif (actor := self._live.get(session_id)) is not None:
                gone = self._gone.setdefault(session_id, trio.Event())
                actor.end_nowait()
                await gone.wait()
            elif (dormant := self._dormant.get(session_id)) is not None and _unsaved(dormant):
                assert dormant.saving is not None  # noqa: S101 - for the type checkers
                await dormant.saving.wait()
            else:
                break
        self._forget(session_id)

    # Sessions that nobody ends.

    def abandoned(self) -> Iterator[tuple[SessionIdentity, float]]:
        """Give the sessions that nobody has been heard of for long, and since when, in unix time.

        For long, or since the token has expired that would have let it go on.
        """
        clock = self._plant.clock
        now, unix = clock.monotonic(), clock.unix()
        idle = now - self._limits.session_idle_seconds
        for actor in self._live.values():
            heard = actor.last_heard_of
            if heard < idle or _outlived(actor.token_until_unix, unix):
                yield actor.identity, unix - max(0.0, now - heard)
        for dormant in self._dormant.values():
            heard = dormant.last_heard_of
            if heard < idle or _outlived(dormant.token_until_unix, unix):
                yield dormant.checkpoint.identity, unix - (now - heard)

    def is_ending(self, session_id: str) -> bool:
        """Say whether a session ends, or has ended as far as is remembered here."""
        return session_id in self._endings or self._endings.closing(session_id) is not None

    @property
    def ends_under_way(self) -> int:
        """Count the ends that are under way."""
        return self._endings.under_way

    async def revive_file(self, session_id: str) -> Final | ErasedSession | None:
        """Find out what a file is of: it rests here then, unless all of it is in this final."""
        kept = self._endings.kept(session_id)
        if kept is not None:
            return kept
        if self._is_known(session_id) or self.is_ending(session_id):
            return None
        final = await self._endings.look_up(session_id)
        if isinstance(final, ErasedSession) or (final is not None and not final.provisional):
            return final
        await self._read_file(session_id)
        dormant = self._dormant.get(session_id)
        if final is None or dormant is None:
            return None
        # It may have gone on after its final, and its process have died before the next one.
        if dormant.checkpoint.accepted_frames > final.frames_received:
            return None
        self._forget(session_id)
        return final

    async def remove_file(self, final: Final) -> None:
        """Remove the file of a session that has this final, unless it goes on; OSError.

        Whoever offers to it meanwhile waits.
        """
        session_id = final.identity.session_id
        busy = self._is_known(session_id) or session_id in self._reading
        if busy or not self._endings.is_newest(final):
            return
        reading = self._reading[session_id] = _Reading(trio.Event(), failure=None)
        try:
            await self._run_blocking(self._spool.remove, session_id)
        finally:
            del self._reading[session_id]
            reading.done.set()

    async def _supervise(self, actor: SessionActor) -> None:
        session_id = actor.identity.session_id
        try:
            await actor.run()
        except Exception as error:  # noqa: BLE001 - the one place where a session's failure is contained
            self._crashed += 1
            _log_crash(session_id, f"{type(error).__name__}: {error}", error)
            checkpoint = actor.abandon(Reason.ACTOR_CRASHED)
            # Saved, so that a restart goes on from here, and not from the frames that crashed it.
            self._keep(_rested(actor, checkpoint, SessionState.FAILED), save=True)
        else:
            self._keep(_rested(actor, actor.checkpoint(), SessionState.RESTING), save=False)
        actor.leave()
        self._live.pop(session_id, None)  # it is gone already if the deadline has passed meanwhile
        if (gone := self._gone.pop(session_id, None)) is not None:
            gone.set()
        if not self._live:
            self._none_live.set()

    def _keep(self, dormant: _Dormant, *, save: bool) -> None:
        """Remember a session that has no actor; have its checkpoint written if so wished."""
        session_id = dormant.checkpoint.identity.session_id
        self._dormant[session_id] = dormant
        if save and not self._plant.writer.full:
            dormant.saving = trio.Event()
            self._plant.writer.submit_nowait(
                SpoolChunk(dormant.checkpoint, ()), lambda _: self._saved(dormant)
            )
        else:
            self._spool.release(session_id)
        self._forget_oldest()

    def _saved(self, dormant: _Dormant) -> None:
        session_id = dormant.checkpoint.identity.session_id
        if dormant.saving is not None:
            dormant.saving.set()
        if session_id not in self._live:
            self._spool.release(session_id)
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        # Their files hold them, except where that has still to be written.
        excess = len(self._dormant) - self._limits.max_resting_sessions
        if excess > 0:
            settled = (name for name, one in self._dormant.items() if not _unsaved(one))
            for session_id in list(islice(settled, excess)):
                del self._dormant[session_id]

    async def sweep(self) -> None:
        """Lay idle sessions to rest, until cancelled."""
        while True:
            await trio.sleep(_SWEEP_SECONDS)
            idle_since = self._plant.clock.monotonic() - self._limits.session_rest_seconds
            for actor in self._live.values():
                if actor.last_heard_of < idle_since:
                    actor.rest()

    async def drain(self) -> None:
        """Accept nothing more and bring everything to disk. The caller sets the deadline."""
        self._draining = True
        for actor in self._live.values():
            actor.rest()
        if self._live:
            self._none_live = trio.Event()
            await self._none_live.wait()
        await self._plant.writer.wait_empty()

    def abandon(self) -> int:
        """Count what the deadline left behind as lost; give how many frames that were."""
        lost = sum(actor.tally.pending for actor in self._live.values())
        for actor in self._live.values():
            actor.abandon(Reason.SHUTDOWN)
            actor.leave()
        self._live.clear()
        return lost


_FINALIZED = Refusal(
    Reason.SESSION_FINALIZED, "the session has ended, or is ending: it takes no more frames"
)
_DRAINING = Refusal(Reason.DRAINING, "the service is shutting down", retry_after=5.0)


# A token may have been renewed at the last moment, and the batch be under way.
_TOKEN_GRACE_SECONDS = 30.0


def _outlived(token_until_unix: float, now_unix: float) -> bool:
    return token_until_unix + _TOKEN_GRACE_SECONDS < now_unix


def _by_id(rows: list[SessionRow]) -> dict[str, SessionRow]:
    return {row.identity.session_id: row for row in rows}


def _live_row(actor: SessionActor) -> SessionRow:
    return SessionRow(
        actor.identity,
        Stage.LIVE,
        actor.started_unix_ms,
        None,
        actor.accepted_frames,
        lost_so_far(actor.tally),
    )


def _dormant_row(dormant: _Dormant) -> SessionRow:
    checkpoint = dormant.checkpoint
    return SessionRow(
        checkpoint.identity,
        Stage.FAILED if dormant.state is SessionState.FAILED else Stage.RESTING,
        checkpoint.started_unix_ms,
        None,
        checkpoint.accepted_frames,
        lost_so_far(checkpoint.tally),
    )


def _rested(actor: SessionActor, checkpoint: Checkpoint, state: SessionState) -> _Dormant:
    return _Dormant(checkpoint, state, actor.last_heard_of, actor.token_until_unix)


def _unsaved(dormant: _Dormant) -> bool:
    return dormant.saving is not None and not dormant.saving.is_set()


def _log_crash(session_id: str, why: str, error: BaseException | None = None) -> None:
    logger.error("session.crashed", extra={"session_id": session_id, "error": why}, exc_info=error)


@asynccontextmanager
async def open_sessions(
    plant: Plant,
    spool: Spool,
    ledger: Ledger,
    deliveries: Deliveries,
    limits: SessionsLimits,
    *,
    run_blocking: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync,
) -> AsyncIterator[Sessions]:
    """Run the registry's tasks around the block. Call `drain` inside it, with a deadline."""
    async with trio.open_nursery() as nursery:
        sessions = Sessions(plant, spool, ledger, deliveries, limits, nursery, run_blocking)
        nursery.start_soon(plant.pacer.run)
        nursery.start_soon(sessions.sweep)
        try:
            yield sessions
        finally:
            nursery.cancel_scope.cancel()
            lost = sessions.abandon()
            if lost:
                logger.error("sessions.abandoned", extra={"lost_frames": lost})
