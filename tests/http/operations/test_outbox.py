"""`/v1/admin/outbox`: an operator sees what is stuck, mends the cause, and has it tried again."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import trio

from asking import STAFF, Api, user
from core_stand_in import stand_in_for_core
from penstock.http.roles import Role

PATIENT, SPECIALIST, CLINIC, PLATFORM = Role
PREFIX = "/v1/admin/outbox"
# What Core answers of a consent and of a quota.
GRANTS = b'{"purposes": ["biometric", "analytics"], "batches_per_second": null}'
ENDED = {"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}
MakeToken = Callable[..., str]


async def send(api: Api, token: str, batch: bytes) -> None:
    """Have a session of one batch."""
    headers = {"Content-Type": "application/octet-stream"}
    sent = await api.ask("POST", "/v1/pose/frames", token, batch, headers)
    assert sent.status == 202, sent


async def end(api: Api, session: int, token: str) -> None:
    """Have it ended; that Core is not there is no reason not to."""
    ended = await api.ask("POST", f"/v1/sessions/{UUID(int=session)}/end", token, ENDED)
    assert ended.status == 200, ended


async def until(api: Api, wanted: dict[str, int]) -> dict[str, Any]:
    """Ask until the outbox has so many."""
    with trio.fail_after(20):
        while True:
            found = (await api.get(PREFIX, user(PLATFORM))).json
            if {name: found[name] for name in wanted} == wanted:
                return dict(found)
            await trio.sleep(0.02)


async def test_what_is_dead_is_listed_and_comes_back(
    operated: Any, make_token: MakeToken, make_batch: Callable[..., bytes]
) -> None:
    """Given up after its attempts, told with its cause; tried again by hand, it is delivered."""
    async with (
        stand_in_for_core() as core,
        operated(core_api_url=core.url, outbox_max_attempts=1, errors=3) as api,
    ):
        core.body = GRANTS
        for session in (1, 2, 3):
            await send(api, make_token(session), make_batch())
        core.status = 503
        for session in (1, 2, 3):
            await end(api, session, make_token(session))
        admin = user(PLATFORM)
        found = await until(api, {"pending": 0, "dead": 3})
        assert found["oldest_pending_at"] is None
        assert [row["session_id"] for row in found["deliveries"]] == [
            str(UUID(int=n)) for n in (1, 2, 3)
        ]
        for row in found["deliveries"]:
            assert (row["state"], row["waits_for"], row["attempts"]) == ("dead", "core", 1)
            assert row["next_attempt_at"] is None
            assert row["error"].startswith("core: ")

        page = (await api.get(f"{PREFIX}?dead=true&limit=2", admin)).json
        assert len(page["deliveries"]) == 2
        last = (await api.get(f"{PREFIX}?limit=2&after={page['after']}", admin)).json
        assert [row["session_id"] for row in last["deliveries"]] == [str(UUID(int=3))]
        assert last["after"] is None

        core.status = 200
        one = await api.ask("POST", f"{PREFIX}/retry", admin, {"session_id": str(UUID(int=2))})
        assert (one.status, one.json) == (200, {"retried": 1})
        await until(api, {"pending": 0, "dead": 2})
        rest = await api.ask("POST", f"{PREFIX}/retry", admin)
        assert rest.json == {"retried": 2}
        assert (await until(api, {"pending": 0, "dead": 0}))["deliveries"] == []
        told = [asked.body for asked in core.asked if asked.target.endswith("session-aggregated")]
        assert len(told) == 6


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("dead=yes", "dead"), ("after=1", "after"), ("before=2", "before")],
)
async def test_a_misfit_is_named(operated: Any, query: str, field: str) -> None:
    """By the parameter's name, with what was seen."""
    async with operated() as api:
        refused = await api.get(f"{PREFIX}?{query}", user(PLATFORM))
        assert (refused.status, refused.code) == (400, "parameter_malformed")
        assert refused.json["field"] == field


async def test_only_platform_admins_come_in(operated: Any) -> None:
    """To any of the operators' routes; what they ask for is not looked at before."""
    async with operated() as api:
        for role in (PATIENT, SPECIALIST, CLINIC):
            for method, path in (
                ("GET", PREFIX),
                ("POST", f"{PREFIX}/retry"),
                ("GET", "/v1/admin/retention"),
                ("POST", "/v1/admin/retention"),
                ("POST", "/v1/admin/erase"),
                ("GET", "/v1/admin/erasures"),
                ("GET", f"/v1/admin/erasures/{STAFF}"),
            ):
                body = b"no JSON" if method == "POST" else None
                refused = await api.ask(method, path, user(role), body)
                assert (refused.status, refused.code) == (403, "role_required"), path
        assert (await api.get(PREFIX)).status == 401


async def test_a_retry_needs_a_session_that_is_one(operated: Any) -> None:
    """Another word than a UUID is refused; an unknown session has nothing to be tried again."""
    async with operated() as api:
        admin = user(PLATFORM)
        refused = await api.ask("POST", f"{PREFIX}/retry", admin, {"session_id": "all"})
        assert (refused.status, refused.json["field"]) == (400, "session_id")
        refused = await api.ask("POST", f"{PREFIX}/retry", admin, {"sesion_id": STAFF})
        assert (refused.status, refused.json["field"]) == (400, "sesion_id")
        unknown = await api.ask("POST", f"{PREFIX}/retry", admin, {"session_id": STAFF})
        assert unknown.json == {"retried": 0}
