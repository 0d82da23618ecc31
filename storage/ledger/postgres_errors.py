"""What PostgreSQL and the way to it say, in the ledger's words.

Every exception of asyncpg and of the socket ends here, told apart by SQLSTATE where there is one.
The server's own message stays inside: it may quote an entry's values, an address or a role, and
what is told to callers holds none of them.
"""

import asyncpg  # type: ignore[import-untyped]

from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError
from penstock.storage.ledger.sql import LedgerFaultError

# By SQLSTATE, else by its class, the first two characters (appendix A of PostgreSQL's manual).
_REASONS = {
    "08": LedgerReason.UNREACHABLE,  # connection exception
    "28": LedgerReason.UNREACHABLE,  # authorization: a password or a rule was changed
    "3D": LedgerReason.UNREACHABLE,  # the database is not there (any more)
    "40": LedgerReason.LOCKED,  # serialization failure, deadlock
    "53": LedgerReason.IO_ERROR,  # insufficient resources
    "55": LedgerReason.LOCKED,  # lock not available, object in use
    "57": LedgerReason.UNREACHABLE,  # operator intervention: shutdown, crash, starting up
    "58": LedgerReason.IO_ERROR,  # the server's system
    "XX": LedgerReason.IO_ERROR,  # the server's own mistakes
    "0A000": LedgerReason.LOCKED,  # a cached plan that a newer version's migration made void
    "25006": LedgerReason.UNWRITABLE,  # a standby, or default_transaction_read_only
    "25P03": LedgerReason.UNREACHABLE,  # idle in a transaction for too long
    "25P04": LedgerReason.UNREACHABLE,  # a transaction that took too long
    "42501": LedgerReason.UNWRITABLE,  # insufficient privilege
    "53100": LedgerReason.DISK_FULL,
    "53300": LedgerReason.UNREACHABLE,  # too many connections
    "57014": LedgerReason.LOCKED,  # statement timeout
    "XX001": LedgerReason.CORRUPT,
    "XX002": LedgerReason.CORRUPT,  # an index
}
# Data, integrity, and what is too large for an index or a row.
_UNFIT = frozenset({"22", "23", "54"})
UNIQUE_VIOLATION = "23505"
# What asyncpg gives to a value that it cannot even send.
_UNSENDABLE = "22000"


def state_of(error: BaseException) -> str:
    """Give the SQLSTATE that the server sent; empty when it was not the server."""
    return getattr(error, "sqlstate", None) or ""


def is_unfit(error: BaseException) -> bool:
    """Say whether it is the entry that the database cannot hold."""
    return state_of(error)[:2] in _UNFIT


def unfit_detail(error: BaseException) -> str:
    """Say what was wrong with an entry, and nothing of what is in it."""
    if state_of(error) == _UNSENDABLE:
        return "a number or a text that PostgreSQL cannot hold"
    rule = getattr(error, "constraint_name", None) or getattr(error, "column_name", None)
    return told(error) + (f" by {rule}" if rule else "")


def reason_of(error: BaseException) -> LedgerReason | None:
    """Give why the ledger cannot be used; None when that is not what the error says."""
    if isinstance(error, TimeoutError | OSError | EOFError):
        return LedgerReason.UNREACHABLE
    state = state_of(error)
    if not state and isinstance(error, asyncpg.InternalClientError):
        # What answers is no PostgreSQL, or none that takes writes; or the schema was changed.
        return LedgerReason.UNREACHABLE
    return _REASONS.get(state) or _REASONS.get(state[:2])


def translated(error: BaseException) -> Exception:
    """Give what the port raises instead."""
    reason = reason_of(error)
    if reason is None:
        return LedgerFaultError(f"{told(error)}: {error}")
    return LedgerUnavailableError(reason, told(error))


def told(error: BaseException) -> str:
    """Name an error for an operator."""
    if isinstance(error, TimeoutError):
        return "the database did not answer in time"
    if isinstance(error, OSError):
        return f"no connection to the database ({type(error).__name__})"
    state = state_of(error)
    return f"{type(error).__name__} ({state})" if state else type(error).__name__
