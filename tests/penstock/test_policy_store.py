import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from penstock.engine.policy_book import Signed
from penstock.engine.policy_editions import Action, PolicyChange
from penstock.engine.records import AuditPage, PolicyEntry
from penstock.errors import StartupError
from penstock.policy_store import load_policy_book
from penstock.service import open_service
from penstock.settings import Settings
from penstock.storage.ledger import open_sqlite_ledger


def _settings(folder: Path) -> Settings:
    secrets: dict[str, Any] = {
        "session_secret": "s" * 40,
        "user_jwt_secret": "u" * 40,
        "service_jwt_secret": "v" * 40,
    }
    return Settings(data_dir=folder, port=0, **secrets)


async def test_a_policy_outlives_the_process(tmp_path: Path) -> None:
    """What was set is in force after a restart, with its history; its audit is in the ledger."""
    async with open_service(_settings(tmp_path), dev=True) as service:
        signed = Signed("an operator", "to see it stay", 0)
        await service.policies.edit("global", {"thin_at": 61, "refuse_at": 81}, (), signed)
    async with open_service(_settings(tmp_path), dev=True) as service:
        book = service.policies.book
        assert book.in_force(None, None).policy.thin_at == 61
        assert [change.author for change in book.history()] == ["an operator"]
        assert book.revision == 1
    async with open_sqlite_ledger(tmp_path / "ledger.sqlite3") as ledger:
        (row,) = await ledger.read(AuditPage(10))
        assert (row.entry.actor, row.entry.action) == ("an operator", "policy.edited")
        assert row.entry.detail["reason"] == "to see it stay"


@pytest.mark.parametrize(
    ("book", "advice"),
    [
        ({"format": 99}, "start the version that wrote it, or one that is newer"),
        ({"format": 1, "revision": 1}, "a copy of the ledger"),
        ([], "a copy of the ledger"),
    ],
)
async def test_the_advice_fits_what_is_wrong_with_the_book(
    tmp_path: Path, book: Any, advice: str
) -> None:
    """A newer version does not mend what is damaged, nor a copy what is only newer."""
    async with open_sqlite_ledger(tmp_path / "ledger.sqlite3") as ledger:
        change = PolicyChange(1, Action.EDITED, "global", {}, {}, "ada", "r", 1.0)
        await ledger.commit([PolicyEntry(1, change.plain(), book)])
        with pytest.raises(StartupError, match=advice):
            await load_policy_book(ledger)


async def test_a_book_that_is_no_json_is_damaged(tmp_path: Path) -> None:
    """A page of the file that went bad is told as that."""
    path = tmp_path / "ledger.sqlite3"
    async with open_sqlite_ledger(path) as ledger:
        await ledger.commit([PolicyEntry(1, {}, {})])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE policy_book SET book = '{'")
    async with open_sqlite_ledger(path) as ledger:
        with pytest.raises(StartupError, match="damaged"):
            await load_policy_book(ledger)


async def test_ends_are_saved_together_each_with_its_audit(tmp_path: Path) -> None:
    """One entry of the ledger holds them all, and the book that the last one made."""
    async with open_service(_settings(tmp_path), dev=True) as service:
        desk = service.policies
        soon = time.time() + 30
        for revision in (0, 1):
            signed = Signed("ada", "r", revision)
            await desk.edit("global", {"keep_every": 3 + revision}, (), signed, soon)
        clock = desk._clock
        desk._clock = cast("Any", Later(soon + 60))
        changes = await desk.expire()
        desk._clock = clock
        assert [change.revision for change in changes] == [3, 4]
    async with open_sqlite_ledger(tmp_path / "ledger.sqlite3") as ledger:
        assert [row.entry.action for row in await ledger.read(AuditPage(2))] == [
            "policy.expired"
        ] * 2
        book = await load_policy_book(ledger)
        assert (book.revision, book.editions("global"), len(book.history())) == (4, (), 4)


class Later:
    """A clock that stands."""

    def __init__(self, unix: float) -> None:
        self.now = unix

    def unix(self) -> float:
        return self.now


async def test_a_book_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    """One clear line, and no start with a policy that nobody chose."""
    async with open_sqlite_ledger(tmp_path / "ledger.sqlite3") as ledger:
        await ledger.commit([PolicyEntry(1, {}, {"strange": True})])
        with pytest.raises(
            StartupError, match=r"policy book that is damaged.*a copy of the ledger"
        ):
            await load_policy_book(ledger)
    with pytest.raises(StartupError, match="policy book"):
        async with open_service(_settings(tmp_path), dev=True):
            pass
