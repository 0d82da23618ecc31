"""`POST /v1/internal/telemetry/session-aggregated`: figures of ended sessions, whoever made them.

Told again, or told late, they change nothing.
"""

from dataclasses import dataclass

from penstock.http.cold_routes import Call, ColdRoute
from penstock.http.core.bodies import AggregatedBody
from penstock.http.core.documents import private
from penstock.http.core.grants import INTERNAL
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors, expect, read_json
from penstock.http.exchange import Answer
from penstock.http.problems import Problem

MAX_EVENT_BYTES = 4 << 20


@dataclass(slots=True, frozen=True)
class Subscriber:
    """The route of aggregation events."""

    doors: Doors
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the route."""
        return (ColdRoute("POST", f"{INTERNAL}/session-aggregated", self._take),)

    async def _take(self, call: Call) -> Answer:
        self.doors.service(call)
        expect(call)
        body = await read_json(call, AggregatedBody, MAX_EVENT_BYTES)
        if isinstance(body, Answer):
            return body
        entry = body.entry(self.keeping.now_ms())
        await self.keeping.write(entry, Problem.AGGREGATE_CONFLICT)
        return private(
            200,
            {"status": "stored", "session_id": entry.session_id, "revision": entry.revision},
        )
