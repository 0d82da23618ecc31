"""How sessions end: once each, whoever asks and however often, and never without a record.

Theory of operation
-------------------
::

    no more frames -> what waits goes to disk, ahead of everybody else's -> the final and the order
    to deliver it go to the ledger, in the lane that is served first -> the session has ended
    -> the replay is stored -> the aggregates are published

An end runs in a task of its own: a client that hangs up leaves it running, and one that asks again
waits for the same one. The ledger's commit is the point of no return. Before it, whatever fails
leaves the session as it was, and the client, told so, still has its end to send again. After it the
session takes no frames: its final is kept here for as long as there is room, and in the ledger. The
rest of the way is `deliveries`' work: the client's answer waits for the replay, and a moment for
Core, without which it is right as well.

A session that the service closes by itself ends the same way, but *provisionally*: it may go on,
and its next end makes the next revision.

============  ==============================================================================
answer        what it means
============  ==============================================================================
Ended         the final is on disk, its replay stored; asked again with the same status, the same
EndUnstored   the final is on disk, the replay is not stored yet: ask again
EndConflict   it has ended before, and otherwise
EndDelayed    it could not be written in time: nothing has changed, ask again
EndFailed     a fault of this software, in the log: nothing has changed
============  ==============================================================================
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import trio

from penstock.engine.blob_port import BlobReason
from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.deliveries import Deliveries
from penstock.engine.delivery_records import Delivery, DeliveryEntry, DeliveryOf, Progress
from penstock.engine.finals import EndRequest, Final, make_final, superseded
from penstock.engine.folding import new_checkpoint
from penstock.engine.ledger_port import (
    Entry,
    Ledger,
    LedgerReason,
    LedgerUnavailableError,
    Together,
)
from penstock.engine.media.recall import MediaRecall
from penstock.engine.media.records import MediaEndedEntry
from penstock.engine.outcomes import FrameLedger, Reason
from penstock.engine.ports import Clock
from penstock.engine.receipts import Committed, Lane, Refused
from penstock.engine.records import ErasedSession, FinalEntry, FinalOf
from penstock.engine.writer import Writer

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class Ended:
    """The session has ended, and its final is on disk, with its replay in its place."""

    final: Final
    progress: Progress


@dataclass(slots=True, frozen=True)
class EndUnstored:
    """The session has ended and its final is on disk; its replay is still to be stored."""

    detail: str
    retry_after: float
    code: str


@dataclass(slots=True, frozen=True)
class EndConflict:
    """The session has ended before, with another status."""

    final: Final


@dataclass(slots=True, frozen=True)
class EndDelayed:
    """The end could not be written now; nothing has changed. `code` says what is in the way."""

    detail: str
    retry_after: float
    code: str


@dataclass(slots=True, frozen=True)
class EndFailed:
    """A fault of this software, in this session."""


@dataclass(slots=True, frozen=True)
class SessionUnknown:
    """There is no such session: nothing of it ever came and no final is kept, or it was erased."""


@dataclass(slots=True, frozen=True)
class WrongOwner:
    """The session belongs to another principal or organisation than the token's."""


SHUTTING_DOWN = EndDelayed("the service is shutting down", 5.0, Reason.DRAINING.value)
# The spool and the ledger are usually mended by somebody or something; a second is too soon.
_RETRY_SECONDS = 5.0

# Core is not what an end needs: an answer that waits longer for it gains nothing.
_PUBLISH_WAIT_SECONDS = 2.0
# A provisional final and the client's own may be made at once; the loser has its turn again.
_MOST_TURNS = 4

EndOutcome = (
    Ended | EndUnstored | EndConflict | EndDelayed | EndFailed | SessionUnknown | WrongOwner
)
_Closed = Final | EndConflict | EndDelayed | EndFailed | SessionUnknown | WrongOwner


@dataclass(slots=True, eq=False)
class _Ending:
    """An end that is under way. `outcome` is known once `done` is set."""

    request: EndRequest
    done: trio.Event = field(default_factory=trio.Event)
    outcome: _Closed = SHUTTING_DOWN


class Endings:
    """The sessions that end, and the finals of those that have."""

    def __init__(
        self,
        nursery: trio.Nursery,
        writer: Writer,
        ledger: Ledger,
        deliveries: Deliveries,
        frames: FrameLedger,
        settle: Callable[[SessionIdentity], Awaitable[Checkpoint | EndDelayed | None]],
        release: Callable[[str], bool],
        forget: Callable[[str], None],
        clock: Clock,
        *,
        max_kept: int,
        wait_seconds: float,
    ) -> None:
        """Work for a registry.

        `settle` brings a session to disk, `release` closes its file and says whether there is one,
        `forget` lets go of the session.
        """
        self._nursery = nursery
        self._writer = writer
        self._ledger = ledger
        self._deliveries = deliveries
        self._frames = frames
        self._settle = settle
        self._release = release
        self._forget = forget
        self._clock = clock
        self._max_kept = max_kept
        self._wait_seconds = wait_seconds
        self._media = MediaRecall(ledger)
        self._ends: dict[str, _Ending | Final | ErasedSession] = {}
        # The newest revision of sessions that may go on.
        self._provisional: dict[str, int] = {}

    def __contains__(self, session_id: str) -> bool:
        """Say whether a session takes no more frames: it has ended, or is about to, or is gone."""
        end = self._ends.get(session_id)
        if isinstance(end, _Ending):
            return not end.request.provisional
        return end is not None

    def closing(self, session_id: str) -> trio.Event | None:
        """Give what is set when the service has closed a session, if it is about to."""
        end = self._ends.get(session_id)
        return end.done if isinstance(end, _Ending) and end.request.provisional else None

    def kept(self, session_id: str) -> Final | None:
        """Give the final that a session has ended with for good, where it is remembered here."""
        end = self._ends.get(session_id)
        return end if isinstance(end, Final) else None

    def is_newest(self, final: Final) -> bool:
        """Say whether this is the session's newest final, and none is being made."""
        session_id = final.identity.session_id
        if final.provisional:
            known = self._provisional.get(session_id) == final.revision
            return known and session_id not in self._ends
        return self.kept(session_id) == final

    @property
    def under_way(self) -> int:
        """Count the ends that are under way."""
        return sum(isinstance(end, _Ending) for end in self._ends.values())

    async def look_up(self, session_id: str) -> Final | ErasedSession | None:
        """Ask the ledger for a session's final, and remember it."""
        entry = await self._ledger.read(FinalOf(session_id))
        if entry is None:
            return None
        if isinstance(entry, ErasedSession):
            self._keep_end(session_id, entry)
            return entry
        final = stored_final(entry)
        self._keep(final)
        return final

    def _keep(self, final: Final) -> None:
        session_id = final.identity.session_id
        if final.provisional:
            self._provisional[session_id] = final.revision
            # Without it, the ledger says so when the next revision is committed.
            if len(self._provisional) > self._max_kept:
                del self._provisional[next(iter(self._provisional))]
            return
        self._keep_end(session_id, final)

    def _keep_end(self, session_id: str, end: Final | ErasedSession) -> None:
        self._provisional.pop(session_id, None)
        self._ends[session_id] = end
        # The ledger has them all; only ends under way must not be forgotten.
        if len(self._ends) > self._max_kept:
            ended = (n for n, other in self._ends.items() if not isinstance(other, _Ending))
            if (oldest := next(ended, None)) is not None:
                del self._ends[oldest]

    async def erase(self, session_id: str) -> None:
        """Have a session take neither frames nor an end any more; wait for one under way."""
        while isinstance(end := self._ends.get(session_id), _Ending):
            await end.done.wait()
        self._keep_end(session_id, ErasedSession(session_id))

    async def end(self, identity: SessionIdentity, request: EndRequest) -> EndOutcome:
        """End a session, or say how it ended; wait for the ledger and the replay, not for ever."""
        with trio.move_on_after(self._wait_seconds):
            try:
                closed = await self._close(identity, request)
                if isinstance(closed, Final):
                    return await self._delivered(closed)
            except LedgerUnavailableError as unavailable:
                return _delayed(unavailable)
            return closed
        return EndDelayed(
            f"the end is under way; it is not done after {self._wait_seconds:g} s",
            self._wait_seconds,
            "end_delayed",
        )

    async def _close(self, identity: SessionIdentity, request: EndRequest) -> _Closed:
        """Have the final committed, once, whoever asks."""
        session_id = identity.session_id
        while (closing := self.closing(session_id)) is not None and not request.provisional:
            await closing.wait()
        end = self._ends.get(session_id)
        if isinstance(end, ErasedSession):
            return SessionUnknown()
        if isinstance(end, Final):
            return _again(end, identity, request)
        if end is None:
            end = self._ends[session_id] = _Ending(request)
            self._nursery.start_soon(self._run, identity, end)
        await end.done.wait()
        if isinstance(end.outcome, Final):
            return _again(end.outcome, identity, request)
        return end.outcome

    async def _delivered(self, final: Final) -> EndOutcome:
        """Wait for a final's replay, and for a moment for its publication."""
        session_id = final.identity.session_id
        attempt = self._deliveries.under_way(session_id, final.revision)
        if attempt is None:
            delivery = await self._ledger.read(DeliveryOf(session_id))
            if delivery is None or delivery.progress.done:
                return Ended(final, _NOTHING_DUE if delivery is None else delivery.progress)
            attempt = self._deliveries.begin_nowait(delivery)
        await attempt.stored.wait()
        if not attempt.progress.stored:
            code = attempt.blob_reason or BlobReason.IO_ERROR
            detail = f"the session has ended; its replay is not stored yet: {code.meaning}"
            return EndUnstored(detail, _RETRY_SECONDS, code.value)
        with trio.move_on_after(_PUBLISH_WAIT_SECONDS):
            await attempt.finished.wait()
        return Ended(final, attempt.progress)

    async def _run(self, identity: SessionIdentity, ending: _Ending) -> None:
        session_id = identity.session_id
        try:
            ending.outcome = await self._end(identity, ending.request)
        except LedgerUnavailableError as unavailable:
            ending.outcome = _delayed(unavailable)
        except Exception:
            logger.exception("session.end_failed", extra={"session_id": session_id})
            ending.outcome = EndFailed()
        finally:
            if self._ends.get(session_id) is ending:
                del self._ends[session_id]
            if isinstance(ending.outcome, Final):
                self._keep(ending.outcome)
            elif isinstance(ending.outcome, EndConflict):
                self._keep(ending.outcome.final)
            ending.done.set()

    async def _end(self, identity: SessionIdentity, request: EndRequest) -> _Closed:
        for _ in range(_MOST_TURNS):
            made = await self._make(identity, request)
            if not isinstance(made, _Made):
                return made
            played = await self._media.metrics_of(identity.session_id)
            made = made._replace(final=replace(made.final, media_metrics=played))
            answer = await self._commit(made)
            if isinstance(answer, Committed):
                for frames, reason in request.unsent:
                    self._frames.leave_unsent(None, reason, frames)
                self._forget(identity.session_id)
                return made.final
            if answer.reason is not LedgerReason.CONFLICT:
                retry_after = answer.retry_after or _RETRY_SECONDS
                return EndDelayed(answer.detail, retry_after, answer.reason.value)
            # Another process was quicker, or this one has forgotten a provisional final.
            before = await self.look_up(identity.session_id)
            if isinstance(before, ErasedSession):
                self._forget(identity.session_id)
                return SessionUnknown()
            if before is not None and not before.provisional:
                self._forget(identity.session_id)
                return _again(before, identity, request)
        return EndDelayed("others end the session at the same time", _RETRY_SECONDS, "end_delayed")

    async def _make(self, identity: SessionIdentity, request: EndRequest) -> "_Made | _Closed":
        """Make the final that is to be committed, or say why there will be none."""
        session_id = identity.session_id
        settled = await self._settle(identity)
        if isinstance(settled, EndDelayed):
            return settled
        if settled is not None:
            if settled.identity != identity:
                return WrongOwner()
            revision = self._provisional.get(session_id, 0) + 1
            return _Made(make_final(settled, request, revision), self._release(session_id))
        before = await self.look_up(session_id)
        if isinstance(before, ErasedSession):
            return SessionUnknown()
        if before is None:
            return await self._make_without_frames(identity, request)
        if before.identity != identity:
            return WrongOwner()
        if not before.provisional or request.provisional:
            return _again(before, identity, request)
        return _Made(superseded(before, request), replay_due=False)

    async def _make_without_frames(
        self, identity: SessionIdentity, request: EndRequest
    ) -> "_Made | _Closed":
        """Make the first final of a session of which nothing but media events ever came."""
        owner = await self._media.owner_of(identity.session_id)
        if owner is None:
            return SessionUnknown()
        if owner != identity:
            return WrongOwner()
        empty = new_checkpoint(identity, self._clock)
        return _Made(make_final(empty, request), replay_due=False)

    async def _commit(self, made: "_Made") -> Committed | Refused:
        """Pass the point of no return, and bring the final on its way."""
        entry, replay_due = _entry(made.final), made.replay_due
        now = int(self._clock.unix() * 1000)
        order = DeliveryEntry(entry.session_id, entry.revision, entry.org_id, replay_due, now)
        parts: tuple[Entry, ...] = (entry, order)
        if made.final.media_metrics is not None:
            parts += (MediaEndedEntry(entry.session_id, now),)
        answer = await self._writer.enter_nowait(Together(parts), Lane.FINAL).wait()
        # What takes over an older revision's replay is in the ledger's words, so it is begun there.
        if isinstance(answer, Committed) and (replay_due or entry.revision == 1):
            self._deliveries.begin_nowait(Delivery(entry, Progress(replay_due)))
        return answer


class _Made(NamedTuple):
    """A final to be committed, and whether it has frames that no blob holds yet."""

    final: Final
    replay_due: bool


_NOTHING_DUE = Progress(replay_due=False)


def _delayed(unavailable: LedgerUnavailableError) -> EndDelayed:
    return EndDelayed(unavailable.detail, _RETRY_SECONDS, unavailable.reason.value)


def _entry(final: Final) -> FinalEntry:
    who = final.identity
    return FinalEntry(
        who.session_id,
        who.org_id,
        who.principal_id,
        final.revision,
        final.status.value,
        final.ended_unix_ms,
        final.plain(),
    )


def _again(final: Final, identity: SessionIdentity, request: EndRequest) -> _Closed:
    if final.identity != identity:
        return WrongOwner()
    return final if final.status is request.status else EndConflict(final)


def stored_final(entry: FinalEntry) -> Final:
    """Read a final as the ledger gave it; LedgerUnavailableError (CORRUPT) when it is none."""
    try:
        return Final.from_plain(dict(entry.body))
    except (KeyError, TypeError, ValueError) as error:
        detail = f"the session's final is none that this version reads: {error}"
        raise LedgerUnavailableError(LedgerReason.CORRUPT, detail) from None
