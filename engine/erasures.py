"""Erasures: everything that is kept of a person is removed, wherever it is, and stays so.

Theory of operation
-------------------
::

    order in the ledger, consents gone
    ->  for each session: it takes nothing more  ->  its rows go, its place is closed
        ->  blob and files go  ->  swept
    ->  what else is the person's goes, a few rows at a time, by id or by the names of its periods
    ->  texts of others and audit entries get a stand-in for id and names
    ->  the order forgets the person  ->  the ledger's files are scrubbed

The order is the point of no return: from its commit on it is in the ledger, and whoever runs the
service finishes it. No step needs to know how far the last process came. Each one looks for what is
still there, and removing what is gone already does no harm; only where a session's rows have gone
and its blob has not, the ledger says so by name (`UnsweptSessions`).

A session in memory is closed before its rows go, without a final. After that its place in the
ledger is closed (`EraseSession`): a final, figures or frames that come late find that, and are
refused. Its token holds for a while yet, and gets nobody any further.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

import trio

from penstock.engine.blob_port import (
    BlobStore,
    BlobUnavailableError,
    InvalidBlobKeyError,
    replay_key,
)
from penstock.engine.deliveries import Deliveries
from penstock.engine.erasure_records import (
    AuditsThatName,
    BeginErasure,
    ConsentOrgsOf,
    EraseRows,
    EraseSession,
    Erasure,
    ErasureOf,
    FinishErasure,
    Holdings,
    HoldingsOf,
    OpenErasures,
    OwnedSession,
    RedactAudits,
    SessionsOf,
    SweptSession,
    UnsweptSessions,
    stand_in,
)
from penstock.engine.ledger_port import Entry, Ledger, LedgerUnavailableError, Together
from penstock.engine.platform.actors import ActorNames
from penstock.engine.platform.erasure_records import (
    EraseNamed,
    NamesHeld,
    RedactTexts,
    RowsNamed,
    TextsThatName,
    Told,
)
from penstock.engine.ports import Clock, Spool
from penstock.engine.receipts import Committed, Lane, Refused
from penstock.engine.records import AuditEntry
from penstock.engine.sessions import Sessions
from penstock.engine.writer import Writer

logger = logging.getLogger(__name__)

SERVICE = "penstock"
_SESSIONS_AT_ONCE = 50
_ROWS_AT_ONCE = 200
_AUDITS_AT_ONCE = 500
_TEXTS_AT_ONCE = 200
_FILES_AT_ONCE = 200
_LOOK_SECONDS = 60.0
_AGAIN_SECONDS = 5.0
_BUSY_SECONDS = 1.0
# A reader may be in the way of scrubbing, for as long as one answer takes.
_SCRUB_TRIES = 10
_SCRUB_PAUSE_SECONDS = 0.2


class SessionsLiveError(Exception):
    """The person has sessions that have not ended, and nobody said that they may be cut off."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} sessions have not ended")
        self.count = count


class ErasureRefusedError(Exception):
    """The ledger did not take the order."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.refused = refused


class _DelayedError(Exception):
    """Something is in the way; what has been removed stays so."""


class Found(NamedTuple):
    """What an erasure would remove; the `live` sessions have not ended."""

    live: int
    ledger: Holdings


@dataclass(slots=True, frozen=True)
class ErasuresStatistics:
    """How many erasures are under way, as of the last look, and what became of others."""

    under_way: int
    done: int
    delays: int


class Erasures:
    """Takes orders, and carries them out one after another."""

    def __init__(
        self,
        writer: Writer,
        ledger: Ledger,
        blobs: BlobStore,
        spool: Spool,
        sessions: Sessions,
        deliveries: Deliveries,
        clock: Clock,
        actors: ActorNames,
        *,
        forget: Callable[[str, str | None], None],
        busy: Callable[[], bool],
        run_blocking: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync,
    ) -> None:
        """Work with the engine's parts.

        `forget` has a consent asked for anew, by organisation and person; while `busy`, it waits.
        """
        self._writer = writer
        self._ledger = ledger
        self._blobs = blobs
        self._spool = spool
        self._sessions = sessions
        self._deliveries = deliveries
        self._clock = clock
        self._actors = actors
        self._forget = forget
        self._busy = busy
        self._run_blocking = run_blocking
        self._woken = trio.Event()
        self._under_way = self._done = self._delays = 0

    async def look(self, principal_id: str) -> Found:
        """Say what an erasure would remove; LedgerUnavailableError."""
        holdings = await self._ledger.read(HoldingsOf(principal_id))
        held = await self._ledger.read(NamesHeld(await self._names(principal_id)))
        named = await self._ledger.read(RowsNamed(held))
        holdings = holdings._replace(rows=holdings.rows + named)
        return Found(len(self._sessions.of_person(principal_id)), holdings)

    async def begin(self, principal_id: str, asked_by: str, *, force: bool) -> Erasure:
        """Order an erasure: on return it is certain, and under way.

        Where one is under way for the person, that. Raises SessionsLiveError without `force`,
        ErasureRefusedError, LedgerUnavailableError.
        """
        live = len(self._sessions.of_person(principal_id))
        if live and not force:
            raise SessionsLiveError(live)
        orgs = await self._ledger.read(ConsentOrgsOf(principal_id))
        now = self._now()
        order = BeginErasure(str(uuid4()), principal_id, now, asked_by)
        detail = {"erasure_id": order.erasure_id, "live_sessions": live}
        audit = AuditEntry(now, asked_by, "erasure.asked", stand_in(principal_id), detail)
        answer = await self._writer.enter_nowait(Together((order, audit)), Lane.DURABLE).wait()
        if isinstance(answer, Refused):
            raise ErasureRefusedError(answer)
        # Of a repeated one, the value is that of the order under way.
        value: Any = answer.value
        erasure = await self._ledger.read(ErasureOf(value if answer.repeated else value[0]))
        assert erasure is not None  # noqa: S101 - it was committed
        for org_id in orgs:
            self._forget(org_id, principal_id)
        self._woken.set()
        return erasure

    async def run(self) -> None:
        """Carry out what was ordered, by this process or an earlier one, until cancelled."""
        try:
            await self._scrub()  # an earlier process may have finished all but that
        except LedgerUnavailableError as unavailable:
            logger.warning("ledger.not_scrubbed", extra={"error": unavailable.detail})
        while True:
            self._woken = trio.Event()
            pause = _LOOK_SECONDS if await self._carry_out() else _AGAIN_SECONDS
            with trio.move_on_after(pause):
                await self._woken.wait()

    def statistics(self) -> ErasuresStatistics:
        """Count erasures."""
        return ErasuresStatistics(self._under_way, self._done, self._delays)

    async def _carry_out(self) -> bool:
        """Carry out what there is; say whether nothing was in the way."""
        whole = True
        try:
            orders = await self._ledger.read(OpenErasures())
        except LedgerUnavailableError as unavailable:
            logger.warning("erasures.not_read", extra={"error": unavailable.detail})
            return False
        self._under_way = len(orders)
        for erasure in orders:
            try:
                await self._erase(erasure)
            except (_DelayedError, LedgerUnavailableError, BlobUnavailableError, OSError) as error:
                whole = False
                self._delays += 1
                logger.warning(
                    "erasure.delayed",
                    extra={"erasure_id": erasure.erasure_id, "error": str(error)},
                )
            else:
                self._under_way -= 1
                self._done += 1
                logger.info("erasure.done", extra={"erasure_id": erasure.erasure_id})
        return whole

    async def _erase(self, erasure: Erasure) -> None:
        person, order = erasure.principal_id, erasure.erasure_id
        assert person is not None  # noqa: S101 - it is not done
        while unswept := await self._ledger.read(UnsweptSessions(order, _SESSIONS_AT_ONCE)):
            for session in unswept:
                await self._sweep(order, session)
        # New ones may come while others go; a pass that finds none is the last.
        while found := await self._find(person):
            for session in found:
                await self._erase_session(order, session)
        while await self._enter(EraseRows(order, person, _ROWS_AT_ONCE)):
            pass
        names = await self._names(person)
        await self._erase_named(order, person, names)
        await self._redact(order, person, names)
        now = self._now()
        audit = AuditEntry(now, SERVICE, "erasure.done", stand_in(person), {"erasure_id": order})
        await self._enter(Together((FinishErasure(order, now), audit)))
        await self._scrub()

    async def _names(self, person: str) -> frozenset[str]:
        """Give every name that rows may have of a person in the place of the id."""
        return await trio.to_thread.run_sync(self._actors.every_name, person, self._clock.unix())

    async def _erase_named(self, order: str, person: str, names: frozenset[str]) -> None:
        """Remove what the person's programs wrote."""
        held = await self._ledger.read(NamesHeld(names))
        # Something may come under the present name while the rest goes.
        present = self._actors.name(person, self._clock.unix())
        erase = EraseNamed(order, tuple(sorted({*held, present})), _ROWS_AT_ONCE)
        while await self._enter(erase):
            pass

    async def _redact(self, order: str, person: str, names: frozenset[str]) -> None:
        """Take the person out of what others wrote, and of what was done."""
        for told in Told:
            behind: tuple[str, ...] | None = ()
            while behind is not None:
                texts = await self._ledger.read(TextsThatName(told, person, _TEXTS_AT_ONCE, behind))
                if texts.keys:
                    await self._enter(RedactTexts(order, told, texts.keys, person))
                behind = texts.after
        after: int | None = 0
        while after is not None:
            naming = await self._ledger.read(AuditsThatName(person, _AUDITS_AT_ONCE, after, names))
            if naming.positions:
                await self._enter(RedactAudits(order, naming.positions, person, self._now(), names))
            after = naming.after

    async def _find(self, person: str) -> list[OwnedSession]:
        """Find sessions of a person: in memory, in files, and some of those in the ledger."""
        found = {one.session_id: one.org_id for one in self._sessions.of_person(person)}
        names = self._spool.left_behind()
        for at in range(0, len(names), _FILES_AT_ONCE):
            some = names[at : at + _FILES_AT_ONCE]
            owned: list[OwnedSession] = await self._run_blocking(self._owned, person, some)
            found |= dict(owned)
        kept = await self._ledger.read(SessionsOf(person, _SESSIONS_AT_ONCE))
        found |= dict(kept)
        return [OwnedSession(session_id, org_id) for session_id, org_id in found.items()]

    def _owned(self, person: str, names: Iterable[str]) -> list[OwnedSession]:
        """Look into files, in a thread."""
        owners = ((name, self._spool.owner(name)) for name in names)
        return [
            OwnedSession(name, owner.org_id)
            for name, owner in owners
            if owner is not None and owner.principal_id == person
        ]

    async def _erase_session(self, order: str, session: OwnedSession) -> None:
        await self._sessions.erase(session.session_id)
        await self._deliveries.withhold(session.session_id)
        await self._enter(EraseSession(session.session_id, session.org_id, order))
        await self._sweep(order, session)

    async def _sweep(self, order: str, session: OwnedSession) -> None:
        """Remove what is not in the ledger."""
        # An earlier process may have committed the rows' end only: then this one knows it not yet.
        await self._sessions.erase(session.session_id)
        blobs = 0
        try:
            key = replay_key(session.org_id, session.session_id)
        except InvalidBlobKeyError:
            pass  # then nothing was ever stored under it
        else:
            if await self._blobs.head(key) is not None:
                await self._blobs.delete(key)
                blobs = 1
        files: int = await self._run_blocking(self._spool.erase, session.session_id)
        await self._enter(SweptSession(session.session_id, order, blobs, files))

    async def _enter(self, entry: Entry) -> Any:  # noqa: ANN401 - each kind has its own
        """Have an entry on disk, and give its value."""
        while self._busy():  # noqa: ASYNC110 - pressure is a number, it has no event
            await trio.sleep(_BUSY_SECONDS)
        answer = await self._writer.enter_nowait(entry, Lane.DURABLE).wait()
        if isinstance(answer, Committed):
            return answer.value
        raise _DelayedError(f"{answer.reason}: {answer.detail}")

    async def _scrub(self) -> None:
        for _ in range(_SCRUB_TRIES):
            if await self._ledger.scrub():
                return
            await trio.sleep(_SCRUB_PAUSE_SECONDS)

    def _now(self) -> int:
        return int(self._clock.unix() * 1000)
