"""`sync`: a collector's batches in, what its device has sent, and the sums out.

A 2xx means that the batch is committed. The body of a batch is read and checked on a thread: a
thousand records take longer than frames may wait for the loop.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import trio

from penstock.engine.ledger_port import Ledger
from penstock.engine.ports import Clock
from penstock.engine.receipts import Lane, Refused
from penstock.engine.sync.ack import Counts, SyncAck, no_counts
from penstock.engine.sync.records import (
    OTHER_CONTENT,
    DeviceIdentity,
    ResetStep,
    StandingOf,
    SyncBatchEntry,
    SyncResetEntry,
)
from penstock.engine.writer import Writer
from penstock.http.cold_routes import Call, ColdRoute, ColdSurface
from penstock.http.exchange import Answer, json_answer
from penstock.http.instants import iso_instant
from penstock.http.plain_errors import (
    BUSY_RETRY_SECONDS,
    SHORT_BYTES,
    PlainError,
    answering,
    committed,
    object_of,
    plain_refuse,
)
from penstock.http.problems import Problem
from penstock.http.sync.dashboard import Dashboard
from penstock.http.sync.device_tokens import DeviceGate
from penstock.http.sync.reading import INVALID, TOO_LARGE, ReadBatch, read_batch
from penstock.http.sync.turns import NoTurnError, Turns

RESET_WORD = "reset_synced_data"
_RESET_BODY_BYTES = 4096
# Records of a reset's step: what one transaction may keep finals waiting for.
_RESET_RECORDS = 500
# A smaller body is checked in less time than a thread takes to begin.
_SMALL_BODY_BYTES = 16 * 1024
# What proxies say of themselves (RFC 9110, RFC 7239, and before there was a standard).
_PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
# Bodies in memory at once: of the batches that come together the rest wait unread.
_BATCHES_AT_ONCE = 32
_OF_A_DEVICE = 4
_THREADS = 2


@dataclass(slots=True, frozen=True)
class SyncLimits:
    """How large a batch may be, and how long one waits, by their settings' names."""

    sync_batch_bytes: int
    sync_batch_records: int
    sync_batch_sums: int
    ledger_wait_seconds: float


@dataclass(slots=True, frozen=True)
class SyncSurface:
    """The routes."""

    devices: DeviceGate
    dashboard: Dashboard
    ledger: Ledger
    writer: Writer
    clock: Clock
    limits: SyncLimits
    refuses_bulk: Callable[[], bool] = lambda: False
    _turns: Turns = field(default_factory=lambda: Turns(_BATCHES_AT_ONCE, _OF_A_DEVICE))
    _threads: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(_THREADS))

    def surface(self) -> ColdSurface:
        """Give the routes as the application serves them."""
        served = (
            ("POST", "/api/sync/batches", self._take_batch),
            ("POST", "/v1/sync/batches", self._take_locally),
            ("GET", "/api/sync/status", self._status),
            ("POST", "/api/sync/reset", self._reset),
        )
        sums = answering(self.dashboard.rollups, SHORT_BYTES)
        return ColdSurface(
            (
                *(
                    ColdRoute(verb, rule, answering(serve, SHORT_BYTES))
                    for verb, rule, serve in served
                ),
                # The person's own browser reads them.
                ColdRoute("GET", "/api/sync/rollups", sums, cross_origin=True),
            ),
            _refuse,
            ("/api/sync", "/v1/sync"),
        )

    async def _take_locally(self, call: Call) -> Answer:
        # A proxy on this machine is local, and whoever it speaks for is not. One that does not say
        # that it is a proxy cannot be told: so the token is asked for here, too.
        if not _is_loopback(call.peer) or any(name in call.headers for name in _PROXY_HEADERS):
            raise PlainError(404, Problem.NOT_FOUND.code, Problem.NOT_FOUND.meaning)
        return await self._take_batch(call)

    async def _take_batch(self, call: Call) -> Answer:
        device = await self.devices.identify(call)
        if self.refuses_bulk():
            message = "the service is under pressure; bulk writes wait"
            raise PlainError(503, "overloaded", message, retry_after=BUSY_RETRY_SECONDS)
        if call.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise PlainError(415, "unsupported_encoding", "the body must not be compressed")
        try:
            async with self._turns.turn(device, self.limits.ledger_wait_seconds):
                batch = await self._read(call)
                return json_answer(200, (await self._store(device, batch)).plain())
        except NoTurnError:
            message = "too many batches at once"
            raise PlainError(503, "busy", message, retry_after=BUSY_RETRY_SECONDS) from None

    async def _read(self, call: Call) -> ReadBatch:
        body = await call.read(self.limits.sync_batch_bytes, "sync_batch_bytes")
        most = self.limits.sync_batch_records, self.limits.sync_batch_sums
        if len(body) <= _SMALL_BODY_BYTES:
            return read_batch(body, *most)
        return await trio.to_thread.run_sync(read_batch, body, *most, limiter=self._threads)

    async def _store(self, device: DeviceIdentity, batch: ReadBatch) -> SyncAck:
        if batch.device_id != device.device_id:
            raise PlainError(403, "device_mismatch", "the token is another device's")
        entry = SyncBatchEntry(
            device.user_id,
            device.device_id,
            batch.batch_id,
            batch.digest,
            str(uuid4()),
            int(self.clock.unix() * 1000),
            batch.submitted,
            batch.rejected,
        )
        answer = await committed(self.writer.enter_nowait(entry, Lane.DURABLE))
        if isinstance(answer, Refused):
            if answer.detail == OTHER_CONTENT:
                raise PlainError(409, OTHER_CONTENT, "this batch_id came with other content before")
            raise PlainError(400, INVALID, "it cannot be kept: its sums grow too large")
        assert isinstance(answer.value, SyncAck)  # noqa: S101 - for the type checkers
        return answer.value

    async def _status(self, call: Call) -> Answer:
        device = await self.devices.identify(call)
        standing = await self.ledger.read(StandingOf(*device))
        at = standing.last_batch_unix_ms
        document = {
            "device": {
                "device_id": device.device_id,
                "last_sync_batch_id": standing.last_batch_id,
                "last_sync_at": None if at is None else iso_instant(at),
            },
            "mirrorCounts": standing.counts,
        }
        return json_answer(200, document)

    async def _reset(self, call: Call) -> Answer:
        device = await self.devices.identify(call)
        body = object_of(await call.read(_RESET_BODY_BYTES), "confirmation_required")
        if body.get("confirm") != RESET_WORD:
            message = f'the body must be {{"confirm": "{RESET_WORD}"}}'
            raise PlainError(400, "confirmation_required", message)
        cleared: Counts = no_counts()
        more = True
        while more:
            entry = SyncResetEntry(*device, _RESET_RECORDS)
            answer = await committed(self.writer.enter_nowait(entry, Lane.DURABLE))
            assert not isinstance(answer, Refused)  # noqa: S101 - no reset conflicts
            assert isinstance(answer.value, ResetStep)  # noqa: S101 - for the type checkers
            more = answer.value.more
            for plural, count in answer.value.cleared.items():
                cleared[plural] += count
        return json_answer(200, {"status": "reset", "cleared": cleared})


def _refuse(
    problem: Problem,
    detail: str | None = None,
    *,
    retry_after: float | None = None,
    **facts: object,
) -> Answer:
    if problem is Problem.BODY_TOO_LARGE:
        return PlainError(413, TOO_LARGE, detail or "").answer(SHORT_BYTES)
    return plain_refuse(problem, detail, retry_after=retry_after, **facts)


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
