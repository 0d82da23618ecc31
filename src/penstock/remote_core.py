"""Core as a service of its own, spoken to over HTTP with a service account's tokens.

Every call ends within `core_timeout_seconds`, however slowly the other side speaks, and reads no
more than a small answer. What of an answer reaches a log is its status alone: its body might hold
what nobody may log.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import orjson
import trio

from penstock.engine.core_port import CoreRefusedError, CoreUnavailableError
from penstock.engine.grants import GrantsUnavailableError
from penstock.engine.ports import Clock, Purpose, Quota
from penstock.jwts import mint_service_jwt

PATH = "/v1/internal/telemetry"
MAX_ANSWER_BYTES = 64 * 1024

_TOKEN_SECONDS = 300
# A token is not used when it is about to expire on its way, or by the other side's clock.
_TOKEN_SPARE_SECONDS = 60
_CONNECTIONS = 32
# Answers that say that Core is well, and yet cannot do it now.
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(slots=True, frozen=True)
class ServiceAccount:
    """With what this service's tokens are signed, and for whom."""

    secret: bytes
    issuer: str
    audience: str


class _NoAnswerError(Exception):
    """There is no answer that could be used; one line that says why."""


class RemoteCore:
    """The ports `Core` and `GrantSource` over HTTP. Made by `open_remote_core`."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        account: ServiceAccount,
        clock: Clock,
        timeout_seconds: float,
    ) -> None:
        self._client = client
        self._account = account
        self._clock = clock
        self._timeout = timeout_seconds
        self._token = ""
        self._token_expires = 0

    async def publish(self, event: dict[str, Any]) -> None:
        """Have an aggregation event taken; CoreUnavailableError, CoreRefusedError."""
        try:
            status, _ = await self._ask("POST", "session-aggregated", body=orjson.dumps(event))
        except _NoAnswerError as error:
            raise CoreUnavailableError(str(error)) from error
        if status // 100 == 2:
            return
        refused = 300 <= status < 500 and status not in _LATER
        raise (CoreRefusedError if refused else CoreUnavailableError)(f"Core answered {status}")

    async def purposes(self, principal_id: str, org_id: str) -> frozenset[Purpose] | None:
        """Give what a principal consents to; None where Core has no record."""
        document = await self._read("consents", principal_id=principal_id, org_id=org_id)
        recorded, purposes = document.get("recorded", True), document.get("purposes")
        if not isinstance(purposes, list) or not isinstance(recorded, bool):
            raise GrantsUnavailableError("Core's answer about a consent has no list of purposes")
        # A purpose that is not known here is consent to something else.
        granted = frozenset(purpose for purpose in Purpose if purpose.value in purposes)
        return granted if recorded else None

    async def quota(self, org_id: str) -> Quota:
        """Give what an organisation may send."""
        document = await self._read("quotas", org_id=org_id)
        rate = document.get("batches_per_second", "")
        if rate is None:
            return Quota()
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
            raise GrantsUnavailableError("Core's answer about a quota has no batches_per_second")
        return Quota(float(rate))

    async def _read(self, what: str, **query: str) -> dict[str, Any]:
        try:
            status, body = await self._ask("GET", what, query=query)
        except _NoAnswerError as error:
            raise GrantsUnavailableError(str(error)) from error
        if status != HTTPStatus.OK:
            # Not even 404 says that somebody does not consent: the address may be wrong.
            raise GrantsUnavailableError(f"Core answered {status}")
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise GrantsUnavailableError("Core's answer is no JSON object")
        return document

    async def _ask(
        self, method: str, what: str, *, query: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._bearer()}", "Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
        try:
            with trio.fail_after(self._timeout):
                async with self._client.stream(
                    method, f"{PATH}/{what}", params=query, content=body or None, headers=headers
                ) as answer:
                    return answer.status_code, await _bounded(answer)
        except trio.TooSlowError:
            raise _NoAnswerError(
                f"Core did not answer within core_timeout_seconds, {self._timeout:g} s"
            ) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            # Its text may hold the URL, and that ids.
            raise _NoAnswerError(f"Core cannot be reached ({type(error).__name__})") from error

    def _bearer(self) -> str:
        now = int(self._clock.unix())
        if now >= self._token_expires - _TOKEN_SPARE_SECONDS:
            account = self._account
            self._token_expires = now + _TOKEN_SECONDS
            self._token = mint_service_jwt(
                account.secret,
                issuer=account.issuer,
                audience=account.audience,
                issued_unix=now,
                expires_unix=self._token_expires,
            )
        return self._token


@asynccontextmanager
async def open_remote_core(
    url: str, account: ServiceAccount, clock: Clock, *, timeout_seconds: float
) -> AsyncIterator[RemoteCore]:
    """Keep connections to Core around the block. Nothing is asked yet."""
    async with httpx.AsyncClient(
        base_url=url,
        # Each step's bound: the whole has its own.
        timeout=timeout_seconds,
        limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
        follow_redirects=False,
    ) as client:
        yield RemoteCore(client, account, clock, timeout_seconds)


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    # A loop that is left leaves the generators below it open; one that is cancelled does not.
    with trio.CancelScope() as scope:
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                scope.cancel()
    if len(body) > MAX_ANSWER_BYTES:
        raise _NoAnswerError(f"Core's answer has more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)
