"""How sessions end: once each, whoever asks and however often, and never without a record.

Theory of operation
-------------------
::

    no more frames -> what waits goes to disk, ahead of everybody else's -> the final goes to the
    ledger, in the lane that is served first -> the session has ended

An end runs in a task of its own: a client that hangs up leaves it running, and one that asks again
waits for the same one. The ledger's commit is the point of no return. Before it, whatever fails
leaves the session as it was, and the client, told so, still has its end to send again. After it the
session takes no frames: its final is kept here for as long as there is room, and in the ledger.

============  ==============================================================================
answer        what it means
============  ==============================================================================
Ended         the final is on disk; asked again with the same status, it is the same
EndConflict   it has ended before, and otherwise
EndDelayed    it could not be written in time: nothing has changed, ask again
EndFailed     a fault of this software, in the log: nothing has changed
============  ==============================================================================
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.finals import EndRequest, Final, make_final
from penstock.engine.ledger_port import Ledger, LedgerReason, LedgerUnavailableError
from penstock.engine.outcomes import FrameLedger, Reason
from penstock.engine.receipts import Committed, Lane
from penstock.engine.records import FinalEntry, FinalOf
from penstock.engine.writer import Writer

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class Ended:
    """The session has ended, and its final is on disk."""

    final: Final


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
    """There is no such session: no frame ever came, and no final is kept."""


@dataclass(slots=True, frozen=True)
class WrongOwner:
    """The session belongs to another principal or organisation than the token's."""


SHUTTING_DOWN = EndDelayed("the service is shutting down", 5.0, Reason.DRAINING.value)
# The spool and the ledger are usually mended by somebody or something; a second is too soon.
_RETRY_SECONDS = 5.0

EndOutcome = Ended | EndConflict | EndDelayed | EndFailed | SessionUnknown | WrongOwner


@dataclass(slots=True, eq=False)
class _Ending:
    """An end that is under way. `outcome` is known once `done` is set."""

    request: EndRequest
    done: trio.Event = field(default_factory=trio.Event)
    outcome: EndOutcome = SHUTTING_DOWN


class Endings:
    """The sessions that end, and the finals of those that have."""

    def __init__(
        self,
        nursery: trio.Nursery,
        writer: Writer,
        ledger: Ledger,
        frames: FrameLedger,
        settle: Callable[[SessionIdentity], Awaitable[Checkpoint | EndDelayed | None]],
        forget: Callable[[str], None],
        *,
        max_kept: int,
        wait_seconds: float,
    ) -> None:
        """Work for a registry: `settle` brings a session to disk, `forget` lets go of it."""
        self._nursery = nursery
        self._writer = writer
        self._ledger = ledger
        self._frames = frames
        self._settle = settle
        self._forget = forget
        self._max_kept = max_kept
        self._wait_seconds = wait_seconds
        self._ends: dict[str, _Ending | Final] = {}

    def __contains__(self, session_id: str) -> bool:
        """Say whether a session takes no more frames: it has ended, or is about to."""
        return session_id in self._ends

    async def look_up(self, session_id: str) -> Final | None:
        """Ask the ledger for a session's final, and remember it."""
        entry = await self._ledger.read(FinalOf(session_id))
        if entry is None:
            return None
        try:
            final = Final.from_plain(dict(entry.body))
        except (KeyError, TypeError, ValueError) as error:
            detail = f"the session's final is none that this version reads: {error}"
            raise LedgerUnavailableError(LedgerReason.CORRUPT, detail) from None
        self._keep(final)
        return final

    def _keep(self, final: Final) -> None:
        self._ends[final.identity.session_id] = final
        # The ledger has them all; only ends under way must not be forgotten.
        if len(self._ends) > self._max_kept:
            oldest = next((n for n, end in self._ends.items() if isinstance(end, Final)), None)
            if oldest is not None:
                del self._ends[oldest]

    async def end(self, identity: SessionIdentity, request: EndRequest) -> EndOutcome:
        """End a session, or say how it ended; wait for the ledger, but not for ever."""
        end = self._ends.get(identity.session_id)
        if isinstance(end, Final):
            return _again(end, identity, request)
        if end is None:
            end = self._ends[identity.session_id] = _Ending(request)
            self._nursery.start_soon(self._run, identity, end)
        with trio.move_on_after(self._wait_seconds) as waiting:
            await end.done.wait()
        if waiting.cancelled_caught:
            return EndDelayed(
                f"the end is under way; it is not on disk after {self._wait_seconds:g} s",
                self._wait_seconds,
                "end_delayed",
            )
        if isinstance(end.outcome, Ended):
            return _again(end.outcome.final, identity, request)
        return end.outcome

    async def _run(self, identity: SessionIdentity, ending: _Ending) -> None:
        session_id = identity.session_id
        try:
            ending.outcome = await self._end(identity, ending.request)
        except LedgerUnavailableError as unavailable:
            ending.outcome = EndDelayed(
                unavailable.detail, _RETRY_SECONDS, unavailable.reason.value
            )
        except Exception:
            logger.exception("session.end_failed", extra={"session_id": session_id})
            ending.outcome = EndFailed()
        finally:
            if self._ends.get(session_id) is ending:
                del self._ends[session_id]
            if isinstance(ending.outcome, Ended | EndConflict):
                self._keep(ending.outcome.final)
            ending.done.set()

    async def _end(self, identity: SessionIdentity, request: EndRequest) -> EndOutcome:
        settled = await self._settle(identity)
        if isinstance(settled, EndDelayed):
            return settled
        if settled is None:
            before = await self.look_up(identity.session_id)
            return SessionUnknown() if before is None else _again(before, identity, request)
        if settled.identity != identity:
            return WrongOwner()
        final = make_final(settled, request)
        answer = await self._writer.enter_nowait(_entry(final), Lane.FINAL).wait()
        if isinstance(answer, Committed):
            for frames, reason in request.unsent:
                self._frames.leave_unsent(None, reason, frames)
            self._forget(identity.session_id)
            return Ended(final)
        if answer.reason is LedgerReason.CONFLICT:
            before = await self.look_up(identity.session_id)
            if before is not None:
                self._forget(identity.session_id)
                return _again(before, identity, request)
        return EndDelayed(answer.detail, answer.retry_after or _RETRY_SECONDS, answer.reason.value)


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


def _again(final: Final, identity: SessionIdentity, request: EndRequest) -> EndOutcome:
    if final.identity != identity:
        return WrongOwner()
    return Ended(final) if final.status is request.status else EndConflict(final)
