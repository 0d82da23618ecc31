"""What the generator sends: many sessions' tokens and a cycle of batches, all encoded beforehand.

A session's requests carry one batch of the cycle after the other, so that its timestamps go
forward as a camera's do. When the cycle begins again, the server counts the frames as repeated.
"""

import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.bench.library import make_track
from penstock.bench.patients import Traits

PATH = "/v1/pose/frames"

_FRAMES = 10
# A minute of batches: 0.3 MB, and a session of a usual run never sees its first one again.
_BATCHES = 64
_TOKEN_SECONDS = 3600
# The grants file holds one consent a principal and has a bound; beyond it, sessions share them.
_MOST_PRINCIPALS = 40_000


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


def make_traffic(
    sessions: int, secret: bytes, *, frames_a_batch: int = _FRAMES, batches: int = _BATCHES
) -> Traffic:
    """Mint the tokens and encode a patient's batches. Equal arguments give the same sessions."""
    now = int(time.time())
    heads = tuple(
        (
            f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/octet-stream\r\n"
            f"Authorization: Bearer {mint_token(secret, number, now)}\r\n"
        ).encode()
        for number in range(sessions)
    )
    members = make_track(Traits(), batches=batches, frames_a_batch=frames_a_batch, seed=0)
    cycle = tuple(b"Content-Length: %d\r\n\r\n%b" % (len(member), member) for member in members)
    return Traffic(heads, cycle)


def session_id(number: int) -> str:
    """Give the id of a session by its number."""
    return str(uuid.UUID(int=(2 << 96) + number))


def principal_id(number: int) -> str:
    """Give the id of a session's principal; sessions share them when there are very many."""
    return str(uuid.UUID(int=(3 << 96) + number % _MOST_PRINCIPALS))


def org_id(org: int = 0) -> str:
    """Give the id of an organisation; all sessions are of the first one unless told otherwise."""
    return str(uuid.UUID(int=(1 << 96) + org))


def mint_token(
    secret: bytes,
    number: int,
    now_unix: int,
    *,
    ttl_seconds: int = _TOKEN_SECONDS,
    org: int = 0,
) -> str:
    """Make the token of one session, as Core would: the harness knows Penstock by HTTP only.

    With a `ttl_seconds` of 0 or less it expired that long ago, an hour after it was issued.
    """
    expires_unix = now_unix + ttl_seconds
    claims = {
        "principal_id": principal_id(number),
        "org_id": org_id(org),
        "exercise_session_id": session_id(number),
        "iat": now_unix if ttl_seconds > 0 else expires_unix - _TOKEN_SECONDS,
        "exp": expires_unix,
    }
    signed = b"v1." + _base64url(json.dumps(claims, separators=(",", ":")).encode())
    return (signed + b"." + _base64url(hmac.digest(secret, signed, "sha256"))).decode()


def write_grants(
    path: Path,
    sessions: int,
    *,
    org_of: Callable[[int], int] = lambda _: 0,
    quotas: Mapping[int, float] | None = None,
) -> None:
    """Write consents for every principal of that many sessions, and organisations' quotas.

    `quotas` are in batches a second.
    """
    consents = [
        {
            "principal_id": principal_id(number),
            "org_id": org_id(org_of(number)),
            # What pose frames need, and what media events need.
            "purposes": ["biometric", "analytics"],
        }
        for number in range(min(sessions, _MOST_PRINCIPALS))
    ]
    limits = [
        {"org_id": org_id(org), "batches_per_second": quota}
        for org, quota in (quotas or {}).items()
    ]
    path.write_text(json.dumps({"consents": consents, "quotas": limits}))


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
