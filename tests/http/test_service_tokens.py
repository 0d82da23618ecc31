"""Service tokens: what holds, and why something else does not."""

from typing import Any

import jwt
import pytest

from penstock.http.cold_routes import RefusedError
from penstock.http.problems import Problem
from penstock.http.service_tokens import MAX_SERVICE_TOKEN_BYTES, ServiceTokenVerifier
from penstock.jwts import SERVICE_SUBJECT, mint_service_jwt

SECRET, NOW = b"s" * 40, 1_700_000_000
CLAIMS = {
    "sub": "somebody",
    "role": "service_account",
    "iss": "penstock",
    "aud": "penstock",
    "iat": NOW,
    "exp": NOW + 60,
}


@pytest.fixture
def verifier() -> ServiceTokenVerifier:
    return ServiceTokenVerifier(SECRET, issuer="penstock", audience="penstock", leeway_seconds=5)


def bearer(secret: Any = SECRET, algorithm: str = "HS256", /, **changes: Any) -> bytes:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return b"Bearer " + jwt.encode(claims, secret, algorithm=algorithm).encode()


def test_what_the_command_mints_holds(verifier: ServiceTokenVerifier) -> None:
    """The service's name comes out of it, until it expires and within the leeway."""
    token = mint_service_jwt(
        SECRET, issuer="penstock", audience="penstock", issued_unix=NOW, expires_unix=NOW + 60
    )
    for now in (NOW - 5, NOW, NOW + 59.9):
        assert verifier.verify(b"bearer " + token.encode(), now) == SERVICE_SUBJECT


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"", "no `Authorization"),
        (b"Basic x", "no `Authorization"),
        (b"Bearer ", "not a JWT"),
        (b"Bearer a.b.c", "not a JWT"),
        (b"Bearer \xff\xfe", "not a JWT"),
        (b"Bearer " + b"x" * (MAX_SERVICE_TOKEN_BYTES + 1), "at most 4096"),
        (bearer(b"u" * 40), "not signed"),
        (bearer(b"s" * 40 + b"t" * 40, "HS512"), "not signed"),
        (bearer(None, "none"), "not signed"),
        (bearer(role="patient"), "role is not"),
        (bearer(role=["service_account"]), "role is not"),
        (bearer(role=None), "no claim role"),
        (bearer(sub=None), "no claim sub"),
        (bearer(exp=None), "no claim exp"),
        (bearer(iss="another"), "iss is not"),
        (bearer(aud="another"), "aud not"),
        (bearer(exp=NOW), "expired 0 s ago"),
        (bearer(iat=NOW + 60), "begins to hold in 60 s"),
        (bearer(nbf=NOW + 90), "begins to hold in 90 s"),
        (bearer(exp="tomorrow"), "not a time"),
        (bearer(iat=True), "not a time"),
        (bearer(exp=1e300), "not a time"),
    ],
)
def test_everything_else_is_refused_with_its_reason(
    verifier: ServiceTokenVerifier, header: bytes, why: str
) -> None:
    """One code, and in words what is wrong; a person's token is none, nor is one unsigned."""
    with pytest.raises(RefusedError) as refused:
        verifier.verify(header, NOW)
    assert refused.value.problem is Problem.SERVICE_TOKEN_REFUSED
    assert why in str(refused.value.detail)
