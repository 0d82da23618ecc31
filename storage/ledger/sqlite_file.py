"""Opening a ledger's file: private, durable, sound, and of the schema that this software knows."""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from penstock.storage.ledger.migrate import Applied, LedgerOpenError, due, load_migrations

# How long to wait for another process that writes to the same file: a backup, or a command.
BUSY_SECONDS = 1.0
# Tables are STRICT.
_OLDEST_SQLITE = (3, 37, 0)
# A whole check reads the whole file: a fraction of a second up to here, and too long for a start
# beyond. Damage in a larger file is told when it is met.
_CHECKED_BYTES = 64 << 20
# What a burst leaves of the log is cut off at the next checkpoint.
_LOG_BYTES = 64 << 20
_MODE = 0o600

_MIGRATIONS = load_migrations("sqlite")
SCHEMA_VERSION = len(_MIGRATIONS)


class JournalMode(StrEnum):
    """How SQLite makes a commit whole."""

    # A log beside the file: one writes while others read.
    WAL = "wal"
    # The old content beside the file, deleted at each commit: for volumes without shared memory.
    DELETE = "delete"


def open_file(
    path: Path,
    busy_seconds: float,
    *,
    read_only: bool = False,
    journal_mode: JournalMode = JournalMode.WAL,
) -> sqlite3.Connection:
    """Connect to a ledger; unless `read_only`, make it or bring it up to date. LedgerOpenError."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        wanted = ".".join(map(str, _OLDEST_SQLITE))
        raise LedgerOpenError(
            f"Python's SQLite is {sqlite3.sqlite_version}", f"at least {wanted} is needed"
        )
    try:
        if not read_only:
            _make_private(path)
        db = sqlite3.connect(
            path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise LedgerOpenError(
            f"the ledger {path} cannot be opened: {error}",
            "check that it is a plain file and the rights of its folder",
        ) from None
    try:
        if read_only:
            db.execute("PRAGMA query_only = ON")
        else:
            _prepare(db, path, busy_seconds, journal_mode)
    except sqlite3.Error as error:
        db.close()
        raise _explained(path, error) from None
    except BaseException:
        db.close()
        raise
    return db


def _make_private(path: Path) -> None:
    """Make the file if there is none, readable by its owner only; SQLite gives its log the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A pipe must not block, and a link must not lead elsewhere.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, _MODE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no plain file")
        os.fchmod(descriptor, _MODE)
    finally:
        os.close(descriptor)
    # The name is durable only once the folder is.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prepare(
    db: sqlite3.Connection, path: Path, busy_seconds: float, journal_mode: JournalMode
) -> None:
    if _to_mode(db, busy_seconds, journal_mode) != journal_mode:
        raise LedgerOpenError(
            f"the file system of {path} cannot keep a write-ahead log",
            "put the data folder on a local disk, or set ledger_journal_mode to delete",
        )
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    # What is deleted is overwritten, not only forgotten: some of it was about people.
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    if path.stat().st_size <= _CHECKED_BYTES:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _damaged(path, verdict.partition("\n")[0])
    _migrate(db)


def _to_mode(db: sqlite3.Connection, busy_seconds: float, journal_mode: JournalMode) -> str:
    # When two processes open a new file at once, SQLite may answer BUSY without waiting.
    deadline = time.monotonic() + max(busy_seconds, BUSY_SECONDS)
    while True:
        try:
            (mode,) = db.execute(f"PRAGMA journal_mode = {journal_mode}").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return str(mode)


def _migrate(db: sqlite3.Connection) -> None:
    """Take the steps that are due, all in one transaction, and no two processes at once."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (number INTEGER NOT NULL PRIMARY KEY,"
            " name TEXT NOT NULL, checksum TEXT NOT NULL, applied_unix_ms INTEGER NOT NULL) STRICT"
        )
        applied = db.execute(
            "SELECT number, name, checksum FROM schema_migrations ORDER BY number"
        ).fetchall()
        for step in due(_MIGRATIONS, [Applied(*row) for row in applied]):
            for statement in statements(step.sql):
                db.execute(statement)
            db.execute(
                "INSERT INTO schema_migrations VALUES (?, ?, ?, ?)",
                (step.number, step.name, step.checksum, time.time_ns() // 1_000_000),
            )
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def statements(script: str) -> Iterator[str]:
    """Split a script: SQLite's own way to run one would end the transaction around it."""
    held = ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            yield held
            held = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in held.splitlines()):
        raise ValueError("a migration ends in the middle of a statement")


def _explained(path: Path, error: sqlite3.Error) -> LedgerOpenError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return _damaged(path, str(error))
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return LedgerOpenError(
            f"another process keeps the ledger {path} to itself", "wait for it to end, or end it"
        )
    if code == sqlite3.SQLITE_FULL:
        return LedgerOpenError(f"the disk of the ledger {path} is full", "make room")
    return LedgerOpenError(
        f"the ledger {path} cannot be used: {error}", "check its folder, its rights and its disk"
    )


def _damaged(path: Path, what: str) -> LedgerOpenError:
    return LedgerOpenError(
        f"the ledger {path} is damaged: {what}",
        f"restore the newest backup, or save what can be read with `sqlite3 {path.name} .recover`; "
        f"to begin an empty one, move {path.name}, {path.name}-wal and {path.name}-shm away",
    )
