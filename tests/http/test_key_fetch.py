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


async def test_a_service_takes_its_people_s_tokens_by_the_provider_s_keys(
    serve: Any, provider: str
) -> None:
    """On every surface that people speak with: usage, sums, and the admin routes."""
    now = int(time.time())
    person = str(UUID(int=7))
    claims = {"sub": person, "org_id": person, "role": "platform_admin", "iss": "penstock"}
    claims |= {"aud": "penstock", "iat": now, "exp": now + 600}
    token = jwt.encode(claims, KEY, "ES256", {"kid": "one"})
    headers = {"Authorization": f"Bearer {token}"}
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
