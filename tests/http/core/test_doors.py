"""Who may ask what: every route with every kind of bearer."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from penstock.http.roles import Role

PATIENT, SPECIALIST, CLINIC, PLATFORM = Role
SERVICE, NOBODY = "service", "nobody"
BEARERS = (*Role, SERVICE, NOBODY)
STAFF = {SPECIALIST, CLINIC}
ANN, ORG = str(UUID(int=7)), str(UUID(int=8))
ONE = f"/v1/exercise-sessions/{UUID(int=1)}"
CONSENTS = f"/v1/admin/orgs/{ORG}/consents/{ANN}"
QUOTA = f"/v1/admin/orgs/{ORG}/quota"
INTERNAL = "/v1/internal/telemetry"
PURPOSES = {"purposes": ["biometric"]}

# Who gets past the door; what comes behind it is another test's.
MATRIX = [
    ("POST", "/v1/exercise-sessions", {}, {PATIENT}),
    ("POST", f"{ONE}/telemetry-token", {}, {PATIENT}),
    ("GET", "/v1/me/exercise-sessions", None, {PATIENT}),
    ("GET", f"/v1/patients/{ANN}/exercise-sessions", None, STAFF),
    ("GET", ONE, None, {PATIENT} | STAFF),
    ("GET", f"{ONE}/replay", None, {PATIENT, SPECIALIST}),
    ("GET", "/v1/analytics/cohort/exercise-adherence", None, {CLINIC}),
    ("GET", "/v1/admin/platform/exercise-aggregate-counts", None, {PLATFORM}),
    ("GET", "/v1/me/consents", None, {PATIENT}),
    ("PUT", "/v1/me/consents", PURPOSES, {PATIENT}),
    ("GET", CONSENTS, None, {PLATFORM}),
    ("PUT", CONSENTS, PURPOSES, {PLATFORM}),
    ("GET", QUOTA, None, {PLATFORM}),
    ("PUT", QUOTA, {"batches_per_second": 5.0}, {PLATFORM}),
    ("GET", f"{INTERNAL}/consents?principal_id={ANN}&org_id={ORG}", None, {SERVICE}),
    ("GET", f"{INTERNAL}/quotas?org_id={ORG}", None, {SERVICE}),
    ("POST", f"{INTERNAL}/invalidate", {"org_id": ORG}, {SERVICE}),
    ("POST", f"{INTERNAL}/session-aggregated", {}, {SERVICE}),
]


async def test_every_route_lets_in_whom_it_should_and_nobody_else(
    core: Any, make_user: Callable[..., str], make_service: Callable[..., str]
) -> None:
    """A token that does not hold is 401, a person of another role 403; neither reads the body."""
    tokens = {role: make_user(role, ANN) for role in Role}
    tokens |= {SERVICE: make_service(), NOBODY: None}
    async with core() as api:
        for method, path, body, allowed in MATRIX:
            for bearer in BEARERS:
                reply = await api.ask(method, path, tokens[bearer], body)
                told = (method, path, bearer, reply.status, reply.code)
                if bearer in allowed:
                    assert reply.status not in {401, 403}, told
                elif SERVICE in allowed:
                    assert (reply.status, reply.code) == (401, "service_token_refused"), told
                elif bearer in tuple(Role):
                    assert (reply.status, reply.code) == (403, "role_required"), told
                    assert reply.json["seen"] == bearer, told
                else:
                    assert reply.status == 401, told
                    assert reply.code.startswith("user_token_"), told


async def test_the_matrix_has_every_route(core: Any) -> None:
    """A route that is added without a line in the matrix fails here."""
    async with core() as api:
        served = {
            (method, rule.rule.partition("<")[0])
            for rule in api.service.front.app.app.url_map.iter_rules()
            for method in rule.methods - {"HEAD", "OPTIONS"}
            if rule.rule != "/v1/analytics/track"  # another surface's
            if rule.rule.startswith(("/v1/exercise", "/v1/me/", "/v1/patients", "/v1/analytics"))
            or rule.rule.startswith(("/v1/internal/", "/v1/admin/orgs", "/v1/admin/platform"))
        }
    for method, prefix in served:
        assert any(method == known and path.startswith(prefix) for known, path, *_ in MATRIX), (
            method,
            prefix,
        )
    assert len(MATRIX) >= len(served)


async def test_the_door_comes_before_the_body(core: Any) -> None:
    """A stranger's body is not looked at, however wrong or large it is."""
    async with core() as api:
        reply = await api.ask("PUT", "/v1/me/consents", None, b"x" * 100_000)
        assert reply.status == 401


async def test_a_surface_that_is_off_is_not_there(core: Any, make_service: Any) -> None:
    """Without `core` its routes are 404; being told of changes goes with whichever Core."""
    async with core(surfaces="sessions") as api:
        assert (await api.get("/v1/me/exercise-sessions")).status == 404
        body = {"org_id": ORG}
        reply = await api.ask("POST", f"{INTERNAL}/invalidate", make_service(), body)
        assert (reply.status, reply.json) == (200, {"status": "forgotten"})


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/me/exercise-sessions?limit=0", "limit"),
        ("/v1/me/exercise-sessions?limit=201", "limit"),
        ("/v1/me/exercise-sessions?limit=\u0661", "limit"),
        ("/v1/me/exercise-sessions?limit=999999999999", "limit"),
        ("/v1/me/exercise-sessions?cursor=x", "cursor"),
        ("/v1/me/exercise-sessions?cursor=", "cursor"),
        ("/v1/me/exercise-sessions?cursor=WzEsMl0", "cursor"),
        ("/v1/me/exercise-sessions?cursor=WzFlMjAsIngiXQ", "cursor"),
        ("/v1/me/exercise-sessions?cursor=" + "W" * 1200, "cursor"),
        ("/v1/me/exercise-sessions?page=2", "page"),
        ("/v1/exercise-sessions/1", "session_id"),
    ],
)
async def test_what_cannot_be_read_is_named(
    core: Any, make_user: Any, path: str, field: str
) -> None:
    """A parameter that says nothing is 400 with its name, never a fault."""
    async with core() as api:
        path = path.replace("\u0661", "%D9%A1")
        reply = await api.get(path, make_user(PATIENT, ANN))
        assert (reply.status, reply.code) == (400, "parameter_malformed")
        assert reply.json["field"] == field
