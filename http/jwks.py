"""The public keys of an identity provider (JWKS, RFC 7517), kept between requests.

Theory of operation
-------------------
Keys are fetched when they are needed and not before: because none are there, because a token names
one that is not among them (the provider has begun to sign with a new one), or because they are
older than they may be. Whatever the reason, two fetches are never closer together than the floor,
failed ones included, so nobody makes this service ask all the time by sending made-up key ids. One
fetch is under way at a time; whoever comes meanwhile waits for it.

Keys that are too old are used on while the provider cannot be reached: signatures do not become
wrong. A key that the provider has dropped is dropped at the next fetch.

A key is for one algorithm, by its type: ES256 for P-256, RS256 for RSA. So no token can choose how
it is verified. What is no signing key of these is passed over.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt
import orjson
import trio

from penstock.engine.ports import Clock

ALGORITHMS = ("ES256", "RS256")
_FEWEST_RSA_BITS = 2048
_MOST_KEYS = 100


class JwksUnavailableError(Exception):
    """The provider's keys cannot be had now. The message is for the log, and one line."""


class SigningKey(NamedTuple):
    """A public key and the one algorithm that it is for."""

    kid: str
    algorithm: str
    key: Any


@dataclass(slots=True, frozen=True)
class JwksRules:
    """How often keys are fetched, at most and at least."""

    floor_seconds: float
    keep_seconds: float


class JwksCache:
    """The keys of one provider."""

    def __init__(
        self, fetch: Callable[[], Awaitable[bytes]], clock: Clock, rules: JwksRules
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._rules = rules
        self._lock = trio.Lock()
        self._keys: tuple[SigningKey, ...] = ()
        self._fetched: float | None = None
        self._attempted: float | None = None
        self.fault: str | None = "no keys have been fetched yet"

    def find(self, kid: str | None, algorithm: str) -> SigningKey | None:
        """Give the key of this id; without an id, the only one there is for the algorithm."""
        fitting = [key for key in self._keys if key.algorithm == algorithm]
        if kid is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.kid == kid), None)

    def wants_fetch(self, kid: str | None, algorithm: str) -> bool:
        """Say whether keys are to be fetched before a token of this key is verified."""
        now = self._clock.monotonic()
        if self._attempted is not None and now - self._attempted < self._rules.floor_seconds:
            return False
        old = self._fetched is None or now - self._fetched >= self._rules.keep_seconds
        return old or self.find(kid, algorithm) is None

    async def prepare(self, kid: str | None, algorithm: str) -> None:
        """Fetch the keys if that is to be done; a failure is kept in `fault`."""
        if not self.wants_fetch(kid, algorithm):
            # Whoever comes while they are being fetched waits for them all the same.
            if self.find(kid, algorithm) is None and self._lock.locked():
                async with self._lock:
                    pass
            return
        async with self._lock:
            if not self.wants_fetch(kid, algorithm):
                return
            self._attempted = self._clock.monotonic()
            try:
                self._keys = read_keys(await self._fetch())
            except JwksUnavailableError as error:
                self.fault = str(error)
                return
            self._fetched = self._clock.monotonic()
            self.fault = None


def read_keys(document: bytes) -> tuple[SigningKey, ...]:
    """Read a key set; JwksUnavailableError when it is none."""
    try:
        listed = orjson.loads(document)["keys"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        listed = None
    if not isinstance(listed, list):
        raise JwksUnavailableError("what the jwks_url gives is no key set")
    return tuple(_signing_keys(listed[:_MOST_KEYS]))


def _signing_keys(listed: Iterable[Any]) -> Iterable[SigningKey]:
    for plain in listed:
        if not isinstance(plain, dict) or plain.get("use", "sig") != "sig":
            continue
        algorithm = _algorithm(plain)
        if algorithm is None or plain.get("alg", algorithm) != algorithm:
            continue
        # A private or symmetric key has no place in a public set; PyJWT would take one.
        public = {name: plain[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in plain}
        try:
            key = jwt.PyJWK(public, algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if algorithm == "RS256" and key.key_size < _FEWEST_RSA_BITS:
            continue
        yield SigningKey(str(plain.get("kid", "")), algorithm, key)


def _algorithm(plain: dict[str, Any]) -> str | None:
    match plain.get("kty"), plain.get("crv"):
        case "EC", "P-256":
            return "ES256"
        case "RSA", _:
            return "RS256"
        case _:
            return None
