"""Which ledger the settings name: a database of PostgreSQL, or the file in the data folder."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.engine.ledger_port import Ledger
from penstock.settings import Settings
from penstock.storage.ledger import JournalMode, open_sqlite_ledger

LEDGER_FILE = "ledger.sqlite3"

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncIterator[Ledger]:
    """Open the ledger around the block; LedgerOpenError when that is impossible."""
    if settings.database_url is None:
        async with open_sqlite_ledger(
            settings.data_dir / LEDGER_FILE,
            journal_mode=JournalMode(settings.ledger_journal_mode),
        ) as embedded:
            yield embedded
        return
    # Here and not above: it brings asyncio into the process, which nobody else needs.
    from penstock.storage.ledger.postgres import open_postgres_ledger  # noqa: PLC0415

    async with open_postgres_ledger(settings.database_url.get_secret_value()) as ledger:
        for concern in ledger.server.concerns:
            logger.warning("ledger.concern", extra={"seen": concern.seen, "advice": concern.remedy})
        yield ledger
