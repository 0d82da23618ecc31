"""Device tokens: opaque, and nowhere but with the device. The ledger has their digests.

A token is 256 random bits, so a plain digest of it cannot be guessed back, and finding the digest
in an index tells nothing of the token by its time.
"""

import hashlib
import secrets
from typing import NamedTuple

from penstock.engine.ledger_port import Ledger
from penstock.engine.sync.records import DeviceIdentity, DeviceOfToken, DeviceTokenEntry
from penstock.http.cold_routes import Call
from penstock.http.plain_errors import PlainError

PREFIX = "pds_"
_RANDOM_BYTES = 32
_MOST_CHARACTERS = 128
_SCHEME = "bearer "


class MintedToken(NamedTuple):
    """A token, to be shown once, and what the ledger keeps of it."""

    token: str
    entry: DeviceTokenEntry


def mint_device_token(
    identity: DeviceIdentity, *, minted_unix_ms: int, minted_by: str
) -> MintedToken:
    """Make a device a token."""
    token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return MintedToken(
        token, DeviceTokenEntry(digest_of(token), *identity, minted_unix_ms, minted_by)
    )


def digest_of(token: str) -> str:
    """Give what the ledger knows a token by."""
    return hashlib.sha256(token.encode()).hexdigest()


class DeviceGate:
    """Tells whom a request's device token speaks for. What is revoked is revoked at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def identify(self, call: Call) -> DeviceIdentity:
        """Give the device, or raise PlainError with 401."""
        token = bearer_of(call)
        if not token.startswith(PREFIX) or len(token) > _MOST_CHARACTERS:
            raise PlainError(401, "unauthorized", "this needs a device token as bearer")
        identity = await self._ledger.read(DeviceOfToken(digest_of(token)))
        if identity is None:
            raise PlainError(401, "unauthorized", "the device token is unknown or revoked")
        return identity


def bearer_of(call: Call) -> str:
    """Give a request's bearer token, empty where there is none."""
    header = call.headers.get("Authorization", "")
    return header[len(_SCHEME) :].strip() if header[: len(_SCHEME)].lower() == _SCHEME else ""
