"""What hostile clients send, and which answers to it are right. Pure.

Each has a session of its own, so that honest sessions' limits and positions stay theirs. Overload
is an excuse: a server may refuse unread (503, and 429 where the request would have counted).
"""

import struct
from dataclasses import dataclass

import numpy as np

from penstock.bench.load.plan import Kind
from penstock.engine.wire import (
    HEADER,
    LANDMARK_VALUES,
    LANDMARKS,
    MAX_MEMBER_BYTES,
    compress,
    decode,
    encode,
    peek_frame_count,
)

# A multiple of the number of principals that consents are written for, and beyond any session.
FIRST_SESSION = 40_000 << 64

OVERSIZED_BYTES = 70_000
SLOW_SECONDS = 20.0
DRIP_SECONDS = 1.0
EXPIRED_AGO_SECONDS = 7200

_FRAMES = 10
_CHUNK_BYTES = 14_000
_RIGHT = {
    Kind.HOSTILE_MALFORMED: {"400", "429", "503"},
    Kind.HOSTILE_OVERSIZED: {"413", "503"},
    # Not unfinished ones: the run's end is no fault of the server.
    Kind.HOSTILE_SLOW: {"408", "503", "closed", "unfinished"},
    Kind.HOSTILE_EXPIRED: {"401", "503"},
}
# What became of a request that was never sent, or cut off by the end, says nothing of the server.
_NO_ANSWER_YET = {"unsent"}


@dataclass(slots=True, frozen=True)
class Malformed:
    """A body that is no batch. `frames` is what it claims to hold, as far as that can be read."""

    what: str
    body: bytes
    frames: int


def is_right(kind: Kind, outcome: str) -> bool:
    """Say whether a hostile request got what it deserves."""
    return outcome[:3] in _RIGHT[kind] or outcome in _RIGHT[kind] | _NO_ANSWER_YET


def malformed_bodies() -> tuple[Malformed, ...]:
    """Make one body of each kind of fault, all from one good batch."""
    member = encode(np.zeros((_FRAMES, LANDMARKS, LANDMARK_VALUES)), range(_FRAMES))
    payload = decode(member).payload
    _, frames, fps = HEADER.unpack_from(payload)
    rest = payload[HEADER.size :]
    times = struct.unpack_from(f"<{frames}I", payload, len(payload) - 4 * frames)
    backwards = payload[: -4 * frames] + struct.pack(f"<{frames}I", *(t + 1 for t in times[:-1]), 0)
    bodies = {
        "damaged gzip": member[:-8] + bytes(byte ^ 0xFF for byte in member[-8:]),
        "another version": compress(HEADER.pack(2, frames, fps) + rest),
        "another length": compress(HEADER.pack(1, frames + 1, fps) + rest),
        "two members": member + member,
        "trailing bytes": member + b"and more",
        "backwards": compress(backwards),
        "no gzip": payload[:2000],
    }
    return tuple(Malformed(what, body, peek_frame_count(body)) for what, body in bodies.items())


def chunked_oversized() -> bytes:
    """Make a chunked body over the limit, which no Content-Length announces."""
    chunk = b"%x\r\n%b\r\n" % (_CHUNK_BYTES, bytes(_CHUNK_BYTES))
    return chunk * (MAX_MEMBER_BYTES // _CHUNK_BYTES + 1) + b"0\r\n\r\n"
