"""The engine with a spool in memory, threads that are none, and Trio's mock clock.

A `World` is one process's engine; `World.spool` outlives it, so a second world over the same spool
is the next process.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast
from uuid import UUID

import numpy as np
import pytest
import trio

from penstock.engine import wire
from penstock.engine.abandonment import Abandonment, AbandonmentLimits
from penstock.engine.blob_port import (
    BlobReason,
    BlobSourceError,
    BlobUnavailableError,
    Content,
    StoredBlob,
)
from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.core_port import CoreUnavailableError
from penstock.engine.deliveries import Deliveries, DeliveryLimits
from penstock.engine.delivery_records import (
    Delivery,
    DeliveryEntry,
    DeliveryOf,
    DueDeliveries,
    OutboxCounts,
    OutboxState,
    Progress,
    ProgressEntry,
)
from penstock.engine.finals import ClientStatus, EndRequest
from penstock.engine.inbox import Arrival
from penstock.engine.ledger_port import (
    EntryOutcome,
    LedgerReason,
    LedgerUnavailableError,
    Together,
    Verdict,
)
from penstock.engine.level import Level
from penstock.engine.media.records import MediaEventsOf, MediaOwnerOf
from penstock.engine.outcomes import FrameLedger, Reason, Tally
from penstock.engine.pacer import Pacer
from penstock.engine.policy import DEFAULT_POLICY, Policy
from penstock.engine.ports import (
    MAX_CHUNK_BATCHES,
    Recovered,
    RecoveryError,
    SpoolChunk,
    SpoolHealth,
    SpoolStatistics,
)
from penstock.engine.records import FinalEntry, FinalOf
from penstock.engine.session import Plant, SessionState
from penstock.engine.sessions import Sessions, SessionsLimits, open_sessions
from penstock.engine.sluice import Sluice
from penstock.engine.turbine import Turbine
from penstock.engine.writer import Writer

FLUSH_SECONDS = 1.0


class TrioClock:
    """Trio's own clock, which tests turn by hand or let jump."""

    def monotonic(self) -> float:
        return trio.current_time()

    def unix(self) -> float:
        return 1_700_000_000 + trio.current_time()


def _decoded(chunk: SpoolChunk) -> tuple[Arrival, ...]:
    # Decoded again, and sidecars read again.
    return tuple(
        Arrival(wire.decode(arrival.batch.member), arrival.received_unix_ms, arrival.sidecar)
        for arrival in chunk.batches
    )


# Told of each step of a fake, before it and after it; raises where the process is to die.
Fate = Callable[[str], None]


def _no_fate(_step: str) -> None:
    """Let everything go on."""


@dataclass(eq=False)
class FakeSpool:
    """The port `Spool` in memory, failing and dawdling as told; it holds callers to the contract.

    `run_blocking` stands in for a thread: it cannot be cancelled once it has begun.
    """

    files: dict[str, list[SpoolChunk]] = field(default_factory=dict)
    shed: Reason | None = None
    failure: Exception | None = None
    unreadable: set[str] = field(default_factory=set)
    torn_frames: int = 0
    append_seconds: float = 0.0
    recover_seconds: float = 0.0
    groups: list[int] = field(default_factory=list)
    recoveries: list[str] = field(default_factory=list)
    archive: dict[str, list[SpoolChunk]] = field(default_factory=dict)
    touched: dict[str, float] = field(default_factory=dict)
    fate: Fate = _no_fate
    _known: set[str] = field(default_factory=set)
    _left: set[str] = field(default_factory=set)
    _unread: set[str] = field(default_factory=set)
    _in_recovery: set[str] = field(default_factory=set)

    def next_process(self) -> None:
        """Forget what only a process knows; every file is one that an earlier process left."""
        self._known.clear()
        self._left = set(self.files)
        self._unread = set(self.files)

    async def run_blocking(self, work: Callable[..., Any], *arguments: Any) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        recovering = work == self.recover
        if recovering:
            self._in_recovery.add(arguments[0])
        try:
            appending = self.append_seconds if work == self.append else 0.0
            with trio.CancelScope(shield=True):
                await trio.sleep(self.recover_seconds if recovering else appending)
            step = work.__name__
            self.fate(f"before {step}")
            done = work(*arguments)
            self.fate(f"after {step}")
            return done
        finally:
            self._in_recovery.difference_update(arguments[:1] if recovering else ())

    def append(self, chunks: Sequence[SpoolChunk]) -> list[Reason | None]:
        if self.failure is not None:
            raise self.failure
        self.groups.append(len(chunks))
        for chunk in chunks:
            session_id = chunk.before.identity.session_id
            assert len(chunk.batches) <= MAX_CHUNK_BATCHES
            assert chunk.before.tally.conserved
            assert session_id not in self._unread, "appended to a file that nobody has read"
            assert session_id not in self._in_recovery, "appended to a file that is being read"
            if self.shed is None:
                self.files.setdefault(session_id, []).append(chunk)
                self.touched[session_id] = TrioClock().unix()
                self._known.add(session_id)
                self._left.discard(session_id)
        return [self.shed] * len(chunks)

    def holds(self, session_id: str) -> bool:
        return session_id in self._left

    def recover(self, session_id: str) -> Recovered | None:
        self.recoveries.append(session_id)
        if session_id in self.unreadable:
            raise RecoveryError(session_id)
        self._left.discard(session_id)
        self._unread.discard(session_id)
        if session_id not in self.files:
            return None
        self._known.add(session_id)
        # States of its own, as if they had been read from bytes.
        chunks = [
            (Checkpoint.from_plain(chunk.before.plain()), _decoded(chunk))
            for chunk in self.files[session_id]
        ]
        newest = max(n for n, (state, _) in enumerate(chunks) if state.motion_due or n == 0)
        before, batches = chunks[-1]
        earlier = tuple(batch for _, part in chunks[newest:-1] for batch in part)
        before = before._replace(motion=chunks[newest][0].motion)
        return Recovered(before, batches, self.torn_frames, earlier)

    def release(self, session_id: str) -> None:
        if session_id in self._known:
            self._known.discard(session_id)
            self._left.add(session_id)

    def probe(self) -> SpoolHealth:
        return self.health()

    def health(self) -> SpoolHealth:
        return SpoolHealth(self.shed is None, self.shed)

    def statistics(self) -> SpoolStatistics:
        groups = len(self.groups)
        return SpoolStatistics(len(self._known), 0, groups, 0, len(self._left))

    def touched_unix(self, session_id: str) -> float:
        return self.touched.get(session_id, 0.0)

    def left_behind(self) -> list[str]:
        return sorted(self._left)

    def in_use(self, session_id: str) -> bool:
        return session_id in self._known

    def content(self, session_id: str) -> Content:
        assert session_id not in self._known, "read while it is open"

        def read() -> list[bytes]:
            if session_id not in self.files:
                raise BlobSourceError("there is no such file")
            return [a.member for chunk in self.files[session_id] for a in chunk.batches]

        return read

    def remove(self, session_id: str) -> None:
        for names in (self._known, self._left, self._unread):
            names.discard(session_id)
        if session_id in self.files:
            self.archive[session_id] = self.files.pop(session_id)

    def owner(self, session_id: str) -> SessionIdentity | None:
        chunks = self.files.get(session_id)
        return chunks[0].before.identity if chunks else None

    def erase(self, session_id: str) -> int:
        there = session_id in self.files
        self.remove(session_id)
        self.archive.pop(session_id, None)
        return int(there)

    def names(self) -> set[str]:
        """Give the sessions of which something is on disk, or was until its blob was stored."""
        return self.files.keys() | self.archive.keys()

    def chunks(self, session_id: str) -> list[SpoolChunk]:
        """Give what is on disk, or was until its blob was stored."""
        return self.files.get(session_id) or self.archive.get(session_id, [])

    def frames(self, session_id: str) -> int:
        """Count the frames of these."""
        chunks = self.chunks(session_id)
        return sum(arrival.batch.frame_count for chunk in chunks for arrival in chunk.batches)


@dataclass(eq=False)
class FakeFinals:
    """The port `Ledger` in memory, as far as ends go; it outlives a world, as the spool does.

    `rows` has the newest final of each session.
    """

    rows: dict[str, FinalEntry] = field(default_factory=dict)
    finals: dict[tuple[str, int], FinalEntry] = field(default_factory=dict)
    orders: dict[tuple[str, int], Progress] = field(default_factory=dict)
    broken: LedgerReason | None = None
    failure: Exception | None = None
    commit_seconds: float = 0.0
    commits: int = 0
    fate: Fate = _no_fate

    async def commit(self, group: Sequence[Any]) -> list[EntryOutcome]:
        with trio.CancelScope(shield=True):
            await trio.sleep(self.commit_seconds)
        if self.broken is not None:
            raise LedgerUnavailableError(self.broken, "as the test wishes")
        self.fate("before commit")
        self.commits += 1
        outcomes = [self._store(entry) for entry in group]
        self.fate("after commit")
        return outcomes

    def _store(self, entry: Any) -> EntryOutcome:
        if isinstance(entry, Together):
            final, order = entry.entries
            assert isinstance(final, FinalEntry)
            assert isinstance(order, DeliveryEntry)
            key = (final.session_id, final.revision)
            if self.finals.setdefault(key, final) != final:
                return EntryOutcome(Verdict.CONFLICT)
            self.rows[final.session_id] = final
            older = self.orders.get((final.session_id, final.revision - 1))
            if older is not None and not order.replay_due:
                self.orders.setdefault(key, Progress(older.replay_due, older.replay))
            if older is not None and not older.done:
                older = replace(older, dead=False, superseded=True)
                self.orders[final.session_id, final.revision - 1] = older
            self.orders.setdefault(key, Progress(order.replay_due))
        else:
            assert isinstance(entry, ProgressEntry)
            self._go_forward(entry)
        return EntryOutcome(Verdict.STORED)

    def _go_forward(self, entry: ProgressEntry) -> None:
        key = (entry.session_id, entry.revision)
        before, after = self.orders[key], entry.progress
        self.orders[key] = replace(
            after,
            replay=after.replay or before.replay,
            published_unix_ms=before.published_unix_ms or after.published_unix_ms,
            dead=after.dead and not before.superseded,
            superseded=before.superseded,
        )

    async def probe(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise LedgerUnavailableError(self.broken, "as the test wishes")

    async def scrub(self) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    async def read(self, query: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise LedgerUnavailableError(self.broken, "as the test wishes")
        if self.failure is not None and isinstance(query, FinalOf):
            raise self.failure
        if isinstance(query, OutboxCounts):
            dead = sum(progress.dead for progress in self.orders.values())
            waiting = sum(not progress.done for progress in self.orders.values())
            return OutboxState(waiting - dead, None, dead)
        if isinstance(query, DueDeliveries):
            due = [
                Delivery(self.finals[key], progress)
                for key, progress in self.orders.items()
                if not (progress.done or progress.dead)
                and progress.next_unix_ms <= query.now_unix_ms
            ]
            return sorted(due, key=lambda one: one.progress.next_unix_ms)[: query.limit]
        if isinstance(query, MediaEventsOf):
            return []
        if isinstance(query, MediaOwnerOf):
            return None
        row = self.rows.get(query.session_id)
        if isinstance(query, FinalOf):
            return row
        assert isinstance(query, DeliveryOf)
        if row is None:
            return None
        return Delivery(row, self.orders[row.session_id, row.revision])


@dataclass(eq=False)
class FakeBlobs:
    """The part of the port `BlobStore` that deliveries use."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    broken: BlobReason | None = None
    put_seconds: float = 0.0
    puts: int = 0
    fate: Fate = _no_fate

    async def put(self, key: str, content: Content, *, supersede: bool = False) -> StoredBlob:
        assert supersede
        await trio.sleep(self.put_seconds)
        if self.broken is not None:
            raise BlobUnavailableError(self.broken, "as the test wishes")
        self.fate("before put")
        self.puts += 1
        self.blobs[key] = data = b"".join(content())
        self.fate("after put")
        return StoredBlob(key, len(data), "0" * 64, f"fake://{key}")


@dataclass(eq=False)
class FakeCore:
    """The port `Core`: keeps what was published, once in effect."""

    events: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    broken: bool = False
    failure: Exception | None = None
    publish_seconds: float = 0.0
    calls: int = 0
    fate: Fate = _no_fate

    async def publish(self, event: dict[str, Any]) -> None:
        self.calls += 1
        await trio.sleep(self.publish_seconds)
        if self.broken:
            raise CoreUnavailableError("as the test wishes")
        if self.failure is not None:
            raise self.failure
        self.fate("before publish")
        key = (event["session_id"], event["revision"])
        assert self.events.setdefault(key, event) == event, "a revision was told in two ways"
        self.fate("after publish")


class InForce(NamedTuple):
    """What holds for everybody."""

    policy: Policy
    scopes: tuple[str, ...] = ("global",)


@dataclass(eq=False)
class OnePolicy:
    """A book of one policy, which a test changes by hand; the sluice must then adopt it."""

    policy: Policy
    candidates: dict[str, Policy] = field(default_factory=dict)

    def in_force(self, *_: str) -> InForce:
        return InForce(self.policy)

    def candidate_in_force(self, name: str, *_: str) -> InForce:
        return InForce(self.candidates[name])


class RecordingLedger(FrameLedger):
    """The choke point, remembering each session's tally, so that sums can be taken over them."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies: dict[int, Tally] = {}
        self.unattributed = Tally()

    def admit(self, session: Tally, frames: int) -> None:
        self.tallies[id(session)] = session
        super().admit(session, frames)

    def refuse(self, session: Tally | None, reason: Reason, frames: int) -> None:
        super().refuse(session, reason, frames)
        if session is None:
            FrameLedger.refuse(FrameLedger(), self.unattributed, reason, frames)
        else:
            self.tallies[id(session)] = session


@dataclass(eq=False)
class World:
    """One process's engine, open."""

    spool: FakeSpool
    plant: Plant
    ledger: RecordingLedger
    sessions: Sessions
    writer_scope: trio.CancelScope
    book: OnePolicy
    finals: FakeFinals
    blobs: FakeBlobs
    core: FakeCore
    deliveries: Deliveries
    abandonment: Abandonment

    async def end(self, number: int = 1, status: str = "completed", **said: Any) -> Any:
        who = {key: said.pop(key) for key in ("principal", "org") if key in said}
        request = EndRequest(ClientStatus(status), said.pop("ended", 1_700_000_100_000), **said)
        return await self.sessions.end(_identity(number, **who), request)

    async def offer(self, arrival: Arrival, number: int = 1, **who: int) -> Any:
        return await self.sessions.offer(_identity(number, **who), arrival)

    def turn(self, **knobs: Any) -> None:
        """Change the policy in force."""
        self.book.policy = self.book.policy.changed(knobs)
        self.plant.sluice.adopt()

    def actor(self, number: int = 1) -> Any:
        return self.sessions._live[_session_id(number)]

    def state(self, number: int = 1) -> SessionState | None:
        return self.sessions.state(_session_id(number))

    def name(self, number: int) -> str:
        return _session_id(number)

    def identity(self, number: int, **who: int) -> SessionIdentity:
        return _identity(number, **who)

    def rest_everybody(self) -> None:
        for actor in list(self.sessions._live.values()):
            actor.rest()

    def check(self) -> None:
        """Check the conservation law, and the books against what is really held."""
        process = self.ledger.process
        assert process.conserved
        held_frames = held_bytes = inbox_bytes = waiting_batches = 0
        for actor in self.sessions._live.values():
            assert actor.tally.conserved
            waiting = list(actor._inbox._send._state.data)
            in_chunk = [] if actor._chunk is None else actor._chunk.arrivals
            mine = sum(arrival.batch.frame_count for arrival in [*waiting, *in_chunk])
            assert actor.tally.pending == mine
            assert actor._inbox.held_batches == len(waiting)
            held_frames += mine
            waiting_batches += len(waiting)
            inbox_bytes += sum(arrival.batch.held_bytes for arrival in waiting)
            held_bytes += sum(arrival.batch.held_bytes for arrival in [*waiting, *in_chunk])
        assert process.pending == held_frames
        assert self.plant.memory.held == held_bytes
        assert self.plant.inboxes.held == inbox_bytes
        assert self.plant.waiting.held == waiting_batches

    def settled_exactly(self) -> None:
        """Check that nothing waits any more, neither in the counts nor in memory."""
        assert self.ledger.process.conserved
        assert self.ledger.process.pending == 0
        assert self.plant.memory.held == 0
        assert self.plant.inboxes.held == 0
        assert self.plant.waiting.held == 0

    def ended(self, reason: Reason) -> int:
        return self.ledger.process.ended.get(reason, 0)


@asynccontextmanager
async def _open_world(
    spool: FakeSpool | None = None,
    finals: FakeFinals | None = None,
    *,
    flush_bytes: int = 1 << 24,
    memory: int = 1 << 26,
    queue: int = 1000,
    live: int = 100,
    resting: int = 100,
    rest_seconds: float = 60.0,
    end_wait_seconds: float = 10.0,
    idle_seconds: float = 1e9,
    keep_seconds: float = 3600.0,
    tidy: bool = False,
    max_attempts: int = 5,
    blobs: FakeBlobs | None = None,
    core: FakeCore | None = None,
    **knobs: Any,
) -> AsyncIterator[World]:
    spool = spool or FakeSpool()
    finals = finals or FakeFinals()
    clock = TrioClock()
    turbine = Turbine()
    writer = Writer(
        spool,
        clock,
        max_queued_chunks=queue,
        group_settled=turbine.turn_nowait,
        run_blocking=spool.run_blocking,
        ledger=cast("Any", finals),
    )
    ledger = RecordingLedger()
    bounds = {"inbox_soft_bytes": 1 << 24, "inbox_bytes": 1 << 24, "inbox_soft_batches": 1}
    book = OnePolicy(DEFAULT_POLICY.changed(bounds | {"loss_percent": 0.0} | knobs))
    plant = Plant(
        ledger,
        Level(memory),
        Level(),
        Level(),
        Pacer(clock, FLUSH_SECONDS),
        writer,
        turbine,
        Sluice(cast("Any", book), clock),
        clock,
        flush_bytes,
    )
    limits = SessionsLimits(live, resting, rest_seconds, end_wait_seconds, idle_seconds)
    blobs, core = blobs or FakeBlobs(), core or FakeCore()
    deliveries = Deliveries(
        writer,
        cast("Any", finals),
        cast("Any", blobs),
        core,
        spool,
        clock,
        DeliveryLimits(max_attempts),
        run_blocking=spool.run_blocking,
        jitter=lambda: 1.0,
    )
    async with trio.open_nursery() as nursery:
        writer_scope = trio.CancelScope()

        async def write() -> None:
            with writer_scope:
                await writer.run()

        nursery.start_soon(write)
        await nursery.start(deliveries.run)
        async with open_sessions(
            plant,
            spool,
            cast("Any", finals),
            deliveries,
            limits,
            run_blocking=spool.run_blocking,
        ) as sessions:
            abandonment = Abandonment(
                sessions,
                spool,
                cast("Any", finals),
                clock,
                AbandonmentLimits(idle_seconds, keep_seconds),
                run_blocking=spool.run_blocking,
            )
            if tidy:
                nursery.start_soon(abandonment.run)
            yield World(
                spool,
                plant,
                ledger,
                sessions,
                writer_scope,
                book,
                finals,
                blobs,
                core,
                deliveries,
                abandonment,
            )
        nursery.cancel_scope.cancel()


class PoisonError(Exception):
    """What a poisoned batch raises in the actor."""


class _Poison(tuple[int, ...]):
    __slots__ = ()

    def __iter__(self) -> Any:
        raise PoisonError


def _arrival(
    frames: int = 3, start_ms: int = 0, *, poisoned: bool = False, sidecar: bytes | None = None
) -> Arrival:
    times = range(start_ms, start_ms + 100 * frames, 100)
    batch = wire.decode(wire.encode(np.full((frames, 33, 4), 0.5, "<f4"), list(times), level=1))
    if poisoned:
        batch = wire.FrameBatch(
            frames, 10, _Poison(batch.timestamps_ms), batch.member, batch.payload
        )
    return Arrival(batch, 1_700_000_000_123, sidecar)


def _session_id(number: int) -> str:
    return str(UUID(int=number))


def _identity(number: int = 1, *, principal: int = 7, org: int = 8) -> SessionIdentity:
    return SessionIdentity(_session_id(number), str(UUID(int=principal)), str(UUID(int=org)))


@pytest.fixture(scope="session")
def make_arrival() -> Callable[..., Arrival]:
    """Give the maker of arrivals: (frames, start_ms, poisoned=, sidecar=)."""
    return _arrival


@pytest.fixture(scope="session")
def make_identity() -> Callable[..., SessionIdentity]:
    """Give the maker of identities: (session number, principal=, org=)."""
    return _identity


@pytest.fixture(scope="session")
def make_spool() -> Callable[..., Any]:
    """Give the maker of spools in memory."""
    return FakeSpool


@pytest.fixture(scope="session")
def make_finals() -> Callable[..., Any]:
    """Give the maker of ledgers in memory."""
    return FakeFinals


@pytest.fixture(scope="session")
def make_blobs() -> Callable[..., Any]:
    """Give the maker of blob stores in memory."""
    return FakeBlobs


@pytest.fixture(scope="session")
def make_core() -> Callable[..., Any]:
    """Give the maker of Cores that keep what they are told."""
    return FakeCore


@pytest.fixture(scope="session")
def open_world() -> Callable[..., Any]:
    """Give the opener of engines: (spool, bounds by keyword)."""
    return _open_world


@pytest.fixture(scope="session")
def trio_clock() -> TrioClock:
    """Give a clock that shows Trio's time."""
    return TrioClock()
