"""A surface that is left out is not served: by no route, on neither lane."""

from typing import Any
from uuid import UUID

import pytest

from penstock.setting_types import KNOWN_SURFACES

ROUTES = {
    "sessions": [
        ("POST", "/v1/pose/frames"),
        ("OPTIONS", "/v1/pose/frames"),
        ("POST", "/v1/pose/frames?meta=%7B%7D"),
        ("POST", f"/v1/sessions/{UUID(int=1)}/end"),
        ("POST", "/v1/media/events"),
    ],
    "core": [
        ("POST", "/v1/exercise-sessions"),
        ("GET", "/v1/me/exercise-sessions"),
        ("PUT", "/v1/me/consents"),
    ],
    "platform": [
        ("POST", "/v1/analytics/track"),
        ("POST", "/v1/errors/report"),
        ("POST", "/v1/audit/ingest"),
        ("GET", "/v1/admin/geo/status"),
        ("GET", "/v1/media/sessions/stats"),
    ],
    "runs": [
        ("POST", "/api/v1/runs"),
        ("POST", "/api/v1/runs/batch"),
        ("GET", "/api/v1/runs"),
        ("GET", "/api/v1/metadata"),
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
    ],
    "usage": [("POST", "/telemetry"), ("GET", "/telemetry/settings")],
    "sync": [
        ("POST", "/api/sync/batches"),
        ("GET", "/api/sync/status"),
        ("GET", "/v1/admin/devices/tokens"),
    ],
    "console": [
        ("GET", "/console"),
        ("GET", "/console/sign-in"),
        ("GET", "/console/flow/live"),
        ("POST", "/console/policy/preview"),
        ("GET", "/dashboard/"),
    ],
}


def _rules(service: Any) -> set[tuple[str, str]]:
    return {
        (method, rule.rule)
        for rule in service.front.app.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD"}
    }


async def _statuses(client: Any) -> dict[tuple[str, str, str], int]:
    """Ask for every route of every surface over one connection."""
    found = {}
    for name, routes in ROUTES.items():
        for method, path in routes:
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            await client.send(head.encode())
            found[name, method, path] = (await client.reply(method)).status
    return found


def test_the_table_knows_every_surface() -> None:
    """A surface that is added without its routes here fails."""
    assert set(ROUTES) == set(KNOWN_SURFACES)


@pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
@pytest.mark.parametrize("name", KNOWN_SURFACES)
async def test_only_what_is_asked_for_is_served(
    serve: Any, dial: Any, name: str, *, express_lane: bool
) -> None:
    """Alone, a surface has its own routes and no others; left out, all have theirs but that."""
    async with (
        serve(surfaces=(name,), express_lane=express_lane) as service,
        dial(service) as client,
    ):
        for (owner, *route), status in (await _statuses(client)).items():
            assert (status != 404) is (owner == name), (route, status)
    others = tuple(other for other in KNOWN_SURFACES if other != name)
    async with (
        serve(surfaces=others, express_lane=express_lane) as service,
        dial(service) as client,
    ):
        for (owner, *route), status in (await _statuses(client)).items():
            assert (status != 404) is (owner != name), (route, status)


async def test_each_route_is_of_one_surface_or_of_the_house(serve: Any) -> None:
    """What two surfaces have in common is the operators', and what all have there is no more of."""
    alone = {}
    for name in KNOWN_SURFACES:
        async with serve(surfaces=(name,)) as service:
            alone[name] = _rules(service)
    house = set.intersection(*alone.values())
    assert not any(path.startswith(("/v1/pose", "/v1/sessions", "/api/")) for _, path in house)
    own = [rules - house for rules in alone.values()]
    assert all(own)
    assert sum(map(len, own)) == len(set.union(*own))
    async with serve() as service:
        assert _rules(service) == house | set.union(*own)


async def test_a_batch_of_a_surface_that_is_off_is_refused_however_it_comes(
    serve: Any, dial: Any
) -> None:
    """Whole, in pieces, and among other requests of one connection: 404, and the next is served."""
    batch = b"POST /v1/pose/frames HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd"
    async with serve(surfaces=("runs",)) as service:
        for pieces in ((batch,), (batch[:7], batch[7:]), (batch[:-2], batch[-2:])):
            async with dial(service) as client:
                await client.send(*pieces)
                reply = await client.reply()
                assert (reply.status, reply.code) == (404, "not_found")
        async with dial(service) as client:
            await client.send(batch + batch)
            assert [reply.status for reply in await client.replies(2)] == [404, 404]
            assert await client.usable()
