"""Sessions that nobody ends: closed by the service itself, and the files that are left over.

Theory of operation
-------------------
Two looks, each at its own pace. One goes over the sessions in memory: whoever has not been heard of
for long, or whose token has expired, is closed as abandoned, provisionally. The other goes over the
spool files that no actor writes to, most of them left by an earlier process:

====================================  ==================================================
the file's session has                what becomes of it
====================================  ==================================================
no final, and was touched lately      nothing yet
no final, and was not                 it is read, and then closed like one in memory
a final, its replay not stored        nothing: the delivery needs it
a final, its replay stored            the file is removed
a provisional final, and more frames  it is read, and then closed like one in memory
a provisional final, replay stored    the file is kept for as long as a token might hold
====================================  ==================================================

Only so many are closed, and files read, at a time: after an outage there may be thousands, and
patients who end their sessions go first. What could not be closed or looked at waits for a while,
so that it does not stand before the others.

Of a session that never had a frame there is neither an actor nor a file. Who keeps the statistics
of media finds that it has gone silent, and says so (`close_silent`).
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.delivery_records import DeliveryOf
from penstock.engine.endings import EndConflict, EndDelayed, Ended, EndOutcome, EndUnstored
from penstock.engine.finals import ClientStatus, EndRequest
from penstock.engine.ledger_port import Ledger, LedgerReason, LedgerUnavailableError
from penstock.engine.ports import Clock, Spool
from penstock.engine.records import ErasedSession
from penstock.engine.sessions import Sessions

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_FILES_LOOK_SECONDS = 5.0
_MOST_AT_ONCE = 32
# A file that has to stay is not asked after again before this, nor what could not be closed.
_AGAIN_SECONDS = 60.0


@dataclass(slots=True, frozen=True)
class AbandonmentLimits:
    """The bounds, by their settings' names."""

    session_idle_seconds: float
    provisional_keep_seconds: float


class Abandonment:
    """Closes what was abandoned, and removes files whose blobs are stored."""

    def __init__(
        self,
        sessions: Sessions,
        spool: Spool,
        ledger: Ledger,
        clock: Clock,
        limits: AbandonmentLimits,
        *,
        run_blocking: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync,
    ) -> None:
        self._sessions = sessions
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._run_blocking = run_blocking
        self._not_before: dict[str, float] = {}
        self._close_not_before: dict[str, float] = {}
        self.closed = 0

    async def run(self) -> None:
        """Look until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_sessions, nursery)
            nursery.start_soon(self._watch_files)

    async def _watch_sessions(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(_LOOK_SECONDS)
            self._close_not_before = _still_ahead(self._close_not_before, self._clock.monotonic())
            room = _MOST_AT_ONCE - self._sessions.ends_under_way
            for identity, heard_unix in list(self._sessions.abandoned()):
                if room <= 0:
                    break
                name = identity.session_id
                if not (name in self._close_not_before or self._sessions.is_ending(name)):
                    room -= 1
                    nursery.start_soon(self._close, identity, heard_unix)

    async def close_silent(self, identity: SessionIdentity, heard_unix: float) -> bool:
        """Close a session that nothing is known of but media events; False to be asked again.

        One whose frames are known here is closed when they stop, and not for its silent video.
        """
        session_id = identity.session_id
        if self._sessions.state(session_id) is not None or self._sessions.is_ending(session_id):
            return True
        return not isinstance(await self._close(identity, heard_unix), EndDelayed)

    async def _close(self, identity: SessionIdentity, heard_unix: float) -> EndOutcome:
        request = EndRequest(ClientStatus.ABANDONED, int(heard_unix * 1000), provisional=True)
        outcome = await self._sessions.end(identity, request)
        session_id = identity.session_id
        if isinstance(outcome, Ended | EndUnstored):
            self.closed += 1
            logger.info("session.closed", extra={"session_id": session_id})
            return outcome
        if isinstance(outcome, EndConflict):  # its client was quicker
            return outcome
        self._close_not_before[session_id] = self._clock.monotonic() + _AGAIN_SECONDS
        logger.warning(
            "session.not_closed",
            extra={"session_id": session_id, "outcome": type(outcome).__name__},
        )
        return outcome

    async def _watch_files(self) -> None:
        while True:
            more = False
            try:
                more = await self._look_at_files()
            except LedgerUnavailableError as unavailable:
                logger.warning("spool.files_not_tidied", extra={"error": unavailable.detail})
            await trio.sleep(_LOOK_SECONDS if more else _FILES_LOOK_SECONDS)

    async def _look_at_files(self) -> bool:
        """Look at the files whose time has come; say whether some were left for the next look."""
        self._not_before = _still_ahead(self._not_before, self._clock.monotonic())
        most_read = self._sessions.statistics().recovered + _MOST_AT_ONCE
        for session_id in self._spool.left_behind():
            if session_id in self._not_before:
                continue
            if self._sessions.statistics().recovered >= most_read:
                return True
            try:
                pause = await self._look_at_file(session_id)
            except LedgerUnavailableError as unavailable:
                if unavailable.reason is not LedgerReason.CORRUPT:
                    raise
                pause = _AGAIN_SECONDS  # this session's trouble, and said where it is looked up
            self._not_before[session_id] = self._clock.monotonic() + pause
        return False

    async def _look_at_file(self, session_id: str) -> float:
        """Do with a file what is due; give how long it may be left alone then."""
        touched: float = await self._run_blocking(self._spool.touched_unix, session_id)
        age = self._clock.unix() - touched
        if age < self._limits.session_idle_seconds:
            return self._limits.session_idle_seconds - age
        final = await self._sessions.revive_file(session_id)
        if final is None or isinstance(final, ErasedSession):  # that is the erasure's to remove
            return _AGAIN_SECONDS
        delivery = await self._ledger.read(DeliveryOf(session_id))
        if delivery is None or not delivery.progress.stored:
            return _AGAIN_SECONDS
        if final.provisional and age < self._limits.provisional_keep_seconds:
            return min(self._limits.provisional_keep_seconds - age, 3600.0)
        try:
            await self._sessions.remove_file(final)
        except OSError as error:
            logger.warning(
                "spool.file_not_removed", extra={"session_id": session_id, "error": str(error)}
            )
        return _AGAIN_SECONDS


def _still_ahead(times: dict[str, float], now: float) -> dict[str, float]:
    return {name: at for name, at in times.items() if at > now}
