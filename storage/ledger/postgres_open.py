"""Opening a ledger in PostgreSQL: a server that can hold it, and the schema that we know.

No two processes migrate at once: an advisory lock of the database is held for the one transaction
in which all steps that are due are taken, or none.
"""

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]

from penstock.storage.ledger.migrate import Applied, LedgerOpenError, due, load_migrations
from penstock.storage.ledger.postgres_errors import state_of
from penstock.storage.ledger.postgres_link import Link, Raw

SETTING = "database_url"
SCHEMES = ("postgresql", "postgres")
OLDEST_SERVER = 14

# A large index may take its time; a process that waits for one that migrates must wait as long.
_MIGRATE_SECONDS = 600.0
_MIGRATION_LOCK = int.from_bytes(b"penstock")
_MIGRATIONS = load_migrations("postgres")
SCHEMA_VERSION = len(_MIGRATIONS)
_LIST = "schema_migrations"


@dataclass(slots=True, frozen=True)
class Concern:
    """What works and should not stay so: what was seen, and what to do about it."""

    seen: str
    remedy: str


@dataclass(slots=True, frozen=True)
class Server:
    """The server and database as they were found; the schema's steps that are taken, and due."""

    version: str
    database: str
    taken: int
    due: int
    concerns: tuple[Concern, ...]


def place(url: str) -> str:
    """Name the database of a URL for people: without the user and the password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the database"
    hosts = parts.netloc.rpartition("@")[2] or "the local socket"
    return f"{hosts}{parts.path if len(parts.path) > 1 else ''}"


async def open_server(link: Link, url: str, *, migrate: bool = True) -> Server:
    """Connect, check and migrate; without `migrate`, only look. LedgerOpenError if impossible."""
    try:
        connection = await link.connected()
        async with asyncio.timeout(_MIGRATE_SECONDS):
            return await _prepare(connection, url, migrate=migrate)
    except LedgerOpenError:
        link.drop()
        raise
    except (
        OSError,
        TimeoutError,
        ValueError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        link.drop()
        raise _explained(url, error) from None
    except BaseException:
        link.drop()
        raise


async def _prepare(connection: Raw, url: str, *, migrate: bool) -> Server:
    major = connection.get_server_version().major
    if major < OLDEST_SERVER:
        raise LedgerOpenError(
            f"the database server at {place(url)} is PostgreSQL {major}",
            f"at least {OLDEST_SERVER} is needed",
        )
    ((exact, encoding, standby, read_only),) = await connection.fetch(
        "SELECT current_setting('server_version'), current_setting('server_encoding'),"
        " pg_is_in_recovery(),"
        " current_setting('transaction_read_only')"
    )
    if encoding != "UTF8":
        raise LedgerOpenError(
            f"the database at {place(url)} has the encoding {encoding}",
            "make one with ENCODING 'UTF8' TEMPLATE template0",
        )
    if standby or read_only == "on":
        raise LedgerOpenError(
            f"the database at {place(url)} takes no writes (a standby, or set to read only)",
            f"name the primary in {SETTING}; of several hosts, "
            "?target_session_attrs=read-write finds it",
        )
    if migrate:
        await _migrate(connection)
    applied = await _applied(connection) or []
    name, concerns = await _look(connection, place(url))
    version = exact.partition(" ")[0]  # without the packager's words
    return Server(version, name, len(applied), len(due(_MIGRATIONS, applied)), concerns)


async def _migrate(connection: Raw) -> None:
    """Take the steps that are due, all in one transaction, and no two processes at once."""
    await connection.execute(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL penstock.org_id = '*';"
        f" SET LOCAL lock_timeout = {round(_MIGRATE_SECONDS * 1000)};"
        " SET LOCAL statement_timeout = 0"
    )
    try:
        await connection.fetch("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        applied = await _applied(connection)
        if applied is None:
            await connection.execute(
                f"CREATE TABLE {_LIST} (number BIGINT NOT NULL PRIMARY KEY,"
                " name TEXT NOT NULL, checksum TEXT NOT NULL, applied_unix_ms BIGINT NOT NULL)"
            )
        for step in due(_MIGRATIONS, applied or []):
            await connection.execute(step.sql)
            await connection.execute(
                f"INSERT INTO {_LIST} VALUES ($1, $2, $3, $4)",
                step.number,
                step.name,
                step.checksum,
                time.time_ns() // 1_000_000,
            )
        await connection.execute("COMMIT")
    except Exception:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise


async def _applied(connection: Raw) -> list[Applied] | None:
    """Give the steps that the database has taken; None when it is no ledger yet."""
    # Asked first, since CREATE TABLE IF NOT EXISTS needs the right to make one also where it is.
    if await connection.fetchval("SELECT to_regclass($1)::oid", _LIST) is None:
        return None
    rows = await connection.fetch(f"SELECT number, name, checksum FROM {_LIST} ORDER BY number")
    return [Applied(*row) for row in rows]


async def _look(connection: Raw, where: str) -> tuple[str, tuple[Concern, ...]]:
    """Give the database's name, and what is dangerous about it, its server, and the way to it."""
    ((database, role, unbound, fsync, pages, encrypted, client),) = await connection.fetch(
        "SELECT current_database()::text, current_user::text, rolsuper OR rolbypassrls,"
        " current_setting('fsync'), current_setting('full_page_writes'),"
        " (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), inet_client_addr()::text"
        " FROM pg_roles WHERE rolname = current_user"
    )
    concerns = []
    if unbound:
        concerns.append(
            Concern(
                f"the role {role!r} is a superuser or has BYPASSRLS: PostgreSQL does not keep the "
                "rows of organisations apart for it",
                "CREATE ROLE penstock LOGIN PASSWORD '…' NOSUPERUSER NOBYPASSRLS; ALTER DATABASE "
                f"{database} OWNER TO penstock; and name that role in {SETTING}",
            )
        )
    concerns.extend(
        Concern(
            f"{name} is off at {where}: a loss of power there loses or damages what was committed",
            f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()",
        )
        for name, value in (("fsync", fsync), ("full_page_writes", pages))
        if value == "off"
    )
    if client is not None and not encrypted and not ip_address(client.split("/")[0]).is_loopback:
        concerns.append(
            Concern(
                f"the connection to {where} is not encrypted",
                f"add ?sslmode=verify-full&sslrootcert=FILE to {SETTING}",
            )
        )
    return database, tuple(concerns)


def _explained(url: str, error: Exception) -> LedgerOpenError:
    where, state = place(url), state_of(error)
    if state in {"28P01", "28000"}:
        return LedgerOpenError(
            f"the database server at {where} does not let this user in ({state})",
            f"check the user and the password in {SETTING}, and the server's pg_hba.conf",
        )
    if state == "3D000":
        return LedgerOpenError(
            f"there is no such database at {where}", f"make it, or mend {SETTING}"
        )
    if state == "42501":
        return LedgerOpenError(
            f"the role may not make the ledger's tables at {where}",
            f"make it the owner of the database that {SETTING} names: ALTER DATABASE … OWNER TO …",
        )
    if state and state[:2] not in {"08", "53", "57"}:
        return LedgerOpenError(
            f"the ledger's schema cannot be made at {where}: {_first_line(error)} ({state})",
            "look at the database's log; nothing was changed",
        )
    if isinstance(error, ValueError | asyncpg.InterfaceError) and not isinstance(error, OSError):
        return LedgerOpenError(
            f"{SETTING} cannot be used: {type(error).__name__}",
            "it must be as in postgresql://user:password@host:5432/name?sslmode=require",
        )
    return LedgerOpenError(
        f"the ledger's database at {where} cannot be reached ({_why(error)})",
        f"start it, or mend {SETTING}",
    )


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        # asyncio puts words of its own in the place of the system's.
        if error.errno and not isinstance(error, socket.gaierror):
            return os.strerror(error.errno)
        return error.strerror or type(error).__name__
    return f"{_first_line(error)}" if state_of(error) else type(error).__name__


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", None) or error).partition("\n")[0]
