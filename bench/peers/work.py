"""The route's work without a framework: what the Python peers have in common.

Written for speed, since a slow peer would flatter Penstock: a token that verified once costs one
look-up by its header, and the answer is formatted, not serialised. Tokens and batches are checked
by Penstock's own functions, so that a ratio shows what surrounds them. Nothing here waits.
"""

import time
from dataclasses import dataclass
from typing import NamedTuple

from penstock.bench.peers.recorder import Recorder, Recording
from penstock.engine.wire import MAX_MEMBER_BYTES, WireError, WireFault, decode
from penstock.http.session_tokens import TokenRefusedError, TokenVerifier

JSON = "application/json"
PROBLEM = "application/problem+json"

_OCTET_STREAM = "application/octet-stream"
_MOST_TOKENS = 65_536
_LEEWAY_SECONDS = 5.0  # Penstock's default
_TOO_LARGE = frozenset({WireFault.MEMBER_TOO_LARGE, WireFault.INFLATED_TOO_LARGE})


class RefusedError(Exception):
    """The request is answered with this status and this problem document."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.body = b'{"status":%d,"code":"%b"}' % (status, code.encode())


@dataclass(slots=True, eq=False)
class Session:
    """What is known of a session. Sessions are kept until the process ends."""

    id: bytes
    recording: Recording | None
    position_bytes: int = 0


class _Known(NamedTuple):
    issued_unix: int
    expires_unix: int
    session: Session


class Work:
    """Checks requests and does what they ask. Without a recorder, batches are accepted only."""

    def __init__(self, secret: bytes, recorder: Recorder | None) -> None:
        self.recorder = recorder
        # It keeps one token by digest; here they are kept by the whole header, which costs less.
        self._tokens = TokenVerifier([secret], cache_entries=1, leeway_seconds=_LEEWAY_SECONDS)
        self._known: dict[str, _Known] = {}
        self._sessions: dict[str, Session] = {}

    def check_head(self, authorization: str, length: str | None, content_type: str) -> Session:
        """Pass the gates that need no body: token, size, type; or raise RefusedError."""
        session = self._session_of(authorization)
        if length is not None and int(length) > MAX_MEMBER_BYTES:
            raise RefusedError(413, WireFault.MEMBER_TOO_LARGE.value)
        if (
            content_type != _OCTET_STREAM
            and content_type.partition(";")[0].strip().lower() != _OCTET_STREAM
        ):
            raise RefusedError(415, "unsupported_media_type")
        return session

    def take(self, session: Session, body: bytes) -> bytes:
        """Check one batch, keep it where the form says so, and give the answer's JSON."""
        try:
            batch = decode(body)
        except WireError as error:
            status = 413 if error.fault in _TOO_LARGE else 400
            raise RefusedError(status, error.fault.value) from None
        session.position_bytes += batch.landmark_bytes
        if self.recorder is not None and session.recording is not None:
            self.recorder.keep(session.recording, batch)
        return b'{"frames_accepted":%d,"session_id":"%b","buffer_position_bytes":%d}' % (
            batch.frame_count,
            session.id,
            session.position_bytes,
        )

    def settle(self, session_id: str) -> bytes:
        """Bring every batch to its file; tell how far a session's joints went, as JSON."""
        if self.recorder is None:
            return b"{}"
        self.recorder.flush(everything=True)
        session = self._sessions.get(session_id)
        if session is None or session.recording is None:
            return b"{}"
        return self.recorder.reach_json(session.recording)

    def _session_of(self, authorization: str) -> Session:
        known = self._known.get(authorization)
        now = time.time()
        if known is None:
            known = self._verify(authorization, now)
        elif now >= known.expires_unix or known.issued_unix > now + _LEEWAY_SECONDS:
            raise RefusedError(401, "token_expired")
        return known.session

    def _verify(self, authorization: str, now: float) -> _Known:
        try:
            claims = self._tokens.verify(authorization.encode("latin1"), now)
        except TokenRefusedError as refused:
            raise RefusedError(401, refused.problem.code) from None
        session_id = claims.identity.session_id
        session = self._sessions.get(session_id)
        if session is None:
            recording = None if self.recorder is None else self.recorder.begin(session_id)
            session = self._sessions[session_id] = Session(session_id.encode(), recording)
        if len(self._known) >= _MOST_TOKENS:
            del self._known[next(iter(self._known))]
        known = _Known(claims.issued_unix, claims.expires_unix, session)
        self._known[authorization] = known
        return known
