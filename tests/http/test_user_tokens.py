"""User tokens: what holds, and which problem is told when one does not."""

import base64
import hashlib
import hmac
import json
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.user_tokens import (
    MAX_USER_TOKEN_BYTES,
    UserClaims,
    UserTokenRefusedError,
    UserTokenVerifier,
)
from penstock.jwts import mint_user_jwt

SECRET = b"the user secret of the tests, long enough"
NOW = 1_700_000_000.0
PRINCIPAL, ORG = str(UUID(int=7)), str(UUID(int=8))
CLAIMS: dict[str, Any] = {
    "sub": PRINCIPAL,
    "org_id": ORG,
    "role": "specialist",
    "consent_level": 2,
    "iss": "penstock",
    "aud": "penstock",
    "iat": int(NOW),
    "exp": int(NOW) + 60,
}
VERIFIER = UserTokenVerifier(SECRET, issuer="penstock", audience="penstock", leeway_seconds=5)


def _signed(claims: Any = None, *, secret: bytes = SECRET, alg: str = "HS256") -> bytes:
    """Sign by hand, so that PyJWT does not check what it verifies."""
    parts = [_part({"alg": alg, "typ": "JWT"}), _part(CLAIMS if claims is None else claims)]
    text = ".".join(parts).encode()
    digest = {"HS512": hashlib.sha512}.get(alg, hashlib.sha256)
    signature = b"" if alg == "none" else hmac.digest(secret, text, digest)
    return b"Bearer " + text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _problem(authorization: bytes, now: float = NOW) -> tuple[Problem, str]:
    with pytest.raises(UserTokenRefusedError) as refused:
        VERIFIER.verify(authorization, now)
    return refused.value.problem, refused.value.detail or ""


@pytest.mark.parametrize("role", Role)
def test_what_the_command_line_mints_holds(role: Role) -> None:
    """Every role, with the claims as they were put in."""
    token = mint_user_jwt(
        SECRET,
        principal_id=PRINCIPAL,
        org_id=ORG,
        role=role,
        consent_level=1,
        issuer="penstock",
        audience="penstock",
        issued_unix=int(NOW),
        expires_unix=int(NOW) + 60,
    )
    claims = VERIFIER.verify(b"bEaReR " + token.encode(), NOW)
    assert claims == UserClaims(PRINCIPAL, ORG, role, 1, int(NOW), int(NOW) + 60)


def test_the_test_signs_as_pyjwt_does() -> None:
    """What the tests below change is the only thing that is wrong with their tokens."""
    assert VERIFIER.verify(_signed(), NOW).role is Role.SPECIALIST
    assert jwt.decode(_signed()[7:], SECRET, ["HS256"], {"verify_exp": False}, audience="penstock")


@pytest.mark.parametrize(
    ("authorization", "problem"),
    [
        (b"", Problem.USER_TOKEN_MISSING),
        (b"Basic abc", Problem.USER_TOKEN_MISSING),
        (b"Bearer", Problem.USER_TOKEN_MISSING),
        (b"Bearer ", Problem.USER_TOKEN_MALFORMED),
        (b"Bearer x", Problem.USER_TOKEN_MALFORMED),
        (b"Bearer x.y.z", Problem.USER_TOKEN_MALFORMED),
        (b"Bearer \xff.\xff.\xff", Problem.USER_TOKEN_MALFORMED),
        (b"Bearer v1.abc.def", Problem.USER_TOKEN_MALFORMED),
        (b"Bearer " + b"x" * (MAX_USER_TOKEN_BYTES + 1), Problem.USER_TOKEN_MALFORMED),
        (_signed(secret=b"another secret of the tests, long enough"), Problem.USER_TOKEN_SIGNATURE),
        (_signed(alg="none"), Problem.USER_TOKEN_SIGNATURE),
        (_signed(alg="HS512"), Problem.USER_TOKEN_SIGNATURE),
        (_signed(alg="moon"), Problem.USER_TOKEN_SIGNATURE),
        (_signed([]), Problem.USER_TOKEN_MALFORMED),
        (_signed(CLAIMS | {"iss": "else"}), Problem.USER_TOKEN_MALFORMED),
        (_signed(CLAIMS | {"aud": "else"}), Problem.USER_TOKEN_MALFORMED),
        (_signed(CLAIMS | {"exp": int(NOW)}), Problem.USER_TOKEN_EXPIRED),
        (_signed(CLAIMS | {"exp": NOW - 0.5}), Problem.USER_TOKEN_EXPIRED),
        (_signed(CLAIMS | {"iat": int(NOW) + 6}), Problem.USER_TOKEN_NOT_YET_VALID),
        (_signed(CLAIMS | {"nbf": int(NOW) + 6}), Problem.USER_TOKEN_NOT_YET_VALID),
    ],
)
def test_each_fault_has_its_problem(authorization: bytes, problem: Problem) -> None:
    """A client can tell a token to renew from one to mend."""
    assert _problem(authorization)[0] is problem


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "sub", "org_id", "role"])
def test_required_claims_are_named(name: str) -> None:
    """A token without one of them, or with null for it, is malformed; which one is said."""
    for claims in ({n: v for n, v in CLAIMS.items() if n != name}, CLAIMS | {name: None}):
        problem, detail = _problem(_signed(claims))
        assert problem is Problem.USER_TOKEN_MALFORMED
        assert name in detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sub", "penstock-service"),
        ("sub", 7),
        ("org_id", f"{{{ORG}}}"),
        ("org_id", [ORG]),
        ("role", "service_account"),
        ("role", ["platform_admin"]),
        ("consent_level", 4),
        ("consent_level", True),
        ("consent_level", "1"),
        ("iat", "now"),
        ("iat", True),
        ("exp", float("nan")),
        ("exp", float("inf")),
        ("exp", 10**400),
        ("nbf", "later"),
    ],
)
def test_a_claim_of_another_kind_is_malformed(name: str, value: Any) -> None:
    """Signed or not, a claim is what it must be, or the token does not hold."""
    assert _problem(_signed(CLAIMS | {name: value}))[0] is Problem.USER_TOKEN_MALFORMED


def test_times_are_the_services() -> None:
    """The clock is handed in; a token may be from a little ahead of it."""
    VERIFIER.verify(_signed(CLAIMS | {"iat": int(NOW) + 5}), NOW)
    VERIFIER.verify(_signed(), NOW + 59.9)
    assert _problem(_signed(), NOW + 60)[0] is Problem.USER_TOKEN_EXPIRED


def test_one_audience_of_several_is_enough() -> None:
    """As RFC 7519 has it; a token without a consent level consents to nothing."""
    claims = CLAIMS | {"aud": ["else", "penstock"]}
    del claims["consent_level"]
    assert VERIFIER.verify(_signed(claims), NOW).consent_level == 0


def test_ids_are_canonical() -> None:
    """Case is the one freedom of their spelling, and it ends here."""
    claims = CLAIMS | {"sub": str(UUID(int=0xABC)).upper()}
    assert VERIFIER.verify(_signed(claims), NOW).principal_id == str(UUID(int=0xABC))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_garbage_is_refused_and_nothing_else(garbage: bytes) -> None:
    """Whatever comes is a typed refusal."""
    for authorization in (garbage, b"Bearer " + garbage, _signed()[:-20] + garbage):
        with pytest.raises(UserTokenRefusedError):
            VERIFIER.verify(authorization, NOW)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_signed_garbage_is_refused_and_nothing_else(value: Any) -> None:
    """Even who has the secret cannot make anything but a refusal of it."""
    for claims in (value, *(CLAIMS | {name: value} for name in CLAIMS)):
        try:
            VERIFIER.verify(_signed(claims), NOW)
        except UserTokenRefusedError:
            continue
