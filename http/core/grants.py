"""Consents and quotas: read by the services that must keep to them, written by those who decide.

A patient decides about his own consents, a platform admin about everybody's and about quotas: the
staff of a clinic cannot consent in a patient's place. Each change is written with its audit, and
counts from the next batch on.
"""

from collections.abc import Callable
from dataclasses import dataclass

from penstock.engine.core.grant_records import ConsentEntry, ConsentOf, QuotaEntry, QuotaOf
from penstock.engine.ledger_port import Together
from penstock.engine.records import AuditEntry
from penstock.http.cold_routes import Call, ColdRoute
from penstock.http.core import documents
from penstock.http.core.bodies import ConsentBody, InvalidateBody, QuotaBody
from penstock.http.core.documents import private
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors, expect, id_in_path, id_in_query, read_json
from penstock.http.exchange import Answer
from penstock.http.roles import Role

INTERNAL = "/v1/internal/telemetry"
MINE = "/v1/me/consents"
ORGS = "/v1/admin/orgs/<org_id>"

# Called with an organisation and one of its principals, or None for all that concerns it.
Forget = Callable[[str, str | None], None]


@dataclass(slots=True, frozen=True)
class Grants:
    """The routes of consents and quotas. `forget` has this process ask anew."""

    doors: Doors
    keeping: Keeping
    forget: Forget

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        consents = f"{ORGS}/consents/<principal_id>"
        return (
            ColdRoute("GET", f"{INTERNAL}/consents", self._consents),
            ColdRoute("GET", f"{INTERNAL}/quotas", self._quotas),
            ColdRoute("GET", MINE, self._mine, cross_origin=True),
            ColdRoute("PUT", MINE, self._decide, cross_origin=True),
            ColdRoute("GET", consents, self._consents_of),
            ColdRoute("PUT", consents, self._set_consents),
            ColdRoute("GET", f"{ORGS}/quota", self._quota_of),
            ColdRoute("PUT", f"{ORGS}/quota", self._set_quota),
        )

    async def _consents(self, call: Call) -> Answer:
        self.doors.service(call)
        expect(call, "principal_id", "org_id")
        return await self._told(id_in_query(call, "principal_id"), id_in_query(call, "org_id"))

    async def _quotas(self, call: Call) -> Answer:
        self.doors.service(call)
        expect(call, "org_id")
        return await self._told_quota(id_in_query(call, "org_id"))

    async def _mine(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PATIENT)
        expect(call)
        return await self._told(claims.principal_id, claims.org_id)

    async def _decide(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PATIENT)
        return await self._keep(call, claims.principal_id, claims.org_id, claims.principal_id)

    async def _consents_of(self, call: Call) -> Answer:
        await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call)
        return await self._told(id_in_path(call, "principal_id"), id_in_path(call, "org_id"))

    async def _set_consents(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PLATFORM_ADMIN)
        org_id, principal_id = id_in_path(call, "org_id"), id_in_path(call, "principal_id")
        return await self._keep(call, principal_id, org_id, claims.principal_id)

    async def _quota_of(self, call: Call) -> Answer:
        await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call)
        return await self._told_quota(id_in_path(call, "org_id"))

    async def _set_quota(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PLATFORM_ADMIN)
        org_id = id_in_path(call, "org_id")
        expect(call)
        body = await read_json(call, QuotaBody)
        if isinstance(body, Answer):
            return body
        now = self.keeping.now_ms()
        entry = QuotaEntry(org_id, body.quota(), now, claims.principal_id)
        detail = {"batches_per_second": body.batches_per_second}
        audit = AuditEntry(now, claims.principal_id, "quota.set", f"org:{org_id}", detail)
        await self.keeping.write(Together((entry, audit)))
        self.forget(org_id, None)
        return private(200, documents.quota(org_id, entry))

    async def _keep(self, call: Call, principal_id: str, org_id: str, author: str) -> Answer:
        expect(call)
        body = await read_json(call, ConsentBody)
        if isinstance(body, Answer):
            return body
        now = self.keeping.now_ms()
        entry = ConsentEntry(org_id, principal_id, body.granted(), now, author)
        audit = AuditEntry(
            now,
            author,
            "consent.set",
            f"principal:{principal_id}",
            {"org_id": org_id, "purposes": sorted(entry.purposes)},
        )
        await self.keeping.write(Together((entry, audit)))
        self.forget(org_id, principal_id)
        return private(200, documents.consent(principal_id, org_id, entry))

    async def _told(self, principal_id: str, org_id: str) -> Answer:
        found = await self.keeping.read(ConsentOf(org_id, principal_id))
        return private(200, documents.consent(principal_id, org_id, found))

    async def _told_quota(self, org_id: str) -> Answer:
        found = await self.keeping.read(QuotaOf(org_id))
        return private(200, documents.quota(org_id, found))


@dataclass(slots=True, frozen=True)
class Invalidation:
    """By this route Core tells that grants have changed; it is there with whichever Core."""

    doors: Doors
    forget: Forget

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the route."""
        return (ColdRoute("POST", f"{INTERNAL}/invalidate", self._invalidate),)

    async def _invalidate(self, call: Call) -> Answer:
        self.doors.service(call)
        expect(call)
        body = await read_json(call, InvalidateBody)
        if isinstance(body, Answer):
            return body
        self.forget(body.org_id, body.principal_id)
        return private(200, {"status": "forgotten"})
