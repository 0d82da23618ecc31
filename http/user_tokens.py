"""User tokens: the JWTs with which people and their tools speak to this service.

Signed with HS256 and the user secret, or with ES256 or RS256 and a key of the identity provider,
where there is the one or the other; which key a token is held against follows from its algorithm
alone. Issuer, audience and times are
required of every token; subject, organisation and role of the house's own. No token is remembered:
people ask seldom.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt

from penstock.http.jwks import ALGORITHMS, JwksCache
from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.uuids import is_uuid

ALGORITHM = "HS256"
MAX_USER_TOKEN_BYTES = 4096
_SCHEME = b"bearer "
_REQUIRED = ("iss", "aud", "exp", "iat")
_REQUIRED_OF_OURS = ("sub", "org_id", "role")
_MOST_CONSENT = 3


@dataclass(slots=True, frozen=True)
class UserClaims:
    """What a verified token says."""

    principal_id: str
    org_id: str
    role: Role
    consent_level: int
    issued_unix: float
    expires_unix: float


class Claims(NamedTuple):
    """Everything that a verified token says, and from when to when it holds."""

    plain: dict[str, Any]
    issued_unix: float
    expires_unix: float


class UserTokenRefusedError(Exception):
    """The request carries no user token that holds. Which problem, in words."""

    def __init__(self, problem: Problem, detail: str | None = None) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.detail = detail


class UserTokens:
    """Verifies Authorization headers, whatever the token then says of its bearer.

    Without a secret no HS256 token holds, and without `keys` no other one.
    """

    def __init__(
        self,
        secret: bytes | None,
        *,
        issuer: str,
        audience: str,
        leeway_seconds: float,
        keys: JwksCache | None = None,
    ) -> None:
        if secret is None and keys is None:
            raise ValueError("there must be a secret or a provider's keys")
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds
        self._keys = keys

    async def prepare(self, authorization: bytes) -> None:
        """Fetch the provider's keys where the token needs one that is not here.

        To be awaited before the token is verified. Whatever is wrong, verifying it says so.
        """
        if self._keys is None:
            return
        try:
            kid, algorithm = _key_of(_bearer(authorization))
        except UserTokenRefusedError:
            return
        if algorithm in ALGORITHMS:
            await self._keys.prepare(kid, algorithm)

    def claims(self, authorization: bytes, now_unix: float, required: Sequence[str]) -> Claims:
        """Give what a token that holds now says, or raise UserTokenRefusedError."""
        plain = self._decode(_bearer(authorization), required)
        # RFC 7519 allows fractions of seconds. Of two beginnings the later one counts.
        issued = max(_time(plain, "iat"), _time(plain, "nbf") if "nbf" in plain else -math.inf)
        expires = _time(plain, "exp")
        if now_unix >= expires:
            raise UserTokenRefusedError(
                Problem.USER_TOKEN_EXPIRED, f"the token expired {now_unix - expires:.0f} s ago"
            )
        if issued > now_unix + self._leeway:
            raise UserTokenRefusedError(
                Problem.USER_TOKEN_NOT_YET_VALID,
                f"the token begins to hold in {issued - now_unix:.0f} s",
            )
        return Claims(plain, issued, expires)

    def _decode(self, token: bytes, required: Sequence[str]) -> dict[str, Any]:
        kid, algorithm = _key_of(token)
        try:
            return jwt.decode(
                token,
                self._key(kid, algorithm),
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                # Times are held against the service's clock, not PyJWT's.
                options={
                    "require": [*_REQUIRED, *required],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise UserTokenRefusedError(Problem.USER_TOKEN_SIGNATURE) from None
        except jwt.InvalidIssuerError:
            raise _malformed(f"the token's issuer (iss) is not {self._issuer}") from None
        except jwt.InvalidAudienceError:
            raise _malformed(f"the token's audience (aud) is not {self._audience}") from None
        except jwt.MissingRequiredClaimError as error:
            raise _malformed(f"the token has no claim {error.claim}") from None
        # Damaged tokens make PyJWT raise other things than its own now and then.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _malformed("the token is not a JWT") from None

    def _key(self, kid: str | None, algorithm: str) -> Any:  # noqa: ANN401 - PyJWT's own
        if algorithm == ALGORITHM and self._secret is not None:
            return self._secret
        if self._keys is None or algorithm not in ALGORITHMS:
            ours = () if self._secret is None else (ALGORITHM,)
            theirs = () if self._keys is None else ALGORITHMS
            raise UserTokenRefusedError(
                Problem.USER_TOKEN_SIGNATURE,
                f"the token is not signed with {', '.join((*ours, *theirs))}",
            )
        found = self._keys.find(kid, algorithm)
        if found is not None:
            return found.key
        if self._keys.fault is not None:
            raise UserTokenRefusedError(Problem.USER_KEYS_UNAVAILABLE)
        raise UserTokenRefusedError(
            Problem.USER_TOKEN_SIGNATURE, "the identity provider has no such key"
        )


class UserTokenVerifier(UserTokens):
    """Verifies the house's own tokens: those that name an organisation and a role."""

    def verify(self, authorization: bytes, now_unix: float) -> UserClaims:
        """Give the claims of a header whose token holds now, or raise UserTokenRefusedError."""
        plain, issued, expires = self.claims(authorization, now_unix, _REQUIRED_OF_OURS)
        role = plain["role"]
        if role not in tuple(Role):
            raise _malformed(f"the claim role is none of {', '.join(Role)}")
        level = plain.get("consent_level", 0)
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= _MOST_CONSENT:
            raise _malformed(
                f"the claim consent_level is not a whole number from 0 to {_MOST_CONSENT}"
            )
        principal_id, org_id = _id(plain, "sub"), _id(plain, "org_id")
        return UserClaims(principal_id, org_id, Role(role), level, issued, expires)


def _key_of(token: bytes) -> tuple[str | None, str]:
    """Read the key's id and the algorithm that a token names; nothing is verified by that."""
    if len(token) > MAX_USER_TOKEN_BYTES:
        raise _malformed(f"the token has {len(token)} bytes; at most {MAX_USER_TOKEN_BYTES}")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _malformed("the token is not a JWT") from None
    kid, algorithm = header.get("kid"), header.get("alg")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None):
        raise _malformed("the token is not a JWT")
    return kid, algorithm


def _bearer(authorization: bytes) -> bytes:
    if not authorization:
        raise UserTokenRefusedError(Problem.USER_TOKEN_MISSING)
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise UserTokenRefusedError(
            Problem.USER_TOKEN_MISSING, "the Authorization is not of Bearer"
        )
    return authorization[len(_SCHEME) :].strip()


def _id(plain: dict[str, Any], name: str) -> str:
    value = plain[name]
    if not isinstance(value, str) or not is_uuid(value):
        raise _malformed(f"the claim {name} is not a UUID")
    return value.lower()


def _time(plain: dict[str, Any], name: str) -> float:
    value = plain[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise _malformed(f"the claim {name} is not a time")
    return value


def _malformed(detail: str) -> UserTokenRefusedError:
    return UserTokenRefusedError(Problem.USER_TOKEN_MALFORMED, detail)
