"""A patient begins an exercise session and gets the token with which its frames are sent.

The token lives for `session_token_ttl_seconds`; a client whose session goes on for longer renews it
in time. Who has ended gets none any more.
"""

from dataclasses import dataclass
from uuid import uuid4

from penstock.engine.core.records import ExerciseSessionEntry, ExerciseSessionOf
from penstock.engine.records import ErasedSession, FinalEntry, FinalOf
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.core.bodies import StartBody
from penstock.http.core.documents import private
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors, expect, id_in_path, read_json_if_any
from penstock.http.exchange import Answer
from penstock.http.instants import iso_instant
from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.session_tokens import mint_session_token
from penstock.http.user_tokens import UserClaims

SESSIONS = "/v1/exercise-sessions"


@dataclass(slots=True, frozen=True)
class TokenTerms:
    """With what session tokens are signed, and for how long they hold."""

    secret: bytes
    session_token_ttl_seconds: int


@dataclass(slots=True, frozen=True)
class Starts:
    """The routes by which sessions begin and go on."""

    doors: Doors
    keeping: Keeping
    terms: TokenTerms

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (
            ColdRoute("POST", SESSIONS, self._start, cross_origin=True),
            ColdRoute(
                "POST", f"{SESSIONS}/<session_id>/telemetry-token", self._renew, cross_origin=True
            ),
        )

    async def _start(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PATIENT)
        expect(call)
        body = await read_json_if_any(call, StartBody)
        if isinstance(body, Answer):
            return body
        session_id = str(uuid4())
        await self.keeping.write(
            ExerciseSessionEntry(
                session_id,
                claims.org_id,
                claims.principal_id,
                body.exercise_id or "",
                self.keeping.now_ms(),
            )
        )
        return self._minted(claims, session_id)

    async def _renew(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PATIENT)
        expect(call)
        session_id = id_in_path(call, "session_id")
        found = await self.keeping.read(
            ExerciseSessionOf(claims.org_id, session_id, claims.principal_id)
        )
        if found is None:
            raise RefusedError(Problem.EXERCISE_SESSION_UNKNOWN)
        # The session's final comes before its figures do.
        final = await self.keeping.read(FinalOf(session_id))
        ended = isinstance(final, FinalEntry) and not final.body.get("provisional", False)
        if found.ended or ended or isinstance(final, ErasedSession):
            raise RefusedError(Problem.EXERCISE_SESSION_ENDED)
        return self._minted(claims, session_id)

    def _minted(self, claims: UserClaims, session_id: str) -> Answer:
        now = int(self.keeping.clock.unix())
        expires = now + self.terms.session_token_ttl_seconds
        token = mint_session_token(
            self.terms.secret,
            session_id=session_id,
            principal_id=claims.principal_id,
            org_id=claims.org_id,
            issued_unix=now,
            expires_unix=expires,
        )
        return private(
            200,
            {
                "session_id": session_id,
                "telemetry_token": token,
                "telemetry_token_expires_at": iso_instant(expires * 1000),
            },
        )
