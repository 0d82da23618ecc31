"""What the generator sends: many sessions' tokens and a cycle of batches, all encoded beforehand.

A session's requests carry one batch of the cycle after the other, so that its timestamps go
forward as a camera's do. When the cycle begins again, the server counts the frames as repeated.
"""

import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS, encode

PATH = "/v1/pose/frames"

_FRAMES = 10
_FRAME_MS = 100
# A minute of batches: 0.3 MB, and a session of a usual run never sees its first one again.
_BATCHES = 64
_TOKEN_SECONDS = 3600
# The grants file holds one consent a principal and has a bound; beyond it, sessions share them.
_MOST_PRINCIPALS = 40_000
_ORG = str(uuid.UUID(int=1 << 96))


@dataclass(slots=True, frozen=True)
class Traffic:
    """Requests in two parts: what depends on the session, and what depends on the batch."""

    heads: tuple[bytes, ...]
    batches: tuple[bytes, ...]

    @property
    def body_bytes(self) -> float:
        """Give the mean size of a request's body."""
        return sum(len(b.partition(b"\r\n\r\n")[2]) for b in self.batches) / len(self.batches)


class Spread:
    """Requests in turn over some of the sessions, whichever connection asks.

    Every session's requests are then as far apart in time as can be, and a load of up to its rate
    limit times the number of sessions keeps within every session's limit.
    """

    def __init__(self, traffic: Traffic, sessions: range) -> None:
        self._heads = traffic.heads[sessions.start : sessions.stop]
        self._batches = traffic.batches
        self._next_session = self._batch = 0

    def __call__(self, _connection: int) -> bytes:
        """Give the next request."""
        at = self._next_session
        request = self._heads[at] + self._batches[self._batch]
        self._next_session = at + 1
        if self._next_session == len(self._heads):
            self._next_session = 0
            self._batch = (self._batch + 1) % len(self._batches)
        return request


class Own:
    """Requests of one session a connection: connection n speaks for the nth of the sessions."""

    def __init__(self, traffic: Traffic, sessions: range) -> None:
        self._heads = traffic.heads[sessions.start : sessions.stop]
        self._batches = traffic.batches
        self._sent = [0] * len(self._heads)

    def __call__(self, connection: int) -> bytes:
        """Give the next request of the connection's session."""
        batch = self._sent[connection] % len(self._batches)
        self._sent[connection] += 1
        return self._heads[connection] + self._batches[batch]


def make_traffic(sessions: int, secret: bytes) -> Traffic:
    """Mint the tokens and encode the batches. Equal arguments give the same sessions."""
    now = int(time.time())
    heads = tuple(
        (
            f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/octet-stream\r\n"
            f"Authorization: Bearer {mint_token(secret, number, now)}\r\n"
        ).encode()
        for number in range(sessions)
    )
    batches = tuple(
        b"Content-Length: %d\r\n\r\n%b" % (len(member), member)
        for member in (_member(number) for number in range(_BATCHES))
    )
    return Traffic(heads, batches)


def mint_token(secret: bytes, number: int, now_unix: int) -> str:
    """Make the token of one session, as Core would: the harness knows Penstock by HTTP only."""
    claims = {
        "principal_id": _principal(number),
        "org_id": _ORG,
        "exercise_session_id": str(uuid.UUID(int=(2 << 96) + number)),
        "iat": now_unix,
        "exp": now_unix + _TOKEN_SECONDS,
    }
    signed = b"v1." + _base64url(json.dumps(claims, separators=(",", ":")).encode())
    return (signed + b"." + _base64url(hmac.digest(secret, signed, "sha256"))).decode()


def write_grants(path: Path, sessions: int) -> None:
    """Write consents for every principal of that many sessions."""
    consents = [
        {"principal_id": _principal(number), "org_id": _ORG, "purposes": ["biometric"]}
        for number in range(min(sessions, _MOST_PRINCIPALS))
    ]
    path.write_text(json.dumps({"consents": consents, "quotas": []}))


def _principal(number: int) -> str:
    return str(uuid.UUID(int=(3 << 96) + number % _MOST_PRINCIPALS))


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _member(number: int) -> bytes:
    # A body that sways, with a tracker's jitter: it is the jitter that no compressor gets rid of,
    # so the member has the size of a real one (about 4.7 KB of 5.3 KB).
    random = np.random.default_rng(number)
    times = np.arange(number * _FRAMES, (number + 1) * _FRAMES) * _FRAME_MS
    body = np.random.default_rng(0).uniform(0.2, 0.8, (LANDMARKS, LANDMARK_VALUES))
    sway = 0.1 * np.sin(2 * np.pi * times / 3000)[:, None, None]
    points = body + sway + random.normal(0, 0.004, (_FRAMES, LANDMARKS, LANDMARK_VALUES))
    points[..., 3] = np.clip(points[..., 3], 0, 1)
    return encode(points, times, fps_hint=1000 // _FRAME_MS)
