"""`POST /v1/media/events`: what players tell, answered once it is on disk.

The gates are those of `gates`, in that order, with the consent to analytics. An event is in the
durable lane: it is never dropped, and where it cannot be stored in time its client is told when to
send it again. An event that comes after the session's end is taken as well: it counts in the
statistics and for a later revision, and changes nothing of what has been published.
"""

from collections.abc import Callable
from dataclasses import dataclass

from penstock.engine.ledger_port import LedgerReason
from penstock.engine.media.events import MAX_SESSION_EVENTS, MediaEvent
from penstock.engine.media.records import MediaEventEntry
from penstock.engine.media.rollup import Surroundings
from penstock.engine.ports import Clock, Consents, ConsentUnknownError, Purpose, Quotas
from penstock.engine.receipts import Answer as Stored
from penstock.engine.receipts import Committed, Lane, Refused
from penstock.engine.writer import Writer
from penstock.http.cmcd import CmcdFault, read_cmcd_headers
from penstock.http.exchange import Answer, Head, json_answer
from penstock.http.gates import RateGate, refuse_json_type
from penstock.http.hot_routes import Route
from penstock.http.media_bodies import MAX_MEDIA_EVENT_BYTES, read_media_event
from penstock.http.problems import BY_CODE, Problem, problem_answer
from penstock.http.session_tokens import SessionClaims, TokenRefusedError, TokenVerifier
from penstock.http.user_agents import surroundings_of

MEDIA_EVENTS = Route("/v1/media/events", MAX_MEDIA_EVENT_BYTES)


def surroundings_in(head: Head) -> Surroundings:
    """Tell what a request's head alone tells of where it comes from."""
    return surroundings_of(head.user_agent)


@dataclass(slots=True, frozen=True)
class MediaEvents:
    """The surface. `surroundings` says where a session is watched, by its first event's head."""

    tokens: TokenVerifier
    consents: Consents
    quotas: Quotas
    rate: RateGate
    writer: Writer
    clock: Clock
    surroundings: Callable[[Head], Surroundings] = surroundings_in

    def check_head(self, _parameter: str, head: Head) -> Answer | SessionClaims:
        """Pass the gates that need no body: token and size."""
        try:
            claims = self.tokens.verify(head.authorization, self.clock.unix())
        except TokenRefusedError as refused:
            return problem_answer(refused.problem, refused.detail)
        if head.content_length is not None and head.content_length > MAX_MEDIA_EVENT_BYTES:
            return _too_large(head.content_length)
        return claims

    async def answer(self, parameter: str, head: Head, body: bytes) -> Answer:
        """Pass all gates in order, and store the event. Waits for the ledger."""
        claims = self.check_head(parameter, head)
        if isinstance(claims, Answer):
            return claims
        if len(body) > MAX_MEDIA_EVENT_BYTES:  # no Content-Length had announced it
            return _too_large(len(body))
        refused = await self._refuse(claims)
        if refused is not None:
            return refused
        event = self._read(head, body)
        if isinstance(event, Answer):
            return event
        who = claims.identity
        if event.session_id != who.session_id:
            return problem_answer(
                Problem.TOKEN_WRONG_SESSION,
                "the token is for another session than the body's",
                field="session_id",
            )
        entry = MediaEventEntry(event, who.org_id, who.principal_id, self.surroundings(head))
        return _answer(event, await self.writer.enter_nowait(entry, Lane.DURABLE).wait())

    async def _refuse(self, claims: SessionClaims) -> Answer | None:
        """Pass consent and rate."""
        who = claims.identity
        try:
            purpose = Purpose.ANALYTICS
            if not await self.consents.granted(who.principal_id, who.org_id, purpose):
                detail = "the principal has not consented to analytics"
                return problem_answer(Problem.CONSENT_REQUIRED, detail, purpose=purpose.value)
        except ConsentUnknownError as unknown:
            return problem_answer(
                Problem.CONSENT_UNKNOWN, str(unknown), retry_after=unknown.retry_after
            )
        quota = await self.quotas.of_org(who.org_id)
        now = self.clock.monotonic()
        over = self.rate.refuse(who.session_id, who.org_id, quota, now, "media events")
        return None if over is None else over[1]

    def _read(self, head: Head, body: bytes) -> MediaEvent | Answer:
        wrong_type = refuse_json_type(head.content_type)
        if wrong_type is not None:
            return wrong_type
        cmcd = read_cmcd_headers(head.cmcd)
        if isinstance(cmcd, CmcdFault):
            return problem_answer(
                Problem.CMCD_MALFORMED,
                f"the CMCD headers: {cmcd.key or 'their list'} {cmcd.detail}",
                field=cmcd.key or None,
                seen=cmcd.seen,
                limit=cmcd.limit,
            )
        return read_media_event(body, int(self.clock.unix() * 1000), cmcd)


def _answer(event: MediaEvent, stored: Stored) -> Answer:
    match stored:
        case Committed():
            document = {
                "status": "accepted",
                "event_id": event.event_id,
                "session_id": event.session_id,
            }
            return json_answer(202, document, code="accepted")
        case Refused(reason=LedgerReason.CONFLICT):
            return problem_answer(Problem.TOKEN_WRONG_SESSION)
        case Refused(reason=LedgerReason.FULL):
            return problem_answer(
                Problem.MEDIA_SESSION_FULL, stored.detail, limit=MAX_SESSION_EVENTS
            )
        case Refused() if stored.retry_after is not None:
            return problem_answer(
                BY_CODE[stored.reason.value],
                stored.detail,
                retry_after=stored.retry_after,
                setting=stored.setting,
                limit=stored.limit,
                seen=stored.seen,
            )
    return problem_answer(Problem.INTERNAL)


def _too_large(size: int) -> Answer:
    detail = f"the body has {size} bytes; the limit is {MAX_MEDIA_EVENT_BYTES}"
    return problem_answer(
        Problem.BODY_TOO_LARGE, detail, limit=MAX_MEDIA_EVENT_BYTES, seen=min(size, 2**63)
    )
