"""User tokens: the JWTs with which people and their tools speak to this service.

Signed with HS256 and nothing else, whatever the token says of itself. Issuer, audience, times,
subject, organisation and role are required. Nothing is remembered: people ask seldom.
"""

import math
from dataclasses import dataclass
from typing import Any

import jwt

from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.uuids import is_uuid

ALGORITHM = "HS256"
MAX_USER_TOKEN_BYTES = 4096
_SCHEME = b"bearer "
_REQUIRED = ["iss", "aud", "exp", "iat", "sub", "org_id", "role"]
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


class UserTokenRefusedError(Exception):
    """The request carries no user token that holds. Which problem, in words."""

    def __init__(self, problem: Problem, detail: str | None = None) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.detail = detail


class UserTokenVerifier:
    """Verifies Authorization headers against the user secret."""

    def __init__(self, secret: bytes, *, issuer: str, audience: str, leeway_seconds: float) -> None:
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds

    def verify(self, authorization: bytes, now_unix: float) -> UserClaims:
        """Give the claims of a header whose token holds now, or raise UserTokenRefusedError."""
        claims = _claims(self._decode(_bearer(authorization)))
        if now_unix >= claims.expires_unix:
            raise UserTokenRefusedError(
                Problem.USER_TOKEN_EXPIRED,
                f"the token expired {now_unix - claims.expires_unix:.0f} s ago",
            )
        if claims.issued_unix > now_unix + self._leeway:
            raise UserTokenRefusedError(
                Problem.USER_TOKEN_NOT_YET_VALID,
                f"the token begins to hold in {claims.issued_unix - now_unix:.0f} s",
            )
        return claims

    def _decode(self, token: bytes) -> dict[str, Any]:
        if len(token) > MAX_USER_TOKEN_BYTES:
            raise _malformed(f"the token has {len(token)} bytes; at most {MAX_USER_TOKEN_BYTES}")
        try:
            return jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                # Times are held against the service's clock, not PyJWT's.
                options={
                    "require": _REQUIRED,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise UserTokenRefusedError(Problem.USER_TOKEN_SIGNATURE) from None
        except jwt.InvalidAlgorithmError:
            raise UserTokenRefusedError(
                Problem.USER_TOKEN_SIGNATURE, f"the token is not signed with {ALGORITHM}"
            ) from None
        except jwt.InvalidIssuerError:
            raise _malformed(f"the token's issuer (iss) is not {self._issuer}") from None
        except jwt.InvalidAudienceError:
            raise _malformed(f"the token's audience (aud) is not {self._audience}") from None
        except jwt.MissingRequiredClaimError as error:
            raise _malformed(f"the token has no claim {error.claim}") from None
        # Damaged tokens make PyJWT raise other things than its own now and then.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _malformed("the token is not a JWT") from None


def _bearer(authorization: bytes) -> bytes:
    if not authorization:
        raise UserTokenRefusedError(Problem.USER_TOKEN_MISSING)
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise UserTokenRefusedError(
            Problem.USER_TOKEN_MISSING, "the Authorization is not of Bearer"
        )
    return authorization[len(_SCHEME) :].strip()


def _claims(plain: dict[str, Any]) -> UserClaims:
    role = plain["role"]
    if role not in tuple(Role):
        raise _malformed(f"the claim role is none of {', '.join(Role)}")
    level = plain.get("consent_level", 0)
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= _MOST_CONSENT:
        raise _malformed(f"the claim consent_level is not a whole number from 0 to {_MOST_CONSENT}")
    # RFC 7519 allows fractions of seconds. A token holds from the later of the two, if both are.
    issued = max(_time(plain, "iat"), _time(plain, "nbf") if "nbf" in plain else -math.inf)
    return UserClaims(
        _id(plain, "sub"), _id(plain, "org_id"), Role(role), level, issued, _time(plain, "exp")
    )


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
