"""The answers' edges on every route: ids, CORS, methods, paths, the operators' routes."""

from collections.abc import Callable
from typing import Any

import pytest

PATH = "/v1/pose/frames"
PORTAL = "https://portal.test"

Make = Callable[..., bytes]


def _get(path: str, *fields: str, method: str = "GET") -> bytes:
    head = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode("latin1")


@pytest.mark.parametrize("cold", [False, True], ids=["lane", "quart"])
async def test_request_ids(serve: Any, dial: Any, make_request: Make, *, cold: bool) -> None:
    """A sane X-Request-Id is given back; for any other the service makes one, never the same."""
    async with serve(express_lane=not cold) as service, dial(service) as client:
        seen = []
        for given, kept in (
            ("abc-123", True),
            ("01H:a/b+c=@._", True),
            ("a" * 128, True),
            ("a" * 129, False),
            ("two words", False),
            ("<script>", False),
            ("\xe9", False),
            ("", False),
        ):
            await client.send(make_request(more=[("X-Request-Id", given)]))
            got = (await client.reply()).headers["x-request-id"]
            assert (got == given) is kept
            seen.append(got)
        assert len(set(seen)) == len(seen)


async def test_every_kind_of_answer_has_a_request_id(serve: Any, dial: Any) -> None:
    """Answers of every route, and refusals of every kind, carry an X-Request-Id."""
    async with serve() as service:
        for raw in (_get("/nope"), _get("/readyz"), _get(PATH), b"nonsense\r\n\r\n"):
            async with dial(service) as client:
                await client.send(raw)
                assert (await client.reply("GET")).headers["x-request-id"]


async def test_preflights_are_answered_and_may_be_kept(serve: Any, dial: Any) -> None:
    """A preflight of an allowed origin gets 204 with what it may send, and how long that holds."""
    async with (
        serve(cors_origins=(PORTAL,), cors_max_age_seconds=77) as service,
        dial(service) as client,
    ):
        asked = ("Access-Control-Request-Method: POST", f"Origin: {PORTAL}")
        await client.send(_get(PATH, *asked, method="OPTIONS"))
        reply = await client.reply("OPTIONS")
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers["access-control-allow-origin"] == PORTAL
        assert reply.headers["access-control-max-age"] == "77"
        assert "POST" in reply.headers["access-control-allow-methods"]
        allowed = reply.headers["access-control-allow-headers"].lower()
        assert {"authorization", "content-type", "x-batch-meta"} <= set(allowed.split(", "))
        assert reply.headers["vary"] == "Origin"
        assert "content-length" not in reply.headers
        await client.send(_get(PATH, "Origin: https://else.test", method="OPTIONS"))
        reply = await client.reply("OPTIONS")
        assert not [name for name in reply.headers if name.startswith("access-control")]
        assert await client.usable()


@pytest.mark.parametrize("cold", [False, True], ids=["lane", "quart"])
async def test_retry_after_is_exposed(
    serve: Any, dial: Any, make_request: Make, *, cold: bool
) -> None:
    """A browser app of an allowed origin may read refusals, and their Retry-After."""
    options = {"cors_origins": (PORTAL,), "rate_batches_per_second": 0.01, "rate_burst": 1}
    async with serve(express_lane=not cold, **options) as service, dial(service) as client:
        for status in (202, 429):
            await client.send(make_request(more=[("Origin", PORTAL)]))
            reply = await client.reply()
            assert reply.status == status
            assert reply.headers["access-control-allow-origin"] == PORTAL
            assert "Retry-After" in reply.headers["access-control-expose-headers"]


@pytest.mark.parametrize("cold", [False, True], ids=["lane", "quart"])
async def test_any_origin_may_be_allowed(
    serve: Any, dial: Any, make_request: Make, *, cold: bool
) -> None:
    """With '*' each origin is given back by name, and caches are told that it matters."""
    async with (
        serve(express_lane=not cold, cors_origins=("*",)) as service,
        dial(service) as client,
    ):
        await client.send(make_request(more=[("Origin", "https://some.test")]))
        reply = await client.reply()
        assert reply.headers["access-control-allow-origin"] == "https://some.test"
        assert reply.headers["vary"] == "Origin"
        await client.send(make_request())
        assert "access-control-allow-origin" not in (await client.reply()).headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused(serve: Any, dial: Any, method: str) -> None:
    """Another method on the route gets 405 and the list of those that it takes."""
    async with serve() as service, dial(service) as client:
        await client.send(_get(PATH, method=method))
        reply = await client.reply(method)
        assert (reply.status, reply.code) == (405, "method_not_allowed")
        assert "POST" in reply.headers["allow"].split(", ")
        assert await client.usable()


@pytest.mark.parametrize("path", ["/", "/nope", "/v1/pose", "/v1/pose/frames/x", "/%00", "/..//x"])
async def test_unknown_paths(serve: Any, dial: Any, path: str) -> None:
    """A path that nothing is at gets a 404 problem that does not repeat it."""
    async with serve() as service, dial(service) as client:
        await client.send(_get(path, "Accept: text/html"))
        reply = await client.reply("GET")
        assert (reply.status, reply.code) == (404, "not_found")
        assert reply.headers["content-type"] == "application/problem+json"
        assert await client.usable()


async def test_health(serve: Any, dial: Any) -> None:
    """The health check answers with the version; HEAD gives the same head and no body."""
    async with serve() as service, dial(service) as client:
        await client.send(_get("/v1/healthz"))
        reply = await client.reply("GET")
        assert reply.json["status"] == "ok"
        assert reply.json["version"]
        await client.send(_get("/v1/healthz", method="HEAD"))
        head = await client.reply("HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(reply.body))
        assert await client.usable()


async def test_readiness_tells_why_not(serve: Any, dial: Any) -> None:
    """Ready is 200; a service that stops is 503 with its reason, and still alive."""
    async with serve() as service, dial(service) as client:
        await client.send(_get("/readyz"))
        ready = (await client.reply("GET")).json
        assert (ready["status"], ready["reasons"]) == ("ready", [])
        service.stopping.set()
        await client.send(_get("/readyz"))
        reply = await client.reply("GET")
        assert reply.status == 503
        assert [reason["code"] for reason in reply.json["reasons"]] == ["draining"]
        await client.send(_get("/v1/healthz"))
        assert (await client.reply("GET")).status == 200


async def test_websockets_are_refused(serve: Any, dial: Any) -> None:
    """A WebSocket handshake is refused and closed, and leaves no fault in the log."""
    fields = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    async with serve() as service, dial(service) as client:
        await client.send(_get(PATH, *fields))
        answer = await client.leftover()
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 403 ", b"HTTP/1.1 405 "))
