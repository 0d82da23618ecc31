"""Ledgers to test. Each adapter gives a *site*: where its ledger lives, and what can befall it.

The contract's tests know sites only: another adapter is one more site.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import pytest

from penstock.engine.ledger_port import Ledger
from penstock.engine.records import AuditEntry, FinalEntry, PolicyEntry
from penstock.storage.ledger import SqliteLedger, open_sqlite_ledger
from penstock.storage.ledger.postgres import PostgresLedger, open_postgres_ledger
from penstock.storage.ledger.postgres_link import Patience
from postgres_server import PostgresServer


class Site(Protocol):
    """Where one adapter's ledger lives. `target` names it for another process."""

    target: str

    def open(self) -> AbstractAsyncContextManager[Ledger]:
        """Open the ledger; what was stored before is in it."""
        ...

    def full(self, ledger: Any) -> Any:
        """Leave the ledger's disk without room around the block."""
        ...

    def held(self) -> Any:
        """Have somebody else keep the ledger from being written around the block."""
        ...

    def finals(self) -> set[str]:
        """Give the sessions that have a final, asked past the ledger."""
        ...


class SqliteSite:
    """A file. Its pages are limited where a disk would be full: SQLite reports both alike."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger" / "ledger.db"
        self.target = str(self.path)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqliteLedger]:
        async with open_sqlite_ledger(self.path, busy_seconds=0.05) as ledger:
            yield ledger

    @contextmanager
    def full(self, ledger: SqliteLedger) -> Iterator[None]:
        db = ledger._writer
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        yield
        db.execute("PRAGMA max_page_count = 4294967294")

    @contextmanager
    def held(self) -> Iterator[None]:
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")
        db.close()

    def finals(self) -> set[str]:
        with closing(sqlite3.connect(self.path)) as db:
            rows = db.execute("SELECT session_id FROM session_finals").fetchall()
        return {name for (name,) in rows}


class PostgresSite:
    """A database of its own, as a plain role. A full disk is told by a trigger, in its code."""

    patience = Patience(lock_seconds=0.05)

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server = server
        self.database = database
        self.target = server.url(database)

    @asynccontextmanager
    async def open(self, **given: Any) -> AsyncIterator[PostgresLedger]:
        given = {"patience": self.patience, "size_seconds": 0.02, **given}
        async with open_postgres_ledger(self.target, **given) as ledger:
            yield ledger

    def sql(self, statement: str) -> str:
        """Have the superuser do something in the database."""
        return self.server.sql(statement, self.database)

    @contextmanager
    def full(self, _ledger: PostgresLedger) -> Iterator[None]:
        self.sql(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE"
            " 'could not extend file' USING ERRCODE = 'disk_full'; END $$;"
            " CREATE TRIGGER no_room BEFORE INSERT ON session_finals EXECUTE FUNCTION no_room()"
        )
        yield
        self.sql("DROP FUNCTION no_room CASCADE")

    @contextmanager
    def held(self) -> Iterator[None]:
        holder = self.server.session(self.database)
        holder.ask("BEGIN; LOCK session_finals, probes IN EXCLUSIVE MODE")
        yield
        holder.close()

    def finals(self) -> set[str]:
        return set(self.sql("SELECT session_id FROM session_finals").split())


SITES = ("SqliteSite", "PostgresSite")


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Site:
    """Give an empty site of each adapter."""
    name = {"SqliteSite": "sqlite_site", "PostgresSite": "postgres_site"}[request.param]
    made: Site = request.getfixturevalue(name)
    return made


@pytest.fixture
def postgres_site(postgres_server: PostgresServer) -> Iterator[PostgresSite]:
    """Give an empty site of PostgreSQL."""
    with postgres_server.database() as name:
        yield PostgresSite(postgres_server, name)


@pytest.fixture
def sqlite_site(tmp_path: Path) -> SqliteSite:
    """Give an empty site of SQLite."""
    return SqliteSite(tmp_path)


def _name(number: int) -> str:
    return str(UUID(int=number))


def _final(session: int, revision: int = 1, *, status: str = "completed", **body: Any) -> Any:
    return FinalEntry(_name(session), _name(8), _name(7), revision, status, 1_700_000_000_123, body)


def _policy(revision: int, author: str = "ada") -> PolicyEntry:
    return PolicyEntry(revision, {"author": author}, {"knobs": {"thin_at": revision}})


def _audit(number: int, entry_id: str | None = None) -> AuditEntry:
    known = {} if entry_id is None else {"entry_id": entry_id}
    return AuditEntry(number, "ada", "policy.edited", "global", {"number": number}, **known)


@pytest.fixture(scope="session")
def make_final() -> Callable[..., FinalEntry]:
    """Give the maker of finals: (session number, revision, status=, body by keyword)."""
    return _final


@pytest.fixture(scope="session")
def make_policy() -> Callable[..., PolicyEntry]:
    """Give the maker of policy entries: (revision, author)."""
    return _policy


@pytest.fixture(scope="session")
def make_audit() -> Callable[..., AuditEntry]:
    """Give the maker of audit entries: (number, entry_id)."""
    return _audit
