"""A person who is erased is in nothing that the platform surface has kept."""

from typing import Any
from uuid import UUID

import trio
from pydantic import SecretStr

from penstock.engine.erasure_records import stand_in
from penstock.engine.platform.audit_chain import ChainReader
from penstock.engine.platform.records import (
    AnalyticsPage,
    AuditChainOf,
    AuditLinks,
    ErrorGroups,
    ErrorReports,
)
from penstock.http.roles import Role
from platform_bodies import analytics, audit, error

ORG = str(UUID(int=8))
ANN, BOB, ADA = "aaaaaaaa-0000-4000-8000-00000000000a", str(UUID(int=11)), str(UUID(int=20))


async def erased(api: Any, admin: str) -> dict[str, Any]:
    """Order Ann's erasure and wait until it is done; give what is told of it."""
    asked = await api.ask("POST", "/v1/admin/erase", admin, {"principal_id": ANN})
    assert asked.status == 202, asked
    path = f"/v1/admin/erasures/{asked.json['erasure']['erasure_id']}"
    with trio.fail_after(30):
        while True:
            told: dict[str, Any] = (await api.ask("GET", path, admin)).json["erasure"]
            if told["state"] == "done":
                return told
            await trio.sleep(0.02)


async def test_rows_go_texts_and_audit_are_blinded(
    platform: Any, make_user: Any, make_service: Any, ledger_url: dict[str, Any]
) -> None:
    """What the person sent goes; others' rows stay without the id; the audit's chain holds.

    Also what was stored by the secret before the last rotation.
    """
    before, after = ({"actor_hash_secret": SecretStr(name * 40)} for name in "no")
    ann, bob = (make_user(principal_id=one) for one in (ANN, BOB))
    admin = make_user(Role.PLATFORM_ADMIN, 0, ADA)
    async with platform(**ledger_url, **before) as api:
        for who in (ann, bob):
            for path, body in (("analytics/track", analytics), ("errors/report", error)):
                assert (await api.ask("POST", f"/v1/{path}", who, body())).status == 202
        visit = analytics(page_url=f"/patients/{ANN}", properties={"patient": ANN.upper()})
        assert (await api.ask("POST", "/v1/analytics/track", bob, visit)).status == 202
        alone = error(error_type="crash", error_message="mine alone")
        assert (await api.ask("POST", "/v1/errors/report", ann, alone)).status == 202
        names = {one.circumstances.actor for one in await api.read(AnalyticsPage(ORG, 9))}
        his = (await api.read(AnalyticsPage(ORG, 1)))[0].circumstances.actor
        (hers,) = names - {his}
        for actor, of in ((hers, "library"), (his, ANN)):
            told = {"X-Actor-Hash": actor, "X-Actor-Type": "user"}
            sent = await api.ask(
                "POST", "/v1/audit/ingest", make_service(), audit(resource_id=of), told
            )
            assert sent.status == 202
        data_dir = api.service.settings.data_dir
    rotated = after | {"actor_hash_secret_previous": before["actor_hash_secret"]}
    async with platform(**ledger_url, **rotated, data_dir=data_dir) as api:
        assert (await api.ask("POST", "/v1/analytics/track", ann, analytics())).status == 202
        look = {"principal_id": ANN, "dry_run": True}
        dry = await api.ask("POST", "/v1/admin/erase", admin, look)
        assert dry.json["ledger_rows"] == 4
        done = await erased(api, admin)
        assert (done["rows"], done["texts"], done["audits"]) == (4, 1, 2)
        events = await api.read(AnalyticsPage(ORG, 9))
        assert {one.circumstances.actor for one in events} == {his}
        assert len(events) == 2
        (group,) = await api.read(ErrorGroups(ORG, 9))
        (report,) = await api.read(ErrorReports(ORG, group.fingerprint, 9))
        assert report.circumstances.actor == his
        entries = await api.audited()
        kept = str([events, group, report, entries]).lower()
        assert ANN not in kept
        assert hers not in kept
        blinded = {
            entry.actor: entry.subject for entry in entries if entry.action == "patient.view"
        }
        assert blinded == {stand_in(ANN): "patient:library", his: f"patient:{stand_in(ANN)}"}
        reader = ChainReader(await api.read(AuditChainOf()))
        assert reader.follow(await api.read(AuditLinks(0, 99))) is None
        assert reader.conclude() is None
