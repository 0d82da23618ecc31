"""The requests' bytes, made at the moment of sending from parts made beforehand. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from penstock.bench.load import hostile, media
from penstock.bench.load.connections import Pool
from penstock.bench.load.ledger import SessionLedger
from penstock.bench.load.losses import SessionLoss
from penstock.bench.load.plan import HOSTILE, Kind, authority
from penstock.bench.load.schedule import Due
from penstock.bench.traffic import PATH, mint_token, session_id

_POSE_TYPE = "application/octet-stream"
_JSON_TYPE = "application/json"
_MEDIA_PATH = "/v1/media/events"


class Members(Protocol):
    """Where batches come from, already encoded."""

    def member(self, session: int, number: int) -> bytes:
        """Give one batch of one session: a gzip member."""
        ...


class Patient:
    """An honest client: one session, whose batches go out one after the other."""

    __slots__ = ("bearer", "begun", "busy", "ledger", "loss", "number", "pool", "queue", "retired",
                 "session_id", "since", "to_tell", "until")  # fmt: skip

    def __init__(
        self, number: int, bearer: bytes, pool: Pool["Request"], *, fresh: bool, org: int = 0
    ) -> None:
        self.number = number
        self.loss = SessionLoss(org)
        # Its end is due: another session has its place.
        self.retired = False
        # It was told, at one moment, to send nothing until another.
        self.since = self.until = -inf
        # Frames that it never sent and has not told of yet, by the header's word for the reason.
        self.to_tell: dict[str, int] = {}
        self.session_id = session_id(number)
        self.bearer = bearer
        self.pool = pool
        self.ledger = SessionLedger(fresh=fresh)
        self.begun = False
        # A batch is under way; what comes due meanwhile waits here. A media event does not wait.
        self.busy = False
        self.queue: deque[Request] = deque()


@dataclass(slots=True, frozen=True)
class HostileClient:
    """A client that does what it should not, with a good token and an expired one."""

    number: int
    bearer: bytes
    expired: bytes
    pool: Pool["Request"]


@dataclass(slots=True, eq=False)
class Request:
    """One request that came due. `frames` are those of a batch, or what a bad one claims.

    `tells` are the frames never sent that its header names, by reason.
    """

    due: Due
    kind: Kind
    owner: Patient | HostileClient
    frames: int = 0
    tells: Mapping[str, int] = field(default_factory=dict[str, int])


class Renderer:
    """Makes the bytes of each kind of request."""

    def __init__(
        self,
        address: tuple[str, int],
        members: Members,
        *,
        unix_begin: float,
        first_batch: int,
        frames_a_batch: int,
    ) -> None:
        self._host = f"Host: {authority(address)}\r\n"
        self._pose = self._opening(PATH, _POSE_TYPE)
        self._event = self._opening(_MEDIA_PATH, _JSON_TYPE)
        self._members = members
        self._unix_begin = unix_begin
        self._first_batch = first_batch
        self._frames_a_batch = frames_a_batch
        self._malformed = hostile.malformed_bodies()
        self._chunked = hostile.chunked_oversized()

    def render(self, request: Request) -> bytes:
        """Make a request's bytes; of a slow one, only the beginning."""
        owner, due = request.owner, request.due
        if isinstance(owner, HostileClient):
            return self._hostile(request.kind, owner, due)
        if request.kind is Kind.POSE:
            body = self._members.member(owner.number, self._first_batch + due.number)
            return _joined(self._pose, owner.bearer + _told(request), body)
        if request.kind is Kind.MEDIA:
            body = media.event_body(
                due.number,
                last=due.last,
                session_id=owner.session_id,
                made_unix=self._unix_begin + due.made_at,
                played_seconds=due.made_at,
            )
            return _joined(self._event, owner.bearer, body)
        body = media.end_body(
            ended_unix=self._unix_begin + due.made_at,
            frames_attempted=(self._first_batch + due.number) * self._frames_a_batch,
        )
        opening = self._opening(f"/v1/sessions/{owner.session_id}/end", _JSON_TYPE)
        return _joined(opening, owner.bearer + _told(request), body)

    def claimed_frames(self, due: Due) -> int:
        """Tell how many frames a hostile client's malformed batch claims."""
        return self._bad(due).frames

    def _hostile(self, kind: Kind, client: HostileClient, due: Due) -> bytes:
        if kind is Kind.HOSTILE_MALFORMED:
            return _joined(self._pose, client.bearer, self._bad(due).body)
        if kind is Kind.HOSTILE_OVERSIZED:
            if _variant(due) % 2:
                chunked = b"Transfer-Encoding: chunked\r\n\r\n"
                return self._pose + client.bearer + chunked + self._chunked
            return _joined(self._pose, client.bearer, bytes(hostile.OVERSIZED_BYTES))
        member = self._members.member(client.number, due.number)
        if kind is Kind.HOSTILE_EXPIRED:
            return _joined(self._pose, client.expired, member)
        whole = _joined(self._pose, client.bearer, member)
        return whole[: len(whole) - len(member)]

    def _bad(self, due: Due) -> hostile.Malformed:
        return self._malformed[_variant(due) % len(self._malformed)]

    def _opening(self, path: str, content_type: str) -> bytes:
        return (f"POST {path} HTTP/1.1\r\n{self._host}Content-Type: {content_type}\r\n").encode()


def bearer(secret: bytes, number: int, now_unix: int, ttl_seconds: int, *, org: int = 0) -> bytes:
    """Make a session's Authorization line."""
    token = mint_token(secret, number, now_unix, ttl_seconds=ttl_seconds, org=org)
    return f"Authorization: Bearer {token}\r\n".encode()


def _told(request: Request) -> bytes:
    """Make the line that tells of frames that were never sent."""
    if not request.tells:
        return b""
    told = ", ".join(f"{frames};reason={reason}" for reason, frames in request.tells.items())
    return f"X-Client-Dropped: {told}\r\n".encode()


def _variant(due: Due) -> int:
    """Give a hostile client the next variant of a kind each time; neighbours have others."""
    return due.number // len(HOSTILE) - due.session


def _joined(opening: bytes, authorization: bytes, body: bytes) -> bytes:
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (opening, authorization, len(body), body)
