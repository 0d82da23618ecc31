"""Service tokens: the JWTs with which one service calls another.

Signed with HS256 and a secret of their own, so that no person's token is ever one.
"""

from typing import Any

import jwt

from penstock.http.cold_routes import RefusedError
from penstock.http.problems import Problem
from penstock.http.roles import SERVICE_ROLE

ALGORITHM = "HS256"
MAX_SERVICE_TOKEN_BYTES = 4096
_SCHEME = b"bearer "
_REQUIRED = ["iss", "aud", "exp", "iat", "sub", "role"]
_LONGEST_SUBJECT = 200


class ServiceTokenVerifier:
    """Verifies Authorization headers against the service secret."""

    def __init__(self, secret: bytes, *, issuer: str, audience: str, leeway_seconds: float) -> None:
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds

    def verify(self, authorization: bytes, now_unix: float) -> str:
        """Give the name of the service whose token holds now, or raise RefusedError."""
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise _refused("there is no `Authorization: Bearer` header")
        claims = self._decode(authorization[len(_SCHEME) :].strip())
        if claims["role"] != SERVICE_ROLE:
            raise _refused(f"its role is not {SERVICE_ROLE}")
        times = (claims["iat"], claims.get("nbf", claims["iat"]), claims["exp"])
        if not all(_is_time(time) for time in times):
            raise _refused("its iat, nbf or exp is not a time")
        begins, expires = max(times[:2]), times[2]
        if now_unix >= expires:
            raise _refused(f"it expired {now_unix - expires:.0f} s ago")
        if begins > now_unix + self._leeway:
            raise _refused(f"it begins to hold in {begins - now_unix:.0f} s")
        return str(claims["sub"])[:_LONGEST_SUBJECT]

    def _decode(self, token: bytes) -> dict[str, Any]:
        if len(token) > MAX_SERVICE_TOKEN_BYTES:
            raise _refused(f"the token has {len(token)} bytes; at most {MAX_SERVICE_TOKEN_BYTES}")
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
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            raise _refused(f"it is not signed with {ALGORITHM} and the service secret") from None
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"it has no claim {error.claim}") from None
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
            raise _refused(
                f"its iss is not {self._issuer}, or its aud not {self._audience}"
            ) from None
        # Damaged tokens make PyJWT raise other things than its own now and then.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _refused("it is not a JWT") from None


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _refused(detail: str) -> RefusedError:
    return RefusedError(Problem.SERVICE_TOKEN_REFUSED, detail)
