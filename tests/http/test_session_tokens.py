"""Session tokens: what holds, which fault is told, and what the cache may and may not do."""

import base64
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.http.problems import Problem
from penstock.http.session_tokens import (
    TokenRefusedError,
    TokenVerifier,
    _encode,
    _sign,
    mint_session_token,
)

SECRET, OLD = b"the current secret, long enough", b"the previous secret, long enough"
NOW = 1_700_000_000.0
IDS = {name: str(UUID(int=n)) for n, name in enumerate(("session_id", "principal_id", "org_id"))}
CLAIMS = {
    "exercise_session_id": str(UUID(int=1)),
    "principal_id": str(UUID(int=7)),
    "org_id": str(UUID(int=8)),
    "iat": 1,
    "exp": 1 << 40,
}


def _mint(secret: bytes = SECRET, issued: int = int(NOW), expires: int = int(NOW) + 60) -> bytes:
    token = mint_session_token(secret, **IDS, issued_unix=issued, expires_unix=expires)
    return b"Bearer " + token.encode()


def _verifier(*secrets: bytes, entries: int = 8, leeway: float = 5) -> TokenVerifier:
    return TokenVerifier(secrets or (SECRET,), cache_entries=entries, leeway_seconds=leeway)


def _signed(claims: object) -> bytes:
    text = claims if isinstance(claims, bytes) else orjson.dumps(claims)
    signed = b"v1." + _encode(text)
    return b"Bearer " + signed + b"." + _encode(_sign(SECRET, signed))


def _problem(
    authorization: bytes, now: float = NOW, verifier: TokenVerifier | None = None
) -> Problem:
    with pytest.raises(TokenRefusedError) as refused:
        (verifier or _verifier()).verify(authorization, now)
    return refused.value.problem


def test_a_minted_token_holds() -> None:
    """What was minted comes back as it was put in, first from the token, then from the cache."""
    verifier = _verifier()
    for _ in range(2):
        claims = verifier.verify(_mint(), NOW)
        assert claims.identity.session_id == IDS["session_id"]
        assert claims.identity.principal_id == IDS["principal_id"]
        assert claims.identity.org_id == IDS["org_id"]
        assert (claims.issued_unix, claims.expires_unix) == (NOW, NOW + 60)
    assert (verifier.statistics().hits, verifier.statistics().misses) == (1, 1)


def test_the_format_is_the_contract() -> None:
    """A token is v1, the claims and HMAC-SHA256 over the text before the second dot."""
    version, claims, signature = _mint()[7:].split(b".")
    assert version == b"v1"
    assert b"=" not in claims + signature
    plain = orjson.loads(base64.urlsafe_b64decode(claims + b"=="))
    assert set(plain) == set(CLAIMS)
    assert signature == _encode(_sign(SECRET, b"v1." + claims))


def test_both_secrets_hold_during_a_rotation() -> None:
    """Tokens of the current and of the previous secret hold; of any other, none does."""
    verifier = _verifier(SECRET, OLD)
    verifier.verify(_mint(SECRET), NOW)
    verifier.verify(_mint(OLD), NOW)
    assert _problem(_mint(b"x"), verifier=verifier) is Problem.TOKEN_SIGNATURE
    assert _problem(_mint(OLD)) is Problem.TOKEN_SIGNATURE


def test_times_are_checked_on_every_use() -> None:
    """A cached token expires at its second, and one from the future waits for its own."""
    verifier = _verifier()
    token = _mint()
    verifier.verify(token, NOW + 59.9)
    assert _problem(token, NOW + 60, verifier) is Problem.TOKEN_EXPIRED
    assert verifier.statistics().entries == 0
    future = _mint(issued=int(NOW) + 10)
    assert _problem(future, NOW + 4.9, verifier) is Problem.TOKEN_NOT_YET_VALID
    verifier.verify(future, NOW + 5)


@pytest.mark.parametrize(
    ("authorization", "problem"),
    [
        (b"", Problem.TOKEN_MISSING),
        (b"Basic abc", Problem.TOKEN_MISSING),
        (b"Bearer", Problem.TOKEN_MISSING),
        (b"Bearer ", Problem.TOKEN_MALFORMED),
        (b"Bearer x.y", Problem.TOKEN_MALFORMED),
        (b"Bearer v2.x.y", Problem.TOKEN_MALFORMED),
        (b"Bearer v1.x.y.z", Problem.TOKEN_MALFORMED),
        (b"Bearer v1.x.\xff", Problem.TOKEN_MALFORMED),
        (b"Bearer v1.x.y=", Problem.TOKEN_MALFORMED),
        (b"Bearer v1.x.AAAA", Problem.TOKEN_SIGNATURE),
        (b"Bearer " + b"x" * 2049, Problem.TOKEN_MALFORMED),
        (_mint() + b"=", Problem.TOKEN_MALFORMED),
        (_mint().replace(b".", b". ", 1), Problem.TOKEN_SIGNATURE),
        (_signed(b"not JSON"), Problem.TOKEN_MALFORMED),
        (_signed(b"[" * 900), Problem.TOKEN_MALFORMED),
        (_signed([]), Problem.TOKEN_MALFORMED),
        (_signed({}), Problem.TOKEN_MALFORMED),
        *(
            (_signed(CLAIMS | {name: value}), Problem.TOKEN_MALFORMED)
            for name, values in {
                "principal_id": (None, 1, "", "x", ["a"], {}),
                "iat": (None, "1", 1.5, True),
                "exp": (None, "1", 1.5, False, []),
            }.items()
            for value in values
        ),
    ],
)
def test_each_fault_has_its_problem(authorization: bytes, problem: Problem) -> None:
    """The refusal says whether the token is missing, malformed or wrongly signed."""
    assert _problem(authorization) is problem


def test_the_scheme_has_no_case() -> None:
    """`bearer` in any case, with more than one space, carries a token."""
    for scheme in (b"bearer ", b"BEARER ", b"Bearer   "):
        _verifier().verify(_mint().replace(b"Bearer ", scheme), NOW)


def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    """The cache never holds more than its bound, and refused tokens never enter it."""
    verifier = _verifier(entries=3)
    for n in range(6):
        verifier.verify(_mint(expires=int(NOW) + 60 + n), NOW)
        assert verifier.statistics().entries <= 3
    for n in range(9):
        _problem(b"Bearer v1.x.%d" % n, verifier=verifier)
    assert verifier.statistics().entries == 3
    verifier.verify(_mint(expires=int(NOW) + 65), NOW)
    assert verifier.statistics().hits == 1


def test_a_token_that_does_not_hold_pushes_nobody_out() -> None:
    """Expired tokens and tokens from the future leave a full cache as it was."""
    verifier = _verifier(entries=3)
    kept = [_mint(expires=int(NOW) + 60 + n) for n in range(3)]
    for token in kept:
        verifier.verify(token, NOW)
    for n in range(1, 6):
        expired = _mint(issued=1, expires=int(NOW) - n)
        future = _mint(issued=int(NOW) + 100 + n, expires=int(NOW) + 200)
        assert _problem(expired, verifier=verifier) is Problem.TOKEN_EXPIRED
        assert _problem(future, verifier=verifier) is Problem.TOKEN_NOT_YET_VALID
    for token in kept:
        verifier.verify(token, NOW)
    statistics = verifier.statistics()
    assert (statistics.entries, statistics.hits) == (3, 3)


def test_spellings_of_the_scheme_share_one_entry() -> None:
    """The cache knows a token by itself, whatever case and spacing the header has around it."""
    verifier = _verifier()
    token = _mint()[len(b"Bearer ") :]
    for scheme in (b"Bearer ", b"bearer ", b"BEARER    ", b"bEARER \t"):
        verifier.verify(scheme + token, NOW)
        verifier.verify(scheme + token + b"  ", NOW)
    statistics = verifier.statistics()
    assert (statistics.entries, statistics.hits, statistics.misses) == (1, 7, 1)


_UUID = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
_ODD_UUIDS = {
    "braces": "{" + _UUID + "}",
    "urn": "urn:uuid:" + _UUID,
    "no dashes": _UUID.replace("-", ""),
    "dashes elsewhere": "0a1b2c3d4-e5f-4a6b-8c7d-9e0f1a2b3c4d",
    "full-width": _UUID.replace("0", "\uff10"),
    "Arabic digits": _UUID.replace("0", "\u0660"),
    "plus": "+" + _UUID[1:],
    "plus before": "+" + _UUID,
    "space before": " " + _UUID,
    "space behind": _UUID + " ",
    "space inside": _UUID[:4] + " " + _UUID[5:],
    "line feed": _UUID + "\n",
    "underscore": _UUID[:4] + "_" + _UUID[5:],
}


@pytest.mark.parametrize("claim", ["exercise_session_id", "principal_id", "org_id"])
@pytest.mark.parametrize("value", _ODD_UUIDS.values(), ids=_ODD_UUIDS.keys())
def test_an_id_has_one_spelling(claim: str, value: str) -> None:
    """An id in any of a UUID's other spellings is malformed, though correctly signed."""
    assert _problem(_signed(CLAIMS | {claim: value})) is Problem.TOKEN_MALFORMED


def test_an_id_has_no_case() -> None:
    """An id in upper case is the same id, and is passed on in lower case."""
    ids = {name: _UUID.upper() for name in ("exercise_session_id", "principal_id", "org_id")}
    identity = _verifier().verify(_signed(CLAIMS | ids), NOW).identity
    assert {identity.session_id, identity.principal_id, identity.org_id} == {_UUID}


@given(st.integers(0, 400), st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_no_changed_token_holds(place: int, bit: int) -> None:
    """A token with one bit changed never holds, and is refused in words."""
    token = bytearray(_mint())
    at = len(b"Bearer ") + place % (len(token) - len(b"Bearer "))
    token[at] ^= 1 << bit
    _problem(bytes(token))


@given(st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_no_other_bytes_hold(junk: bytes) -> None:
    """Any other header is a typed refusal, and nothing else."""
    _problem(junk)
    _problem(b"Bearer " + junk)
    _problem(b"Bearer v1." + junk + b"." + _encode(_sign(SECRET, b"v1." + junk)))
