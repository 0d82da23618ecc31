"""The ledger in one SQLite file: the embedded default.

Theory of operation
-------------------
Two connections with a thread each. One writes: groups as the writer hands them over, each a
transaction, each entry in it whole or not at all. The other reads: with a write-ahead log a reader
neither waits for the writer nor holds it up, so a long page of audit never delays a final.

`synchronous=FULL` syncs the log at every commit, so that what was acknowledged survives a loss of
power, not only a kill.

Every `sqlite3.Error` is translated here, by its code. What the disk or another process does is
LedgerUnavailableError; what an entry does is its outcome; what remains is a mistake of this
software, LedgerFaultError, and nobody catches that.
"""

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from penstock.engine.ledger_port import (
    Entry,
    EntryOutcome,
    LedgerReason,
    LedgerStatistics,
    LedgerUnavailableError,
    Query,
    Verdict,
)
from penstock.storage.ledger.kinds import parts_of, put_of, steps_of
from penstock.storage.ledger.own_thread import OwnThread
from penstock.storage.ledger.sql import (
    Join,
    LedgerFaultError,
    RejectedError,
    RepeatedError,
    Steps,
)
from penstock.storage.ledger.sqlite_file import BUSY_SECONDS, SCHEMA_VERSION, JournalMode, open_file

T = TypeVar("T")

_REASONS = {
    sqlite3.SQLITE_FULL: LedgerReason.DISK_FULL,
    sqlite3.SQLITE_BUSY: LedgerReason.LOCKED,
    sqlite3.SQLITE_LOCKED: LedgerReason.LOCKED,
    sqlite3.SQLITE_PROTOCOL: LedgerReason.LOCKED,
    sqlite3.SQLITE_READONLY: LedgerReason.UNWRITABLE,
    sqlite3.SQLITE_PERM: LedgerReason.UNWRITABLE,
    sqlite3.SQLITE_CANTOPEN: LedgerReason.UNWRITABLE,
    sqlite3.SQLITE_CORRUPT: LedgerReason.CORRUPT,
    sqlite3.SQLITE_NOTADB: LedgerReason.CORRUPT,
    sqlite3.SQLITE_IOERR: LedgerReason.IO_ERROR,
}
_STORED = EntryOutcome(Verdict.STORED)
_UNFIT = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})


class _NotTogetherError(Exception):
    """One of several entries cannot be stored, and with it none at once."""


class SqliteLedger:
    """The port `Ledger` over one file. Made by `open_sqlite_ledger`."""

    def __init__(
        self,
        path: Path,
        writing: tuple[OwnThread, sqlite3.Connection],
        reading: tuple[OwnThread, sqlite3.Connection],
    ) -> None:
        self._path = path
        self._writer_thread, self._writer = writing
        self._reader_thread, self._reader = reading
        self._commits = self._stored = self._repeated = self._rejected = 0
        # One thread each, so that no count is lost.
        self._failed_commits = self._failed_reads = self._reads = 0
        self._file_bytes = _size(path)

    async def commit(self, group: Sequence[Entry]) -> list[EntryOutcome]:
        """Store what can be stored, in one transaction, on disk on return; an outcome for each."""
        return await self._writer_thread.run(partial(self._commit, group))

    async def probe(self) -> None:
        """Commit one small change."""
        await self._writer_thread.run(self._probe)

    async def scrub(self) -> bool:
        """Bring the log into the file and empty it: deleted content is overwritten in both.

        Another process that reads may be in the way of that.
        """
        return await self._writer_thread.run(self._scrub)

    async def read(self, query: Query[T]) -> T:
        """Answer a question, from what was committed before it."""
        return await self._reader_thread.run(partial(self._read, query))

    def statistics(self) -> LedgerStatistics:
        """Count what was done. The size is that after the newest commit, its log included."""
        return LedgerStatistics(
            self._commits,
            self._stored,
            self._repeated,
            self._rejected,
            self._failed_commits + self._failed_reads,
            self._reads,
            self._file_bytes,
            SCHEMA_VERSION,
        )

    # The writing thread.

    def _commit(self, group: Sequence[Entry]) -> list[EntryOutcome]:
        outcomes = self._in_transaction(
            lambda: [outcome for part in parts_of(group) for outcome in self._put_part(part)]
        )
        for outcome in outcomes:
            self._stored += outcome.verdict is Verdict.STORED
            self._repeated += outcome.verdict is Verdict.REPEATED
            self._rejected += outcome.verdict not in {Verdict.STORED, Verdict.REPEATED}
        return outcomes

    def _probe(self) -> None:
        self._in_transaction(lambda: self._writer.execute("UPDATE probes SET count = count + 1"))

    def _scrub(self) -> bool:
        try:
            ((busy, *_),) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from error
        self._file_bytes = _size(self._path)
        return not busy

    def _in_transaction(self, work: Callable[[], T]) -> T:
        db = self._writer
        try:
            db.execute("BEGIN IMMEDIATE")
            result = work()
            db.execute("COMMIT")
        except BaseException as error:
            self._failed_commits += 1
            # SQLite has rolled back by itself after some errors and not after others.
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _translated(error) from error
            raise
        self._commits += 1
        self._file_bytes = _size(self._path)
        return result

    def _put_part(self, part: Sequence[Entry]) -> list[EntryOutcome]:
        join = put_of(part[0]).join
        if join is not None and len(part) > 1:
            # Refused for one entry's sake, it has changed nothing.
            with contextlib.suppress(_NotTogetherError):
                return self._put_joined(join, part)
        return [self._put(entry) for entry in part]

    def _put_joined(self, join: Join, part: Sequence[Entry]) -> list[EntryOutcome]:
        try:
            return _run(self._writer, join.steps(part))
        except (OverflowError, UnicodeEncodeError):
            raise _NotTogetherError from None
        except sqlite3.Error as error:
            if _code(error) in _UNFIT:
                raise _NotTogetherError from None
            raise

    def _put(self, entry: Entry) -> EntryOutcome:
        db = self._writer
        # A statement is all or nothing by itself; only several of them need a savepoint. Each call
        # spared is one less at which this thread may have to wait for Python's lock.
        put = put_of(entry)
        nested = put.may_half_write
        if nested:
            db.execute("SAVEPOINT entry")
        try:
            value = _run(db, put.steps(entry))
        except RepeatedError as repeated:
            outcome = EntryOutcome(Verdict.REPEATED, value=repeated.value)
        except RejectedError as rejected:
            outcome = EntryOutcome(rejected.verdict, rejected.detail)
        except (OverflowError, UnicodeEncodeError):
            outcome = EntryOutcome(Verdict.UNFIT, "a number or a text that SQLite cannot hold")
        except sqlite3.Error as error:
            if _code(error) not in _UNFIT:
                raise
            outcome = EntryOutcome(Verdict.UNFIT, str(error))
        else:
            outcome = _STORED if value is None else EntryOutcome(Verdict.STORED, value=value)
        if nested:
            if outcome.verdict is not Verdict.STORED:
                db.execute("ROLLBACK TO entry")
            db.execute("RELEASE entry")
        return outcome

    # The reading thread.

    def _read(self, query: Query[T]) -> T:
        db = self._reader
        self._reads += 1
        try:
            # Of several statements, all see the same moment.
            db.execute("BEGIN")
            try:
                return _run(db, steps_of(query))
            finally:
                if db.in_transaction:
                    db.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed_reads += 1
            raise _translated(error) from error


@asynccontextmanager
async def open_sqlite_ledger(
    path: Path,
    *,
    busy_seconds: float = BUSY_SECONDS,
    journal_mode: JournalMode = JournalMode.WAL,
) -> AsyncIterator[SqliteLedger]:
    """Open the ledger around the block, made or brought up to date; LedgerOpenError if impossible.

    `busy_seconds` is how long a commit waits when another process writes to the same file.
    """
    writer_thread, reader_thread = OwnThread("ledger-writer"), OwnThread("ledger-reader")
    try:
        writer = await writer_thread.run(
            partial(open_file, path, busy_seconds, journal_mode=journal_mode)
        )
        try:
            reader = await reader_thread.run(partial(open_file, path, busy_seconds, read_only=True))
            try:
                # Without a write-ahead log a reader locks the file, and a commit would fail for it:
                # the two then take turns on one thread.
                shared = writer_thread if journal_mode is JournalMode.DELETE else reader_thread
                yield SqliteLedger(path, (writer_thread, writer), (shared, reader))
            finally:
                await _close(reader_thread, reader)
        finally:
            # The last one to close: it brings the log into the file and removes it.
            await _close(writer_thread, writer)
    finally:
        writer_thread.close()
        reader_thread.close()


def ask_sqlite_file(path: Path, query: Query[T], *, busy_seconds: float = BUSY_SECONDS) -> T:
    """Answer one question from a ledger's file, and change nothing; LedgerUnavailableError.

    LedgerFaultError where its schema is older than the question.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=busy_seconds, uri=True)
        ) as db:
            return _run(db, steps_of(query))
    except sqlite3.Error as error:
        raise _translated(error) from error


def _run(db: sqlite3.Connection, steps: Steps[T]) -> T:
    """Run steps to their end, on this thread."""
    try:
        statement = next(steps)
        while True:
            statement = steps.send(db.execute(*statement).fetchall())
    except StopIteration as end:
        result: T = end.value
        return result


async def _close(thread: OwnThread, db: sqlite3.Connection) -> None:
    with trio.CancelScope(shield=True):
        await thread.run(db.close)


def _code(error: sqlite3.Error) -> int:
    # The low byte is the primary code. The module's own errors have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _translated(error: sqlite3.Error) -> Exception:
    reason = _REASONS.get(_code(error))
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if reason is None:
        return LedgerFaultError(f"{name}: {error}")
    return LedgerUnavailableError(reason, f"{error} ({name})")


def _size(path: Path) -> int:
    total = 0
    for name in (str(path), f"{path}-wal"):
        with contextlib.suppress(OSError):
            total += os.stat(name).st_size  # noqa: PTH116 - two Paths a commit are dearer than this
    return total
