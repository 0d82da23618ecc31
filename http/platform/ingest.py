"""Analytics, errors and the audit of others: taken in, and answered once they are on disk."""

from dataclasses import dataclass, replace
from uuid import uuid4

from penstock.engine.media.events import ConnectionType
from penstock.engine.platform.context import RequestContext
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import read_json
from penstock.http.exchange import Answer, json_answer
from penstock.http.instants import unix_ms
from penstock.http.platform.bodies import (
    MAX_ANALYTICS_BYTES,
    MAX_AUDIT_BYTES,
    MAX_ERROR_BYTES,
    AnalyticsBody,
    AuditBody,
    ErrorBody,
)
from penstock.http.platform.callers import Callers
from penstock.http.problems import Problem

ANALYTICS = "/v1/analytics/track"
ERRORS = "/v1/errors/report"
AUDIT = "/v1/audit/ingest"
ANALYTICS_CONSENT = 2
ERRORS_CONSENT = 1

_MOST_AHEAD_MS = 5 * 60 * 1000
_MOST_BEHIND_MS = 31 * 24 * 3600 * 1000


@dataclass(slots=True, frozen=True)
class Ingest:
    """The routes that only write."""

    callers: Callers
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give every route; the audit's is for services, which have no origin."""
        return (
            ColdRoute("POST", ANALYTICS, self._analytics, cross_origin=True),
            ColdRoute("POST", ERRORS, self._errors, cross_origin=True),
            ColdRoute("POST", AUDIT, self._audit),
        )

    async def _analytics(self, call: Call) -> Answer:
        claims, context = await self.callers.person(call, ANALYTICS_CONSENT)
        body = await read_json(call, AnalyticsBody, MAX_ANALYTICS_BYTES)
        if isinstance(body, Answer):
            return body
        now, at = self.keeping.now_ms(), unix_ms(body.timestamp)
        if not now - _MOST_BEHIND_MS <= at <= now + _MOST_AHEAD_MS:
            raise RefusedError(
                Problem.BODY_MALFORMED,
                "timestamp: must lie within the last 31 days, and at most 5 minutes ahead",
                field="timestamp",
                seen=body.timestamp.isoformat(),
            )
        event_id = str(uuid4())
        context = _connected(context, body.connection_type)
        await self.keeping.write(body.entry(event_id, claims.org_id, at, now, context))
        return _accepted(event_id=event_id)

    async def _errors(self, call: Call) -> Answer:
        claims, context = await self.callers.person(call, ERRORS_CONSENT)
        body = await read_json(call, ErrorBody, MAX_ERROR_BYTES)
        if isinstance(body, Answer):
            return body
        context = _connected(context, body.connection_type)
        report_id = str(uuid4())
        entry = body.entry(report_id, claims.org_id, self.keeping.now_ms(), context)
        await self.keeping.write(entry)
        return _accepted(event_id=report_id, fingerprint=entry.fingerprint)

    async def _audit(self, call: Call) -> Answer:
        name, context = await self.callers.service(call, "audit.ingest")
        body = await read_json(call, AuditBody, MAX_AUDIT_BYTES)
        if isinstance(body, Answer):
            return body
        entry = body.entry(f"service:{name}", self.keeping.now_ms(), context)
        await self.keeping.write(entry)
        return _accepted(event_id=entry.entry_id)


def _connected(context: RequestContext, told: ConnectionType | None) -> RequestContext:
    """Take what the client says of its connection, where anything may be kept of it."""
    if told is None or context.excluded:
        return context
    return replace(context, connection_type=told.value)


def _accepted(**facts: str) -> Answer:
    return json_answer(202, {"status": "accepted", **facts}, code="accepted")
