"""Role by consent level by endpoint: every cell of the platform's table."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from penstock.http.roles import Role

SERVICE, NOBODY = "service_account", "nobody"
CALLERS = (*Role, SERVICE, NOBODY)
LEVELS = (0, 1, 2, 3)

ANALYTICS = {
    "event_name": "page.view",
    "event_category": "navigation",
    "timestamp": datetime.now(UTC).isoformat(),
}
ERROR = {"error_type": "video_error", "error_message": "Failed to load video segment"}
AUDIT = {"action": "patient.view", "resource_type": "patient", "status": "success"}
ADMINS: set[tuple[str, int]] = {(Role.PLATFORM_ADMIN, level) for level in LEVELS}
# Method, path, body, who may come in with which consent, and what they get.
MATRIX: list[tuple[str, str, Any, set[tuple[str, int]], int]] = [
    ("POST", "/v1/analytics/track", ANALYTICS, {(r, n) for r in Role for n in (2, 3)}, 202),
    ("POST", "/v1/errors/report", ERROR, {(r, n) for r in Role for n in (1, 2, 3)}, 202),
    ("POST", "/v1/audit/ingest", AUDIT, {(SERVICE, level) for level in LEVELS}, 202),
    # Without an account of MaxMind, these two come as far as that.
    ("POST", "/v1/admin/geo/update", None, ADMINS, 409),
    ("POST", "/v1/admin/privacy/exclusions/sync", None, ADMINS, 409),
    ("GET", "/v1/admin/geo/status", None, ADMINS, 200),
    ("GET", "/v1/admin/privacy/exclusions?page=1&per_page=50", None, ADMINS, 200),
    ("GET", "/v1/admin/privacy/exclusions/check?ip=198.51.100.45", None, ADMINS, 200),
    ("GET", "/v1/media/bandwidth/stats", None, ADMINS, 200),
    ("GET", "/v1/media/sessions/stats", None, ADMINS, 200),
]


def _expected(
    row: tuple[str, str, Any, set[tuple[str, int]], int], caller: str, level: int
) -> tuple[int, str | None]:
    _, path, _, allowed, status = row
    if (caller, level) in allowed:
        return status, None
    if caller == NOBODY:
        code = "service_token_refused" if "audit" in path else "user_token_missing"
        return 401, code
    if caller == SERVICE:
        return 401, None
    if "analytics" in path or "errors" in path:
        return 403, "consent_required"
    return 403, "role_required"


@pytest.mark.parametrize("row", MATRIX, ids=[row[1].partition("?")[0] for row in MATRIX])
async def test_every_cell(platform: Any, make_user: Any, make_service: Any, row: Any) -> None:
    """Each role with each consent level gets what the table says, and nothing else."""
    method, path, body, _, _ = row
    async with platform() as api:
        for caller in CALLERS:
            for level in LEVELS:
                principal = str(UUID(int=100 * CALLERS.index(caller) + level))
                token = {SERVICE: make_service, NOBODY: lambda: None}.get(
                    caller,
                    lambda: make_user(Role(caller), level, principal),  # noqa: B023 - called now
                )()
                reply = await api.ask(method, path, token, body)
                status, code = _expected(row, caller, level)
                cell = (method, path, caller, level, reply.status, reply.body)
                assert reply.status == status, cell
                assert code is None or reply.code == code, cell


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("path", ["/v1/media/events", "/v1/pose/frames"])
async def test_sessions_ask_what_core_knows(
    platform: Any, make_user: Any, make_token: Any, path: str, level: int
) -> None:
    """Level 2 and above is consent to media and pose; below it both are refused."""
    purposes = ["biometric", "analytics"] if level >= 2 else []
    async with platform() as api:
        put = {"purposes": purposes}
        reply = await api.ask("PUT", "/v1/me/consents", make_user(), put)
        assert reply.status == 200, reply
        reply = await api.ask("POST", path, make_token(), _session_body(path))
        assert reply.status == (202 if level >= 2 else 403), reply
        assert reply.code == ("" if level >= 2 else "consent_required")


async def test_the_matrix_has_every_route(platform: Any) -> None:
    """A route that is added without a line in the table fails here."""
    async with platform() as api:
        served = {
            (method, rule.rule)
            for rule in api.service.front.app.app.url_map.iter_rules()
            for method in rule.methods - {"HEAD", "OPTIONS"}
            if rule.rule.startswith(
                ("/v1/analytics/track", "/v1/errors", "/v1/audit", "/v1/admin/geo")
            )
            or rule.rule.startswith(("/v1/admin/privacy", "/v1/media/bandwidth", "/v1/media/sess"))
        }
    assert served == {(row[0], row[1].partition("?")[0]) for row in MATRIX}


async def test_a_surface_that_is_off_is_not_there(platform: Any, make_user: Any) -> None:
    """Without `platform` its routes are 404, and readiness does not speak of places."""
    async with platform(surfaces="sessions,core") as api:
        reply = await api.ask("POST", "/v1/analytics/track", make_user(), ANALYTICS)
        assert reply.status == 404
        ready = await api.ask("GET", "/readyz")
        assert (ready.status, "information" in ready.json) == (200, False)


def _session_body(path: str) -> dict[str, Any]:
    session_id = str(UUID(int=1))
    if path.endswith("events"):
        at = datetime.now(UTC).isoformat()
        return {
            "event": "session_start",
            "session_id": session_id,
            "media_id": "squat",
            "media_type": "video",
            "timestamp": at,
        }
    columns = ("landmark_x", "landmark_y", "landmark_z", "landmark_visibility")
    frame = {"frame_number": 1, "elapsed_ms": 0, **{name: [0.5] * 33 for name in columns}}
    return {"session_id": session_id, "media_id": "squat", "frames": [frame]}
