"""Device tokens minted and revoked from the command line, in the ledger that the service uses.

The ledger is written beside a running service, which sees the change with its next request.
"""

import getpass
import os
import socket
import time

import trio

from penstock.engine.ledger_port import Entry, LedgerUnavailableError, Together, Verdict
from penstock.engine.sync.records import DeviceIdentity, RevokeTokensEntry
from penstock.errors import StartupError
from penstock.http.sync.device_tokens import mint_device_token
from penstock.http.sync.token_admin import audited
from penstock.ledgers import open_ledger
from penstock.settings import Settings
from penstock.storage.ledger import LedgerOpenError


def mint_stored_token(settings: Settings, identity: DeviceIdentity) -> str:
    """Make a device a token that holds from now on."""
    now, author = _now(), _author()
    minted = mint_device_token(identity, minted_unix_ms=now, minted_by=author)
    trio.run(_enter, settings, audited(minted.entry, author, now))
    return minted.token


def revoke_stored_tokens(
    settings: Settings, user_id: str, device_id: str | None, token_id: str | None
) -> int:
    """Revoke a user's tokens, a device's, or one; say how many held until now."""
    now = _now()
    entry = RevokeTokensEntry(user_id, now, device_id, token_id)
    revoked, _ = trio.run(_enter, settings, audited(entry, _author(), now))
    return int(str(revoked))


async def _enter(settings: Settings, entries: tuple[Entry, ...]) -> tuple[object, ...]:
    try:
        async with open_ledger(settings) as ledger:
            (outcome,) = await ledger.commit([Together(entries)])
    except (LedgerOpenError, LedgerUnavailableError) as error:
        raise StartupError(f"the ledger cannot be written: {error}") from None
    if outcome.verdict is not Verdict.STORED:
        raise StartupError(outcome.detail)
    return outcome.value or (None, None)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _author() -> str:
    try:
        person = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        person = str(os.getuid())
    return f"{person}@{socket.gethostname()}"
