"""The statistics kept up with the events: sessions' figures are made anew while events come.

Theory of operation
-------------------
An event costs two rows, and nothing of what follows from it. It only makes its session *due*. A
task looks for sessions that are due, makes each one's figures of all its events, and has the ledger
exchange what the session counted for by what it counts for now. So the statistics lag behind by
FOLD_AFTER_MS and a look, and a session that sends an event a second costs no more than one that
sends two a minute.

Whatever goes wrong leaves a session due, so that a later look finds it. Several processes may do
this over one ledger: each exchange says of how many events it was made, and one made of fewer than
the last changes nothing.

Statistics can wait: while bulk is refused, nothing is made anew.

A session that has gone silent is over for the statistics. Who looks after sessions that nobody ends
is told of it first: one of which nothing but events ever came is known to nobody else.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.ledger_port import Ledger, LedgerUnavailableError
from penstock.engine.media.recall import recalled
from penstock.engine.media.records import (
    IDLE_AFTER_MS,
    DueMediaSession,
    DueMediaSessions,
    MediaFoldEntry,
    MediaOwnerOf,
)
from penstock.engine.media.rollup import standing_of
from penstock.engine.ports import Clock
from penstock.engine.receipts import Lane, Receipt, Refused
from penstock.engine.writer import Writer

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
# So many wait for the writer at a time: a fraction of its queue, which is others' as well.
PORTION = 32


@dataclass(slots=True, frozen=True)
class MediaFolderStatistics:
    """How often a session's standing was made anew, and how often that was refused for good."""

    folded: int
    refused: int


CloseSilent = Callable[[SessionIdentity, float], Awaitable[bool]]


async def _leave_open(_identity: SessionIdentity, _heard_unix: float) -> bool:
    return True


class MediaFolder:
    """Makes due sessions' figures anew, for as long as `run` runs."""

    def __init__(
        self,
        ledger: Ledger,
        writer: Writer,
        clock: Clock,
        rests: Callable[[], bool] = lambda: False,
        close_silent: CloseSilent = _leave_open,
    ) -> None:
        """Work on a ledger through the writer, but not while it `rests`.

        `close_silent` is given whose session has gone silent, and since when; it says False where
        it has to be asked again.
        """
        self._ledger = ledger
        self._writer = writer
        self._clock = clock
        self._rests = rests
        self._close_silent = close_silent
        self._folded = 0
        self._refused = 0

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                while not self._rests() and await self.fold_portion() == PORTION:
                    pass
            except LedgerUnavailableError as unavailable:
                # Who writes says so already; here nothing is lost.
                logger.debug("media.fold_delayed", extra={"error": str(unavailable)})
            await trio.sleep(LOOK_SECONDS)

    async def fold_portion(self) -> int:
        """Make those figures anew that have been due for longest; say of how many sessions."""
        now = int(self._clock.unix() * 1000)
        found = await self._ledger.read(DueMediaSessions(now, PORTION))
        due = await self._without_open(found, now)
        under_way = [(session, await self._begin(session, now)) for session in due]
        done = 0
        for session, receipt in under_way:
            answer = await receipt.wait()
            if not isinstance(answer, Refused):
                self._folded += 1
                done += 1
            elif answer.retry_after is None:
                await self._give_up(session, now, answer)
                done += 1
        return done

    def statistics(self) -> MediaFolderStatistics:
        """Count what was done."""
        return MediaFolderStatistics(self._folded, self._refused)

    async def _without_open(
        self, due: Sequence[DueMediaSession], now: int
    ) -> list[DueMediaSession]:
        """Have silent sessions closed; leave out those that cannot be now, which stay due."""
        still_open: set[str] = set()

        async def close(session: DueMediaSession, owner: SessionIdentity) -> None:
            if not await self._close_silent(owner, session.last_received_unix_ms / 1000):
                still_open.add(session.session_id)

        silent = [one for one in due if not one.ended and _silent(one, now)]
        owners = [await self._ledger.read(MediaOwnerOf(one.session_id)) for one in silent]
        async with trio.open_nursery() as nursery:
            for session, owner in zip(silent, owners, strict=True):
                if owner is not None:
                    nursery.start_soon(close, session, owner)
        return [session for session in due if session.session_id not in still_open]

    async def _begin(self, session: DueMediaSession, now: int) -> Receipt:
        session_id = session.session_id
        closed = session.ended or _silent(session, now)
        events, metrics = await recalled(self._ledger, session_id, closed=closed)
        standing = None if metrics is None else standing_of(metrics, session.surroundings)
        entry = MediaFoldEntry(session_id, events, standing, closed, now)
        return self._writer.enter_nowait(entry, Lane.DURABLE)

    async def _give_up(self, session: DueMediaSession, now: int, refused: Refused) -> None:
        """Leave a session as it is until its next event, so that the others have their turn."""
        self._refused += 1
        where = {"session_id": session.session_id, "error": refused.detail}
        logger.error("media.fold_refused", extra=where)
        entry = MediaFoldEntry(session.session_id, 0, None, closed=False, at_unix_ms=now)
        await self._writer.enter_nowait(entry, Lane.DURABLE).wait()


def _silent(session: DueMediaSession, now: int) -> bool:
    return now - session.last_received_unix_ms >= IDLE_AFTER_MS
