"""What the SQLite ledger promises beyond the contract: its file, its settings, its start."""

import os
import resource
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError, Verdict
from penstock.engine.records import FinalOf
from penstock.storage.ledger import LedgerOpenError, open_sqlite_ledger
from penstock.storage.ledger.sql import LedgerFaultError

MakeFinal = Callable[..., Any]


async def refusal(path: Path) -> str:
    """Open a ledger that must be refused; give the words, one line."""
    with pytest.raises(LedgerOpenError) as refused:
        async with open_sqlite_ledger(path, busy_seconds=0.01):
            pass
    assert "\n" not in str(refused.value)
    assert refused.value.detail
    assert refused.value.remedy
    return str(refused.value)


def log_size(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


async def test_a_commit_survives_a_loss_of_power(sqlite_site: Any) -> None:
    """The log is synced at every commit: synchronous is FULL (2), and the log is write-ahead."""
    async with sqlite_site.open() as ledger:
        settings = {
            name: ledger._writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode", "foreign_keys")
        }
        assert settings == {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            ledger._reader.execute("DELETE FROM probes")


async def test_the_files_are_their_owner_s_alone(sqlite_site: Any, make_final: MakeFinal) -> None:
    """Whatever the umask, and also where an older file was open to others."""
    sqlite_site.path.parent.mkdir()
    sqlite_site.path.touch(0o644)
    before = os.umask(0)
    try:
        async with sqlite_site.open() as ledger:
            await ledger.commit([make_final(1)])
            files = list(sqlite_site.path.parent.iterdir())
            assert len(files) == 3
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    finally:
        os.umask(before)


async def test_closing_leaves_one_whole_file(sqlite_site: Any, make_final: MakeFinal) -> None:
    """After an orderly end everything is in the one file, so that a copy of it is a backup."""
    async with sqlite_site.open() as ledger:
        await ledger.commit([make_final(1)])
    assert [path.name for path in sqlite_site.path.parent.iterdir()] == [sqlite_site.path.name]
    with closing(sqlite3.connect(sqlite_site.path)) as db:
        assert db.execute("SELECT count(*) FROM session_finals").fetchone() == (1,)


async def test_a_group_is_one_transaction(sqlite_site: Any, make_final: MakeFinal) -> None:
    """However many entries a group has, one commit is synced: readers see all of it or nothing."""
    async with sqlite_site.open() as ledger:
        traced: list[str] = []
        ledger._writer.set_trace_callback(traced.append)
        await ledger.commit([make_final(number) for number in range(50)])
        ledger._writer.set_trace_callback(None)
        assert [line for line in traced if line.startswith(("BEGIN", "COMMIT"))] == [
            "BEGIN IMMEDIATE",
            "COMMIT",
        ]


async def test_a_write_that_the_system_refuses_is_an_answer(
    sqlite_site: Any, make_final: MakeFinal
) -> None:
    """A log that may not grow any further stores nothing of the group and loses nothing before."""
    async with sqlite_site.open() as ledger:
        await ledger.commit([make_final(1)])
        log = log_size(sqlite_site.path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log, hard))
        try:
            with pytest.raises(LedgerUnavailableError) as refused:
                await ledger.commit([make_final(2), make_final(3)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert refused.value.reason in {LedgerReason.IO_ERROR, LedgerReason.DISK_FULL}
        assert await ledger.read(FinalOf(make_final(2).session_id)) is None
        outcomes = await ledger.commit([make_final(number) for number in (1, 2, 3)])
        assert [outcome.verdict for outcome in outcomes] == [
            Verdict.REPEATED,
            Verdict.STORED,
            Verdict.STORED,
        ]


async def test_a_read_does_not_wait_for_a_commit(sqlite_site: Any, make_final: MakeFinal) -> None:
    """While a commit is stuck behind another process's lock, reads are answered."""
    async with open_sqlite_ledger(sqlite_site.path, busy_seconds=30) as ledger:
        await ledger.commit([make_final(1)])
        async with trio.open_nursery() as nursery:
            with sqlite_site.held():
                nursery.start_soon(ledger.commit, [make_final(2)])
                await trio.testing.wait_all_tasks_blocked()
                assert await ledger.read(FinalOf(make_final(1).session_id)) is not None
                assert await ledger.read(FinalOf(make_final(2).session_id)) is None
        assert await ledger.read(FinalOf(make_final(2).session_id)) is not None


async def test_a_mistake_of_this_software_is_not_taken_for_the_disk_s(
    sqlite_site: Any, make_final: MakeFinal
) -> None:
    """What no retry can mend is another exception, which stops the process."""
    async with sqlite_site.open() as ledger:
        ledger._writer.execute("DROP TABLE session_finals")
        with pytest.raises(LedgerFaultError):
            await ledger.commit([make_final(1)])
        assert not ledger._writer.in_transaction
        with pytest.raises(LedgerFaultError):
            await ledger.read(FinalOf("any"))


async def test_a_newer_ledger_is_refused(sqlite_site: Any) -> None:
    """An older program neither reads nor changes what a newer one has written."""
    async with sqlite_site.open():
        pass
    with closing(sqlite3.connect(sqlite_site.path)) as db:
        db.execute(
            "INSERT INTO schema_migrations"
            " SELECT max(number) + 1, 'future', 'x', 0 FROM schema_migrations"
        )
        db.commit()
    content = sqlite_site.path.read_bytes()
    assert "newer version" in await refusal(sqlite_site.path)
    assert sqlite_site.path.read_bytes() == content


async def test_an_edited_migration_is_refused(sqlite_site: Any) -> None:
    """A ledger made by other steps than this program's is not guessed at."""
    async with sqlite_site.open():
        pass
    with closing(sqlite3.connect(sqlite_site.path)) as db:
        db.execute("UPDATE schema_migrations SET checksum = 'x'")
        db.commit()
    assert "never edited" in await refusal(sqlite_site.path)


async def test_a_migration_that_fails_leaves_nothing(
    sqlite_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps that are due are taken, or none: a half-made ledger cannot be."""
    from penstock.storage.ledger import sqlite_file  # noqa: PLC0415
    from penstock.storage.ledger.migrate import Migration  # noqa: PLC0415

    known = sqlite_file._MIGRATIONS
    torn = Migration(len(known) + 1, "torn", "CREATE TABLE t (a);\nINSERT INTO nowhere VALUES (1);")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "_MIGRATIONS", (*known, torn))
        assert "nowhere" in await refusal(sqlite_site.path)
    with closing(sqlite3.connect(sqlite_site.path)) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    async with sqlite_site.open() as ledger:
        assert ledger.statistics().schema_version == len(known)


@pytest.mark.parametrize("damage", ["header", "middle", "text"])
async def test_a_damaged_file_is_refused_with_what_to_do(
    sqlite_site: Any, make_final: MakeFinal, damage: str
) -> None:
    """Damage is told before anything is written to it, with the file's name and a way out."""
    async with sqlite_site.open() as ledger:
        await ledger.commit([make_final(number, filler="x" * 2000) for number in range(200)])
    path = sqlite_site.path
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:100] = bytes(100)
    elif damage == "middle":
        content[4096 * 20 : 4096 * 60] = os.urandom(4096 * 40)
    else:
        content[:] = b"This is somebody's diary.\n" * 200
    path.write_bytes(content)
    said = await refusal(path)
    assert str(path) in said
    assert "damaged" in said
    assert "backup" in said
    assert path.read_bytes() == content


async def test_damage_that_is_met_later_is_named(sqlite_site: Any, make_final: MakeFinal) -> None:
    """A page that turns bad while the service runs is `corrupt`, not the service's end."""
    async with sqlite_site.open() as ledger:
        await ledger.commit([make_final(number, filler="x" * 2000) for number in range(200)])
    content = bytearray(sqlite_site.path.read_bytes())
    content[4096 * 20 :] = os.urandom(len(content) - 4096 * 20)
    async with sqlite_site.open() as ledger:
        sqlite_site.path.write_bytes(content)
        told = []
        for number in range(200):
            try:
                await ledger.read(FinalOf(make_final(number).session_id))
            except LedgerUnavailableError as error:
                told.append(error.reason)
        assert set(told) == {LedgerReason.CORRUPT}


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
async def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A link is not followed and a pipe does not hang the start."""
    path = tmp_path / "ledger.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    assert "cannot be opened" in await refusal(path)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_ledger_that_another_process_holds_at_the_start_is_refused(
    sqlite_site: Any,
) -> None:
    """The start does not wait for ever, and says what is in the way."""
    async with sqlite_site.open():
        pass
    with sqlite_site.held():
        assert "another process" in await refusal(sqlite_site.path)
    async with sqlite_site.open():
        pass
