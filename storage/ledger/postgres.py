"""The ledger in PostgreSQL: for an operator who has one, with its backups and replicas.

Theory of operation
-------------------
asyncpg speaks asyncio, so a loop of asyncio runs within Trio, opened once around the ledger. Each
commit and each read crosses to it once, as a whole (`postgres_steps`); what is above the port never
sees asyncio. One connection writes, a few read; each is made when it is needed and made again after
it was lost (`postgres_link`). What was under way then is LedgerUnavailableError, and whoever
submits it tries again: an entry whose commit had taken place after all is found, and is repeated.

A commit is not cancelled once it has begun, and ends by itself: the deadlines are in `Patience`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, TypeVar

import trio
import trio_asyncio  # type: ignore[import-untyped]

from penstock.engine.ledger_port import (
    Entry,
    EntryOutcome,
    LedgerReason,
    LedgerStatistics,
    LedgerUnavailableError,
    Query,
    Verdict,
)
from penstock.storage.ledger import postgres_steps
from penstock.storage.ledger.migrate import LedgerOpenError
from penstock.storage.ledger.postgres_link import Connection, Link, Patience, Work
from penstock.storage.ledger.postgres_open import SCHEMA_VERSION, Server, open_server
from penstock.storage.ledger.sql import LedgerFaultError

T = TypeVar("T")

READERS = 4
_SIZE_SECONDS = 30.0

logger = logging.getLogger(__name__)


class AsyncioSide:
    """The loop of asyncio, and the way to it from any task of Trio."""

    def __init__(self, loop: Any) -> None:  # noqa: ANN401 - trio-asyncio has no types
        self._loop = loop
        # Where trio-asyncio finds its loop, for tasks that began outside of it as well.
        self._context = copy_context()
        # Its own handler stops the process. What fails with nobody waiting for it is, here, always
        # a connection that was given up.
        loop.set_exception_handler(_note)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it over there. Cancelling this cancels it, and waits until it has ended."""
        task = self._context.run(asyncio.ensure_future, work, loop=self._loop)
        result: T = await self._loop.run_aio_future(task)
        return result


class PostgresLedger:
    """The port `Ledger` over a database. Made by `open_postgres_ledger`."""

    def __init__(
        self,
        asyncio_side: AsyncioSide,
        writer: Link,
        readers: Sequence[Link],
        patience: Patience,
        server: Server,
    ) -> None:
        self.server = server
        self._asyncio = asyncio_side
        self._writer = writer
        self._writing = trio.Lock()
        self._readers = list(readers)
        self._reading = trio.Semaphore(len(readers))
        self._patience = patience
        self._unreachable = False
        self._commits = self._stored = self._repeated = self._rejected = 0
        self._failures = self._reads = 0
        self._bytes = 0

    async def commit(self, group: Sequence[Entry]) -> list[EntryOutcome]:
        """Store what can be stored, in one transaction, on disk on return; an outcome for each."""
        outcomes = await self._write(
            lambda connection: postgres_steps.store(connection, group, self._patience)
        )
        for outcome in outcomes:
            self._stored += outcome.verdict is Verdict.STORED
            self._repeated += outcome.verdict is Verdict.REPEATED
            self._rejected += outcome.verdict not in {Verdict.STORED, Verdict.REPEATED}
        return outcomes

    async def probe(self) -> None:
        """Commit one small change."""
        await self._write(lambda connection: postgres_steps.probe(connection, self._patience))

    async def scrub(self) -> bool:
        """Leave that to the server, which vacuums by itself."""
        await trio.lowlevel.checkpoint()
        return False

    async def read(self, query: Query[T]) -> T:
        """Answer a question, from what was committed before it."""
        self._reads += 1
        try:
            return await self._read(
                lambda connection: postgres_steps.answer(connection, query, self._patience)
            )
        except LedgerUnavailableError:
            self._failures += 1
            raise

    def statistics(self) -> LedgerStatistics:
        """Count what was done. The size is the whole database's, as of half a minute ago."""
        return LedgerStatistics(
            self._commits,
            self._stored,
            self._repeated,
            self._rejected,
            self._failures,
            self._reads,
            self._bytes,
            SCHEMA_VERSION,
        )

    async def keep_size(self, seconds: float) -> None:
        """Look at the database's size again and again, while it can be reached."""
        while True:
            with contextlib.suppress(LedgerUnavailableError):
                self._bytes = await self._read(_size)
            await trio.sleep(seconds)

    async def close(self) -> None:
        """Take leave of the server."""
        with trio.CancelScope(shield=True):
            for link in (self._writer, *self._readers):
                await self._asyncio.run(link.close())

    async def _write(self, work: Work[T]) -> T:
        async with self._writing:
            # From here on the outcome matters, whoever is cancelled.
            with trio.CancelScope(shield=True):
                try:
                    result = await self._asyncio.run(self._writer.run(work))
                except BaseException as error:
                    self._failures += 1
                    self._tell(error)
                    raise
                self._commits += 1
                self._tell(None)
                return result
        raise AssertionError  # for the type checkers, who think that a shield can be cancelled

    async def _read(self, work: Work[T]) -> T:
        with trio.move_on_after(self._patience.answer_seconds) as waiting:
            await self._reading.acquire()
        if waiting.cancelled_caught:
            busy = "as many reads as may were under way for too long"
            raise LedgerUnavailableError(LedgerReason.OVERDUE, busy)
        link = self._readers.pop()
        try:
            return await self._asyncio.run(link.run(work, twice=True))
        finally:
            self._readers.append(link)
            self._reading.release()

    def _tell(self, error: BaseException | None) -> None:
        """Tell the log once when the database goes, and once when it is back."""
        gone = isinstance(error, LedgerUnavailableError) and (
            error.reason is LedgerReason.UNREACHABLE
        )
        if gone and not self._unreachable:
            logger.warning("ledger.unreachable", extra={"error": str(error)})
        elif self._unreachable and error is None:
            logger.info("ledger.reached_again")
        self._unreachable = gone or (self._unreachable and error is not None)


@asynccontextmanager
async def open_postgres_ledger(
    url: str,
    *,
    patience: Patience = Patience(),  # noqa: B008 - frozen
    readers: int = READERS,
    size_seconds: float = _SIZE_SECONDS,
) -> AsyncIterator[PostgresLedger]:
    """Open the ledger around the block, made or brought up to date; or raise LedgerOpenError."""
    # Raised outside of the loop, whose nurseries would wrap it.
    refused: LedgerOpenError | None = None
    async with trio_asyncio.open_loop() as loop:
        asyncio_side = AsyncioSide(loop)
        writer = Link(url, patience)
        try:
            server = await asyncio_side.run(open_server(writer, url))
        except LedgerOpenError as error:
            refused = error
        else:
            links = [Link(url, patience) for _ in range(readers)]
            ledger = PostgresLedger(asyncio_side, writer, links, patience, server)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ledger.keep_size, size_seconds)
                    yield ledger
                    nursery.cancel_scope.cancel()
            finally:
                await ledger.close()
    if refused is not None:
        raise refused


async def look_at_postgres(url: str, *, patience: Patience = Patience()) -> Server:  # noqa: B008 - frozen
    """Look whether a ledger can be opened, and change nothing; LedgerOpenError if it cannot."""
    async with trio_asyncio.open_loop() as loop:
        side, link = AsyncioSide(loop), Link(url, patience)
        try:
            found: Server | LedgerOpenError = await side.run(open_server(link, url, migrate=False))
        except LedgerOpenError as error:
            found = error
        await side.run(link.close())
    if isinstance(found, LedgerOpenError):
        raise found
    return found


async def ask_postgres(
    url: str,
    query: Query[T],
    *,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> T:
    """Answer one question from a database, and change nothing; LedgerUnavailableError.

    LedgerFaultError where its schema is older than the question.
    """
    failed: LedgerUnavailableError | LedgerFaultError | None = None
    async with trio_asyncio.open_loop() as loop:
        side, link = AsyncioSide(loop), Link(url, patience)
        try:
            found = await side.run(
                link.run(lambda connection: postgres_steps.answer(connection, query, patience))
            )
        except (LedgerUnavailableError, LedgerFaultError) as error:
            failed = error
        await side.run(link.close())
    if failed is not None:
        raise failed
    return found


async def _size(connection: Connection) -> int:
    ((size,),) = await connection.fetch("SELECT pg_database_size(current_database())")
    return int(size)


def _note(_loop: object, context: dict[str, Any]) -> None:
    error = context.get("exception")
    logger.debug("ledger.asyncio", extra={"error": f"{context.get('message')}: {error!r}"})
