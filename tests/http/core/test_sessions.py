"""An exercise session from its start to its reading: whose it is decides what is seen of it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError
from penstock.engine.receipts import Committed, Lane
from penstock.engine.records import FinalEntry
from penstock.http.roles import Role
from penstock.storage.ledger import SqliteLedger

PATIENT, SPECIALIST, CLINIC, PLATFORM = Role
ORG, OTHER_ORG, ANN, BOB = (str(UUID(int=n)) for n in (8, 9, 7, 11))
SESSIONS = "/v1/exercise-sessions"
OCTETS = "application/octet-stream"


async def _begin(api: Any, token: str, body: Any = None) -> dict[str, Any]:
    reply = await api.ask("POST", SESSIONS, token, body)
    assert reply.status == 200, reply
    answer: dict[str, Any] = reply.json
    return answer


async def test_a_session_begins_with_a_token_that_opens_it(
    core: Any, make_user: Callable[..., str], make_batch: Callable[..., bytes]
) -> None:
    """The three fields of the contract; frames go in with the token, and the row is there."""
    ann = make_user(PATIENT, ANN)
    async with core(session_token_ttl_seconds=90) as api:
        begun = await _begin(api, ann, {"exercise_id": "squat"})
        assert set(begun) == {"session_id", "telemetry_token", "telemetry_token_expires_at"}
        assert begun["telemetry_token_expires_at"].endswith("Z")
        headers = {"Content-Type": OCTETS}
        reply = await api.ask(
            "POST", "/v1/pose/frames", begun["telemetry_token"], make_batch(), headers
        )
        assert reply.status == 202
        assert reply.json["session_id"] == begun["session_id"]
        found = await api.get(f"{SESSIONS}/{begun['session_id']}", ann)
        assert found.headers["cache-control"] == "no-store"
        assert found.json["status"] == "open"
        assert found.json["exercise_id"] == "squat"
        assert found.json["rep_metrics"] is None
        bare = await _begin(api, ann)
        assert bare["session_id"] != begun["session_id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"exercise_id": 5}, "exercise_id"),
        ({"exercise_id": ""}, "exercise_id"),
        ({"exercise_id": "x" * 201}, "exercise_id"),
        ({"exercise_id": "a\u0000b"}, "exercise_id"),
        ({"exercise": "squat"}, "exercise"),
        ([], None),
        (b"{", None),
    ],
)
async def test_a_start_that_says_nothing_clear_is_refused(
    core: Any, make_user: Callable[..., str], body: Any, field: str | None
) -> None:
    """400 with the field, and no session is made."""
    ann = make_user(PATIENT, ANN)
    async with core() as api:
        reply = await api.ask("POST", SESSIONS, ann, body)
        assert (reply.status, reply.code) == (400, "body_malformed")
        assert reply.json.get("field") == field
        page = await api.get("/v1/me/exercise-sessions", ann)
        assert page.json == {"exercise_sessions": [], "next_cursor": None}


async def test_a_token_is_renewed_for_whose_session_it_is(
    core: Any, make_user: Callable[..., str], make_batch: Callable[..., bytes]
) -> None:
    """The same patient in the same organisation gets another token; to anybody else it is 404."""
    async with core() as api:
        begun = await _begin(api, make_user(PATIENT, ANN))
        path = f"{SESSIONS}/{begun['session_id']}/telemetry-token"
        for who in (make_user(PATIENT, BOB), make_user(PATIENT, ANN, OTHER_ORG)):
            reply = await api.ask("POST", path, who)
            assert (reply.status, reply.code) == (404, "exercise_session_unknown")
        reply = await api.ask("POST", path, make_user(PATIENT, ANN))
        assert reply.json["session_id"] == begun["session_id"]
        frames = {"Content-Type": OCTETS}
        for token in (begun["telemetry_token"], reply.json["telemetry_token"]):
            sent = await api.ask("POST", "/v1/pose/frames", token, make_batch(), frames)
            assert sent.status == 202


@pytest.mark.parametrize("by", ["final", "figures"])
@pytest.mark.parametrize("provisional", [True, False])
async def test_what_has_ended_gets_no_new_token(
    core: Any,
    make_user: Callable[..., str],
    make_event: Callable[..., dict[str, Any]],
    by: str,
    *,
    provisional: bool,
) -> None:
    """From the final on, also before its figures come; an end by the service itself is none."""
    ann = make_user(PATIENT, ANN)
    async with core() as api:
        begun = await _begin(api, ann)
        number = UUID(begun["session_id"]).int
        if by == "figures":
            times = {"started_unix_ms": 5, "ended_unix_ms": 6}
            await api.publish(make_event(number, provisional=provisional, **times))
        else:
            body = {"provisional": provisional}
            final = FinalEntry(begun["session_id"], ORG, ANN, 1, "completed", 5, body)
            answer = await api.service.writer.enter_nowait(final, Lane.FINAL).wait()
            assert isinstance(answer, Committed)
        reply = await api.ask("POST", f"{SESSIONS}/{begun['session_id']}/telemetry-token", ann)
        if provisional:
            assert reply.status == 200
        else:
            assert (reply.status, reply.code) == (409, "exercise_session_ended")


async def test_figures_are_read_by_the_patient_and_the_clinic_alone(
    core: Any, make_user: Callable[..., str], make_event: Callable[..., dict[str, Any]]
) -> None:
    """Whole for the owner and his organisation's staff; to all others the session is not there."""
    one = f"{SESSIONS}/{UUID(int=1)}"
    of_ann = f"/v1/patients/{ANN}/exercise-sessions"
    async with core() as api:
        await api.publish(make_event(1, media_metrics={"watch_time_ms": 7}))
        for who in (make_user(PATIENT, ANN), make_user(SPECIALIST), make_user(CLINIC)):
            reply = await api.get(one, who)
            assert reply.status == 200
            assert reply.json["session_metrics"] == make_event(1)["session_metrics"]
            assert reply.json["rep_metrics"] == make_event(1)["rep_metrics"]
            assert reply.json["media_metrics"] == {"watch_time_ms": 7}
            assert reply.json["ended_at"] == "2025-06-15T15:07:40.001Z"
        for who in (
            make_user(PATIENT, BOB),
            make_user(PATIENT, ANN, OTHER_ORG),
            make_user(SPECIALIST, org_id=OTHER_ORG),
            make_user(CLINIC, org_id=OTHER_ORG),
        ):
            reply = await api.get(one, who)
            assert (reply.status, reply.code) == (404, "exercise_session_unknown")
            assert reply.headers["cache-control"] == "no-store"
        for role in (SPECIALIST, CLINIC):
            mine = await api.get(of_ann, make_user(role))
            assert [s["session_id"] for s in mine.json["exercise_sessions"]] == [str(UUID(int=1))]
            reply = await api.get(of_ann, make_user(role, org_id=OTHER_ORG))
            assert (reply.status, reply.code) == (404, "patient_unknown")
        none = await api.get("/v1/me/exercise-sessions", make_user(PATIENT, ANN, OTHER_ORG))
        assert none.json["exercise_sessions"] == []


async def test_pages_go_through_all_sessions_once(
    core: Any, make_user: Callable[..., str], make_event: Callable[..., dict[str, Any]]
) -> None:
    """Newest first, with a cursor until the last page; a cursor opens nothing that is not ours."""
    async with core() as api:
        await api.publish(*(make_event(number) for number in range(1, 8)))
        await api.publish(make_event(50, principal_id=BOB))
        seen: list[str] = []
        cursor: str | None = ""
        for _ in range(4):
            reply = await api.get(
                f"/v1/me/exercise-sessions?limit=2{cursor}", make_user(PATIENT, ANN)
            )
            seen += [one["session_id"] for one in reply.json["exercise_sessions"]]
            last = reply.json["next_cursor"]
            cursor = None if last is None else f"&cursor={last}"
        assert cursor is None
        assert seen == [str(UUID(int=number)) for number in range(7, 0, -1)]
        first = await api.get("/v1/me/exercise-sessions?limit=2", make_user(PATIENT, ANN))
        taken = f"/v1/me/exercise-sessions?cursor={first.json['next_cursor']}"
        assert (await api.get(taken, make_user(PATIENT, BOB))).json["exercise_sessions"] == []
        exact = await api.get("/v1/me/exercise-sessions?limit=7", make_user(PATIENT, ANN))
        assert exact.json["next_cursor"] is None


async def test_cohorts_are_of_the_admins_own_organisation(
    core: Any, make_user: Callable[..., str], make_event: Callable[..., dict[str, Any]]
) -> None:
    """By patient and exercise within the days asked for, in pages."""
    base = "/v1/analytics/cohort/exercise-adherence"
    days = "from=2025-06-15&to=2025-06-15"
    async with core() as api:
        await api.publish(
            make_event(1),
            make_event(2, status="abandoned", exercise_id="lunge"),
            make_event(3, principal_id=BOB),
            make_event(4, org_id=OTHER_ORG),
        )
        whole = (await api.get(f"{base}?{days}", make_user(CLINIC))).json
        assert whole["from"] == "2025-06-15T00:00:00.000Z"
        assert whole["to"] == "2025-06-16T00:00:00.000Z"
        rows = [(row["principal_id"], row["exercise_id"]) for row in whole["adherence"]]
        assert rows == [(ANN, "lunge"), (ANN, "squat"), (BOB, "squat")]
        assert whole["adherence"][0]["completion_ratio"] == 0.0
        assert whole["adherence"][1] == {
            "principal_id": ANN,
            "exercise_id": "squat",
            "sessions": 1,
            "completed_sessions": 1,
            "completion_ratio": 1.0,
            "active_days": 1,
            "rep_count": 2,
            "exercised_seconds": 60.0,
            "last_ended_at": "2025-06-15T15:07:40.001Z",
        }
        first = (await api.get(f"{base}?{days}&limit=1", make_user(CLINIC))).json
        rest = f"{base}?{days}&cursor={first['next_cursor']}"
        rest_rows = (await api.get(rest, make_user(CLINIC))).json["adherence"]
        assert first["adherence"] + rest_rows == whole["adherence"]
        squats = await api.get(f"{base}?{days}&exercise_id=squat", make_user(CLINIC))
        assert len(squats.json["adherence"]) == 2
        lately = await api.get(base, make_user(CLINIC))
        assert lately.json["adherence"] == []
        for wrong in ("from=2025-06-16&to=2025-06-15", "from=2020-01-01", "from=x", "to=1"):
            reply = await api.get(f"{base}?{wrong}", make_user(CLINIC))
            assert (reply.status, reply.code) == (400, "parameter_malformed")


async def test_the_platforms_counts_name_nobody(
    core: Any, make_user: Callable[..., str], make_event: Callable[..., dict[str, Any]]
) -> None:
    """Exercises of at least five patients, over all organisations; no id of anybody in it."""
    path = "/v1/admin/platform/exercise-aggregate-counts?from=2025-06-15&to=2025-06-15"
    people = [str(UUID(int=300 + number)) for number in range(5)]
    async with core() as api:
        for number, who in enumerate(people):
            org_id = (ORG, OTHER_ORG)[number % 2]
            await api.publish(make_event(number + 1, principal_id=who, org_id=org_id))
        rare = [make_event(20 + n, principal_id=people[n], exercise_id="rare") for n in range(4)]
        await api.publish(*rare)
        reply = await api.get(path, make_user(PLATFORM))
        (row,) = reply.json["exercises"]
        assert row == {
            "exercise_id": "squat",
            "patients": 5,
            "organisations": 2,
            "sessions": 5,
            "completed_sessions": 5,
            "rep_count": 10,
            "exercised_seconds": 300.0,
        }
        assert reply.json["fewest_patients"] == 5
        text = reply.body.decode()
        assert "rare" not in text
        assert not any(name in text for name in (*people, ORG, OTHER_ORG))


async def test_an_event_is_taken_once_and_never_backwards(
    core: Any, make_user: Callable[..., str], make_event: Callable[..., dict[str, Any]],
    make_service: Callable[..., str],
) -> None:  # fmt: skip
    """Told again it is 200 again; an older revision changes nothing; a foreign one is 409."""
    path = "/v1/internal/telemetry/session-aggregated"
    async with core() as api:
        for revision in (2, 2, 1):
            status = "error" if revision == 1 else "completed"
            await api.publish(make_event(1, revision, status=status))
        found = await api.get(f"{SESSIONS}/{UUID(int=1)}", make_user(SPECIALIST))
        assert (found.json["revision"], found.json["status"]) == (2, "completed")
        stolen = make_event(1, 9, principal_id=BOB)
        reply = await api.ask("POST", path, make_service(), stolen)
        assert (reply.status, reply.code) == (409, "aggregate_conflict")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"session_id": "x"}, "session_id"),
        ({"session_id": None}, "session_id"),
        ({"revision": 0}, "revision"),
        ({"revision": "1"}, "revision"),
        ({"revision": True}, "revision"),
        ({"status": "done"}, "status"),
        ({"session_metrics": None}, "session_metrics"),
        ({"session_metrics": {"working_joint": "knee"}}, "session_metrics"),
        ({"session_metrics": {"rep_count": -1}}, "session_metrics.rep_count"),
        ({"session_metrics": {"rep_count": 1.5}}, "session_metrics.rep_count"),
        ({"rep_metrics": [{}]}, "rep_metrics.0.rep_number"),
        ({"rep_metrics": [{"rep_number": 1}] * 2}, "rep_metrics"),
        ({"media_metrics": []}, "media_metrics"),
        ({"completeness": 1.5}, "completeness"),
        ({"ended_unix_ms": 10**18}, "ended_unix_ms"),
    ],
    ids=str,
)
async def test_an_event_that_does_not_fit_is_refused_by_its_field(
    core: Any, make_event: Callable[..., dict[str, Any]], make_service: Callable[..., str],
    changes: dict[str, Any], field: str,
) -> None:  # fmt: skip
    """400 with the field's name and the value seen; nothing of it is stored."""
    async with core() as api:
        reply = await api.ask(
            "POST", "/v1/internal/telemetry/session-aggregated", make_service(),
            make_event(1) | changes,
        )  # fmt: skip
        assert (reply.status, reply.code) == (400, "body_malformed")
        assert reply.json["field"] == field


async def test_a_ledger_that_cannot_be_used_is_503_with_when_to_come_back(
    core: Any, make_user: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading or writing: the code says what it is, and nothing of the inside is told."""
    ann = make_user(PATIENT, ANN)

    async def broken(*_: object) -> None:
        raise LedgerUnavailableError(LedgerReason.IO_ERROR, "the words of the disk")

    async with core(ledger_wait_seconds=0.1) as api:
        with monkeypatch.context() as patch:
            patch.setattr(SqliteLedger, "read", broken)
            patch.setattr(SqliteLedger, "commit", broken)
            for method, path in (("GET", "/v1/me/exercise-sessions"), ("POST", SESSIONS)):
                reply = await api.ask(method, path, ann)
                assert (reply.status, reply.code) == (503, "ledger_io_error")
                assert int(reply.headers["retry-after"]) >= 1
                assert b"words of the disk" not in reply.body
        assert (await api.ask("POST", SESSIONS, ann)).status == 200
