"""A ledger in PostgreSQL that cannot be opened is refused in words, and without the password."""

import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from penstock.storage.ledger import LedgerOpenError, postgres_open
from penstock.storage.ledger.migrate import Migration
from penstock.storage.ledger.postgres import look_at_postgres, open_postgres_ledger
from penstock.storage.ledger.postgres_link import Patience
from penstock.storage.ledger.postgres_open import place
from postgres_server import PASSWORD

PATIENCE = Patience(connect_seconds=0.3)


async def refusal(url: str) -> str:
    """Open a ledger that must be refused; give the words, one line."""
    with pytest.raises(LedgerOpenError) as refused:
        async with open_postgres_ledger(url, patience=PATIENCE):
            pass
    assert "\n" not in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert "sesame" not in str(refused.value)
    assert refused.value.remedy
    return str(refused.value)


async def _say_nothing(_stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.fixture
async def mute() -> AsyncIterator[int]:
    """Give the port of a server that accepts and never says a word."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, _say_nothing, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture
async def old() -> AsyncIterator[int]:
    """Give the port of a server that lets everybody in and says that it is PostgreSQL 13."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack(">i", len(body) + 4) + body

    async def greet(stream: trio.SocketStream) -> None:
        while await stream.receive_some() == b"\0\0\0\x08\x04\xd2\x16\x2f":  # may we use TLS?
            await stream.send_all(b"N")
        settings = {"server_version": "13.14", "client_encoding": "UTF8"}
        await stream.send_all(
            message(b"R", struct.pack(">i", 0))
            + b"".join(
                message(b"S", f"{name}\0{value}\0".encode()) for name, value in settings.items()
            )
            + message(b"K", struct.pack(">ii", 1, 1))
            + message(b"Z", b"I")
        )
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, greet, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_a_server_that_is_not_there_is_named(mute: int) -> None:
    """The host, the port and the setting are told; a server that says nothing does not hang us."""
    said = await refusal(f"postgresql://u:{PASSWORD}@127.0.0.1:1/name")
    assert "127.0.0.1:1/name cannot be reached" in said
    assert "refused" in said
    assert "database_url" in said
    with trio.fail_after(10):
        said = await refusal(f"postgresql://u:{PASSWORD}@127.0.0.1:{mute}/name")
    assert "no answer in time" in said


async def test_an_older_server_is_refused(old: int) -> None:
    """What it lacks would be found at the first write otherwise."""
    said = await refusal(f"postgresql://u:{PASSWORD}@127.0.0.1:{old}/name")
    assert "PostgreSQL 13" in said
    assert "at least 14" in said


async def test_a_wrong_password_and_a_wrong_database_are_told_apart(postgres_server: Any) -> None:
    """Each names the setting, and what of it to check."""
    said = await refusal(postgres_server.url("postgres", password="sesame-wrong"))
    assert "does not let this user in" in said
    assert "database_url" in said
    said = await refusal(postgres_server.url("nowhere"))
    assert "no such database" in said
    assert "nowhere" in said


@pytest.mark.parametrize("rest", ["?sslmode=perhaps", ":port/name", "?target_session_attrs=best"])
async def test_a_url_that_means_nothing_is_refused(rest: str) -> None:
    """It is told that it is the URL, and how one looks."""
    said = await refusal(f"postgresql://u:{PASSWORD}@127.0.0.1{rest}")
    assert "database_url cannot be used" in said
    assert "postgresql://user:password@host" in said


async def test_a_role_that_may_not_make_tables_is_refused(postgres_server: Any) -> None:
    """The remedy is the right that it lacks."""
    with postgres_server.database() as name:
        postgres_server.sql(f"ALTER DATABASE {name} OWNER TO postgres")
        assert "ALTER DATABASE … OWNER TO" in await refusal(postgres_server.url(name))


async def test_a_database_of_another_encoding_is_refused(postgres_server: Any) -> None:
    """One that cannot hold every text would refuse an entry some day."""
    with postgres_server.database(encoding="SQL_ASCII") as name:
        assert "SQL_ASCII" in await refusal(postgres_server.url(name))


async def test_a_database_that_takes_no_writes_is_refused(postgres_site: Any) -> None:
    """A standby, or one that was set to read only, is not mistaken for the primary."""
    postgres_site.sql(
        f"ALTER DATABASE {postgres_site.database} SET default_transaction_read_only = on"
    )
    assert "target_session_attrs" in await refusal(postgres_site.target)


async def test_a_ledger_of_another_past_is_refused(postgres_site: Any) -> None:
    """A newer one and one made by other steps are left as they are."""
    async with postgres_site.open():
        pass
    postgres_site.sql("UPDATE schema_migrations SET checksum = 'x' WHERE number = 1")
    assert "never edited" in await refusal(postgres_site.target)
    postgres_site.sql("DELETE FROM schema_migrations")
    known = postgres_open._MIGRATIONS
    for number in range(1, len(known) + 2):
        checksum = known[number - 1].checksum if number <= len(known) else "x"
        postgres_site.sql(f"INSERT INTO schema_migrations VALUES ({number}, 'n', '{checksum}', 0)")
    assert "newer version" in await refusal(postgres_site.target)


async def test_a_migration_that_fails_leaves_nothing(
    postgres_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps that are due are taken, or none: a half-made ledger cannot be."""
    known = postgres_open._MIGRATIONS
    sql = "CREATE TABLE t (a int); INSERT INTO nowhere VALUES (1)"
    torn = Migration(len(known) + 1, "torn", sql)
    with monkeypatch.context() as patch:
        patch.setattr(postgres_open, "_MIGRATIONS", (*known, torn))
        assert "nowhere" in await refusal(postgres_site.target)
    assert postgres_site.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
    async with postgres_site.open() as ledger:
        assert ledger.statistics().schema_version == len(known)


async def test_looking_changes_nothing(postgres_site: Any) -> None:
    """It says how many steps are due, and that the server does not sync, and takes none."""
    server = await look_at_postgres(postgres_site.target)
    assert server.due == len(postgres_open._MIGRATIONS)
    assert [concern.seen for concern in server.concerns if "fsync is off" in concern.seen]
    assert postgres_site.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
    async with postgres_site.open():
        pass
    assert (await look_at_postgres(postgres_site.target)).due == 0


async def test_a_start_waits_for_another_one_that_migrates(postgres_site: Any) -> None:
    """Two that start at once do not meet: the second one finds the schema made."""
    holder = postgres_site.server.session(postgres_site.database)
    holder.ask(f"BEGIN; SELECT pg_advisory_xact_lock({postgres_open._MIGRATION_LOCK})")
    opened = trio.Event()

    async def start() -> None:
        async with postgres_site.open():
            opened.set()

    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        with trio.fail_after(10):
            while postgres_site.sql(waiting) != "1":  # noqa: ASYNC110 - a server sets no event
                await trio.sleep(0.01)
        assert not opened.is_set()
        holder.close()
    assert opened.is_set()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@host:5432/name?x=y", "host:5432/name"),
        ("postgresql://u:p@h1,h2:5/name", "h1,h2:5/name"),
        ("postgresql://u:p%40ss@[::1]/", "[::1]"),
        ("postgresql:///name?host=/run", "the local socket/name"),
        ("postgresql://u:p@[::1/name", "the database"),
    ],
)
def test_a_database_is_named_without_its_password(url: str, shown: str) -> None:
    """What is told of a URL is where it leads."""
    assert place(url) == shown
