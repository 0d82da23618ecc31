"""The JSON form of a pose batch is the same batch, on both lanes."""

from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest

from penstock.engine import wire
from penstock.http.pose_json import peek_json_frames
from penstock.storage.replay import read_replay

SESSION = str(UUID(int=1))
PATH = "/v1/pose/frames"
COLUMNS = ("landmark_x", "landmark_y", "landmark_z", "landmark_visibility")
LANES = pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])


def points_of(frames: int) -> Any:
    return np.random.default_rng(5).random((frames, 33, 4)).astype(np.float32)


def frame_of(points: Any, at_ms: float, **more: Any) -> dict[str, Any]:
    columns = {name: points[:, n].astype(float).tolist() for n, name in enumerate(COLUMNS)}
    return {"frame_number": 1, "elapsed_ms": at_ms, **columns, **more}


def body_of(points: Any, **more: Any) -> dict[str, Any]:
    frames = [frame_of(one, 100 * n) for n, one in enumerate(points)]
    frames[0] |= {"rep_count": 4, "form_score": 0.5, "pose_confidence": 0.9}
    frames[-1] |= {
        "rep_count": 5,
        "rom_degrees": 42.5,
        "active_exercise_phase": "concentric",
        "camera_resolution": "640x480",
        "processing_time_ms": 12,
        "landmarks_detected": 33,
        "pose_confidence": 0.7,
    }
    return {"session_id": SESSION, "media_id": "squat", "frames": frames, **more}


@LANES
@pytest.mark.parametrize("frames", [2, 60], ids=["small", "large"])
async def test_it_is_the_same_batch(
    platform: Any, make_token: Any, frames: int, *, express_lane: bool
) -> None:
    """What is stored decodes to what was sent; what the client reported stands beside our figures.

    A large one is more than the binary form may be, and goes another way.
    """
    points = points_of(frames)
    async with platform(express_lane=express_lane) as api:
        reply = await api.ask("POST", PATH, make_token(), body_of(points))
        assert (reply.status, reply.json) == (
            202,
            {
                "status": "accepted",
                "frames_accepted": frames,
                "session_id": SESSION,
                "buffer_position_bytes": 528 * frames,
            },
        )
        later = body_of(points_of(1))
        later["frames"] = [frame_of(points[0], 100 * frames, form_score=0.85)]
        assert (await api.ask("POST", PATH, make_token(), later)).status == 202
        end = {"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}
        reply = await api.ask("POST", f"/v1/sessions/{SESSION}/end", make_token(), end)
        assert reply.status == 200, reply
        path = f"/v1/internal/telemetry/consents?principal_id={SESSION}&org_id={SESSION}"
        assert (await api.ask("GET", path)).status == 401
        metrics = await _metrics(api)
        assert metrics["client_reported"] == {
            "rep_count": 5,
            "form_score": 0.85,
            "rom_degrees": 42.5,
            "active_exercise_phase": "concentric",
        }
        data_dir = api.service.settings.data_dir
    (blob,) = (data_dir / "blobs").rglob("*.bin.gz")
    report = read_replay(blob)
    assert (report.verified, report.used) == (True, frames + 1)
    assert report.reported.plain() == metrics["client_reported"]
    assert report.sidecars.values["camera_resolution"] == {"640x480": 1}


async def _metrics(api: Any) -> dict[str, Any]:
    from penstock.engine.records import FinalOf  # noqa: PLC0415 - here alone

    final = await api.read(FinalOf(SESSION))
    metrics: dict[str, Any] = final.body["session_metrics"]
    return metrics


@LANES
@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        (lambda b: b | {"frames": []}, 400, "body_malformed", "frames"),
        (lambda b: b | {"frames": None}, 400, "body_malformed", "frames"),
        (lambda b: b | {"session_id": str(UUID(int=2))}, 401, "token_wrong_session", "session_id"),
        (lambda b: b | {"session_id": 1}, 400, "body_malformed", "session_id"),
        (lambda b: _with(b, landmark_x=[0.5] * 32), 400, "body_malformed", "frames.1.landmark_x"),
        (
            lambda b: _with(b, landmark_y=["0.5"] * 33),
            400, "body_malformed", "frames.1.landmark_y.0",
        ),
        (lambda b: _with(b, landmark_z=None), 400, "body_malformed", "frames.1.landmark_z"),
        (lambda b: _with(b, elapsed_ms=-1), 400, "body_malformed", "frames.1.elapsed_ms"),
        (lambda b: _with(b, elapsed_ms=2**32), 400, "body_malformed", "frames.1.elapsed_ms"),
        (lambda b: _with(b, rep_count=True), 400, "body_malformed", "frames.1.rep_count"),
        (lambda b: _with(b, rom_degrees=361), 400, "body_malformed", "frames.1.rom_degrees"),
        (
            lambda b: _with(b, active_exercise_phase="x" * 65),
            400, "body_malformed", "frames.1.active_exercise_phase",
        ),
        (lambda b: _with(b, camera_resolution="big"), 400, "body_malformed", "camera_resolution"),
        (lambda b: b | {"frames": b["frames"][::-1]}, 400, "timestamps_backwards", None),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(
    platform: Any,
    make_token: Any,
    change: Any,
    status: int,
    code: str,
    field: str | None,
    *,
    express_lane: bool,
) -> None:
    """A body that is no batch is refused by the name of its field, and its frames are counted."""
    async with platform(express_lane=express_lane) as api:
        body = change(body_of(points_of(2)))
        reply = await api.ask("POST", PATH, make_token(), body)
        assert (reply.status, reply.code) == (status, code), reply
        assert reply.json.get("field") == field
        claimed = 0 if code == "token_wrong_session" else len(body["frames"] or ())
        assert _tally(api) == ({"malformed": claimed} if claimed else {})


@LANES
async def test_frames_that_are_refused_unread_are_counted(
    platform: Any, make_token: Any, *, express_lane: bool
) -> None:
    """Too many requests, an unreadable sidecar, a body cut short: by what the body claims."""
    body = body_of(points_of(3))
    async with platform(
        express_lane=express_lane, rate_batches_per_second=0.01, rate_burst=2
    ) as api:
        cut = orjson.dumps(body)[:-5]
        assert (await api.ask("POST", PATH, make_token(), cut)).status == 400
        beside = {"X-Batch-Meta": "{"}
        assert (await api.ask("POST", PATH, make_token(), body, beside)).status == 400
        assert (await api.ask("POST", PATH, make_token(), body)).code == "rate_session_exceeded"
        assert _tally(api) == {"malformed": 6, "rate_session_exceeded": 3}


@pytest.mark.parametrize(
    ("body", "claimed"),
    [
        (orjson.dumps({"frames": [frame_of(points_of(1)[0], 0)] * 40}), 40),
        (orjson.dumps({"frames": [{"elapsed_ms": 0}] * 40}), 0),
        (b'"elapsed_ms"' * 9, 0),
        # In a text it is escaped, and no key.
        (orjson.dumps({"frames": [frame_of(points_of(1)[0], 0, note='"elapsed_ms"')]}), 1),
        (b"", 0),
        (b" " * (1 << 20) + b'"elapsed_ms"', 0),
    ],
)
def test_what_a_body_claims_is_counted_if_it_could_be(body: bytes, claimed: int) -> None:
    """A number of frames that no body of that length could hold says nothing."""
    assert peek_json_frames(body) == claimed


async def test_its_size_is_bounded(platform: Any, make_token: Any) -> None:
    """Over a megabyte is 413, whether announced or not read at all."""
    async with platform() as api:
        reply = await api.ask("POST", PATH, make_token(), b" " * ((1 << 20) + 1))
        assert (reply.status, reply.code) == (413, "body_too_large")
        assert reply.json["limit"] == 1 << 20


async def test_what_was_not_tracked_is_no_fault(platform: Any, make_token: Any) -> None:
    """Null and numbers that no float holds are landmarks that were not seen."""
    points = points_of(2).astype(float)
    body = body_of(points)
    body["frames"][1]["landmark_x"][3] = None
    body["frames"][1]["landmark_y"][4] = 1e300
    async with platform() as api:
        reply = await api.ask("POST", PATH, make_token(), body)
        assert reply.status == 202
        spool = api.service.settings.data_dir / "spool"
    (path,) = spool.glob("*.bin.gz")
    assert read_replay(path).untracked_share == pytest.approx(2 / 66, abs=1e-4)


async def test_a_sidecar_beside_it_is_kept_too(platform: Any, make_token: Any) -> None:
    """Extensions come in X-Batch-Meta with either form; what the body says itself goes before."""
    beside = {"coords": "world", "exercise": "squat", "camera_resolution": "10x10"}
    headers = {"X-Batch-Meta": orjson.dumps(beside).decode()}
    async with platform() as api:
        reply = await api.ask("POST", PATH, make_token(), body_of(points_of(2)), headers)
        assert reply.status == 202
        spool = api.service.settings.data_dir / "spool"
    (path,) = spool.glob("*.bin.gz")
    values = read_replay(path).sidecars.values
    assert values["coords"] == {"world": 1}
    assert values["camera_resolution"] == {"640x480": 1}


async def test_the_binary_form_may_report_as_well(
    platform: Any, make_token: Any, make_batch: Any
) -> None:
    """`client_reported` in the sidecar is checked and kept as from the JSON form."""
    async with platform() as api:
        for told, status in (({"rep_count": 7}, 202), ({"rep_count": "7"}, 400), ([], 400)):
            sidecar = orjson.dumps({"client_reported": told}).decode()
            headers = (("Content-Type", "application/octet-stream"), ("X-Batch-Meta", sidecar))
            reply = await _binary(api, make_token(), make_batch(), headers)
            assert reply.status == status, reply
            assert status == 202 or reply.json["field"].startswith("client_reported")


async def _binary(api: Any, token: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> Any:
    given = (("Host", "x"), ("Authorization", f"Bearer {token}"), *headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in given)
    async with api.dial(api.service) as client:
        length = f"Content-Length: {len(body)}\r\n"
        await client.send(f"POST {PATH} HTTP/1.1\r\n{head}{length}\r\n".encode() + body)
        return await client.reply()


def _tally(api: Any) -> dict[str, int]:
    """Give the frames that were refused, by reason; all that were seen are among them."""
    tally = api.service.ledger.process
    refused = {name: count for name, count in tally.plain().items() if count}
    assert tally.seen == sum(refused.values())
    return refused


def _with(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    first, second = body["frames"]
    return body | {"frames": [first, second | changes]}


def test_the_encoding_is_that_of_the_wire() -> None:
    """The batch made of JSON decodes to the very numbers that were sent."""
    from penstock.http.exchange import Answer  # noqa: PLC0415 - here alone
    from penstock.http.pose_json import read_json_batch  # noqa: PLC0415 - here alone

    points = points_of(3)
    read = read_json_batch(orjson.dumps(body_of(points)), SESSION, None)
    assert not isinstance(read, Answer)
    assert np.array_equal(read[0].landmarks, points)
    assert read[0].timestamps_ms == wire.decode(wire.encode(points, [0, 100, 200])).timestamps_ms
