"""The ledger: finals, policies, audit and all else that may not be lost.

In a file of SQLite, or in a database of PostgreSQL (`postgres`, which is imported where it is used:
it brings asyncio along).
"""

from penstock.storage.ledger.migrate import LedgerOpenError
from penstock.storage.ledger.sqlite import SqliteLedger, open_sqlite_ledger
from penstock.storage.ledger.sqlite_file import JournalMode

__all__ = ["JournalMode", "LedgerOpenError", "SqliteLedger", "open_sqlite_ledger"]
