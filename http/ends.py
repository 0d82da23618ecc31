"""`POST /v1/sessions/{id}/end`: a session's last word, which is never dropped."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from penstock.engine.delivery_records import Progress
from penstock.engine.endings import (
    EndConflict,
    EndDelayed,
    Ended,
    EndFailed,
    EndOutcome,
    EndUnstored,
    SessionUnknown,
    WrongOwner,
)
from penstock.engine.finals import ClientStatus, EndRequest, Final
from penstock.engine.ports import Clock
from penstock.engine.sessions import Sessions
from penstock.http.bodies import read_body
from penstock.http.exchange import Answer, Head, json_answer
from penstock.http.gates import read_unsent, refuse_json_type
from penstock.http.hot_routes import Route
from penstock.http.instants import Instant, iso_instant, unix_ms
from penstock.http.problems import BY_CODE, Problem, problem_answer
from penstock.http.session_tokens import SessionClaims, TokenRefusedError, TokenVerifier

MAX_END_BYTES = 16 * 1024
ENDS = Route("/v1/sessions/{id}/end", MAX_END_BYTES)
# What an end that is answered with the session's figures is counted under.
ENDED = "ended"


class EndBody(BaseModel):
    """What the client sends. Keys that are not known are left alone."""

    model_config = ConfigDict(extra="ignore")

    ended_at: Instant
    client_status: ClientStatus
    exercise_id: str | None = Field(default=None, max_length=200)
    total_frames_attempted: int | None = Field(default=None, ge=0, le=2**53)


@dataclass(slots=True, frozen=True)
class SessionEnds:
    """The surface."""

    tokens: TokenVerifier
    sessions: Sessions
    clock: Clock

    def check_head(self, session_id: str, head: Head) -> Answer | SessionClaims:
        """Pass the gates that need no body: token, its session, size, type."""
        try:
            claims = self.tokens.verify(head.authorization, self.clock.unix())
        except TokenRefusedError as refused:
            return problem_answer(refused.problem, refused.detail)
        if session_id.lower() != claims.identity.session_id:
            return problem_answer(
                Problem.TOKEN_WRONG_SESSION, "the token is for another session than the path's"
            )
        if head.content_length is not None and head.content_length > MAX_END_BYTES:
            return _too_large(head.content_length)
        return refuse_json_type(head.content_type) or claims

    async def answer(self, session_id: str, head: Head, body: bytes) -> Answer:
        """End the session, or say how it ended before. The answer waits for the ledger."""
        claims = self.check_head(session_id, head)
        if isinstance(claims, Answer):
            return claims
        if len(body) > MAX_END_BYTES:  # no Content-Length had announced it
            return _too_large(len(body))
        unsent = read_unsent(head)
        if isinstance(unsent, Answer):
            return unsent
        read = read_body(EndBody, body)
        if isinstance(read, Answer):
            return read
        request = EndRequest(
            read.client_status,
            unix_ms(read.ended_at),
            read.exercise_id,
            read.total_frames_attempted,
            unsent,
        )
        return _answer(await self.sessions.end(claims.identity, request), request)


def _answer(outcome: EndOutcome, request: EndRequest) -> Answer:
    match outcome:
        case Ended(final, progress):
            return json_answer(200, _document(final, progress), code=ENDED)
        case EndUnstored(detail, retry_after, reason):
            return problem_answer(BY_CODE[reason], detail, retry_after=retry_after)
        case EndConflict(final):
            return problem_answer(
                Problem.END_CONFLICT,
                f"the session has ended as {final.status}, not {request.status}",
                field="client_status",
                limit=final.status.value,
                seen=request.status.value,
            )
        case EndDelayed(detail, retry_after, reason):
            return problem_answer(BY_CODE[reason], detail, retry_after=retry_after)
        case SessionUnknown():
            return problem_answer(Problem.SESSION_UNKNOWN)
        case WrongOwner():
            return problem_answer(Problem.TOKEN_WRONG_SESSION)
        case EndFailed():
            return problem_answer(Problem.INTERNAL)


def _too_large(size: int) -> Answer:
    detail = f"the body has {size} bytes; the limit is {MAX_END_BYTES}"
    return problem_answer(Problem.BODY_TOO_LARGE, detail, limit=MAX_END_BYTES, seen=size)


# What `status` says while the replay and the final are safe, and Core has still to be told.
PUBLICATION_PENDING = "publication_pending"


def _document(final: Final, progress: Progress) -> dict[str, object]:
    published = progress.published_unix_ms
    return {
        "session_id": final.identity.session_id,
        "status": PUBLICATION_PENDING if published is None else final.status.value,
        "client_status": final.status.value,
        "revision": final.revision,
        "frames_received": final.frames_received,
        "frames_dropped": final.frames_dropped,
        # A session of which no frame came to the disk has no replay.
        "replay_blob": None if progress.replay is None else progress.replay.url,
        "aggregates_published_at": None if published is None else iso_instant(published),
        "frames_shed": final.frames_shed,
        "frames_lost": final.frames_lost,
        "suspicious_gap": final.suspicious_gap,
        "completeness": final.completeness,
    }
