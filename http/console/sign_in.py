"""Signing in and out: a platform admin's token is exchanged for a visit.

Every sign-in is in the audit, and so is every failed one: who guesses is seen. An address that
fails too often waits before it may try again, and is no longer heard until then; that bounds what
strangers can write into the audit, too. A ledger that takes nothing keeps no operator out, who
comes because of it: then the log has the entry.
"""

import logging
from dataclasses import dataclass, field

from penstock.engine.platform.addresses import shortened
from penstock.engine.rate import TokenBuckets
from penstock.engine.records import AuditEntry
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.console.door import SIGN_IN, SIGN_OUT, inside, read_form, see_other
from penstock.http.console.frame import Frame, sealed
from penstock.http.console.visits import Visit
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors
from penstock.http.exchange import Answer
from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.user_tokens import UserClaims, UserTokenRefusedError

logger = logging.getLogger(__name__)

# An address may fail so often at once, and then once in so many seconds.
FAILURES_AT_ONCE = 5.0
FAILURES_PER_SECOND = 1 / 30
# All addresses together, as far as the audit goes: guessing from many must not fill the disk.
_AUDITED_AT_ONCE = 200.0
_AUDITED_PER_SECOND = 1 / 5
_SCHEME = "bearer "


@dataclass(slots=True, frozen=True)
class SignIn:
    """The routes."""

    frame: Frame
    doors: Doors
    keeping: Keeping
    failures: TokenBuckets = field(default_factory=TokenBuckets)
    audited: TokenBuckets = field(default_factory=TokenBuckets)

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes; the way in is open to everybody."""
        return (
            ColdRoute("GET", SIGN_IN, self._show),
            ColdRoute("POST", SIGN_IN, self._enter),
            self.frame.form(SIGN_OUT, self._leave),
        )

    async def _show(self, call: Call) -> Answer:
        door = self.frame.door
        target = inside(call.query.get("next", ""))
        if door.visits.find(door.visit_id(call)) is not None:
            # Browsers take what is behind a # along to where they are led, unless there is one
            # there, too: a link's token would stay in the address of a page that never takes it.
            return _plain(see_other(f"{target}#"))
        return self._page(target)

    async def _enter(self, call: Call) -> Answer:
        door = self.frame.door
        try:
            door.check_origin(call)
            form = await read_form(call)
        except RefusedError as refused:
            return self.frame.pages.refusal(None, refused)
        target = inside(form.get("next", ""))
        wait = self.failures.wait(
            self._who(call), self._now(), FAILURES_PER_SECOND, FAILURES_AT_ONCE
        )
        if wait:
            return self._limited(wait, target)
        try:
            claims = await self._claims(form.get("token", ""))
        except RefusedError as refused:
            await self._failed(call, refused)
            return self._page(target, refused)
        door.visits.end(door.visit_id(call))
        visit_id, visit = door.visits.begin(claims)
        await self._audit(call, "console.sign_in", f"user:{claims.principal_id}", {})
        lasts = max(1, int(visit.ends_unix - visit.began_unix))
        return _plain(see_other(target, door.cookie(call, visit_id, lasts)))

    async def _leave(self, visit: Visit, _form: object, call: Call) -> Answer:
        door = self.frame.door
        door.visits.end(door.visit_id(call))
        await self._audit(call, "console.sign_out", f"user:{visit.principal_id}", {})
        return see_other(SIGN_IN, door.cookie(call, "", 0))

    async def _claims(self, token: str) -> UserClaims:
        token = token.strip()
        if token[: len(_SCHEME)].lower() == _SCHEME:  # copied with what stands before it
            token = token[len(_SCHEME) :].strip()
        if not token:
            raise RefusedError(Problem.USER_TOKEN_MISSING, "paste a token")
        users = self.doors.users
        authorization = b"Bearer " + token.encode("utf-8", "replace")
        await users.prepare(authorization)
        try:
            claims = users.verify(authorization, self.doors.clock.unix())
        except UserTokenRefusedError as refused:
            raise RefusedError(refused.problem, refused.detail) from None
        if claims.role is not Role.PLATFORM_ADMIN:
            raise RefusedError(
                Problem.ROLE_REQUIRED,
                f"the console needs a token of the role {Role.PLATFORM_ADMIN}; this one's is "
                f"{claims.role}",
                limit=Role.PLATFORM_ADMIN,
                seen=claims.role,
                actor=f"user:{claims.principal_id}",
            )
        return claims

    async def _failed(self, call: Call, refused: RefusedError) -> None:
        who, now = self._who(call), self._now()
        self.failures.take_nowait(who, now, FAILURES_PER_SECOND, FAILURES_AT_ONCE)
        if self.audited.take_nowait("", now, _AUDITED_PER_SECOND, _AUDITED_AT_ONCE):
            return
        # Only a token that was verified names somebody.
        actor = str(refused.facts.get("actor", "anonymous"))
        detail = {"reason": refused.problem.code, "status": "denied"}
        await self._audit(call, "console.sign_in_failed", actor, detail)

    async def _audit(self, call: Call, action: str, actor: str, detail: dict[str, str]) -> None:
        address = self.frame.door.address(call)
        told = {**detail, "address": None if address is None else shortened(address)}
        entry = AuditEntry(self.keeping.now_ms(), actor, action, "console", told)
        try:
            await self.keeping.write(entry)
        except RefusedError as refused:
            logger.warning(
                "console.not_audited",
                extra={"action": action, "actor": actor, "reason": refused.problem.code},
            )

    def _who(self, call: Call) -> str:
        address = self.frame.door.address(call)
        if address is None:
            return "unknown"
        # Whoever has one address of IPv6 has as many as they like beside it.
        return str(address) if address.version == 4 else shortened(address)

    def _now(self) -> float:
        return self.doors.clock.monotonic()

    def _limited(self, wait: float, target: str) -> Answer:
        refused = RefusedError(
            Problem.SIGN_INS_LIMITED,
            f"too many tokens from your address did not hold; try again in {wait:.0f} s",
            retry_after=wait,
        )
        return self._page(target, refused)

    def _page(self, target: str, refused: RefusedError | None = None) -> Answer:
        page = self.frame.pages.render(
            None,
            "sign_in.html",
            "Sign in",
            status=200 if refused is None else refused.problem.status,
            target=target,
            error="" if refused is None else _sentence(refused.detail or refused.problem.meaning),
        )
        if refused is None:
            return page
        wait = refused.retry_after
        return page._replace(
            code=refused.problem.code,
            retry_after=None if wait is None else max(1, int(wait + 1)),
        )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def _plain(answer: Answer) -> Answer:
    done = sealed(answer)
    assert isinstance(done, Answer)  # noqa: S101 - what goes in comes out
    return done
