"""`/v1/admin/erase`: ordered by an operator, taken when it is certain, told by a digest."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import trio

from asking import ANN, BOB, STAFF, Api, event, service_account, user
from penstock.http.roles import Role

ERASE, ERASURES = "/v1/admin/erase", "/v1/admin/erasures"
PLATFORM, PATIENT = Role.PLATFORM_ADMIN, Role.PATIENT


async def finished(api: Api, erasure_id: str) -> dict[str, Any]:
    """Wait until an erasure is done; give it."""
    with trio.fail_after(20):
        while True:
            found = (await api.get(f"{ERASURES}/{erasure_id}", user(PLATFORM))).json["erasure"]
            if found["state"] == "done":
                return dict(found)
            await trio.sleep(0.02)


async def test_a_person_is_erased(operated: Any) -> None:
    """Looked at, ordered, done: Core knows him no more, and knows everybody else."""
    async with operated() as api:
        admin = user(PLATFORM)
        await api.publish(event(1), event(2), event(3, principal_id=BOB))
        await api.ask("PUT", "/v1/me/consents", user(PATIENT, ANN), {"purposes": ["biometric"]})
        for session in (1, 2, 3):
            await api.store_replay(session, b"x")
        dry = await api.ask("POST", ERASE, admin, {"principal_id": ANN, "dry_run": True})
        assert (dry.status, dry.json["ledger_sessions"], dry.json["consents"]) == (200, 2, 1)
        assert (await api.get(ERASURES, admin)).json == {"erasures": []}

        ordered = await api.ask("POST", ERASE, admin, {"principal_id": ANN.upper()})
        assert ordered.status == 202
        assert ANN not in ordered.body.decode()
        done = await finished(api, ordered.json["erasure"]["erasure_id"])
        assert (done["sessions"], done["blobs"], done["asked_by"]) == (2, 2, STAFF)
        assert done["rows"] == dry.json["ledger_rows"]
        assert (await api.get(ERASURES, admin)).json["erasures"] == [done]

        mine = await api.get("/v1/me/exercise-sessions", user(PATIENT, ANN))
        assert mine.json["exercise_sessions"] == []
        (his,) = (await api.get("/v1/me/exercise-sessions", user(PATIENT, BOB))).json[
            "exercise_sessions"
        ]
        link = f"/v1/exercise-sessions/{his['session_id']}/replay"
        assert (await api.get(link, user(PATIENT, BOB))).status == 200
        late = await api.ask(
            "POST", "/v1/internal/telemetry/session-aggregated", service_account(), event(1, 2)
        )
        assert (late.status, late.code) == (409, "aggregate_conflict")


async def test_sessions_under_way_are_cut_off_by_force_only(
    operated: Any, make_token: Callable[..., str], make_batch: Callable[..., bytes]
) -> None:
    """Refused with their number; with force they end without a final, and take nothing more."""
    async with operated() as api:
        admin, token = user(PLATFORM), make_token(1)
        headers = {"Content-Type": "application/octet-stream"}

        async def send() -> Any:
            return await api.ask("POST", "/v1/pose/frames", token, make_batch(), headers)

        assert (await send()).status == 202
        refused = await api.ask("POST", ERASE, admin, {"principal_id": ANN})
        assert (refused.status, refused.code) == (409, "erasure_sessions_live")
        assert refused.json["seen"] == 1
        forced = await api.ask("POST", ERASE, admin, {"principal_id": ANN, "force": True})
        assert forced.status == 202
        assert (await finished(api, forced.json["erasure"]["erasure_id"]))["sessions"] == 1
        late = await send()
        assert (late.status, late.code) == (409, "session_finalized")
        said = {"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}
        end = await api.ask("POST", f"/v1/sessions/{UUID(int=1)}/end", token, said)
        assert (end.status, end.code) == (404, "session_unknown")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "principal_id"),
        ({"principal_id": "ann"}, "principal_id"),
        ({"principal_id": ANN, "dry_run": "yes"}, "dry_run"),
        ({"principal_id": ANN, "dryrun": True}, "dryrun"),
    ],
)
async def test_a_misfit_erases_nobody(operated: Any, body: Any, field: str) -> None:
    """It is named, and nothing was ordered."""
    async with operated() as api:
        refused = await api.ask("POST", ERASE, user(PLATFORM), body)
        assert (refused.status, refused.json["field"]) == (400, field)
        assert (await api.get(ERASURES, user(PLATFORM))).json == {"erasures": []}
        unknown = await api.get(f"{ERASURES}/{STAFF}", user(PLATFORM))
        assert (unknown.status, unknown.code) == (404, "erasure_unknown")
