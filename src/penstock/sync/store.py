"""What the collector remembers: what it has sent where, who it is, and its tokens.

One SQLite file. What was sent is kept for each sink and target record by record, by digest: so
"since last" also finds what changed later, or was found late, whatever its time says.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from penstock.engine.sync.kinds import KINDS
from penstock.engine.sync.settle import RecordKey
from penstock.errors import StartupError
from penstock.sync.folder import LocalRecord

_MODE = 0o600
_BUSY_SECONDS = 5.0
_TABLES = (
    """CREATE TABLE IF NOT EXISTS sent (
        sink TEXT NOT NULL, target TEXT NOT NULL, kind TEXT NOT NULL, record_id TEXT NOT NULL,
        digest TEXT NOT NULL, PRIMARY KEY (sink, target, kind, record_id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS tokens (
        target TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS device (
        only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), device_id TEXT NOT NULL
    ) STRICT""",
)


class SyncStore:
    """The file, open. Made by `open_store`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def sent(self, sink: str, target: str) -> Mapping[RecordKey, str]:
        """Give the digest of each record as it was last sent there."""
        rows = self._db.execute(
            "SELECT kind, record_id, digest FROM sent WHERE sink = ? AND target = ?",
            (sink, target),
        )
        return {(KINDS[kind], record_id): digest for kind, record_id, digest in rows}

    def note_sent(self, sink: str, target: str, records: Iterable[LocalRecord]) -> None:
        """Remember that records are there."""
        with self._db:
            self._db.executemany(
                "INSERT INTO sent VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET digest = excluded.digest",
                [(sink, target, one.kind.value, one.record_id, one.digest) for one in records],
            )

    def token(self, target: str) -> str | None:
        """Give the token that is kept for a target."""
        row = self._db.execute("SELECT token FROM tokens WHERE target = ?", (target,)).fetchone()
        return None if row is None else str(row[0])

    def keep_token(self, target: str, token: str) -> None:
        """Keep a token for a target."""
        with self._db:
            self._db.execute(
                "INSERT INTO tokens VALUES (?, ?) ON CONFLICT DO UPDATE SET token = excluded.token",
                (target, token),
            )

    def device_id(self, given: str | None) -> str:
        """Give this device's id: the one that is given and kept from then on, or a new one."""
        row = self._db.execute("SELECT device_id FROM device").fetchone()
        if row is not None and given in {None, row[0]}:
            return str(row[0])
        device_id = given or f"dev_{secrets.token_hex(8)}"
        with self._db:
            self._db.execute(
                "INSERT INTO device VALUES (1, ?)"
                " ON CONFLICT DO UPDATE SET device_id = excluded.device_id",
                (device_id,),
            )
        return device_id


@contextlib.contextmanager
def open_store(path: Path) -> Iterator[SyncStore]:
    """Open the file around the block, private to its owner; StartupError where it cannot be."""
    try:
        path.touch(mode=_MODE, exist_ok=True)
        path.chmod(_MODE)
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    except (OSError, sqlite3.Error) as error:
        raise StartupError(f"the sync state {path} cannot be opened: {error}") from None
    try:
        with contextlib.closing(db):
            for table in _TABLES:
                db.execute(table)
            yield SyncStore(db)
    except sqlite3.Error as error:
        raise StartupError(
            f"the sync state {path} cannot be used: {error}; without it everything is sent anew"
        ) from None
