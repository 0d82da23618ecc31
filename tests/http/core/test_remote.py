"""A service whose Core is elsewhere: here, another service that is one."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import trio

from core_stand_in import stand_in_for_core
from penstock.http.roles import Role

ORG, ANN = str(UUID(int=8)), str(UUID(int=7))
MINE = "/v1/me/consents"


async def _send(api: Any, request: bytes) -> Any:
    async with api.dial(api.service) as client:
        await client.send(request)
        return await client.reply()


async def test_consents_and_quotas_are_those_of_the_other_service(
    core: Any, make_user: Callable[..., str], make_request: Callable[..., bytes],
    make_service: Callable[..., str],
) -> None:  # fmt: skip
    """What is decided there counts here once it says so, and this one serves no Core of its own."""
    ann = make_user(Role.PATIENT, ANN)
    async with core() as there, core(core_api_url=there.service.address) as here:
        assert (await here.get(MINE, ann)).status == 404
        assert (await _send(here, make_request())).status == 202  # --dev, and no record there
        await there.ask("PUT", MINE, ann, {"purposes": []})
        assert (await _send(here, make_request())).status == 202  # within the TTL
        changed = {"org_id": ORG, "principal_id": ANN}
        path = "/v1/internal/telemetry/invalidate"
        assert (await here.ask("POST", path, make_service(), changed)).status == 200
        assert (await _send(here, make_request())).status == 403
        admin = make_user(Role.PLATFORM_ADMIN)
        await there.ask("PUT", MINE, ann, {"purposes": ["biometric"]})
        await there.ask("PUT", f"/v1/admin/orgs/{ORG}/quota", admin, {"batches_per_second": 0.01})
        await here.ask("POST", path, make_service(), {"org_id": ORG})
        assert (await _send(here, make_request())).status == 202
        assert (await _send(here, make_request(session=2))).code == "rate_org_exceeded"


@pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
async def test_a_core_that_cannot_be_asked_is_503_with_when_to_come_back(
    core: Any, make_request: Callable[..., bytes], *, express_lane: bool
) -> None:
    """Nobody guesses a consent; once Core answers, the same batch is taken."""
    async with stand_in_for_core() as far:
        far.status = 500
        settings = {"core_api_url": far.url, "express_lane": express_lane}
        async with core(**settings) as here:
            refused = await _send(here, make_request())
            assert (refused.status, refused.code) == (503, "consent_unknown")
            assert refused.headers["retry-after"] == "1"
            far.status = 200
            far.body = b'{"purposes": ["biometric"], "batches_per_second": null}'
            with trio.fail_after(10):
                reply = await _send(here, make_request())
                while reply.status == 503:
                    await trio.sleep(0.1)
                    reply = await _send(here, make_request())
            assert reply.status == 202


async def test_patients_who_come_together_are_one_question_each(
    core: Any, make_request: Callable[..., bytes]
) -> None:
    """Ten batches of one patient ask Core once for the consent and once for the quota."""
    async with stand_in_for_core() as far:
        far.body = b'{"purposes": ["biometric"], "batches_per_second": null}'
        async with core(core_api_url=far.url) as here:
            async with trio.open_nursery() as nursery:
                for session in range(1, 11):
                    nursery.start_soon(_send, here, make_request(session=session))
            asked = sorted(one.target.partition("?")[0] for one in far.asked)
            internal = "/v1/internal/telemetry"
            assert asked == [f"{internal}/consents", f"{internal}/quotas"]
