"""`POST /v1/pose/frames`, in the binary form or as JSON: from the gates to the session."""

from dataclasses import dataclass

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.endings import WrongOwner
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason
from penstock.engine.ports import Clock, Consents, ConsentUnknownError, Purpose, Quota, Quotas
from penstock.engine.session import Admitted, Refusal
from penstock.engine.sessions import Sessions
from penstock.engine.sidecar import NO_META
from penstock.engine.wire import WireError, decode, peek_frame_count
from penstock.http.exchange import Answer, Head
from penstock.http.gates import (
    OCTET_STREAM,
    RateGate,
    read_sidecar,
    read_unsent,
    refuse_size,
    refuse_type,
    refuse_wire,
)
from penstock.http.known_heads import KnownHeads
from penstock.http.pose_json import (
    JsonBatch,
    is_json,
    peek_json_frames,
    read_json_batch,
    refuse_json_size,
)
from penstock.http.problems import BY_CODE, Problem, problem_answer
from penstock.http.session_tokens import SessionClaims, TokenRefusedError, TokenVerifier

PATH = "/v1/pose/frames"


@dataclass(slots=True, frozen=True)
class PoseFrames:
    """The surface. `check_head` may be asked before the body is there; `answer` asks everything."""

    tokens: TokenVerifier
    known_heads: KnownHeads
    consents: Consents
    quotas: Quotas
    rate: RateGate
    sessions: Sessions
    clock: Clock

    def check_head(self, head: Head) -> Answer | SessionClaims:
        """Pass the gates that need no body: token and size."""
        now = self.clock.unix()
        try:
            if head.claims is not None:
                claims = self.tokens.verify_again(head.claims, now)
            else:
                claims = self.tokens.verify(head.authorization, now)
                if head.key:
                    self.known_heads.remember(head, claims)
        except TokenRefusedError as refused:
            return problem_answer(refused.problem, refused.detail)
        refuse = refuse_json_size if is_json(head.content_type) else refuse_size
        return refuse(head.content_length) or claims

    def answer_nowait(self, head: Head, body: bytes) -> Answer | None:
        """As `answer`; None, and nothing has happened, where that would have to wait."""
        claims = self.check_head(head)
        if isinstance(claims, Answer):
            return claims
        who = claims.identity
        consented = self.consents.granted_nowait(who.principal_id, who.org_id, Purpose.BIOMETRIC)
        quota = self.quotas.of_org_nowait(who.org_id)
        if consented is None or quota is None or not self.sessions.at_hand(who.session_id):
            return None
        admitted = self._admit(claims, head, body, consented=consented, quota=quota)
        if isinstance(admitted, Answer):
            return admitted
        return _answer_outcome(head, who, self.sessions.offer_nowait(who, admitted))

    async def answer(self, head: Head, body: bytes) -> Answer:
        """Pass all gates in order. Waits only where consent or a session's file must be read."""
        claims = self.check_head(head)
        if isinstance(claims, Answer):
            return claims
        who = claims.identity
        try:
            consented = await self.consents.granted(who.principal_id, who.org_id, Purpose.BIOMETRIC)
            quota = await self.quotas.of_org(who.org_id)
        except ConsentUnknownError as unknown:
            self._refuse_unread(claims, Reason.CONSENT_UNKNOWN, head, body)
            return problem_answer(
                Problem.CONSENT_UNKNOWN, str(unknown), retry_after=unknown.retry_after
            )
        admitted = self._admit(claims, head, body, consented=consented, quota=quota)
        if isinstance(admitted, Answer):
            return admitted
        return _answer_outcome(head, who, await self.sessions.offer(who, admitted))

    def _admit(
        self, claims: SessionClaims, head: Head, body: bytes, *, consented: bool, quota: Quota
    ) -> Answer | Arrival:
        """Pass the gates from consent to decoding."""
        who = claims.identity
        if not consented:
            self._refuse_unread(claims, Reason.CONSENT_REQUIRED, head, body)
            return problem_answer(Problem.CONSENT_REQUIRED, purpose=Purpose.BIOMETRIC.value)
        over = self.rate.refuse(who.session_id, who.org_id, quota, self.clock.monotonic())
        if over is not None:
            self._refuse_unread(claims, over[0], head, body)
            return over[1]
        json = _is_json(head)
        wrong_type = None if json else refuse_type(head.content_type)
        if wrong_type is not None:
            self._refuse_unread(claims, Reason.MALFORMED, head, body)
            return wrong_type
        sidecar = read_sidecar(head) if head.sidecar or head.query else None
        if isinstance(sidecar, Answer):
            self._refuse_unread(claims, Reason.MALFORMED, head, body)
            return sidecar
        unsent = read_unsent(head)
        if isinstance(unsent, Answer):
            self._refuse_unread(claims, Reason.MALFORMED, head, body)
            return unsent
        received = int(self.clock.unix() * 1000)
        if json:
            read = self._read_json(claims, head, body, sidecar[0] if sidecar else None)
            if isinstance(read, Answer):
                return read
            batch, text, meta = read
            return Arrival(batch, received, text, meta, unsent)
        try:
            batch = decode(body)
        except WireError as error:
            self.sessions.refuse(who, Reason.MALFORMED, error.frames)
            return refuse_wire(error)
        if not sidecar and not unsent:
            return Arrival(batch, received)
        text, meta = sidecar or (None, NO_META)
        return Arrival(batch, received, text, meta, unsent)

    def _read_json(
        self, claims: SessionClaims, head: Head, body: bytes, sidecar: bytes | None
    ) -> JsonBatch | Answer:
        read = read_json_batch(body, claims.identity.session_id, sidecar)
        # Of a body for another session, nobody knows whose frames they are.
        if isinstance(read, Answer) and read.code != Problem.TOKEN_WRONG_SESSION.code:
            self._refuse_unread(claims, Reason.MALFORMED, head, body)
        return read

    def _refuse_unread(
        self, claims: SessionClaims, reason: Reason, head: Head, body: bytes
    ) -> None:
        peek = peek_json_frames if _is_json(head) else peek_frame_count
        self.sessions.refuse(claims.identity, reason, peek(body))


def _is_json(head: Head) -> bool:
    return head.content_type != OCTET_STREAM and is_json(head.content_type)


def _answer_outcome(
    head: Head, who: SessionIdentity, outcome: Admitted | Refusal | WrongOwner
) -> Answer:
    if isinstance(outcome, Admitted):
        # The JSON form's own document has a status as well.
        status = b'"status":"accepted",' if _is_json(head) else b""
        return Answer(
            202,
            b'{%b"frames_accepted":%d,"session_id":"%b","buffer_position_bytes":%d}'
            % (status, outcome.frame_count, who.session_id.encode(), outcome.position_bytes),
            "accepted",
        )
    if isinstance(outcome, WrongOwner):
        return problem_answer(Problem.TOKEN_WRONG_SESSION)
    return problem_answer(
        BY_CODE[outcome.reason.value],
        outcome.detail,
        retry_after=outcome.retry_after,
        setting=outcome.setting,
        limit=outcome.limit,
        seen=outcome.seen,
    )
