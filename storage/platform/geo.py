"""Where addresses are: a MaxMind database, mapped into memory and exchanged while it is used.

A new database is opened and tried beside the old one. Only when it answers does it take the old
one's name and place, in one step each; whatever is wrong with it, the old one goes on serving.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import maxminddb
from maxminddb import InvalidDatabaseError, Reader

from penstock.engine.platform.addresses import Address, read_address
from penstock.engine.platform.statistics import Lookup
from penstock.storage.platform.replacing import put_in_place

logger = logging.getLogger(__name__)

_TRIED = ("8.8.8.8", "192.0.2.1", "255.255.255.255", "0.0.0.0", "2001:4860:4860::8888")  # noqa: S104 - looked up, not bound


class GeoDatabaseError(Exception):
    """A file is no database that could be used."""


@dataclass(slots=True, frozen=True)
class GeoStatus:
    """A database's own account of itself. `entries` are the nodes of its tree."""

    database_type: str
    build_date: str
    entries: int
    built_unix: int


class GeoDatabase:
    """The database in force, or none."""

    def __init__(self, path: Path) -> None:
        """Open what is at `path`, if anything is; `problem` says why it cannot be used."""
        self.path = path
        self.problem: str | None = None
        self.lookups = dict.fromkeys(Lookup, 0)
        self._reader: Reader | None = None
        if path.exists():
            try:
                self._reader = _opened(path)
            except GeoDatabaseError as error:
                self.problem = str(error)

    @property
    def status(self) -> GeoStatus | None:
        """Give the account of the database in force; None without one."""
        if self._reader is None:
            return None
        metadata = self._reader.metadata()
        built = datetime.fromtimestamp(metadata.build_epoch, UTC)
        return GeoStatus(
            metadata.database_type,
            f"{built:%Y-%m-%d}",
            metadata.node_count,
            metadata.build_epoch,
        )

    def fetched_unix(self) -> float | None:
        """Give when the database in force was put there; None without one."""
        if self._reader is None:
            return None
        try:
            return self.path.stat().st_mtime
        except OSError:
            return None  # somebody took the file away: it is missing at the next start

    def country(self, address: Address) -> str | None:
        """Give the country's two letters; None where nothing says."""
        found = self._look_up(address)
        if self._reader is None:
            self.lookups[Lookup.NO_DATABASE] += 1
        else:
            self.lookups[Lookup.UNKNOWN if found is None else Lookup.FOUND] += 1
        return found

    def _look_up(self, address: Address) -> str | None:
        if self._reader is None:
            return None
        try:
            return _country(self._reader.get(address))
        # An address of IPv6 in a database of IPv4 alone is a ValueError.
        except ValueError:
            return None
        except InvalidDatabaseError as error:
            self.problem = f"the database is damaged: {error}"
            return None

    def try_out(self, draft: Path) -> None:
        """Find out whether a file can be used; GeoDatabaseError if not. Blocks."""
        _opened(draft).close()

    def install(self, draft: Path) -> GeoStatus:
        """Put a synced file that was tried into the old one's place, from the next lookup on."""
        reader = _opened(draft)
        put_in_place(draft, self.path)
        before, self._reader = self._reader, reader
        self.problem = None
        if before is not None:
            before.close()
        status = self.status
        if status is None:  # pragma: no cover - it has just been opened
            raise GeoDatabaseError("the database is gone")
        logger.info("geo.updated", extra={"build_date": status.build_date})
        return status

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _opened(path: Path) -> Reader:
    try:
        reader = maxminddb.open_database(path)
    except (InvalidDatabaseError, OSError, ValueError) as error:
        raise GeoDatabaseError(f"it is no MaxMind database: {error}") from None
    try:
        for text in _TRIED:
            _try(reader, text)
    except GeoDatabaseError:
        reader.close()
        raise
    return reader


def _try(reader: Reader, text: str) -> None:
    address = read_address(text)
    if address is None or (address.version == 6 and reader.metadata().ip_version == 4):
        return
    try:
        _country(reader.get(address))
    except (InvalidDatabaseError, ValueError) as error:
        raise GeoDatabaseError(f"it cannot be looked up in: {error}") from None


def _country(record: object) -> str | None:
    if not isinstance(record, dict):
        return None
    for place in ("country", "registered_country"):
        found = record.get(place)
        code = found.get("iso_code") if isinstance(found, dict) else None
        if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha():
            return code.upper()
    return None
