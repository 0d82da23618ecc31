"""Records on their way to the service: a bounded file, in the order in which they came.

Theory of operation
-------------------
Every record is in the file before a report returns, and leaves it when the service has answered for
it. So what one process could not deliver the next one does, and nothing is in memory only. The file
is a small SQLite database: additions by several processes and a kill at any moment are its trade.

Only one process at a time delivers from a file (see `Lease`), or records could overtake each other.
A file that is damaged is put aside, one that cannot be used is replaced by memory; both are logged.

SQLite keeps the state of open files for its process, and a child would inherit it: so the file is
closed before a fork and opened again after it.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from penstock.client.errors import BufferFullError

logger = logging.getLogger(__name__)

_PAGE_BYTES = 4096
# Of records that the service refused, for whoever wants to know what they were.
_MOST_REFUSED = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, path TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS refused (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, path TEXT NOT NULL, body TEXT NOT NULL,
    status INTEGER NOT NULL, detail TEXT NOT NULL
) STRICT;
"""


class Record(NamedTuple):
    """One report. `kind` says how it is sent: `run`, `update` or `commit`."""

    number: int
    kind: str
    path: str
    body: str


class Outbox:
    """The file. Every method waits for at most `wait_seconds`; what fails is BufferFullError."""

    def __init__(
        self, path: Path, *, max_records: int, max_bytes: int, wait_seconds: float
    ) -> None:
        self.path = path
        self._max_records = max_records
        self._max_pages = max(16, max_bytes // _PAGE_BYTES)
        self._wait_seconds = wait_seconds
        self._lock = Lock()
        self._in_memory = False
        self._at_fork = self._closed = False
        self._db = self._open()

    def add(self, kind: str, path: str, body: str) -> None:
        """Take a record in behind all others."""
        with self._using() as db:
            # In one statement, so that no other process comes between.
            done = db.execute(
                "INSERT INTO records (kind, path, body) SELECT ?, ?, ?"
                " WHERE (SELECT COUNT(*) FROM records) < ?",
                (kind, path, body, self._max_records),
            )
            if not done.rowcount:
                raise BufferFullError(
                    f"{self.path} holds {self._max_records} records, as many as it may "
                    "(max_records)"
                )

    def head(self, most: int) -> list[Record]:
        """Give the oldest records."""
        with self._using() as db:
            rows = db.execute(
                "SELECT number, kind, path, body FROM records ORDER BY number LIMIT ?", (most,)
            )
            return [Record(*row) for row in rows]

    def settle(self, records: list[Record]) -> None:
        """Let go of records that the service has answered for."""
        with self._using() as db:
            db.executemany(
                "DELETE FROM records WHERE number = ?", [(record.number,) for record in records]
            )

    def refuse(self, record: Record, status: int, detail: str) -> None:
        """Put a record aside that the service will never take."""
        with self._using() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?, ?)",
                (*record, status, detail),
            )
            db.execute(
                "DELETE FROM refused WHERE number <= (SELECT MAX(number) FROM refused) - ?",
                (_MOST_REFUSED,),
            )
            db.execute("DELETE FROM records WHERE number = ?", (record.number,))
            db.execute("COMMIT")

    def count(self) -> int:
        """Count the records that wait."""
        with self._using() as db:
            return int(db.execute("SELECT COUNT(*) FROM records").fetchone()[0])

    def close(self) -> None:
        """Close the file. What it holds stays."""
        with self._lock:
            self._closed = True
            self._db.close()

    def before_fork(self) -> None:
        """Close the file for the moment of a fork, unless it is in use for too long."""
        if self._closed or self._in_memory:
            return
        self._at_fork = self._lock.acquire(timeout=self._wait_seconds / 2)
        if self._at_fork:
            self._db.close()

    def after_fork(self) -> None:
        """Open it again, in the process that goes on with it."""
        if self._at_fork:
            self._at_fork = False
            self._db = self._open()
            self._lock.release()

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        if not self._lock.acquire(timeout=self._wait_seconds / 2):
            raise BufferFullError(f"{self.path} was in use for too long")
        try:
            yield self._db
        except sqlite3.Error as error:
            raise BufferFullError(f"{self.path}: {error}") from None
        finally:
            with contextlib.suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            self._lock.release()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._open_file()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in {
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_NOTADB,
            }:
                return self._open_memory(error)
            aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
            logger.warning("%s is damaged; it is now %s: %s", self.path, aside, error)
        except OSError as error:
            return self._open_memory(error)
        try:
            self.path.rename(aside)
            return self._open_file()
        except (OSError, sqlite3.Error) as error:
            return self._open_memory(error)

    def _open_file(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Private: what agents report may quote anything.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(self.path, flags, 0o600))
        return self._prepared(str(self.path))

    def _open_memory(self, error: Exception) -> sqlite3.Connection:
        logger.warning("%s cannot be used, records wait in memory: %s", self.path, error)
        self._in_memory = True
        return self._prepared(":memory:")

    def _prepared(self, name: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            name, timeout=self._wait_seconds / 2, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode = WAL")
            # A kill loses nothing; a loss of power may lose the newest records, never the order.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA max_page_count = {self._max_pages}")
            db.executescript(_SCHEMA)
        except BaseException:
            db.close()
            raise
        return db


class Lease:
    """The right to deliver from a file, held by one process at a time. Ends with the process."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Try to get it; true when it is held, or where no file can be locked at all."""
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return True  # the outbox is in memory, then
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
