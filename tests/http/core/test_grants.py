"""Consents and quotas: who decides takes effect at once, and those who keep to them can read it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from penstock.engine.core.grant_records import ConsentEntry
from penstock.engine.records import AuditPage
from penstock.http.roles import Role
from penstock.storage.ledger import open_sqlite_ledger

PATIENT, _, _, PLATFORM = Role
ORG, OTHER_ORG, ANN, ADMIN = (str(UUID(int=n)) for n in (8, 9, 7, 20))
MINE = "/v1/me/consents"
CONSENTS = f"/v1/admin/orgs/{ORG}/consents/{ANN}"
QUOTA = f"/v1/admin/orgs/{ORG}/quota"
READ = f"/v1/internal/telemetry/consents?principal_id={ANN}&org_id={ORG}"
PATHS = pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])


async def _send(api: Any, request: bytes) -> Any:
    async with api.dial(api.service) as client:
        await client.send(request)
        return await client.reply()


@PATHS
async def test_a_withdrawal_counts_from_the_next_batch_on(
    core: Any, make_user: Callable[..., str], make_request: Callable[..., bytes],
    make_service: Callable[..., str], *, express_lane: bool,
) -> None:  # fmt: skip
    """The patient withdraws, and the batch behind it is refused; he consents, and it is taken."""
    ann = make_user(PATIENT, ANN)
    async with core(express_lane=express_lane) as api:
        assert (await _send(api, make_request())).status == 202
        unsaid = await api.get(READ, make_service())
        assert (unsaid.json["recorded"], unsaid.json["purposes"]) == (False, [])
        for purposes, status in (([], 403), (["analytics"], 403), (["biometric"], 202)):
            said = await api.ask("PUT", MINE, ann, {"purposes": purposes})
            assert (said.status, said.json["purposes"]) == (200, purposes)
            assert (await _send(api, make_request())).status == status
            for read in (await api.get(MINE, ann), await api.get(READ, make_service())):
                assert read.json == said.json
        by_admin = await api.ask("PUT", CONSENTS, make_user(PLATFORM), {"purposes": []})
        assert by_admin.json["recorded"] is True
        assert (await _send(api, make_request())).status == 403


async def test_a_quota_counts_from_the_next_batch_on(
    core: Any, make_user: Callable[..., str], make_request: Callable[..., bytes],
    make_service: Callable[..., str],
) -> None:  # fmt: skip
    """A limit holds over the organisation's sessions until it is taken away."""
    admin = make_user(PLATFORM)
    async with core() as api:
        assert (await _send(api, make_request())).status == 202
        said = await api.ask("PUT", QUOTA, admin, {"batches_per_second": 0.01})
        assert (said.status, said.json["batches_per_second"]) == (200, 0.01)
        assert (await _send(api, make_request(session=2))).status == 202
        refused = await _send(api, make_request(session=3))
        assert (refused.status, refused.code) == (429, "rate_org_exceeded")
        read = await api.get(f"/v1/internal/telemetry/quotas?org_id={ORG}", make_service())
        assert read.json == said.json
        await api.ask("PUT", QUOTA, admin, {"batches_per_second": None})
        assert (await _send(api, make_request(session=3))).status == 202


async def test_what_changed_elsewhere_counts_once_core_says_so(
    core: Any, make_request: Callable[..., bytes], make_service: Callable[..., str]
) -> None:
    """Told of a change that another process made, this one asks anew instead of waiting."""
    async with core(surfaces="sessions,core") as api:
        assert (await _send(api, make_request())).status == 202
        folder = api.service.settings.data_dir
        async with open_sqlite_ledger(folder / "ledger.sqlite3") as other:
            await other.commit([ConsentEntry(ORG, ANN, frozenset(), 1, ANN)])
        assert (await _send(api, make_request())).status == 202
        for body in ({"org_id": OTHER_ORG}, {"org_id": ORG, "principal_id": ADMIN}):
            await api.ask("POST", "/v1/internal/telemetry/invalidate", make_service(), body)
            assert (await _send(api, make_request())).status == 202
        body = {"org_id": ORG, "principal_id": ANN}
        await api.ask("POST", "/v1/internal/telemetry/invalidate", make_service(), body)
        assert (await _send(api, make_request())).status == 403


async def test_every_change_is_audited_with_who_made_it(
    core: Any, make_user: Callable[..., str]
) -> None:
    """The patient's own decision and a platform admin's: each is stored with its audit."""
    async with core() as api:
        await api.ask("PUT", MINE, make_user(PATIENT, ANN), {"purposes": ["analytics"]})
        await api.ask("PUT", CONSENTS, make_user(PLATFORM), {"purposes": []})
        await api.ask("PUT", QUOTA, make_user(PLATFORM), {"batches_per_second": 5})
        folder = api.service.settings.data_dir
    async with open_sqlite_ledger(folder / "ledger.sqlite3") as ledger:
        audit = [row.entry for row in reversed(await ledger.read(AuditPage(10)))]
    assert [(entry.actor, entry.action, entry.subject) for entry in audit] == [
        (ANN, "consent.set", f"principal:{ANN}"),
        (ADMIN, "consent.set", f"principal:{ANN}"),
        (ADMIN, "quota.set", f"org:{ORG}"),
    ]
    assert audit[0].detail == {"org_id": ORG, "purposes": ["analytics"]}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (MINE, {"purposes": ["everything"]}, "purposes"),
        (MINE, {"purposes": "biometric"}, "purposes"),
        (MINE, {}, "purposes"),
        (MINE, {"purposes": [], "org_id": OTHER_ORG}, "org_id"),
        (CONSENTS, {"purposes": [1]}, "purposes.0"),
        (QUOTA, {"batches_per_second": 0}, "batches_per_second"),
        (QUOTA, {"batches_per_second": "5"}, "batches_per_second"),
        (QUOTA, {"batches_per_second": True}, "batches_per_second"),
        (QUOTA, {}, "batches_per_second"),
    ],
)
async def test_a_decision_that_is_not_clear_is_none(
    core: Any, make_user: Callable[..., str], path: str, body: Any, field: str
) -> None:
    """400 with the field; what was decided before stays."""
    token = make_user(PATIENT, ANN) if path == MINE else make_user(PLATFORM)
    async with core() as api:
        reply = await api.ask("PUT", path, token, body)
        assert (reply.status, reply.code) == (400, "body_malformed")
        assert reply.json["field"] == field
        assert (await api.get(path, token)).json["recorded"] is False


async def test_a_parameter_that_is_missing_or_no_id_is_named(
    core: Any, make_service: Callable[..., str]
) -> None:
    """The internal reads say which of their parameters they could not use."""
    async with core() as api:
        for query, field in (
            (f"?org_id={ORG}", "principal_id"),
            (f"?principal_id={ANN}", "org_id"),
            (f"?principal_id={ANN}&org_id=x", "org_id"),
            (f"?principal_id={ANN}&org_id={ORG}&purpose=x", "purpose"),
        ):
            reply = await api.get(f"/v1/internal/telemetry/consents{query}", make_service())
            assert (reply.status, reply.json["field"]) == (400, field)
