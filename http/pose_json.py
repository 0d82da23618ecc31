"""The JSON form of a pose batch: read, checked, and made into the same batch as the binary form.

What it carries beside the landmarks becomes the batch's sidecar, so that it is stored, replayed and
answered for as if the client had sent the binary form with one. Of a batch's frames, a sidecar has
the mean confidence and processing time, and the client's newest word on the exercise.
"""

from statistics import fmean
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import BaseModel, Field, StringConstraints

from penstock.engine import wire
from penstock.engine.platform.scrub import scrubbed, scrubbed_id
from penstock.engine.reported import LONGEST_PHASE, NOTHING_REPORTED, Reported
from penstock.engine.sidecar import MAX_SIDECAR_BYTES, BatchMeta, SidecarError
from penstock.http.bodies import read_body
from penstock.http.exchange import JSON, Answer
from penstock.http.gates import refuse_wire
from penstock.http.problems import Problem, problem_answer
from penstock.http.uuids import is_uuid

MAX_POSE_JSON_BYTES = 1 << 20
_MOST_FRAMES = 1024  # more than a megabyte can hold
# What each frame has once: in a text, its quotes would be escaped.
_ONCE_A_FRAME = b'"elapsed_ms"'
# Four columns of 33 figures with their commas, and the names.
_SHORTEST_FRAME = 4 * 65 + len(
    '{"elapsed_ms":0,"landmark_x":[],"landmark_y":[],"landmark_z":[],"landmark_visibility":[]}'
)

_Column = Annotated[list[float | None], Field(min_length=wire.LANDMARKS, max_length=wire.LANDMARKS)]
_Milliseconds = Annotated[float, Field(ge=0, le=0xFFFF_FFFF, allow_inf_nan=False)]


class _Frame(BaseModel):
    """One frame. What is not a number is a landmark that was not tracked."""

    elapsed_ms: _Milliseconds
    landmark_x: _Column
    landmark_y: _Column
    landmark_z: _Column
    landmark_visibility: _Column
    pose_confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    camera_resolution: str | None = None
    processing_time_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    rep_count: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    form_score: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    rom_degrees: Annotated[float, Field(ge=0, le=360, allow_inf_nan=False)] | None = None
    active_exercise_phase: (
        Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PHASE)] | None
    ) = None

    def reported(self) -> Reported:
        """Give what the client says of the exercise itself."""
        phase = self.active_exercise_phase
        return Reported(
            self.rep_count,
            self.form_score,
            self.rom_degrees,
            None if phase is None else scrubbed(phase)[:LONGEST_PHASE],
        )


class _Body(BaseModel):
    """The whole request."""

    session_id: str
    media_id: Annotated[str, StringConstraints(max_length=200)] | None = None
    frames: Annotated[list[_Frame], Field(min_length=1, max_length=_MOST_FRAMES)]


JsonBatch = tuple[wire.FrameBatch, bytes | None, BatchMeta]


def is_json(content_type: bytes) -> bool:
    """Say whether a body is of the JSON form."""
    return content_type.partition(b";")[0].strip().lower() == JSON


def read_json_batch(body: bytes, session_id: str, sidecar: bytes | None) -> JsonBatch | Answer:
    """Give the batch, its sidecar as it is stored and as it was read, or the refusal.

    `sidecar` is one that was sent beside it; what the body says itself goes before.
    """
    if len(body) > MAX_POSE_JSON_BYTES:
        return refuse_json_size(len(body)) or problem_answer(Problem.BODY_TOO_LARGE)
    read = read_body(_Body, body)
    if isinstance(read, Answer):
        return read
    if not is_uuid(read.session_id) or read.session_id.lower() != session_id:
        return problem_answer(
            Problem.TOKEN_WRONG_SESSION,
            "the token is for another session than the body's",
            field="session_id",
        )
    told = _sidecar(read, {} if sidecar is None else orjson.loads(sidecar))
    try:
        meta = BatchMeta.from_plain(told)
    except SidecarError as error:
        return problem_answer(Problem.BODY_MALFORMED, f"frames: {error}", field=error.key)
    text = orjson.dumps(told) if told else None
    if text is not None and len(text) > MAX_SIDECAR_BYTES:
        return problem_answer(Problem.SIDECAR_TOO_LARGE, limit=MAX_SIDECAR_BYTES, seen=len(text))
    try:
        batch = wire.decode(_encoded(read.frames))
    except wire.WireError as error:
        return refuse_wire(error)
    return batch, text, meta


def peek_json_frames(body: bytes) -> int:
    """Count the frames that a body claims to hold, without reading it; 0 where it can't hold them.

    For bodies that are refused unread, or because they are no batch: their frames are counted too.
    """
    claimed = body.count(_ONCE_A_FRAME)
    return claimed if claimed * _SHORTEST_FRAME <= len(body) <= MAX_POSE_JSON_BYTES else 0


def refuse_json_size(length: int | None) -> Answer | None:
    """Refuse a body by its length, or by what it announces."""
    if length is None or length <= MAX_POSE_JSON_BYTES:
        return None
    return problem_answer(
        Problem.BODY_TOO_LARGE,
        f"the body has {length} bytes; the limit is {MAX_POSE_JSON_BYTES}",
        limit=MAX_POSE_JSON_BYTES,
        seen=min(length, 2**63),
    )


def _encoded(frames: list[_Frame]) -> bytes:
    # A landmark that JSON could not tell is NaN, as in the binary form. What no float of 32 bits
    # can hold becomes infinite: neither is tracked.
    columns = [
        (one.landmark_x, one.landmark_y, one.landmark_z, one.landmark_visibility) for one in frames
    ]
    with np.errstate(over="ignore"):
        points = np.array(columns, np.float64).transpose(0, 2, 1).astype(np.float32)
    times = [round(one.elapsed_ms) for one in frames]
    return wire.encode(points, times, level=1)


def _sidecar(body: _Body, beside: dict[str, Any]) -> dict[str, Any]:
    frames = body.frames
    reported = NOTHING_REPORTED
    for one in frames:
        reported = reported.then(one.reported())
    confidences = [n for one in frames if (n := one.pose_confidence) is not None]
    times = [n for one in frames if (n := one.processing_time_ms) is not None]
    resolutions = [one.camera_resolution for one in frames if one.camera_resolution is not None]
    told = {
        "media_id": None if body.media_id is None else scrubbed_id(body.media_id),
        "pose_confidence": round(fmean(confidences), 4) if confidences else None,
        "processing_time_ms": round(fmean(times), 3) if times else None,
        "camera_resolution": resolutions[-1] if resolutions else None,
        "client_reported": reported.plain() or None,
    }
    return beside | {name: value for name, value in told.items() if value is not None}
