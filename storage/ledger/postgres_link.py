"""A connection to PostgreSQL that is made when it is needed and again when it was lost.

All of this runs inside asyncio. Whatever is asked ends by itself, in `Patience`: the server is told
how long a lock and a statement may take, and each answer has a deadline here, also where nobody
answers at all. A large group over a long way may take its time, as long as it gets on. A connection
in a state that is not certain is thrown away.

Nothing is set for a session, all for a transaction, so that a pooler in between may give each
transaction to another connection.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]

from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError
from penstock.storage.ledger.postgres_errors import reason_of, translated

T = TypeVar("T")
# asyncpg's own connection; asyncpg has no types.
Raw = Any

# The scope of the service itself: rows of every organisation.
EVERY_ORG = "*"

# Every statement of every kind stays prepared.
_PREPARED_STATEMENTS = 500
_CLOSE_SECONDS = 1.0
# A peer that is gone without a word is noticed after half a minute, also while nothing is asked.
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


@dataclass(slots=True, frozen=True)
class Patience:
    """How long things may take. The first answer includes a connection that must be made first."""

    connect_seconds: float = 3.0
    lock_seconds: float = 1.0
    statement_seconds: float = 3.0
    answer_seconds: float = 5.0

    def begin(self, mode: str) -> str:
        """Give the beginning of a transaction, one message: mode, limits, the service's scope."""
        return (
            f"BEGIN {mode};"
            f" SET LOCAL lock_timeout = {_ms(self.lock_seconds)};"
            f" SET LOCAL statement_timeout = {_ms(self.statement_seconds)};"
            f" SET LOCAL idle_in_transaction_session_timeout = {_ms(self.answer_seconds)};"
            f" SET LOCAL penstock.org_id = '{EVERY_ORG}';"
            # A server set to acknowledge what is not on its disk yet is not taken at its word.
            " SELECT set_config('synchronous_commit', 'on', true)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )


class _KeptAlive(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose peer is asked for signs of life by the system."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:  # noqa: ANN401 - asyncpg's own
        super().__init__(protocol, transport, *rest)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE.items():
                if (option := getattr(socket, name, None)) is not None:
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Connection:
    """A connection within its deadline: each answer earns the next one its full time."""

    __slots__ = ("_deadline", "_raw", "_seconds")

    def __init__(self, raw: Raw, deadline: asyncio.Timeout, seconds: float) -> None:
        self._raw = raw
        self._deadline = deadline
        self._seconds = seconds

    async def fetch(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Have a statement done and give its rows."""
        rows = await self._raw.fetch(sql, *values)
        self._answered()
        return [tuple(row) for row in rows]

    async def execute(self, script: str) -> str:
        """Have statements done in one message, and give the last one's command."""
        command: str = await self._raw.execute(script)
        self._answered()
        return command

    def _answered(self) -> None:
        # A timer for each statement would cost a good part of it.
        due = self._deadline.when() or 0.0
        now = asyncio.get_running_loop().time()
        if due - now < self._seconds / 2:
            self._deadline.reschedule(now + self._seconds)


Work = Callable[[Connection], Awaitable[T]]


class Link:
    """One connection, at most. Not for two tasks at once."""

    def __init__(self, url: str, patience: Patience) -> None:
        self._url = url
        self._patience = patience
        self._connection: Raw = None

    async def run(self, work: Work[T], *, twice: bool = False) -> T:
        """Do something over the connection; errors in the port's words.

        With `twice`, what failed only because an old connection had meanwhile been lost is done
        again over a new one: for what changes nothing.
        """
        old = self._alive()
        try:
            return await self._once(work)
        except LedgerUnavailableError as unavailable:
            lost = unavailable.reason is LedgerReason.UNREACHABLE
            if not (twice and old and lost) or isinstance(unavailable.__cause__, TimeoutError):
                raise
        return await self._once(work)

    async def connected(self) -> Raw:
        """Give asyncpg's connection, made if there is none. Raises what asyncpg raises."""
        if not self._alive():
            self.drop()
            self._connection = await asyncpg.connect(
                self._url,
                timeout=self._patience.connect_seconds,  # pyright: ignore[reportArgumentType]
                statement_cache_size=_PREPARED_STATEMENTS,
                max_cached_statement_lifetime=0,
                connection_class=_KeptAlive,
                server_settings={"application_name": "penstock"},
            )
        return self._connection

    def drop(self) -> None:
        """Give the connection up, at once and without a word to the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Take leave of the server, if it listens."""
        if self._connection is not None and self._alive():
            with contextlib.suppress(Exception):
                await self._connection.close(timeout=_CLOSE_SECONDS)
        self.drop()

    def _alive(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def _once(self, work: Work[T]) -> T:
        try:
            seconds = self._patience.answer_seconds
            async with asyncio.timeout(seconds) as deadline:
                return await work(Connection(await self.connected(), deadline, seconds))
        except Exception as error:
            closed = not self._alive()
            if closed or not self._reusable(error):
                self.drop()
            if isinstance(error, LedgerUnavailableError):
                raise
            if closed and isinstance(error, asyncpg.InterfaceError):
                # It was lost between two statements, which asyncpg tells as a mistake of ours.
                lost = LedgerUnavailableError(LedgerReason.UNREACHABLE, "the connection was lost")
                raise lost from error
            raise translated(error) from error
        except BaseException:
            self.drop()  # cancelled in the middle of something
            raise

    def _reusable(self, error: Exception) -> bool:
        """Say whether the connection is between two transactions, and worth another one."""
        return (
            isinstance(error, asyncpg.PostgresError)
            and self._connection is not None
            and not self._connection.is_in_transaction()
            # Elsewhere may be one that takes writes: a standby has become the primary.
            and reason_of(error) in {LedgerReason.DISK_FULL, LedgerReason.LOCKED}
            and not isinstance(error, asyncpg.FeatureNotSupportedError)  # a void plan is kept
        )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
