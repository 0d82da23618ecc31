"""The PostgreSQL ledger when its database goes away: nothing acknowledged is lost, none twice."""

import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import pytest
import trio

from penstock.engine.ledger_lanes import LedgerLanes
from penstock.engine.ledger_port import (
    Ledger,
    LedgerReason,
    LedgerUnavailableError,
    Together,
    Verdict,
)
from penstock.engine.receipts import Lane, Refused
from penstock.engine.records import AuditEntry, FinalEntry, FinalOf
from penstock.storage.ledger.postgres import open_postgres_ledger
from penstock.storage.ledger.postgres_link import Patience

MakeFinal = Callable[..., Any]
SUBMITTERS = 8
HASTY = Patience(connect_seconds=0.5, answer_seconds=0.5)


class Clock:
    """The operating system's clocks."""

    monotonic = staticmethod(time.monotonic)
    unix = staticmethod(time.time)


class Load:
    """Submitters that go on until they are told to stop, and what each was told."""

    def __init__(self, lanes: LedgerLanes) -> None:
        self._lanes = lanes
        self._going = True
        self.submitted: set[str] = set()
        self.acknowledged: set[str] = set()
        self.refused: list[Refused] = []

    async def submit(self) -> None:
        while self._going:
            name = str(uuid4())
            self.submitted.add(name)
            final = FinalEntry(name, "org", "principal", 1, "completed", 0, {"x": "y" * 500})
            audit = AuditEntry(0, "actor", "ended", name, {}, name)
            answer = await self._lanes.enter_nowait(Together((final, audit)), Lane.FINAL).wait()
            if isinstance(answer, Refused):
                self.refused.append(answer)
            else:
                self.acknowledged.add(name)

    async def wait_acknowledged(self, more: int) -> None:
        """Wait until so many more have been acknowledged."""
        enough = len(self.acknowledged) + more
        with trio.fail_after(30):
            while len(self.acknowledged) < enough:  # noqa: ASYNC110 - a server is waited for
                await trio.sleep(0.005)

    def stop(self) -> None:
        self._going = False

    def check(self, site: Any) -> None:
        """Compare what is stored with what was told: nothing lost, nothing by half, none twice."""
        finals = site.sql("SELECT session_id FROM session_finals").split()
        audits = site.sql("SELECT subject FROM audit_entries").split()
        assert sorted(finals) == sorted(audits)
        assert len(set(finals)) == len(finals)
        assert self.acknowledged <= set(finals) <= self.submitted
        assert len(self.submitted) == len(self.acknowledged) + len(self.refused)


@asynccontextmanager
async def loaded(ledger: Ledger, *, wait_seconds: float) -> AsyncIterator[Load]:
    """Have submitters at work around the block, and all of them answered on leaving it."""
    lanes = LedgerLanes(ledger, Clock(), max_queued_entries=1000, wait_seconds=wait_seconds)
    load = Load(lanes)
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        async with trio.open_nursery() as submitters:
            for _ in range(SUBMITTERS):
                submitters.start_soon(load.submit)
            yield load
            load.stop()
        nursery.cancel_scope.cancel()


async def test_a_server_that_crashes_under_load_costs_time_only(postgres_site: Any) -> None:
    """Stopped and started again, twice: every submitter is told `committed`, and rightly."""
    server = postgres_site.server
    async with (
        postgres_site.open() as ledger,
        loaded(ledger, wait_seconds=30) as load,
    ):
        for _ in range(2):
            await load.wait_acknowledged(200)
            await trio.to_thread.run_sync(server.stop)
            await trio.to_thread.run_sync(server.start)
        await load.wait_acknowledged(200)
    assert load.refused == []
    assert ledger.statistics().failures > 0
    load.check(postgres_site)


async def test_connections_that_are_ended_under_load_cost_nothing(postgres_site: Any) -> None:
    """Cut off at any moment of a commit, again and again, none is lost and none doubled."""
    async with (
        postgres_site.open() as ledger,
        loaded(ledger, wait_seconds=30) as load,
    ):
        await load.wait_acknowledged(50)
        for _ in range(12):
            for process in postgres_site.server.backends(postgres_site.database):
                postgres_site.sql(f"SELECT pg_terminate_backend({process})")
            await load.wait_acknowledged(5)
    assert load.refused == []
    assert ledger.statistics().failures > 0
    load.check(postgres_site)


async def test_past_the_wait_budget_it_is_told_that_the_database_is_away(
    postgres_site: Any,
) -> None:
    """Submitters are not kept for ever; afterwards all is well again by itself."""
    server = postgres_site.server
    async with (
        postgres_site.open() as ledger,
        loaded(ledger, wait_seconds=0.3) as load,
    ):
        await load.wait_acknowledged(50)
        server.stop()
        with trio.fail_after(10):
            while len(load.refused) < SUBMITTERS:  # noqa: ASYNC110 - time passes, no event
                await trio.sleep(0.01)
        server.start()
        await load.wait_acknowledged(50)
    assert {refused.reason for refused in load.refused} == {LedgerReason.UNREACHABLE}
    assert all(refused.retry_after for refused in load.refused)
    load.check(postgres_site)


async def test_reads_do_not_notice_a_server_that_was_restarted(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """A connection that was lost while nothing was asked is replaced without a word."""
    async with postgres_site.open(size_seconds=100) as ledger:
        await ledger.commit([make_final(1)])
        final = make_final(1)
        assert await ledger.read(FinalOf(final.session_id)) == final
        postgres_site.server.stop()
        with pytest.raises(LedgerUnavailableError) as away:
            await ledger.read(FinalOf(final.session_id))
        assert away.value.reason is LedgerReason.UNREACHABLE
        postgres_site.server.start()
        assert await ledger.read(FinalOf(final.session_id)) == final


@contextmanager
def frozen(site: Any) -> Iterator[None]:
    """Have the processes behind the ledger's connections stand still around the block."""
    processes = site.server.backends(site.database)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_a_database_that_does_not_answer_is_given_up_in_time(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """Without a reset and without an answer, commits and reads end; a new connection goes on."""
    async with postgres_site.open(patience=HASTY, size_seconds=100) as ledger:
        await ledger.commit([make_final(1)])
        await ledger.read(FinalOf("any"))
        with frozen(postgres_site), trio.fail_after(5):
            for ask in (lambda: ledger.commit([make_final(2)]), lambda: ledger.read(FinalOf("a"))):
                with pytest.raises(LedgerUnavailableError) as away:
                    await ask()
                assert away.value.reason is LedgerReason.UNREACHABLE
            (outcome,) = await ledger.commit([make_final(3)])
            assert outcome.verdict is Verdict.STORED
        (outcome,) = await ledger.commit([make_final(2)])
        assert outcome.verdict is Verdict.STORED


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[tuple[int, trio.Event]]:
    """Forward to the server; once the event is set, the answer to the next COMMIT is swallowed."""
    swallow = trio.Event()

    async def forward(client: trio.SocketStream) -> None:
        cut = False

        async def there() -> None:
            nonlocal cut
            with contextlib.suppress(trio.BrokenResourceError):
                async for data in client:
                    cut = cut or (swallow.is_set() and b"COMMIT\0" in data)
                    await server.send_all(data)
            nursery.cancel_scope.cancel()

        async def back() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                async for data in server:
                    if cut:
                        break
                    await client.send_all(data)
            nursery.cancel_scope.cancel()

        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as server,
            client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(there)
            nursery.start_soon(back)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, forward, 0)
        yield listeners[0].socket.getsockname()[1], swallow
        nursery.cancel_scope.cancel()


async def test_a_commit_that_nobody_heard_of_is_found_by_the_next_attempt(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """Lost between the commit and its answer, it counts as not stored, and is then a repetition."""
    direct = postgres_site.target
    server_port = postgres_site.server.port
    async with proxied(server_port) as (port, swallow):
        url = direct.replace(f":{server_port}/", f":{port}/") + "?sslmode=disable"
        async with open_postgres_ledger(url, size_seconds=100) as ledger:
            swallow.set()
            with pytest.raises(LedgerUnavailableError) as lost:
                await ledger.commit([make_final(1)])
            assert lost.value.reason is LedgerReason.UNREACHABLE
            assert postgres_site.finals() == {make_final(1).session_id}
        async with postgres_site.open() as ledger:
            (outcome,) = await ledger.commit([make_final(1)])
            assert outcome.verdict is Verdict.REPEATED
            assert ledger.statistics().stored == 0
