"""`POST /v1/media/events`, over both lanes alike, and what the statistics make of them."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio

from penstock.http.roles import Role
from penstock.jwts import mint_user_jwt

LANES = pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
PATH = "/v1/media/events"
BANDWIDTH, SESSIONS = "/v1/media/bandwidth/stats", "/v1/media/sessions/stats"
USER_SECRET = b"u" * 40
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) Version/17.4 Mobile Safari/604.1"
TOLD = {"ttfb_ms": 340, "video_load_time_ms": 1200, "connection_type": "wifi"}


BEGAN = time.time()


def moment(seconds: float = 0) -> str:
    """Give a moment of the client's clock; differences are exact."""
    return datetime.fromtimestamp(BEGAN + seconds, UTC).isoformat()


def said(event: str = "session_start", session: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "event": event,
        "session_id": str(UUID(int=session)),
        "media_id": "squat",
        "media_type": "video",
        "timestamp": moment(),
        **more,
    }


def user(role: Role) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {"principal_id": str(uuid4()), "org_id": str(uuid4()), "role": role}
    return mint_user_jwt(
        USER_SECRET,
        **claims,
        consent_level=0,
        issuer="penstock",
        audience="penstock",
        issued_unix=now - 5,
        expires_unix=now + 600,
    )


class Talk:
    """One client of one service."""

    def __init__(self, client: Any, make: Callable[..., bytes]) -> None:
        self.client = client
        self._make = make

    async def tell(self, body: Any, *, session: int = 1, **given: Any) -> Any:
        """Post an event."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        changes = {"Content-Type": "application/json"} | given.pop("changes", {})
        request = self._make(raw, session=session, target=PATH, changes=changes, **given)
        await self.client.send(request)
        return await self.client.reply()

    async def ask(self, path: str, role: Role | None = Role.PLATFORM_ADMIN) -> Any:
        """Get a statistic."""
        bearer = "" if role is None else f"Authorization: Bearer {user(role)}\r\n"
        await self.client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n".encode())
        return await self.client.reply("GET")

    async def settle(self, over: int) -> None:
        """Wait until the statistics know so many sessions as over."""
        while True:
            found = (await self.ask(SESSIONS)).json
            if found["completed"] + found["abandoned"] == over:
                return
            await trio.sleep(0.01)


@pytest.fixture
def talk(
    serve: Any,
    dial: Any,
    make_request: Callable[..., bytes],
    express_lane: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Open a service, whose statistics do not lag behind, and a client of it."""
    monkeypatch.setattr("penstock.engine.media.folder.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("penstock.engine.media.records.FOLD_AFTER_MS", 0)

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Talk]:
        async with (
            serve(express_lane=express_lane, **settings) as service,
            dial(service) as client,
        ):
            yield Talk(client, make_request)

    return opened


@LANES
async def test_an_event_is_accepted_once(talk: Any) -> None:
    """The answer names it; the same event again has the same answer, whatever else it says."""
    async with talk() as client:
        event = said(data=TOLD)
        first = await client.tell(event)
        assert first.status == 202
        assert set(first.json) == {"status", "event_id", "session_id"}
        assert (first.json["status"], first.json["session_id"]) == ("accepted", str(UUID(int=1)))
        again = await client.tell(event | {"data": {}})
        assert (again.status, again.body) == (202, first.body)
        other = await client.tell(said("play"))
        assert other.json["event_id"] != first.json["event_id"]


@LANES
async def test_the_gates_in_their_order(talk: Any, tmp_path: Path) -> None:
    """Each refusal comes before what would refuse it next, and names what it is about."""
    grants = tmp_path / "grants.json"
    who = {"principal_id": str(UUID(int=7)), "org_id": str(UUID(int=8))}
    grants.write_text(json.dumps({"consents": [who | {"purposes": ["analytics"]}]}))
    async with talk(grants_file=grants, rate_burst=1, rate_batches_per_second=0.01) as client:
        none = await client.tell(b"not JSON", changes={"Authorization": None})
        assert (none.status, none.code) == (401, "token_missing")
        ok = await client.tell(said())
        assert ok.status == 202
        fast = await client.tell(b"not JSON")
        assert (fast.status, fast.code) == (429, "rate_session_exceeded")
        assert fast.json["setting"] == "rate_batches_per_second"
        assert int(fast.headers["retry-after"]) > 50
        # Pose batches have a bucket of their own; and this consent is not theirs.
        pose = await _pose(client)
        assert (pose.status, pose.code) == (403, "consent_required")
        grants.write_text(json.dumps({"consents": [who | {"purposes": ["biometric"]}]}))
    async with talk(grants_file=grants, rate_burst=1) as client:
        closed = await client.tell(b"not JSON")
        assert (closed.status, closed.code) == (403, "consent_required")
        assert closed.json["purpose"] == "analytics"
        large = await client.tell(b"x" * 16_385)
        assert (large.status, large.code, large.json["limit"]) == (413, "body_too_large", 16_384)


async def _pose(client: Talk) -> Any:
    await client.client.send(client._make())
    return await client.client.reply()


BAD = {
    "another type": (said(), {"Content-Type": "text/plain"}, 415, "unsupported_media_type", None),
    "no JSON": (b"{", {}, 400, "body_malformed", None),
    "another event": (said("explode"), {}, 400, "body_malformed", "event"),
    "a wrong field": (
        said(data={"ttfb_ms": "slow"}), {}, 400, "body_malformed", "data.ttfb_ms",
    ),
    "long ago": (said(timestamp=moment(-8 * 86400)), {}, 400, "body_malformed", "timestamp"),
    "a wrong key of CMCD": (said(), {"CMCD-Object": "br=much"}, 400, "cmcd_malformed", "br"),
    "another session": (said(session=2), {}, 401, "token_wrong_session", "session_id"),
}  # fmt: skip


@LANES
async def test_what_is_no_event_is_refused(talk: Any) -> None:
    """By the field that is wrong, and nothing of it counts."""
    async with talk() as client:
        for name, (body, changes, status, code, field) in BAD.items():
            reply = await client.tell(body, changes=changes)
            assert (reply.status, reply.code) == (status, code), name
            assert reply.json.get("field") == field, name
        explode = await client.tell(said("explode"))
        assert "session_start" in explode.json["detail"]
        assert (await client.ask(SESSIONS)).json["total_sessions"] == 0


@LANES
async def test_a_session_of_another_principal(talk: Any, make_token: Callable[..., str]) -> None:
    """A session's events are those of one principal."""
    async with talk() as client:
        assert (await client.tell(said())).status == 202
        stranger = {"Authorization": f"Bearer {make_token(1, principal=9)}"}
        reply = await client.tell(said("play"), changes=stranger)
        assert (reply.status, reply.code) == (401, "token_wrong_session")


@LANES
async def test_a_full_session(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limit is told so for good, and the end has its place."""
    monkeypatch.setattr("penstock.engine.media.events.MAX_SESSION_EVENTS", 2)
    async with talk() as client:
        assert (await client.tell(said())).status == 202
        full = await client.tell(said("play"))
        assert (full.status, full.code) == (409, "media_session_full")
        assert "retry-after" not in full.headers
        assert (await client.tell(said("session_end"))).status == 202


@LANES
async def test_cmcd_headers_fill_in(talk: Any) -> None:
    """What a player tells its CDN becomes the event's; what the event says itself goes first."""
    async with talk() as client:
        start = said(timestamp=moment(-20))
        await client.tell(start)
        headers = {"CMCD-Object": "br=3200", "CMCD-Status": "bs"}
        await client.tell(said("play", timestamp=moment(-10)), changes=headers)
        await client.tell(said("session_end"))
        await client.settle(1)
        found = (await client.ask(BANDWIDTH)).json
        assert found["stats"][0]["avg_bitrate"] == 3_200_000


@LANES
async def test_the_statistics_are_of_what_was_told(talk: Any) -> None:
    """Each field of both answers, from the events of two sessions."""
    async with talk() as client:
        await client.tell(said(timestamp=moment(-61), data=TOLD), changes={"User-Agent": PHONE})
        await client.tell(said("play", timestamp=moment(-60)))
        await client.tell(said("buffering_start", timestamp=moment(-30)))
        await client.tell(said("buffering_end", timestamp=moment(-28), data={"duration_ms": 2000}))
        await client.tell(said("session_end", data={"reason": "completed"}))
        await client.tell(said("session_start", 2, data={"ttfb_ms": 660}), session=2)
        await client.tell(said("error", 2), session=2)
        await client.tell(said("session_end", 2), session=2)
        await client.settle(2)
        found = (await client.ask(f"{BANDWIDTH}?group_by=device_type&period=1h")).json
        assert (found["period"], found["group_by"]) == ("1h", "device_type")
        mobile, unknown = found["stats"]
        assert mobile == {
            "device_type": "mobile",
            "total_sessions": 1,
            "avg_ttfb_ms": 340.0,
            "avg_load_time_ms": 1200.0,
            "avg_buffering_count": 1.0,
            "avg_buffering_duration_ms": pytest.approx(2000, abs=1),
            "avg_bitrate": None,
            "completion_rate": 1.0,
            "error_rate": 0.0,
        }
        assert (unknown["device_type"], unknown["error_rate"]) == ("unknown", 1.0)
        for name in ("country_code", "connection_type", "browser_family"):
            one = (await client.ask(f"{BANDWIDTH}?group_by={name}")).json
            assert sum(row["total_sessions"] for row in one["stats"]) == 2
            assert all(name in row for row in one["stats"])
        assert (await client.ask(f"{BANDWIDTH}?media_id=lunge")).json["stats"] == []
        assert (await client.ask(f"{BANDWIDTH}?media_id=squat")).json["stats"]
        sessions = (await client.ask(SESSIONS)).json
        assert sessions == {
            "period": "7d",
            "total_sessions": 2,
            "completed": 1,
            "abandoned": 1,
            "active": 0,
            "avg_watch_time_seconds": pytest.approx(29, abs=0.2),
            "avg_completion_percent": None,
            "performance": {
                "p50_ttfb_ms": pytest.approx(340, rel=0.01),
                "p95_ttfb_ms": pytest.approx(340, rel=0.01),
                "p50_load_time_ms": pytest.approx(1200, rel=0.01),
                "p95_load_time_ms": pytest.approx(1200, rel=0.01),
                "p50_buffer_duration_ms": pytest.approx(2000, rel=0.02),
                "p95_buffer_duration_ms": pytest.approx(2000, rel=0.02),
            },
        }
        abandoned = (await client.ask(f"{SESSIONS}?status=abandoned&period=30d")).json
        assert (abandoned["total_sessions"], abandoned["completed"]) == (1, 0)
        assert abandoned["performance"]["p95_ttfb_ms"] == pytest.approx(660, rel=0.01)


@pytest.mark.parametrize("express_lane", [True])
async def test_the_statistics_are_for_platform_admins(talk: Any) -> None:
    """They are of all organisations: nobody else gets them, and no cache keeps them."""
    async with talk() as client:
        for path in (BANDWIDTH, SESSIONS):
            assert (await client.ask(path, None)).code == "user_token_missing"
            for role in Role:
                reply = await client.ask(path, role)
                may = role is Role.PLATFORM_ADMIN
                assert reply.status == (200 if may else 403), role
            assert (await client.ask(path)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("express_lane", [True])
async def test_a_wrong_parameter_is_named(talk: Any) -> None:
    """What is not known was meant to narrow the answer: it is refused, with what may be."""
    async with talk() as client:
        for query, field, words in (
            (f"{BANDWIDTH}?period=2h", "period", "1h, 24h, 7d, 30d"),
            (f"{BANDWIDTH}?group_by=status", "group_by", "country_code"),
            (f"{BANDWIDTH}?media_id=", "media_id", "1 to 200"),
            (f"{BANDWIDTH}?media_id={'x' * 201}", "media_id", "1 to 200"),
            (f"{BANDWIDTH}?status=active", "status", "group_by"),
            (f"{SESSIONS}?status=ended", "status", "completed, abandoned"),
            (f"{SESSIONS}?group_by=status", "group_by", "status"),
        ):
            reply = await client.ask(query)
            assert (reply.status, reply.code) == (400, "parameter_malformed"), query
            assert reply.json["field"] == field
            assert words in reply.json["detail"]


@pytest.mark.parametrize("express_lane", [True])
async def test_the_statistics_are_of_a_surface(talk: Any) -> None:
    """A service of the ingest contract alone does not have them, and takes events."""
    async with talk(surfaces=("sessions",)) as client:
        assert (await client.ask(SESSIONS)).status == 404
        assert (await client.tell(said())).status == 202


@pytest.mark.parametrize("express_lane", [True])
async def test_browsers_may_tell(talk: Any) -> None:
    """The route has the preflight of the others."""
    async with talk(cors_origins=("https://portal.test",)) as client:
        head = "Origin: https://portal.test\r\nAccess-Control-Request-Method: POST"
        await client.client.send(f"OPTIONS {PATH} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        reply = await client.client.reply("OPTIONS")
        assert reply.status == 204
        assert reply.headers["access-control-allow-origin"] == "https://portal.test"


async def _end(client: Talk, session: int = 1) -> Any:
    body = json.dumps({"ended_at": moment(), "client_status": "completed"}).encode()
    target = f"/v1/sessions/{UUID(int=session)}/end"
    changes = {"Content-Type": "application/json"}
    await client.client.send(client._make(body, session=session, target=target, changes=changes))
    return await client.client.reply()


def _kept(data_dir: Path, session: int = 1) -> dict[str, Any]:
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as db:
        row = db.execute(
            "SELECT body FROM session_finals WHERE session_id = ? ORDER BY revision DESC",
            (str(UUID(int=session)),),
        ).fetchone()
    plain: dict[str, Any] = json.loads(row[0])
    return plain


@LANES
async def test_a_final_has_the_figures_of_its_media(talk: Any, tmp_path: Path) -> None:
    """With frames or without any: every event that was accepted before the end is in them."""
    async with talk(data_dir=tmp_path / "kept") as client:
        for session in (1, 2):
            await client.tell(
                said("session_start", session, timestamp=moment(-60), data=TOLD), session=session
            )
            await client.tell(said("play", session, timestamp=moment(-58)), session=session)
            await client.tell(said("pause", session, timestamp=moment(-8)), session=session)
        assert (await _pose(client)).status == 202
        with_frames, without = await _end(client, 1), await _end(client, 2)
        assert (with_frames.status, without.status) == (200, 200)
        assert with_frames.json["frames_received"] == 10
        assert without.json["frames_received"] == 0
        assert without.json["replay_blob"] is None
        for session in (1, 2):
            played = _kept(tmp_path / "kept", session)["media_metrics"]
            assert (played["events"], played["ttfb_ms"]) == (3, 340)
            assert played["status"] == "abandoned"
            assert played["watch_time_seconds"] == pytest.approx(50)
        assert (await _end(client, 2)).body == without.body
        assert (await _end(client, 3)).code == "session_unknown"
        await client.settle(2)
        # What comes late counts in the statistics; the final stays what was published.
        late = await client.tell(said("session_end", 2, data={"reason": "completed"}), session=2)
        assert late.status == 202
        while (await client.ask(f"{SESSIONS}?status=completed")).json["completed"] != 1:  # noqa: ASYNC110 - another process would set no event
            await trio.sleep(0.01)
        assert (await _end(client, 2)).body == without.body
        assert _kept(tmp_path / "kept", 2)["media_metrics"]["events"] == 3


@pytest.mark.parametrize("express_lane", [True])
async def test_a_silent_session_of_events_is_closed(
    talk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Provisionally, unless frames of it come; its client's own end takes the final's place."""
    monkeypatch.setattr("penstock.engine.media.folder.IDLE_AFTER_MS", 0)
    async with talk(data_dir=tmp_path / "kept") as client:
        assert (await _pose(client)).status == 202
        for session in (1, 2):
            await client.tell(said("play", session, timestamp=moment(-60)), session=session)
        await client.settle(2)
        closed = _kept(tmp_path / "kept", 2)
        assert (closed["status"], closed["provisional"]) == ("abandoned", True)
        assert (closed["revision"], closed["media_metrics"]["events"]) == (1, 1)
        await client.tell(said("session_end", 2, data={"reason": "completed"}), session=2)
        with_frames, without = await _end(client, 1), await _end(client, 2)
        assert (with_frames.status, with_frames.json["revision"]) == (200, 1)
        assert (without.status, without.json["revision"]) == (200, 2)
        ended = _kept(tmp_path / "kept", 2)
        assert (ended["status"], ended["provisional"]) == ("completed", False)
        assert ended["media_metrics"]["events"] == 2


@pytest.mark.parametrize("express_lane", [True])
async def test_only_its_principal_ends_a_session_of_events(
    talk: Any, make_token: Callable[..., str]
) -> None:
    """A token of another principal is one of another session."""
    async with talk() as client:
        assert (await client.tell(said())).status == 202
        body = json.dumps({"ended_at": moment(), "client_status": "completed"}).encode()
        changes = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {make_token(1, principal=9)}",
        }
        target = f"/v1/sessions/{UUID(int=1)}/end"
        await client.client.send(client._make(body, target=target, changes=changes))
        reply = await client.client.reply()
        assert (reply.status, reply.code) == (401, "token_wrong_session")
        assert (await _end(client)).status == 200
