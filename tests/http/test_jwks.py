"""Keys of an identity provider: fetched when they are needed, never more often than allowed."""

import json
import warnings
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from penstock.http.jwks import JwksCache, JwksRules, JwksUnavailableError, read_keys
from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.user_tokens import UserTokenRefusedError, UserTokenVerifier

ID = "0d5d1c3e-3f64-4f35-a8b3-6b0c0a0f9d11"
RSA_ONE, RSA_TWO = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC_ONE = ec.generate_private_key(ec.SECP256R1())
SECRET = b"the user secret of the tests, long enough"


def listed(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """Write a public key as a provider lists it."""
    public = key.public_key()
    rsa_key = isinstance(public, rsa.RSAPublicKey)
    plain = RSAAlgorithm.to_jwk(public) if rsa_key else ECAlgorithm.to_jwk(public)
    return {**json.loads(plain), "kid": kid, **more}


@dataclass
class Provider:
    """A provider whose keys and health can be changed, and a clock."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    fetches: int = 0
    broken: bool = False
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return 1_700_000_000.0 + self.now

    async def fetch(self) -> bytes:
        self.fetches += 1
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise JwksUnavailableError("away")
        return json.dumps({"keys": self.keys}).encode()

    def verifier(self, secret: bytes | None = SECRET) -> UserTokenVerifier:
        cache = JwksCache(self.fetch, self, JwksRules(floor_seconds=30, keep_seconds=3600))
        return UserTokenVerifier(secret, issuer="them", audience="us", leeway_seconds=5, keys=cache)

    def header(self, key: Any, kid: str | None, algorithm: str, **claims: Any) -> bytes:
        now = int(self.unix())
        plain = {"iss": "them", "aud": "us", "iat": now, "exp": now + 7200, "sub": ID}
        plain |= {"org_id": ID, "role": "patient", **claims}
        headers = {} if kid is None else {"kid": kid}
        return b"Bearer " + jwt.encode(plain, key, algorithm, headers).encode()


async def verify(verifier: UserTokenVerifier, provider: Provider, header: bytes) -> Any:
    """Verify as a surface does; give the claims, or the problem."""
    await verifier.prepare(header)
    try:
        return verifier.verify(header, provider.unix())
    except UserTokenRefusedError as refused:
        return refused.problem


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_ONE, "RS256"), (EC_ONE, "ES256")])
async def test_a_token_of_a_listed_key_holds(key: Any, algorithm: str) -> None:
    """By its key's id, or without one where there is no choice; one fetch is enough."""
    provider = Provider([listed(RSA_ONE, "r"), listed(EC_ONE, "e")])
    verifier = provider.verifier()
    kid = "r" if key is RSA_ONE else "e"
    for named in (kid, None, kid):
        claims = await verify(verifier, provider, provider.header(key, named, algorithm))
        assert (claims.principal_id, claims.role) == (ID, Role.PATIENT)
    assert provider.fetches == 1


async def test_the_secret_s_tokens_hold_without_a_fetch() -> None:
    """HS256 goes by the secret, whoever else signs; nobody asks the provider for it."""
    provider = Provider()
    verifier = provider.verifier()
    header = provider.header(SECRET, "r", "HS256")
    assert (await verify(verifier, provider, header)).principal_id == ID
    assert provider.fetches == 0


async def test_without_a_secret_no_secret_s_token_holds() -> None:
    """HS256 is refused by its name, whatever it was signed with; the provider's tokens hold."""
    provider = Provider([listed(EC_ONE, "e")])
    verifier = provider.verifier(None)
    for key in (SECRET, b"x", listed(EC_ONE, "e")["x"]):
        with warnings.catch_warnings(action="ignore"):  # the keys that a forger may try are short
            header = provider.header(key, "e", "HS256")
        assert await verify(verifier, provider, header) is Problem.USER_TOKEN_SIGNATURE
        with pytest.raises(UserTokenRefusedError) as refused:
            verifier.verify(header, provider.unix())
        assert refused.value.detail == "the token is not signed with ES256, RS256"
    assert provider.fetches == 0
    good = provider.header(EC_ONE, "e", "ES256")
    assert (await verify(verifier, provider, good)).principal_id == ID
    with pytest.raises(ValueError, match="must be"):
        UserTokenVerifier(None, issuer="them", audience="us", leeway_seconds=5)


async def test_an_unknown_key_is_fetched_but_not_more_often_than_allowed() -> None:
    """A new key works at once; made-up ids cost one fetch in thirty seconds, however many."""
    provider = Provider([listed(RSA_ONE, "one")])
    verifier = provider.verifier()
    assert (await verify(verifier, provider, provider.header(RSA_ONE, "one", "RS256"))).role
    provider.keys = [listed(RSA_TWO, "two")]
    provider.now += 31
    assert (await verify(verifier, provider, provider.header(RSA_TWO, "two", "RS256"))).role
    assert provider.fetches == 2
    for number in range(50):
        header = provider.header(RSA_TWO, f"made-up-{number}", "RS256")
        assert await verify(verifier, provider, header) is Problem.USER_TOKEN_SIGNATURE
    assert provider.fetches == 2
    provider.now += 31
    await verify(verifier, provider, provider.header(RSA_TWO, "made-up", "RS256"))
    assert provider.fetches == 3
    dropped = provider.header(RSA_ONE, "one", "RS256")
    assert await verify(verifier, provider, dropped) is Problem.USER_TOKEN_SIGNATURE


async def test_those_who_come_at_once_share_a_fetch() -> None:
    """All of them are let in by it."""
    provider = Provider([listed(EC_ONE, "e")])
    verifier = provider.verifier()
    told: list[Any] = []

    async def ask() -> None:
        told.append(await verify(verifier, provider, provider.header(EC_ONE, "e", "ES256")))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert [claims.principal_id for claims in told] == [ID] * 20
    assert provider.fetches == 1


async def test_old_keys_are_fetched_anew_and_used_on_while_nobody_answers() -> None:
    """An hour later one more fetch; if that fails, what was right before still is."""
    provider = Provider([listed(EC_ONE, "e")])
    verifier = provider.verifier()
    header = provider.header(EC_ONE, "e", "ES256")
    await verify(verifier, provider, header)
    provider.now += 3601
    provider.broken = True
    assert (await verify(verifier, provider, header)).role
    assert provider.fetches == 2
    unknown = provider.header(RSA_ONE, "new", "RS256")
    assert await verify(verifier, provider, unknown) is Problem.USER_KEYS_UNAVAILABLE


async def test_without_any_keys_it_is_no_fault_of_the_token() -> None:
    """503 and not 401, until the provider answers."""
    provider = Provider([listed(EC_ONE, "e")], broken=True)
    verifier = provider.verifier()
    header = provider.header(EC_ONE, "e", "ES256")
    assert await verify(verifier, provider, header) is Problem.USER_KEYS_UNAVAILABLE
    provider.broken = False
    provider.now += 31
    assert (await verify(verifier, provider, header)).role


async def test_no_token_chooses_how_it_is_verified() -> None:
    """A public key is no secret, and no algorithm but the key's own is taken."""
    provider = Provider([listed(RSA_ONE, "r"), listed(EC_ONE, "e")])
    verifier = provider.verifier()
    wrong = [
        provider.header(RSA_TWO, "r", "RS256"),
        provider.header(RSA_ONE, "r", "RS512"),
        provider.header(RSA_ONE, "e", "RS256"),
        provider.header(listed(RSA_ONE, "r")["n"], "r", "HS256"),
        b"Bearer " + jwt.encode({"sub": ID}, "", "none").encode(),
    ]
    for header in wrong:
        assert await verify(verifier, provider, header) is Problem.USER_TOKEN_SIGNATURE
    for broken in (b"", b"Bearer x", b"Bearer a.b.c", b"Basic x"):
        assert isinstance(await verify(verifier, provider, broken), Problem)


def test_what_is_no_signing_key_is_passed_over() -> None:
    """Other uses, algorithms, curves, short and damaged keys, symmetric ones; the rest counts."""
    good = listed(RSA_ONE, "good", use="sig", alg="RS256")
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be passed over
    keys = [
        5,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        listed(RSA_TWO, "enc", use="enc"),
        listed(RSA_TWO, "other", alg="RS512"),
        listed(ec.generate_private_key(ec.SECP384R1()), "curve"),
        listed(short, "short"),
        {**listed(EC_ONE, "damaged"), "x": "!"},
        good,
    ]
    assert [key.kid for key in read_keys(json.dumps({"keys": keys}).encode())] == ["good"]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 5}', b"\xff"])
def test_what_is_no_key_set_is_told(document: bytes) -> None:
    """A page of something else does not pass for an empty set."""
    with pytest.raises(JwksUnavailableError):
        read_keys(document)
