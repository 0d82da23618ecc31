"""Whatever a client writes into a body: it is stored or refused by name, and nothing breaks."""

import gzip
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from penstock.engine.platform.records import AnalyticsPage, ErrorGroups
from platform_bodies import analytics, audit, error

ORG = str(UUID(int=8))
ROUTES = {
    "/v1/analytics/track": analytics,
    "/v1/errors/report": error,
    "/v1/audit/ingest": audit,
}
NUL = "a\x00b"


async def test_a_nul_is_refused_or_kept_alike_by_both_ledgers(
    platform: Any, make_user: Any, make_service: Any, ledger_url: dict[str, Any]
) -> None:
    """No database's own limit on texts becomes a failure of the service."""
    texts = {
        "/v1/analytics/track": ("resource_type", "resource_id", "page_url", "referrer_url"),
        "/v1/errors/report": (
            "error_type", "error_code", "error_message", "feature_name", "media_id", "stack_trace",
        ),
        "/v1/audit/ingest": ("resource_type", "resource_id"),
    }  # fmt: skip
    async with platform(**ledger_url) as api:
        for path, names in texts.items():
            token = make_service() if "audit" in path else make_user()
            for name in names:
                reply = await api.ask("POST", path, token, ROUTES[path](**{name: NUL}))
                assert (reply.status, reply.json.get("field")) == (400, name), (path, name, reply)
        for path, name in (
            ("/v1/analytics/track", "properties"), ("/v1/audit/ingest", "metadata"),
        ):  # fmt: skip
            token = make_service() if "audit" in path else make_user()
            reply = await api.ask("POST", path, token, ROUTES[path](**{name: {NUL: [NUL]}}))
            assert reply.status == 202
        (stored,) = await api.read(AnalyticsPage(ORG, 9))
        assert stored.properties == {NUL: [NUL]}
        assert await api.read(ErrorGroups(ORG, 9)) == []


async def test_what_players_plant_is_kept_nowhere(platform: Any, make_token: Any) -> None:
    """An e-mail, a token and an address in what names media is in no file of the data folder."""
    planted = ("ann.lee@clinic.example", "Bearer hunter2hunter2", "198.51.100.45")
    session, at = str(UUID(int=1)), datetime.now(UTC).isoformat()
    columns = ("landmark_x", "landmark_y", "landmark_z", "landmark_visibility")
    async with platform() as api:
        for n, text in enumerate(planted):
            event = {
                "event": "error", "session_id": session, "media_id": f"squat {text}",
                "media_type": "video", "timestamp": at,
                "data": {"error_code": text, "error_message": text, "elapsed_ms": n},
            }  # fmt: skip
            reply = await api.ask("POST", "/v1/media/events", make_token(), event)
            assert reply.status == 202, reply
            frame = {"elapsed_ms": n, **{name: [0.5] * 33 for name in columns}}
            batch = {
                "session_id": session,
                "media_id": text,
                "frames": [frame | {"active_exercise_phase": text}],
            }
            reply = await api.ask("POST", "/v1/pose/frames", make_token(), batch)
            assert reply.status == 202, reply
        end = {"ended_at": at, "client_status": "completed"}
        path = f"/v1/sessions/{session}/end"
        assert (await api.ask("POST", path, make_token(), end)).status == 200
        folder = api.service.settings.data_dir
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)
    kept += b"".join(gzip.decompress(path.read_bytes()) for path in folder.rglob("*.bin.gz"))
    assert b"squat [email]" in kept
    for text in planted:
        assert text.encode() not in kept, text


async def test_what_is_hashed_can_still_be_followed(platform: Any, make_user: Any) -> None:
    """A media id that is a digest, as the contract has it, stays what it is."""
    digest = "9f86d081884c7d659a2feaa0c55ad015"
    async with platform() as api:
        body = analytics(resource_id=digest, page_url=f"/library/{digest}")
        assert (await api.ask("POST", "/v1/analytics/track", make_user(), body)).status == 202
        (stored,) = await api.read(AnalyticsPage(ORG, 9))
        assert (stored.resource_id, stored.page_url) == (digest, "/library/[token]")


async def test_depth_and_size_are_bounded(platform: Any, make_user: Any) -> None:
    """Nesting beyond what is looked into is dropped; beyond what is read, it is refused."""
    async with platform() as api:
        for depth, status in ((50, 202), (150, 202), (5000, 400)):
            deep = b"[" * depth + b'"ann@clinic.example"' + b"]" * depth
            plain = orjson.dumps(analytics(properties={"deep": 0}))
            body = plain.replace(b'"deep":0', b'"deep":' + deep)
            reply = await api.ask("POST", "/v1/analytics/track", make_user(), body)
            assert reply.status == status, (depth, reply)
        kept = str(await api.read(AnalyticsPage(ORG, 9)))
        assert "clinic" not in kept
        for number in (b"1" + b"0" * 400, b"1e999", b"-" + b"9" * 30):
            body = plain.replace(b'"deep":0', b'"deep":' + number)
            reply = await api.ask("POST", "/v1/analytics/track", make_user(), body)
            assert reply.status in {202, 400}, (number, reply)
