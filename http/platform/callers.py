"""Who calls the platform surface, and under which circumstances: asked before every handler.

A person comes with a user token, a service with a service account's. What the headers
`X-Actor-Hash`, `X-Actor-Type`, `X-Organization-Id`, `X-Consent-Level` and `X-Client-IP` say is
believed of a service account alone; from anybody else they are not even looked at.

Somebody with a good token who tries a door that is not theirs is turned away, and that is audited.
"""

import re
from dataclasses import dataclass

from penstock.engine.media.events import ConnectionType
from penstock.engine.platform.actors import ActorType
from penstock.engine.platform.addresses import Address, read_address
from penstock.engine.platform.context import Enrichment, Person, RequestContext, Visitor
from penstock.engine.rate import TokenBuckets
from penstock.engine.records import AuditEntry
from penstock.http.cold_routes import Call, RefusedError
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors
from penstock.http.exchange import Head
from penstock.http.platform.bodies import context_detail
from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.user_tokens import UserClaims
from penstock.http.uuids import is_uuid

_ACTOR_TYPES = {
    Role.PATIENT: ActorType.USER,
    Role.SPECIALIST: ActorType.SPECIALIST,
    Role.CLINIC_ADMIN: ActorType.ADMIN,
    Role.PLATFORM_ADMIN: ActorType.ADMIN,
}
_ACTOR_HASH = re.compile(r"[A-Za-z0-9._:-]{8,128}")
_MOST_CONSENT = 3
# One's refused attempts that are audited: enough to see them, too few to fill a disk with.
_DENIALS_PER_SECOND = 0.1
_DENIALS_AT_ONCE = 10.0
_LONGEST_SHOWN = 80


@dataclass(slots=True, frozen=True)
class RequestRates:
    """How often one person may call one route, by their settings' names."""

    platform_requests_per_second: float
    platform_burst: int


@dataclass(slots=True, frozen=True)
class Callers:
    """Lets callers in and says who they are. RefusedError for all others."""

    doors: Doors
    enrichment: Enrichment
    keeping: Keeping
    rates: RequestRates
    buckets: TokenBuckets
    denials: TokenBuckets

    async def person(self, call: Call, least_consent: int) -> tuple[UserClaims, RequestContext]:
        """Let a person in who consents to as much, and not too often."""
        claims = await self.doors.user(call, *Role)
        if claims.consent_level < least_consent:
            raise RefusedError(
                Problem.CONSENT_REQUIRED,
                f"this needs consent level {least_consent}; the token's is {claims.consent_level}",
                limit=least_consent,
                seen=claims.consent_level,
            )
        rates = self.rates
        wait = self.buckets.take_nowait(
            f"{call.path} {claims.principal_id}",
            self.keeping.clock.monotonic(),
            rates.platform_requests_per_second,
            rates.platform_burst,
        )
        if wait:
            raise RefusedError(
                Problem.RATE_PRINCIPAL,
                retry_after=wait,
                setting="platform_requests_per_second",
                limit=rates.platform_requests_per_second,
            )
        return claims, self._context(call, claims)

    async def admin(self, call: Call, action: str) -> tuple[UserClaims, RequestContext]:
        """Let a platform admin in; others are turned away, and that is audited."""
        claims = await self.doors.user(call, *Role)
        context = self._context(call, claims)
        if claims.role is not Role.PLATFORM_ADMIN:
            await self._deny(claims, action, context, Role.PLATFORM_ADMIN)
        return claims, context

    async def service(self, call: Call, action: str) -> tuple[str, RequestContext]:
        """Let a service account in, and believe what it says of whom it speaks for."""
        try:
            name = self.doors.service(call)
        except RefusedError:
            try:
                claims = await self.doors.user(call, *Role)
            except RefusedError:
                claims = None
            if claims is None:
                raise
            await self._deny(claims, action, self._context(call, claims), "service_account")
            raise
        return name, self._told(call)

    async def audit(
        self, claims: UserClaims, action: str, context: RequestContext, **detail: object
    ) -> None:
        """Have it in the audit that somebody does something; RefusedError where it cannot be."""
        await self.keeping.write(
            AuditEntry(
                self.keeping.now_ms(),
                f"user:{claims.principal_id}",
                action,
                "platform",
                {**detail, **context_detail(context), "role": claims.role.value},
            )
        )

    async def _deny(
        self, claims: UserClaims, action: str, context: RequestContext, needed: str
    ) -> None:
        now = self.keeping.clock.monotonic()
        who = claims.principal_id
        if not self.denials.take_nowait(who, now, _DENIALS_PER_SECOND, _DENIALS_AT_ONCE):
            await self.audit(claims, action, context, status="denied", status_code=403)
        raise RefusedError(
            Problem.ROLE_REQUIRED,
            f"this needs the role {needed}; the token's is {claims.role}",
            limit=needed,
            seen=claims.role,
        )

    def _context(self, call: Call, claims: UserClaims) -> RequestContext:
        person = Person(
            claims.principal_id, _ACTOR_TYPES[claims.role], claims.org_id, claims.consent_level
        )
        return self.enrichment.enrich(call.request_id, visitor_of(call), person)

    def _told(self, call: Call) -> RequestContext:
        actor = call.headers.get("X-Actor-Hash") or None
        if actor is not None and not _ACTOR_HASH.fullmatch(actor):
            raise _misfit("X-Actor-Hash", "must be 8 to 128 letters, figures and ._:-", actor)
        return self.enrichment.enrich_told(
            call.request_id,
            visitor_of(call),
            Person("", _actor_type(call), _org_id(call), _consent(call)),
            actor,
            _client(call),
        )


def visitor_of(call: Call) -> Visitor:
    """Give what a request's connection and headers say."""
    # What browsers tell of themselves as a client hint is as good as their own word in a body.
    told = call.headers.get("ECT", "").lower()
    known = told if told in tuple(ConnectionType) else None
    return Visitor(
        call.peer,
        call.forwarded,
        call.headers.get("User-Agent", "").encode("latin1", "replace"),
        known,
    )


def visitor_in(head: Head) -> Visitor:
    """Give the same of a request that both lanes take."""
    return Visitor(head.peer, head.forwarded.decode("latin1"), head.user_agent)


def _actor_type(call: Call) -> ActorType:
    told = call.headers.get("X-Actor-Type") or ActorType.SYSTEM.value
    if told not in tuple(ActorType):
        raise _misfit("X-Actor-Type", f"must be one of {', '.join(ActorType)}", told)
    return ActorType(told)


def _org_id(call: Call) -> str | None:
    told = call.headers.get("X-Organization-Id") or None
    if told is not None and not is_uuid(told):
        raise _misfit("X-Organization-Id", "must be a UUID", told)
    return None if told is None else told.lower()


def _consent(call: Call) -> int:
    told = call.headers.get("X-Consent-Level") or "0"
    if told not in {str(level) for level in range(_MOST_CONSENT + 1)}:
        raise _misfit("X-Consent-Level", f"must be 0 to {_MOST_CONSENT}", told)
    return int(told)


def _client(call: Call) -> Address | None:
    told = call.headers.get("X-Client-IP") or None
    if told is None:
        return None
    address = read_address(told)
    if address is None:
        raise _misfit("X-Client-IP", "must be an address", told)
    return address


def _misfit(field: str, detail: str, seen: str) -> RefusedError:
    return RefusedError(
        Problem.HEADER_MALFORMED, f"{field} {detail}", field=field, seen=seen[:_LONGEST_SHOWN]
    )
