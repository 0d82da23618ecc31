"""What a request to Core says: who asks, for which page of what, and its body."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from penstock.engine.core.records import Days
from penstock.engine.ports import Clock
from penstock.http.bodies import read_body
from penstock.http.cold_routes import Call, RefusedError
from penstock.http.exchange import Answer
from penstock.http.gates import refuse_json_type
from penstock.http.instants import read_instant, unix_ms
from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.service_tokens import ServiceTokenVerifier
from penstock.http.user_tokens import UserClaims, UserTokenRefusedError, UserTokenVerifier
from penstock.http.uuids import is_uuid

DAY_MS = 24 * 3600 * 1000
LONGEST_WINDOW_DAYS = 366
USUAL_WINDOW_DAYS = 30
USUAL_PAGE = 50
LARGEST_PAGE = 200
MAX_BODY_BYTES = 16 * 1024
_LONGEST_SHOWN = 80

Model = TypeVar("Model", bound=BaseModel)


@dataclass(slots=True, frozen=True)
class Doors:
    """Who may come in. What is refused raises RefusedError, before a byte of the body is read."""

    users: UserTokenVerifier
    services: ServiceTokenVerifier
    clock: Clock

    async def user(self, call: Call, *roles: Role) -> UserClaims:
        """Let a person with one of the roles in."""
        await self.users.prepare(call.authorization)
        try:
            claims = self.users.verify(call.authorization, self.clock.unix())
        except UserTokenRefusedError as refused:
            raise RefusedError(refused.problem, refused.detail) from None
        if claims.role not in roles:
            allowed = " or ".join(roles)
            raise RefusedError(
                Problem.ROLE_REQUIRED,
                f"this needs the role {allowed}; the token's is {claims.role}",
                limit=allowed,
                seen=claims.role,
            )
        return claims

    def service(self, call: Call) -> str:
        """Let a service account in; give its name."""
        return self.services.verify(call.authorization, self.clock.unix())


async def read_json(call: Call, model: type[Model], limit: int = MAX_BODY_BYTES) -> Model | Answer:
    """Read a JSON body into a model, or give the answer that names what is wrong with it."""
    return _refuse_type(call) or read_body(model, await call.read(limit))


async def read_json_if_any(call: Call, model: type[Model]) -> Model | Answer:
    """Read the same; no body at all is an empty object."""
    body = await call.read(MAX_BODY_BYTES)
    if not body:
        return model()
    return _refuse_type(call) or read_body(model, body)


def expect(call: Call, *known: str) -> None:
    """Refuse parameters that nobody reads: they are mistakes."""
    for name, value in call.query.items():
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there are none"
            raise misfit(name, f"there is no such parameter; {there}", value)


def id_in_path(call: Call, name: str) -> str:
    """Give an id of the path in its one spelling."""
    return _uuid(name, call.parameters[name])


def id_in_query(call: Call, name: str) -> str:
    """Give an id of the query, which must be there."""
    return _uuid(name, call.query.get(name, ""))


def limit_of(call: Call) -> int:
    """Give how many items the page may have."""
    text = call.query.get("limit", str(USUAL_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= LARGEST_PAGE):
        raise misfit("limit", f"it must be a whole number from 1 to {LARGEST_PAGE}", text)
    return int(text)


def days_of(call: Call, clock: Clock) -> Days:
    """Give the UTC days that are asked for: those of `from` and of `to`, and all between.

    Left out, `to` is today and `from` is USUAL_WINDOW_DAYS with it.
    """
    end = _day(call, "to", int(clock.unix() * 1000)) + DAY_MS
    first = _day(call, "from", end - USUAL_WINDOW_DAYS * DAY_MS)
    days = (end - first) // DAY_MS
    if not 1 <= days <= LONGEST_WINDOW_DAYS:
        detail = f"from it to `to` it must be 1 to {LONGEST_WINDOW_DAYS} days"
        raise misfit("from", detail, call.query.get("from", ""))
    return Days(first, end)


def misfit(field: str, detail: str, seen: str) -> RefusedError:
    """Make the refusal of a parameter."""
    field, seen = field[:_LONGEST_SHOWN], seen[:_LONGEST_SHOWN]
    return RefusedError(
        Problem.PARAMETER_MALFORMED, f"{field}: {detail}", field=field, seen=seen or None
    )


def _refuse_type(call: Call) -> Answer | None:
    return refuse_json_type(call.headers.get("Content-Type", "").encode("latin1"))


def _day(call: Call, name: str, otherwise_ms: int) -> int:
    text = call.query.get(name)
    if text is None:
        return otherwise_ms // DAY_MS * DAY_MS
    try:
        at = read_instant(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError:
        detail = "it must be a UTC day such as 2026-05-07, or a moment with its zone"
        raise misfit(name, detail, text) from None
    return unix_ms(at) // DAY_MS * DAY_MS


def _uuid(name: str, text: str) -> str:
    if not is_uuid(text):
        raise misfit(name, "it must be a UUID", text)
    return text.lower()
