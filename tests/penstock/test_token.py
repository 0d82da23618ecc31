"""`penstock token …` mints tokens that the service's rules accept."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from penstock.dev import read_dev_secrets
from penstock.http.session_tokens import TokenVerifier

SESSION = "0d5d1c3e-3f64-4f35-a8b3-6b0c0a0f9d11"
PRINCIPAL = "5f0a1b8e-0a52-44a6-9f57-0d9f33c0a2b7"
ORG = "c9a5cf3e-7dd1-4a5e-8cf1-0f2b4c1ef0aa"
SESSION_IDS = ["--session-id", SESSION, "--principal-id", PRINCIPAL, "--org-id", ORG]
USER_IDS = ["--principal-id", PRINCIPAL, "--org-id", ORG]


def bare(ran: Any) -> str:
    assert (ran.code, ran.err) == (0, "")
    (token,) = ran.out.split()
    return str(token)


def test_a_session_token_verifies_with_its_claims(run: Any, secrets: dict[str, str]) -> None:
    """What is minted is what the front accepts, for two hours unless told otherwise."""
    token = bare(run("token", "session", *SESSION_IDS, **secrets))
    verifier = TokenVerifier(
        [secrets["PENSTOCK_SESSION_SECRET"].encode()], cache_entries=1, leeway_seconds=0
    )
    claims = verifier.verify(f"Bearer {token}".encode(), time.time())
    assert claims.identity.session_id == SESSION
    assert claims.identity.principal_id == PRINCIPAL
    assert claims.identity.org_id == ORG
    assert claims.expires_unix - claims.issued_unix == 7200


def test_a_user_jwt_verifies_with_its_claims(run: Any, secrets: dict[str, str]) -> None:
    """The claims are those of the surfaces' contract."""
    token = bare(
        run(
            *["token", "user", *USER_IDS, "--role", "specialist"],
            *["--consent-level", "2", "--ttl", "15m"],
            PENSTOCK_JWT_ISSUER="issuer",
            **secrets,
        )
    )
    claims = jwt.decode(
        token,
        secrets["PENSTOCK_USER_JWT_SECRET"],
        algorithms=["HS256"],
        issuer="issuer",
        audience="penstock",
    )
    assert claims.pop("exp") - claims.pop("iat") == 900
    assert claims == {
        "sub": PRINCIPAL,
        "org_id": ORG,
        "role": "specialist",
        "consent_level": 2,
        "iss": "issuer",
        "aud": "penstock",
    }


def test_a_service_jwt_verifies_with_its_claims(run: Any, secrets: dict[str, str]) -> None:
    """It is signed with its own secret and speaks for the service account."""
    token = bare(run("token", "service", **secrets))
    key = secrets["PENSTOCK_SERVICE_JWT_SECRET"]
    claims = jwt.decode(token, key, algorithms=["HS256"], issuer="penstock", audience="penstock")
    assert claims["sub"] == "penstock-service"
    assert claims["role"] == "service_account"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, secrets["PENSTOCK_USER_JWT_SECRET"], algorithms=["HS256"])


def test_dev_tokens_share_the_dev_secrets(run: Any, tmp_path: Path) -> None:
    """Every token of one data folder is signed with that folder's secrets; new ones are noted."""
    first = run("token", "service", "--dev")
    assert "penstock-data yet; its secrets are made now" in first.err
    tokens = [first.out.strip(), bare(run("token", "service", "--dev"))]
    other = run("token", "service", "--dev", "--data-dir", "other").out.strip()
    key = read_dev_secrets(tmp_path / "penstock-data")["service_jwt_secret"]
    for token in tokens:
        jwt.decode(token, key, algorithms=["HS256"], audience="penstock")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(other, key, algorithms=["HS256"], audience="penstock")


@pytest.mark.parametrize(
    ("ttl", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2H", 7200), ("1d", 86400)]
)
def test_a_ttl_is_seconds_or_has_a_unit(
    run: Any, secrets: dict[str, str], ttl: str, seconds: int
) -> None:
    """Operators write times as they speak of them."""
    token = bare(run("token", "service", "--ttl", ttl, **secrets))
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == seconds


@pytest.mark.parametrize("ttl", ["0", "-5", "", "2w", "h", "1.5h", "367d", "9" * 40, "٣"])
def test_another_ttl_is_refused(run: Any, secrets: dict[str, str], ttl: str) -> None:
    """One line, exit code 2."""
    ran = run("token", "service", "--ttl", ttl, **secrets)
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.lines
    assert line.startswith("penstock: --ttl: ")


@pytest.mark.parametrize("option", ["--session-id", "--principal-id", "--org-id"])
def test_an_id_that_is_no_uuid_is_refused(run: Any, secrets: dict[str, str], option: str) -> None:
    """The line names the option and the value."""
    ran = run("token", "session", *SESSION_IDS, option, "moon", **secrets)
    assert (ran.code, ran.out) == (2, "")
    assert ran.lines == [f"penstock: {option}: 'moon'; it must be a UUID"]


def test_ids_are_made_canonical(run: Any, secrets: dict[str, str]) -> None:
    """Another spelling of a UUID mints the same id."""
    spelled = PRINCIPAL.upper().replace("-", "")
    token = bare(
        run("token", "user", "--principal-id", spelled, *USER_IDS[2:], "--role=patient", **secrets)
    )
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == PRINCIPAL


@pytest.mark.parametrize(
    "arguments",
    [
        ["user", *USER_IDS, "--role", "emperor"],
        ["user", *USER_IDS, "--role", "patient", "--consent-level", "4"],
    ],
)
def test_an_unknown_role_or_level_is_refused(
    run: Any, secrets: dict[str, str], arguments: list[str]
) -> None:
    """The known ones are named."""
    ran = run("token", *arguments, **secrets)
    assert (ran.code, ran.out, len(ran.lines)) == (2, "", 1)
    assert "patient" in ran.err or "3" in ran.err


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("session", SESSION_IDS), ("user", [*USER_IDS, "--role", "patient"]), ("service", [])],
)
def test_a_token_needs_only_its_own_secret(
    run: Callable[..., Any], secrets: dict[str, str], kind: str, arguments: list[str]
) -> None:
    """A machine that mints one kind of token holds one secret; without it the line names it."""
    name = "PENSTOCK_SESSION_SECRET" if kind == "session" else f"PENSTOCK_{kind.upper()}_JWT_SECRET"
    bare(run("token", kind, *arguments, **{name: secrets[name]}))
    ran = run("token", kind, *arguments)
    (line,) = ran.lines
    assert ran.code == 2
    assert name in line
