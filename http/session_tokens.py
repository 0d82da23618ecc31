"""Session tokens: `v1.<claims>.<signature>`, minted by Core, verified on every request.

The signature is HMAC-SHA256 over the ASCII text before the second dot; both parts are base64url
without padding. A token that verified once is kept by its digest, so that the next request costs
one hash and one look-up; its times are checked on every use.
"""

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from penstock.engine.checkpoint import SessionIdentity
from penstock.http.problems import Problem
from penstock.http.uuids import is_uuid

MAX_TOKEN_BYTES = 2048
_SCHEME = b"bearer "


@dataclass(slots=True, frozen=True)
class SessionClaims:
    """What a verified token says."""

    identity: SessionIdentity
    issued_unix: int
    expires_unix: int


class TokenRefusedError(Exception):
    """The request carries no token that holds. Which problem, in words."""

    def __init__(self, problem: Problem, detail: str | None = None) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.detail = detail


def mint_session_token(
    secret: bytes,
    *,
    session_id: str,
    principal_id: str,
    org_id: str,
    issued_unix: int,
    expires_unix: int,
) -> str:
    """Make a token, as Core does at the start of an exercise session."""
    claims = {
        "principal_id": principal_id,
        "org_id": org_id,
        "exercise_session_id": session_id,
        "iat": issued_unix,
        "exp": expires_unix,
    }
    signed = b"v1." + _encode(orjson.dumps(claims))
    return (signed + b"." + _encode(_sign(secret, signed))).decode("ascii")


@dataclass(slots=True, frozen=True)
class TokenCacheStatistics:
    """How full the cache of verified tokens is, and how often it helped."""

    entries: int
    hits: int
    misses: int


class TokenVerifier:
    """Verifies Authorization headers against the current and the previous secret."""

    def __init__(
        self, secrets: Sequence[bytes], *, cache_entries: int, leeway_seconds: float
    ) -> None:
        self._secrets = tuple(secrets)
        self._max_entries = cache_entries
        self._leeway = leeway_seconds
        self._cache: dict[bytes, SessionClaims] = {}
        self._hits = 0
        self._misses = 0

    def verify(self, authorization: bytes, now_unix: float) -> SessionClaims:
        """Give the claims of a header whose token holds now, or raise TokenRefusedError."""
        token = _bearer(authorization)
        digest = hashlib.sha256(token).digest()
        claims = known = self._cache.get(digest)
        if claims is None:
            self._misses += 1
            claims = self._read(token)
        else:
            self._hits += 1
        if now_unix >= claims.expires_unix:
            self._cache.pop(digest, None)
        self._check_times(claims, now_unix)
        if known is None:
            # Only what holds is kept: nobody can push others out with tokens that do not.
            while len(self._cache) >= self._max_entries:
                del self._cache[next(iter(self._cache))]
            self._cache[digest] = claims
        return claims

    def verify_again(self, claims: SessionClaims, now_unix: float) -> SessionClaims:
        """Give the claims of a token that was verified before, if it still holds."""
        self._hits += 1
        self._check_times(claims, now_unix)
        return claims

    def _check_times(self, claims: SessionClaims, now_unix: float) -> None:
        if now_unix >= claims.expires_unix:
            raise TokenRefusedError(
                Problem.TOKEN_EXPIRED,
                f"the token expired {now_unix - claims.expires_unix:.0f} s ago",
            )
        if claims.issued_unix > now_unix + self._leeway:
            raise TokenRefusedError(
                Problem.TOKEN_NOT_YET_VALID,
                f"the token begins to hold in {claims.issued_unix - now_unix:.0f} s",
            )

    def statistics(self) -> TokenCacheStatistics:
        """Give the cache's state."""
        return TokenCacheStatistics(len(self._cache), self._hits, self._misses)

    def _read(self, token: bytes) -> SessionClaims:
        if len(token) > MAX_TOKEN_BYTES:
            raise _malformed(f"the token has {len(token)} bytes; at most {MAX_TOKEN_BYTES}")
        signed, dot, signature = token.rpartition(b".")
        if not dot or not signed.startswith(b"v1.") or signed.count(b".") != 1:
            raise _malformed("a session token is v1.<claims>.<signature>")
        seen = _decode(signature, "signature")
        if not any(hmac.compare_digest(_sign(secret, signed), seen) for secret in self._secrets):
            raise TokenRefusedError(Problem.TOKEN_SIGNATURE)
        return _claims(_decode(signed[3:], "claims"))


def _bearer(authorization: bytes) -> bytes:
    if not authorization:
        raise TokenRefusedError(Problem.TOKEN_MISSING)
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise TokenRefusedError(Problem.TOKEN_MISSING, "the Authorization is not of Bearer")
    return authorization[len(_SCHEME) :].strip()


def _claims(text: bytes) -> SessionClaims:
    try:
        plain = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _malformed("the claims are not JSON") from None
    if not isinstance(plain, dict):
        raise _malformed("the claims are not a JSON object")
    ids = []
    for name in ("exercise_session_id", "principal_id", "org_id"):
        value = plain.get(name)
        if not isinstance(value, str) or not is_uuid(value):
            raise _malformed(f"the claim {name} is not a UUID")
        ids.append(value.lower())
    times = []
    for name in ("iat", "exp"):
        value = plain.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _malformed(f"the claim {name} is not a whole number")
        times.append(value)
    return SessionClaims(SessionIdentity(*ids), *times)


def _malformed(detail: str) -> TokenRefusedError:
    return TokenRefusedError(Problem.TOKEN_MALFORMED, detail)


def _sign(secret: bytes, signed: bytes) -> bytes:
    return hmac.digest(secret, signed, "sha256")


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes, what: str) -> bytes:
    # Strict: base64's lenient decoder drops foreign characters, so that many texts would carry
    # one token.
    try:
        data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise _malformed(f"the {what} is not base64url") from None
    if _encode(data) != text:
        raise _malformed(f"the {what} is not base64url without padding")
    return data
