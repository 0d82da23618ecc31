"""What patients and their clinic read of exercise sessions.

A patient reads his own, the staff of an organisation those within it. That is part of the question
that the ledger is asked, so what is not theirs is not there: 404, as if it did not exist.
"""

from dataclasses import dataclass

from penstock.engine.core.records import (
    ExerciseSession,
    ExerciseSessionOf,
    PatientSessions,
    RepMetricsOf,
)
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.core import documents
from penstock.http.core.cursors import cursor_of, session_mark
from penstock.http.core.documents import private
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors, expect, id_in_path, limit_of
from penstock.http.core.starts import SESSIONS
from penstock.http.exchange import Answer
from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.user_tokens import UserClaims

STAFF = (Role.SPECIALIST, Role.CLINIC_ADMIN)


@dataclass(slots=True, frozen=True)
class Reads:
    """The routes that tell of sessions."""

    doors: Doors
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (
            ColdRoute("GET", "/v1/me/exercise-sessions", self._mine, cross_origin=True),
            ColdRoute(
                "GET", "/v1/patients/<principal_id>/exercise-sessions", self._of_patient,
                cross_origin=True,
            ),
            ColdRoute("GET", f"{SESSIONS}/<session_id>", self._one, cross_origin=True),
        )  # fmt: skip

    async def _mine(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PATIENT)
        return private(200, await self._page(call, claims.org_id, claims.principal_id))

    async def _of_patient(self, call: Call) -> Answer:
        claims = await self.doors.user(call, *STAFF)
        principal_id = id_in_path(call, "principal_id")
        page = await self._page(call, claims.org_id, principal_id)
        if not page["exercise_sessions"] and "cursor" not in call.query:
            raise RefusedError(Problem.PATIENT_UNKNOWN)
        return private(200, page)

    async def _one(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PATIENT, *STAFF)
        expect(call)
        found = await find_session(self.keeping, claims, id_in_path(call, "session_id"))
        reps = await self.keeping.read(RepMetricsOf(claims.org_id, found.session_id))
        figures = None if found.session_metrics is None else reps
        return private(200, documents.session(found) | {"rep_metrics": figures})

    async def _page(self, call: Call, org_id: str, principal_id: str) -> documents.Document:
        expect(call, "limit", "cursor")
        limit, after = limit_of(call), session_mark(call)
        # One more than the page has: whether there is a next one.
        found = await self.keeping.read(PatientSessions(org_id, principal_id, limit + 1, after))
        shown = found[:limit]
        more = len(found) > limit
        cursor = cursor_of(shown[-1].created_unix_ms, shown[-1].session_id) if more else None
        items = [documents.session(one) for one in shown]
        return documents.page("exercise_sessions", items, cursor)


async def find_session(keeping: Keeping, claims: UserClaims, session_id: str) -> ExerciseSession:
    """Find a session that a person may know of; of a patient his own only. RefusedError."""
    own = claims.principal_id if claims.role is Role.PATIENT else None
    found = await keeping.read(ExerciseSessionOf(claims.org_id, session_id, own))
    if found is None:
        raise RefusedError(Problem.EXERCISE_SESSION_UNKNOWN)
    return found
