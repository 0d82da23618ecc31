"""The whole life of a session, as the contract's sequence diagram has it, over real connections."""

import gzip
import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from penstock.engine import wire
from penstock.http.roles import Role

PATIENT, SPECIALIST, CLINIC, PLATFORM = Role
ANN, OTHER_ORG = str(UUID(int=7)), str(UUID(int=9))
FPS = 10
MINUTES = 30
BATCH_FRAMES = 20
REP_SECONDS = 4
# Nose, shoulder, elbow, wrist, hip, knee, ankle, heel and toe of a person who stands.
_STANDING = {0: (0.50, 0.12), 11: (0.56, 0.27), 13: (0.60, 0.41), 15: (0.61, 0.54),
             23: (0.54, 0.55), 25: (0.55, 0.74), 27: (0.55, 0.92), 29: (0.54, 0.94),
             31: (0.57, 0.95)}  # fmt: skip


def squats(frames: int) -> npt.NDArray[np.float32]:
    """Draw somebody who squats, one repetition every REP_SECONDS."""
    bend = np.sin(np.pi * np.arange(frames) / (FPS * REP_SECONDS)) ** 2
    poses = np.zeros((frames, wire.LANDMARKS, wire.LANDMARK_VALUES), np.float32)
    for landmark, (x, y) in _STANDING.items():
        moved = y + 0.17 * bend * (landmark < 25)
        forward = 0.06 * bend * (landmark == 25)
        for side, at in ((landmark, x + forward), (landmark + 1, 1 - x + forward)):
            poses[:, side] = np.stack(
                [np.broadcast_to(at, frames), moved, np.zeros(frames), np.full(frames, 0.98)], 1
            )
            if not landmark:
                break
    return poses


def frames_of(replay: bytes) -> tuple[npt.NDArray[np.float32], list[int]]:
    """Decode a replay with nothing but gzip and the contract's layout."""
    content = io.BytesIO(gzip.decompress(replay))
    poses, times = [], []
    while head := content.read(9):
        assert head[0] == 1
        count = int.from_bytes(head[1:5], "little")
        values = np.frombuffer(content.read(count * 528), "<f4")
        poses.append(values.reshape(count, wire.LANDMARKS, wire.LANDMARK_VALUES))
        times += np.frombuffer(content.read(count * 4), "<u4").tolist()
    return np.concatenate(poses), times


async def stream(api: Any, token: str, sent: Any, times: list[int]) -> None:
    """Send frames on one connection, as fast as they are taken."""
    async with api.dial(api.service) as client:
        for at in range(0, len(sent), BATCH_FRAMES):
            upto = at + BATCH_FRAMES
            batch = wire.encode(sent[at:upto], times[at:upto], fps_hint=FPS, level=1)
            await client.send(
                b"POST /v1/pose/frames HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
                b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%b"
                % (token.encode(), len(batch), batch)
            )
            assert (await client.reply()).status == 202


async def test_the_life_of_a_session(
    core: Any, make_user: Callable[..., str], turn: Callable[..., Any]
) -> None:
    """Begun, streamed for half an hour, ended, published, and read by whom it concerns."""
    ann, specialist = make_user(PATIENT, ANN), make_user(SPECIALIST)
    sent = squats(MINUTES * 60 * FPS)
    times = [at * 1000 // FPS for at in range(len(sent))]

    async with core() as api:
        # The patient begins: Core makes the row and the token.
        begun = await api.ask("POST", "/v1/exercise-sessions", ann, {"exercise_id": "squat"})
        session, token = begun.json["session_id"], begun.json["telemetry_token"]

        # Half an hour of frames, compressed in time, on one connection.
        await turn(api.service, loss_percent=0)
        await stream(api, token, sent, times)

        # The end: everything is aggregated, stored and published before the answer.
        said = {
            "ended_at": "2026-05-07T10:30:00.000Z",
            "client_status": "completed",
            "exercise_id": "squat",
            "total_frames_attempted": len(sent),
        }
        ended = await api.ask("POST", f"/v1/sessions/{session}/end", token, said)
        assert (ended.status, ended.json["status"]) == (200, "completed")
        assert ended.json["frames_received"] == len(sent)
        assert ended.json["frames_dropped"] == 0
        assert ended.json["replay_blob"] is not None
        assert ended.json["aggregates_published_at"] is not None
        again = await api.ask("POST", f"/v1/sessions/{session}/end", token, said)
        assert again.json == ended.json

        # The patient reads his own, the specialist his organisation's, and nobody else's does.
        (mine,) = (await api.get("/v1/me/exercise-sessions", ann)).json["exercise_sessions"]
        assert (mine["session_id"], mine["status"]) == (session, "completed")
        true_reps = MINUTES * 60 // REP_SECONDS
        assert abs(mine["session_metrics"]["rep_count"] - true_reps) <= true_reps * 0.02
        of_ann = f"/v1/patients/{ANN}/exercise-sessions"
        (seen,) = (await api.get(of_ann, specialist)).json["exercise_sessions"]
        assert seen == mine
        one = (await api.get(f"/v1/exercise-sessions/{session}", specialist)).json
        assert one["rep_metrics"][0]["rep_number"] == 1
        stranger = make_user(SPECIALIST, org_id=OTHER_ORG)
        for path in (
            of_ann,
            f"/v1/exercise-sessions/{session}",
            f"/v1/exercise-sessions/{session}/replay",
        ):
            assert (await api.get(path, stranger)).status == 404

        # The cohort, and the console's counts, which tell of nobody alone.
        days = "from=2026-05-07&to=2026-05-07"
        cohort = await api.get(f"/v1/analytics/cohort/exercise-adherence?{days}", make_user(CLINIC))
        (row,) = cohort.json["adherence"]
        assert (row["principal_id"], row["exercise_id"]) == (ANN, "squat")
        assert (row["sessions"], row["completed_sessions"]) == (1, 1)
        assert row["rep_count"] == mine["session_metrics"]["rep_count"]
        counts = await api.get(
            f"/v1/admin/platform/exercise-aggregate-counts?{days}", make_user(PLATFORM)
        )
        assert counts.json["exercises"] == []

        # The replay gives back the very frames that were sent.
        link = (await api.get(f"/v1/exercise-sessions/{session}/replay", specialist)).json
        replay = await api.get(link["url"])
        poses, stamps = frames_of(replay.body)
        assert stamps == times
        np.testing.assert_array_equal(poses, sent)

        # It is over: no new token, and no more frames.
        renewal = f"/v1/exercise-sessions/{session}/telemetry-token"
        assert (await api.ask("POST", renewal, ann)).code == "exercise_session_ended"
        late = wire.encode(sent[:1], [times[-1] + 100], fps_hint=FPS)
        headers = {"Content-Type": "application/octet-stream"}
        refused = await api.ask("POST", "/v1/pose/frames", token, late, headers)
        assert (refused.status, refused.code) == (409, "session_finalized")
