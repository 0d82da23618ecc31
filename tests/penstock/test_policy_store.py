from pathlib import Path
from typing import Any

import pytest

from penstock.engine.ledger_port import PolicyEntry
from penstock.engine.policy_book import Signed
from penstock.errors import StartupError
from penstock.policy_store import load_policy_book
from penstock.service import open_service
from penstock.settings import Settings
from penstock.storage.ledger import open_sqlite_ledger


def _settings(folder: Path) -> Settings:
    secrets: dict[str, Any] = {"session_secret": "s" * 40, "user_jwt_secret": "u" * 40}
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
        (row,) = await ledger.audit(10)
        assert (row.entry.actor, row.entry.action) == ("an operator", "policy.edited")
        assert row.entry.detail["reason"] == "to see it stay"


async def test_a_book_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    """One clear line, and no start with a policy that nobody chose."""
    async with open_sqlite_ledger(tmp_path / "ledger.sqlite3") as ledger:
        await ledger.commit([PolicyEntry(1, {}, {"strange": True})])
        with pytest.raises(StartupError, match="policy book that this version cannot read"):
            await load_policy_book(ledger)
    with pytest.raises(StartupError, match="policy book"):
        async with open_service(_settings(tmp_path), dev=True):
            pass
