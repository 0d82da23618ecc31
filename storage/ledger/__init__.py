"""The ledger: finals, policies and audit, in SQLite."""

from penstock.storage.ledger.migrate import LedgerOpenError
from penstock.storage.ledger.sqlite import SqliteLedger, open_sqlite_ledger

__all__ = ["LedgerOpenError", "SqliteLedger", "open_sqlite_ledger"]
