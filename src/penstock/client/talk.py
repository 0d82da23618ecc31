"""What a client says and when, without the sockets: requests out, answers in.

Theory of operation
-------------------
Each operation is a generator of *steps*: it yields an `Ask` and is sent the `Reply` (None when none
came), yields a `Pause` and is sent nothing, yields a `Renew` and is sent another token. Whoever
runs it decides how to wait; `sessions` has the two ways.

=====================  =========================================================================
the answer to a batch  what becomes of its frames
=====================  =========================================================================
202                    they are the service's
none, 408, 5xx         they stay: the next batch begins with them, after the wait that was named or
                       a growing one
401                    they stay: the token is renewed, once a request
429                    they are gone: the service refused them, and has counted them itself
400, 413, 415          they are gone, and the caller is told
403, 404, 409          they are gone, with everything that waits: no more is taken
=====================  =========================================================================

Events and the end are told again until they are answered, for as long as the caller has patience.
"""

import base64
import binascii
import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypedDict, TypeVar, Unpack

from penstock.client.errors import ClientError
from penstock.client.frames import FrameBuffer

POSE, EVENTS = "/v1/pose/frames", "/v1/media/events"
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
# Of a token's life; it is renewed when less is left, and when five minutes are.
_RENEW_SHARE, _RENEW_SECONDS = 0.1, 300.0
_NO_MORE = {401, 403, 404, 409}
# Of these the service has counted the frames of the batch that it refused.
_COUNTED = {403, 409}


class Ask(NamedTuple):
    """One request to the service."""

    path: str
    headers: dict[str, str]
    body: bytes


class Pause(NamedTuple):
    """So long nothing is to be sent."""

    seconds: float


class Renew(NamedTuple):
    """Another token is wanted."""


class Reply(NamedTuple):
    """An answer. `document` is empty where it was no JSON object."""

    status: int
    document: Mapping[str, Any]
    retry_after: float | None = None

    @property
    def later(self) -> bool:
        """Say whether the same request may be answered otherwise in a while."""
        return self.status in {408, 429} or self.status >= 500


T = TypeVar("T")
Steps = Generator[Ask | Pause | Renew, Any, T]


class RefusedError(ClientError):
    """The service will not take it, for good; `code` is the stable word for why."""

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.code = str(reply.document.get("code", ""))
        self.detail = str(reply.document.get("detail", ""))
        self.document = reply.document
        super().__init__(f"{self.status} {self.code}: {self.detail}")


class NotTakenError(ClientError):
    """The service could not be reached, or could not take it, for as long as there was patience."""

    def __init__(self, what: str, last: Reply | None) -> None:
        why = "no answer came" if last is None else f"the last answer was {last.status}"
        code = "" if last is None else f" {last.document.get('code', '')}"
        super().__init__(f"{what}: {why}{code}")
        self.last = last


@dataclass(slots=True, frozen=True)
class BatchSent:
    """What came of an attempt: frames taken, or refused; and how long nothing is to be sent."""

    accepted: int = 0
    refused: int = 0
    wait_seconds: float = 0.0


@dataclass(slots=True, frozen=True)
class SessionEnd:
    """The service's answer to the end. `document` has all of it."""

    status: str
    frames_received: int
    frames_dropped: int
    document: Mapping[str, Any]


class Told(TypedDict, total=False):
    """What a client may be told of its session, beside whose it is.

    `started_unix` is when it began (now, if nothing is said), `meta` goes with each batch, and
    `fps` too; `buffer_frames` are kept for better times.
    """

    started_unix: float
    meta: Mapping[str, Any]
    fps: int
    buffer_frames: int


class SessionTalk:
    """One session's side of the conversation."""

    def __init__(
        self,
        session_id: str,
        token: str,
        *,
        now: Callable[[], float],
        renews: bool,
        **told: Unpack[Told],
    ) -> None:
        self.frames = FrameBuffer(told.get("buffer_frames", 600))
        self.started_unix = told.get("started_unix", time.time())
        self._session_id = session_id
        self._token = token
        self._now = now
        self._renews = renews
        meta = told.get("meta")
        self._meta = json.dumps(dict(meta)) if meta else ""
        self._fps = told.get("fps", 10)
        self._not_before = 0.0
        self._pause = _FIRST_PAUSE
        self._told_to_wait = False
        self._stopped: RefusedError | None = None

    @property
    def full_because(self) -> str:
        """Say why frames that there is no room for could not be sent."""
        return "refused" if self._told_to_wait else "network"

    def send(self) -> Steps[BatchSent]:
        """Send the oldest frames, unless it is too early; RefusedError when they are refused."""
        if self._stopped is not None:
            raise self._stopped
        wait = self._not_before - self._now()
        if not self.frames or wait > 0:
            return BatchSent(wait_seconds=max(0.0, wait))
        count, body = self.frames.batch(self._fps)
        unsent = self.frames.untold()
        headers = {"Content-Type": "application/octet-stream", **_dropped(unsent)}
        if self._meta:
            headers["X-Batch-Meta"] = self._meta
        reply = yield from self._ask(POSE, headers, body)
        if reply is not None and reply.status == 202:
            self.frames.told(unsent)
            self.frames.remove(count)
            self._told_to_wait, self._pause = False, _FIRST_PAUSE
            return BatchSent(accepted=count)
        if reply is None or reply.later:
            refused = count if reply is not None and reply.status == 429 else 0
            self.frames.remove(refused)
            seconds = self._next_pause(reply)
            self._not_before = self._now() + seconds
            return BatchSent(refused=refused, wait_seconds=seconds)
        error = RefusedError(reply)
        if reply.status in _NO_MORE:
            self._stopped = error
            if reply.status in _COUNTED:
                self.frames.remove(count)
            self.frames.give_up(len(self.frames), "refused")
        else:
            self.frames.remove(count)
        raise error

    def tell(
        self,
        event: str,
        media_id: str,
        data: Mapping[str, Any],
        *,
        media_type: str,
        at_unix: float | None,
        patience: float,
    ) -> Steps[str]:
        """Tell of a media event until it is answered, and give its id."""
        at = time.time() if at_unix is None else at_unix
        elapsed = max(0.0, at - self.started_unix) * 1000
        document = {
            "event": event,
            "session_id": self._session_id,
            "media_id": media_id,
            "media_type": media_type,
            "timestamp": _written(at),
            "data": {"elapsed_ms": elapsed, **data},
        }
        reply = yield from self._until_answered(EVENTS, document, {}, 202, patience)
        return str(reply.document.get("event_id", ""))

    def end(
        self, status: str, *, exercise_id: str | None, ended_unix: float | None, patience: float
    ) -> Steps[SessionEnd]:
        """Send what is left, then the end, until it is answered.

        Frames have half of the patience; those that are left then are given up, and told of.
        """
        at = time.time() if ended_unix is None else ended_unix
        deadline = self._now() + patience
        yield from self._send_rest(self._now() + patience / 2)
        document: dict[str, Any] = {
            "ended_at": _written(at),
            "client_status": status,
            "total_frames_attempted": self.frames.attempted,
        }
        if exercise_id is not None:
            document["exercise_id"] = exercise_id
        unsent = self.frames.untold()
        path = f"/v1/sessions/{self._session_id}/end"
        left = max(0.0, deadline - self._now())
        reply = yield from self._until_answered(path, document, _dropped(unsent), 200, left)
        self.frames.told(unsent)
        return SessionEnd(
            str(reply.document.get("status", "")),
            int(reply.document.get("frames_received", 0)),
            int(reply.document.get("frames_dropped", 0)),
            reply.document,
        )

    def _send_rest(self, deadline: float) -> Steps[None]:
        while self.frames and self._stopped is None:
            try:
                sent = yield from self.send()
            except RefusedError:
                continue  # the end says how it went, and is not refused for it
            if self._now() + sent.wait_seconds > deadline:
                break
            if sent.wait_seconds:
                yield Pause(sent.wait_seconds)
        self.frames.give_up(len(self.frames), self.full_because)

    def _until_answered(
        self,
        path: str,
        document: Mapping[str, Any],
        headers: Mapping[str, str],
        wanted: int,
        patience: float,
    ) -> Steps[Reply]:
        body = json.dumps(document).encode()
        given = {"Content-Type": "application/json", **headers}
        deadline, pause = self._now() + patience, _FIRST_PAUSE
        while True:
            reply = yield from self._ask(path, given, body)
            if reply is not None and reply.status == wanted:
                return reply
            if reply is not None and not reply.later:
                raise RefusedError(reply)
            seconds = pause if reply is None or reply.retry_after is None else reply.retry_after
            if self._now() + seconds > deadline:
                raise NotTakenError(path, reply)
            yield Pause(seconds)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _ask(self, path: str, headers: Mapping[str, str], body: bytes) -> Steps[Reply | None]:
        """Ask with a token that holds; with another one where this one was refused."""
        renewed = self._renews and _runs_out(self._token, time.time())
        if renewed:
            self._token = yield Renew()
        while True:
            bearer = {"Authorization": f"Bearer {self._token}"}
            reply: Reply | None = yield Ask(path, {**headers, **bearer}, body)
            if reply is None or reply.status != 401 or renewed or not self._renews:
                return reply
            self._token = yield Renew()
            renewed = True

    def _next_pause(self, reply: Reply | None) -> float:
        told = None if reply is None else reply.retry_after
        self._told_to_wait = told is not None
        if told is not None:
            return told
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause


def reply_of(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """Read an answer. The body's milliseconds are finer than the header's seconds."""
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    after = document.get("retry_after_ms")
    if isinstance(after, int | float):
        return Reply(status, document, after / 1000)
    told = headers.get("Retry-After", "")
    return Reply(status, document, float(told) if told.isdigit() else None)


def _dropped(unsent: Mapping[str, int]) -> dict[str, str]:
    if not unsent:
        return {}
    items = (f"{frames};reason={reason}" for reason, frames in unsent.items())
    return {"X-Client-Dropped": ", ".join(items)}


def _written(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")


def _runs_out(token: str, now_unix: float) -> bool:
    """Say whether a token is about to expire; one that does not say when is not."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        issued, expires = float(claims["iat"]), float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return False
    return expires - now_unix < min(_RENEW_SECONDS, _RENEW_SHARE * (expires - issued))
