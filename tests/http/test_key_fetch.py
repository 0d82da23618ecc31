"""The identity provider's keys over real HTTP: fetched whole, from where the setting says."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from pydantic import SecretStr

from penstock.commands.serve import leaves
from penstock.errors import StartupError
from penstock.http.jwks import JwksUnavailableError
from penstock.key_fetch import key_fetcher

KEY = ec.generate_private_key(ec.SECP256R1())
LISTED = {**json.loads(ECAlgorithm.to_jwk(KEY.public_key())), "kid": "one"}
PAGES = {
    "/keys": (200, json.dumps({"keys": [LISTED]}).encode()),
    "/missing": (404, b"{}"),
    "/moved": (302, b""),
    "/large": (200, b"[" * 300_000),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """Run a provider, and give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = PAGES[self.path]
            self.send_response(status)
            self.send_header("Location", "/keys")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


async def test_the_document_is_given_whole(provider: str) -> None:
    """As it is; reading it is not the fetcher's task."""
    assert await key_fetcher(f"{provider}/keys")() == PAGES["/keys"][1]


@pytest.mark.parametrize(
    ("path", "told"), [("/missing", "404"), ("/moved", "302"), ("/large", "bytes")]
)
async def test_what_is_no_document_is_told(provider: str, path: str, told: str) -> None:
    """An error, a redirect and what has no end are no keys."""
    with pytest.raises(JwksUnavailableError, match=told):
        await key_fetcher(provider + path)()


async def test_a_provider_that_is_away_is_told() -> None:
    """By the kind of error, without its details."""
    with pytest.raises(JwksUnavailableError, match="ConnectError"):
        await key_fetcher("http://127.0.0.1:9/keys")()


def header(key: Any, algorithm: str) -> dict[str, str]:
    """Make the header of a platform admin, signed as is said."""
    now = int(time.time())
    person = str(UUID(int=7))
    claims = {"sub": person, "org_id": person, "role": "platform_admin", "iss": "penstock"}
    claims |= {"aud": "penstock", "iat": now, "exp": now + 600}
    return {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm, {'kid': 'one'})}"}


async def test_a_service_takes_its_people_s_tokens_by_the_provider_s_keys(
    serve: Any, provider: str
) -> None:
    """On every surface that people speak with: usage, sums, and the admin routes."""
    headers = header(KEY, "ES256")
    async with (
        serve(jwks_url=f"{provider}/keys") as service,
        httpx.AsyncClient(base_url=service.address, headers=headers, trust_env=False) as client,
    ):
        for path in ("/v1/admin/policy", "/telemetry/settings", "/api/sync/rollups"):
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
    async with (
        serve(jwks_url="http://127.0.0.1:9/keys") as service,
        httpx.AsyncClient(base_url=service.address, headers=headers, trust_env=False) as client,
    ):
        answer = await client.get("/telemetry/settings")
        assert (answer.status_code, answer.json()["error"]) == (503, "user_keys_unavailable")
        assert "retry-after" in answer.headers
        assert (await client.get("/v1/admin/policy")).status_code == 503


async def test_with_a_provider_a_service_needs_no_secret_of_its_own(
    serve: Any, provider: str
) -> None:
    """Then the provider's tokens hold, those of the secret do not, and people still have names."""
    theirs, ours = header(KEY, "ES256"), header("u" * 40, "HS256")
    of_people = {"user_jwt_secret": None, "actor_hash_secret": SecretStr("a" * 32)}
    async with (
        serve(jwks_url=f"{provider}/keys", **of_people) as service,
        httpx.AsyncClient(base_url=service.address, trust_env=False) as client,
    ):
        for path in ("/v1/admin/policy", "/telemetry/settings", "/api/sync/rollups"):
            assert (await client.get(path, headers=theirs)).status_code == 200
            refused = await client.get(path, headers=ours)
            assert refused.status_code == 401
            assert "user_token_signature" in refused.text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"jwks_url": "https://id.example/keys"}, "actor_hash_secret: not set"),
        ({"actor_hash_secret": SecretStr("a" * 32)}, "user_jwt_secret: not set"),
    ],
    ids=str,
)
async def test_a_start_without_what_it_needs_names_it(
    serve: Any, changes: dict[str, Any], named: str
) -> None:
    """Also where nobody has looked at the settings before."""
    with pytest.raises((StartupError, ExceptionGroup)) as raised:
        async with serve(user_jwt_secret=None, **changes):
            pass
    (refused,) = leaves(raised.value)
    assert isinstance(refused, StartupError)
    assert str(refused).startswith(named)
