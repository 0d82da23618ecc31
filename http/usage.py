"""`usage`: POST /telemetry, and the setting that allows it.

The gates stand in the order of the contract: token, opt-in, whitelist, types. Nothing of a body
that is refused is kept or logged; an answer tells the names of its fields to who sent them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.engine.ledger_port import Ledger
from penstock.engine.ports import Clock
from penstock.engine.receipts import Lane, Refused
from penstock.engine.sync.kinds import key_fault
from penstock.engine.usage.records import (
    OPTED_OUT,
    UsageDay,
    UsageEntry,
    UsageOptedIn,
    UsageOptEntry,
)
from penstock.engine.usage.report import COUNTERS, UsageFault, UsageFaultError, read_report
from penstock.engine.writer import Writer
from penstock.http.cold_routes import Call, ColdRoute, ColdSurface
from penstock.http.exchange import Answer, json_answer
from penstock.http.instants import iso_instant
from penstock.http.plain_errors import (
    PlainError,
    answering,
    committed,
    object_of,
    plain_refuse,
)
from penstock.http.user_tokens import UserTokens

PATH = "/telemetry"
MAX_BODY_BYTES = 16 * 1024
_OPT_IN = "telemetry_opt_in"
_INVALID_BODY = "invalid_body"


@dataclass(slots=True, frozen=True)
class UsageSurface:
    """The routes. The first of `user_claims` that a token has names its user."""

    tokens: UserTokens
    ledger: Ledger
    writer: Writer
    clock: Clock
    user_claims: Sequence[str]

    def surface(self) -> ColdSurface:
        """Give the routes as the application serves them."""
        settings = f"{PATH}/settings"
        return ColdSurface(
            (
                ColdRoute("POST", PATH, answering(self._report), cross_origin=True),
                ColdRoute("GET", settings, answering(self._show), cross_origin=True),
                ColdRoute("PUT", settings, answering(self._choose), cross_origin=True),
            ),
            plain_refuse,
            (PATH,),
        )

    async def _report(self, call: Call) -> Answer:
        user_id = await self._user(call)
        if not await self.ledger.read(UsageOptedIn(user_id)):
            raise _opted_out()
        body = object_of(await call.read(MAX_BODY_BYTES), _INVALID_BODY)
        now = int(self.clock.unix() * 1000)
        try:
            report = read_report(body, now)
        except UsageFaultError as fault:
            raise PlainError(400, fault.fault, fault.message) from None
        entry = UsageEntry(user_id, report, now)
        answer = await committed(self.writer.enter_nowait(entry, Lane.DURABLE))
        if isinstance(answer, Refused):
            if answer.detail == OPTED_OUT:
                raise _opted_out()
            raise PlainError(400, UsageFault.INVALID, "the report cannot be kept")
        assert isinstance(answer.value, UsageDay)  # noqa: S101 - for the type checkers
        return json_answer(201, {"aggregate": _plain(answer.value)})

    async def _show(self, call: Call) -> Answer:
        user_id = await self._user(call)
        return json_answer(200, {_OPT_IN: await self.ledger.read(UsageOptedIn(user_id))})

    async def _choose(self, call: Call) -> Answer:
        user_id = await self._user(call)
        body = object_of(await call.read(MAX_BODY_BYTES), _INVALID_BODY)
        chosen = body.get(_OPT_IN)
        if not isinstance(chosen, bool) or len(body) != 1:
            message = f'the body must be {{"{_OPT_IN}": true}} or false, and nothing else'
            raise PlainError(400, UsageFault.INVALID, message)
        entry = UsageOptEntry(user_id, chosen, int(self.clock.unix() * 1000))
        answer = await committed(self.writer.enter_nowait(entry, Lane.DURABLE))
        assert not isinstance(answer, Refused)  # noqa: S101 - no choice conflicts
        return json_answer(200, {_OPT_IN: chosen})

    async def _user(self, call: Call) -> str:
        """Give whom the token speaks for."""
        await self.tokens.prepare(call.authorization)
        claims = self.tokens.claims(call.authorization, self.clock.unix(), ()).plain
        for name in self.user_claims:
            value = claims.get(name)
            if value in (None, ""):
                continue
            if not isinstance(value, str) or key_fault(value):
                raise PlainError(401, "user_token_malformed", f"the claim {name} is no user")
            return value
        named = ", ".join(self.user_claims)
        raise PlainError(401, "user_token_malformed", f"the token has no claim of {named}")


def _plain(day: UsageDay) -> dict[str, object]:
    return {
        "user_id": day.user_id,
        "window_start": iso_instant(day.window_unix_ms),
        **{name: getattr(day.counters, name) for name in COUNTERS},
        "reported_at": iso_instant(day.reported_unix_ms),
    }


def _opted_out() -> PlainError:
    return PlainError(403, OPTED_OUT, "the user has not opted in to telemetry")
