"""Core as a service elsewhere: what it is asked, and what its answers mean."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import orjson
import pytest
import trio

from core_stand_in import StandIn, stand_in_for_core
from penstock.engine.core_port import CoreRefusedError, CoreUnavailableError
from penstock.engine.grants import GrantsUnavailableError
from penstock.engine.ports import Purpose, Quota
from penstock.remote_core import MAX_ANSWER_BYTES, RemoteCore, ServiceAccount, open_remote_core

SECRET = b"s" * 40
ACCOUNT = ServiceAccount(SECRET, "penstock", "core")
EVENT = {"session_id": "a", "revision": 1}


class Clock:
    """The machine's, and further on when a test says so."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def unix(self) -> float:
        return time.time() + self.ahead


@asynccontextmanager
async def linked(timeout_seconds: float = 5.0) -> AsyncIterator[tuple[StandIn, RemoteCore, Clock]]:
    """Run a stand-in and a link to it; nothing here may take long."""
    clock = Clock()
    with trio.fail_after(20):
        async with (
            stand_in_for_core() as core,
            open_remote_core(
                f"{core.url}/base/", ACCOUNT, clock, timeout_seconds=timeout_seconds
            ) as remote,
        ):
            yield core, remote, clock


async def test_an_event_is_posted_as_it_is_with_the_services_token() -> None:
    """The contract's path and body; the token holds, names the service, and lives for minutes."""
    async with linked() as (core, remote, clock):
        await remote.publish(EVENT)
        clock.ahead = 200
        await remote.publish(EVENT)
        await remote.publish(EVENT)
    first, second, third = core.asked
    assert (first.method, first.target) == (
        "POST",
        "/base/v1/internal/telemetry/session-aggregated",
    )
    assert first.headers["content-type"] == "application/json"
    assert orjson.loads(first.body) == EVENT
    token = first.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer="penstock", audience="core")
    assert claims["role"] == "service_account"
    assert claims["exp"] - claims["iat"] <= 300
    # Renewed before it expires, and not for every request.
    assert second.headers["authorization"] == first.headers["authorization"]
    clock.ahead = 0
    assert third.headers["authorization"] == second.headers["authorization"]


async def test_a_token_about_to_expire_is_not_used_again() -> None:
    """A minute before its end another one is made."""
    async with linked() as (core, remote, clock):
        await remote.publish(EVENT)
        clock.ahead = 245
        await remote.publish(EVENT)
    first, second = core.asked
    assert first.headers["authorization"] != second.headers["authorization"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None),
        (202, None),
        (204, None),
        (301, CoreRefusedError),
        (400, CoreRefusedError),
        (401, CoreRefusedError),
        (404, CoreRefusedError),
        (409, CoreRefusedError),
        (408, CoreUnavailableError),
        (429, CoreUnavailableError),
        (500, CoreUnavailableError),
        (503, CoreUnavailableError),
    ],
)
async def test_what_an_answer_to_an_event_means(
    status: int, error: type[CoreUnavailableError] | None
) -> None:
    """2xx is taken; what is the event's fault is refused; all else may go better later."""
    async with linked() as (core, remote, _):
        core.status, core.body = status, b"" if status == 204 else b"somebody's name"
        if error is None:
            await remote.publish(EVENT)
            return
        with pytest.raises(error) as told:
            await remote.publish(EVENT)
    assert type(told.value) is error
    assert told.value.detail == f"Core answered {status}"


async def _fail(remote: RemoteCore) -> str:
    with pytest.raises(GrantsUnavailableError) as grants:
        await remote.quota("org")
    with pytest.raises(CoreUnavailableError) as event:
        await remote.publish(EVENT)
    assert not isinstance(event.value, CoreRefusedError)
    assert event.value.detail == grants.value.detail
    return event.value.detail


async def test_a_core_that_is_not_there_is_unavailable() -> None:
    """Nobody listens: one line that holds no address of ours, and at once."""
    async with linked() as (core, _, clock):
        gone = core.url
    async with open_remote_core(gone, ACCOUNT, clock, timeout_seconds=5) as remote:
        assert "ConnectError" in await _fail(remote)


async def test_a_core_that_hangs_up_is_unavailable() -> None:
    """Whatever it has done by then: telling it again does no harm."""
    async with linked() as (core, remote, _):
        core.hangs_up = True
        assert "RemoteProtocolError" in await _fail(remote)


@pytest.mark.parametrize("how", ["silent", "dripping"])
async def test_a_core_that_is_slow_is_given_up(how: str) -> None:
    """The bound holds for the whole, also where each byte comes in time."""
    async with linked(timeout_seconds=0.2) as (core, remote, _):
        core.body = b"{" + b" " * 1000 + b"}"
        if how == "silent":
            core.before = trio.sleep_forever
        else:
            core.drip_seconds = 0.02
        with trio.fail_after(2):
            assert "core_timeout_seconds" in await _fail(remote)


async def test_an_answer_without_end_is_not_read() -> None:
    """No more is held than a small answer."""
    async with linked() as (core, remote, _):
        core.body = b" " * (MAX_ANSWER_BYTES + 1)
        assert str(MAX_ANSWER_BYTES) in await _fail(remote)


async def test_consents_and_quotas_are_asked_by_their_ids() -> None:
    """The contract's paths and parameters; what is consented to, no record, and a limit."""
    async with linked() as (core, remote, _):
        core.body = b'{"purposes": ["biometric", "marketing"], "recorded": true}'
        assert await remote.purposes("p", "o") == {Purpose.BIOMETRIC}
        core.body = b'{"purposes": []}'
        assert await remote.purposes("p", "o") == frozenset()
        core.body = b'{"purposes": [], "recorded": false}'
        assert await remote.purposes("p", "o") is None
        core.body = b'{"batches_per_second": 5}'
        assert await remote.quota("o") == Quota(5.0)
        core.body = b'{"batches_per_second": null}'
        assert await remote.quota("o") == Quota(None)
    path = "/base/v1/internal/telemetry/"
    assert core.asked[0].target == f"{path}consents?principal_id=p&org_id=o"
    assert core.asked[3].target == f"{path}quotas?org_id=o"
    assert all(asked.headers["authorization"].startswith("Bearer ") for asked in core.asked)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"{", b"null", b'{"purposes": "biometric", "batches_per_second": "5"}',
     b'{"purposes": null, "batches_per_second": 0}', b'{"batches_per_second": true}',
     b'{"purposes": [], "recorded": "no", "batches_per_second": -1}'],
)  # fmt: skip
async def test_an_answer_that_says_nothing_is_no_answer(body: bytes) -> None:
    """Neither consent nor its absence is read out of it."""
    async with linked() as (core, remote, _):
        core.body = body
        with pytest.raises(GrantsUnavailableError):
            await remote.purposes("p", "o")
        with pytest.raises(GrantsUnavailableError):
            await remote.quota("o")


@pytest.mark.parametrize("status", [204, 302, 401, 404, 429, 500])
async def test_no_other_status_says_that_somebody_does_not_consent(status: int) -> None:
    """Not even 404: the address may be wrong."""
    async with linked() as (core, remote, _):
        core.status, core.body = status, b""
        asks: list[Any] = [remote.purposes("p", "o"), remote.quota("o")]
        for ask in asks:
            with pytest.raises(GrantsUnavailableError, match=f"Core answered {status}"):
                await ask
