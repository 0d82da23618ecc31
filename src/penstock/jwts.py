"""The JWTs that the command line mints, for people and for the service account.

The surfaces verify them with pinned algorithm, issuer and audience; what is signed here is the
whole of what they read.
"""

import jwt

from penstock.http.roles import SERVICE_ROLE, Role

ALGORITHM = "HS256"
SERVICE_SUBJECT = "penstock-service"


def mint_user_jwt(
    secret: bytes,
    *,
    principal_id: str,
    org_id: str,
    role: Role,
    consent_level: int,
    issuer: str,
    audience: str,
    issued_unix: int,
    expires_unix: int,
) -> str:
    """Sign a token that speaks for one person in one organisation."""
    return jwt.encode(
        {
            "sub": principal_id,
            "org_id": org_id,
            "role": role.value,
            "consent_level": consent_level,
            "iss": issuer,
            "aud": audience,
            "iat": issued_unix,
            "exp": expires_unix,
        },
        secret,
        algorithm=ALGORITHM,
    )


def mint_service_jwt(
    secret: bytes, *, issuer: str, audience: str, issued_unix: int, expires_unix: int
) -> str:
    """Sign a token for calls from one service to another."""
    return jwt.encode(
        {
            "sub": SERVICE_SUBJECT,
            "role": SERVICE_ROLE,
            "iss": issuer,
            "aud": audience,
            "iat": issued_unix,
            "exp": expires_unix,
        },
        secret,
        algorithm=ALGORITHM,
    )
