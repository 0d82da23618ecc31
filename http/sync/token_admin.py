"""`/v1/admin/devices/tokens`: device tokens, minted, listed and revoked by platform admins.

A token is in the answer to its minting and nowhere afterwards. Both changes are audited.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict

from penstock.engine.ledger_port import Entry, Ledger, LedgerUnavailableError, Together
from penstock.engine.ports import Clock
from penstock.engine.receipts import Lane, Refused
from penstock.engine.records import AuditEntry
from penstock.engine.sync.kinds import key_fault
from penstock.engine.sync.records import (
    DeviceIdentity,
    DeviceTokenEntry,
    DeviceTokens,
    RevokeTokensEntry,
    StoredToken,
)
from penstock.engine.writer import Writer
from penstock.http.bodies import read_body
from penstock.http.cold_routes import Call, ColdRoute, ColdSurface, RefusedError
from penstock.http.exchange import Answer, json_answer, unkept
from penstock.http.instants import iso_instant
from penstock.http.problems import BY_CODE, Problem, problem_answer
from penstock.http.roles import Role
from penstock.http.sync.device_tokens import mint_device_token
from penstock.http.user_tokens import UserClaims, UserTokenRefusedError, UserTokenVerifier

PATH = "/v1/admin/devices/tokens"
ROLE = Role.PLATFORM_ADMIN
MINTED, REVOKED = "device_token.minted", "device_token.revoked"
_MAX_BODY_BYTES = 4096
_LISTED = 200
_RETRY_SECONDS = 5.0


class MintBody(BaseModel):
    """Whose device the token is for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: str
    device_id: str


Handler = Callable[[Call, UserClaims], Awaitable[Answer]]


@dataclass(slots=True, frozen=True)
class DeviceTokenAdmin:
    """The routes."""

    tokens: UserTokenVerifier
    ledger: Ledger
    writer: Writer
    clock: Clock

    def surface(self) -> ColdSurface:
        """Give the routes as the application serves them."""
        served = (
            ("POST", PATH, self._mint),
            ("GET", PATH, self._list),
            ("DELETE", f"{PATH}/<token_id>", self._revoke),
        )
        return ColdSurface(
            tuple(
                ColdRoute(verb, rule, partial(self._serve, handler))
                for verb, rule, handler in served
            )
        )

    async def _serve(self, handler: Handler, call: Call) -> Answer:
        try:
            await self.tokens.prepare(call.authorization)
            claims = self.tokens.verify(call.authorization, self.clock.unix())
        except UserTokenRefusedError as refused:
            return unkept(problem_answer(refused.problem, refused.detail))
        if claims.role is not ROLE:
            detail = f"this needs the role {ROLE}; the token's is {claims.role}"
            return unkept(
                problem_answer(Problem.ROLE_REQUIRED, detail, limit=ROLE, seen=claims.role)
            )
        try:
            return unkept(await handler(call, claims))
        except LedgerUnavailableError as broken:
            raise _unavailable(broken.reason, broken.detail, _RETRY_SECONDS) from None

    async def _mint(self, call: Call, claims: UserClaims) -> Answer:
        body = read_body(MintBody, await call.read(_MAX_BODY_BYTES))
        if isinstance(body, Answer):
            return body
        for name, text in (("user_id", body.user_id), ("device_id", body.device_id)):
            _check(Problem.BODY_MALFORMED, name, text)
        now = self._now()
        minted = mint_device_token(
            DeviceIdentity(body.user_id, body.device_id),
            minted_unix_ms=now,
            minted_by=claims.principal_id,
        )
        await self._enter(*audited(minted.entry, claims.principal_id, now))
        token = {"token": minted.token, "token_id": minted.entry.token_id}
        return json_answer(201, token | body.model_dump())

    async def _list(self, call: Call, claims: UserClaims) -> Answer:  # noqa: ARG002 - a handler's
        user_id = call.query.get("user_id", "")
        _check(Problem.PARAMETER_MALFORMED, "user_id", user_id)
        found = await self.ledger.read(DeviceTokens(user_id, _LISTED))
        return json_answer(200, {"tokens": [_plain(token) for token in found]})

    async def _revoke(self, call: Call, claims: UserClaims) -> Answer:
        user_id, token_id = call.query.get("user_id", ""), call.parameters["token_id"]
        _check(Problem.PARAMETER_MALFORMED, "user_id", user_id)
        _check(Problem.PARAMETER_MALFORMED, "token_id", token_id)
        now = self._now()
        entry = RevokeTokensEntry(user_id, now, token_id=token_id)
        await self._enter(*audited(entry, claims.principal_id, now))
        return json_answer(200, {"token_id": token_id, "revoked_at": iso_instant(now)})

    async def _enter(self, *entries: Entry) -> None:
        answer = await self.writer.enter_nowait(Together(entries), Lane.DURABLE).wait()
        if isinstance(answer, Refused):
            if answer.retry_after is None:
                raise RefusedError(Problem.NOT_FOUND, answer.detail)
            raise _unavailable(answer.reason, answer.detail, answer.retry_after)

    def _now(self) -> int:
        return int(self.clock.unix() * 1000)


def audited(
    entry: DeviceTokenEntry | RevokeTokensEntry, actor: str, now_unix_ms: int
) -> tuple[Entry, Entry]:
    """Give a change of tokens with its audit."""
    detail: dict[str, Any] = {"device_id": entry.device_id, "token_id": entry.token_id}
    action = MINTED if isinstance(entry, DeviceTokenEntry) else REVOKED
    return entry, AuditEntry(now_unix_ms, actor, action, f"user:{entry.user_id}", detail)


def _check(problem: Problem, name: str, text: str) -> None:
    if fault := key_fault(text):
        raise RefusedError(problem, f"{name}: {fault}", field=name)


def _unavailable(reason: str, detail: str, retry_after: float) -> RefusedError:
    return RefusedError(BY_CODE.get(reason, Problem.INTERNAL), detail, retry_after=retry_after)


def _plain(token: StoredToken) -> dict[str, Any]:
    revoked = token.revoked_unix_ms
    return {
        "token_id": token.token_id,
        "device_id": token.device_id,
        "minted_at": iso_instant(token.minted_unix_ms),
        "minted_by": token.minted_by,
        "revoked_at": None if revoked is None else iso_instant(revoked),
    }
