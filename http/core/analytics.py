"""What many patients did: a clinic's cohort by patient, the whole platform by exercise.

Of the platform nobody is told apart: an exercise that fewer than FEWEST_PATIENTS did within the
days is not in the answer, and days are whole ones, so that what one patient did cannot be found as
the difference of two answers whose windows differ by an hour.
"""

from dataclasses import dataclass

from penstock.engine.core.records import CohortAdherence, PlatformCounts
from penstock.http.cold_routes import Call, ColdRoute
from penstock.http.core import documents
from penstock.http.core.cursors import adherence_mark, cursor_of, exercise_mark
from penstock.http.core.documents import private
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors, days_of, expect, limit_of
from penstock.http.exchange import Answer
from penstock.http.roles import Role

# A usual bound of health statistics for what may be published.
FEWEST_PATIENTS = 5


@dataclass(slots=True, frozen=True)
class Analytics:
    """The routes of sums."""

    doors: Doors
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (
            ColdRoute(
                "GET", "/v1/analytics/cohort/exercise-adherence", self._cohort, cross_origin=True
            ),
            ColdRoute("GET", "/v1/admin/platform/exercise-aggregate-counts", self._platform),
        )

    async def _cohort(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.CLINIC_ADMIN)
        expect(call, "from", "to", "exercise_id", "limit", "cursor")
        days, limit = days_of(call, self.keeping.clock), limit_of(call)
        found = await self.keeping.read(
            CohortAdherence(
                claims.org_id,
                days,
                limit + 1,
                adherence_mark(call),
                call.query.get("exercise_id"),
            )
        )
        shown = found[:limit]
        more = len(found) > limit
        cursor = cursor_of(shown[-1].principal_id, shown[-1].exercise_id) if more else None
        items = [documents.adherence(one) for one in shown]
        return private(200, documents.window(days) | documents.page("adherence", items, cursor))

    async def _platform(self, call: Call) -> Answer:
        await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call, "from", "to", "limit", "cursor")
        days, limit = days_of(call, self.keeping.clock), limit_of(call)
        found = await self.keeping.read(
            PlatformCounts(days, FEWEST_PATIENTS, limit + 1, exercise_mark(call))
        )
        shown = found[:limit]
        cursor = cursor_of(shown[-1].exercise_id) if len(found) > limit else None
        items = [documents.exercise_counts(one) for one in shown]
        document = {**documents.window(days), "fewest_patients": FEWEST_PATIENTS}
        return private(200, document | documents.page("exercises", items, cursor))
