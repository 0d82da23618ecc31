"""Device tokens over HTTP: minted, listed and revoked by platform admins, and audited."""

from typing import Any

from penstock.engine.records import AuditPage
from penstock.http.roles import Role
from penstock.ledgers import open_ledger
from sync_rig import batch

PATH = "/v1/admin/devices/tokens"
IDS = {"user_id": "someone", "device_id": "dev_2"}


async def test_a_token_lives_from_its_minting_to_its_revocation(
    collect: Any, user_header: Any
) -> None:
    """It is shown once, works, is listed without itself, and works no more once it is revoked."""
    admin = user_header(Role.PLATFORM_ADMIN)
    async with collect() as collector:
        client = collector.client
        minted = await client.post(PATH, json=IDS, headers=admin)
        assert minted.status_code == 201
        assert minted.headers["cache-control"] == "no-store"
        token, token_id = minted.json()["token"], minted.json()["token_id"]
        device = {"Authorization": f"Bearer {token}"}
        sent = await client.post("/api/sync/batches", json=batch(device="dev_2"), headers=device)
        assert sent.status_code == 200
        listed = await client.get(PATH, params={"user_id": "someone"}, headers=admin)
        (shown,) = listed.json()["tokens"]
        assert (shown["token_id"], shown["device_id"]) == (token_id, "dev_2")
        assert shown["revoked_at"] is None
        assert token not in listed.text
        for user, status in (("another", 404), ("someone", 200), ("someone", 404)):
            gone = await client.delete(
                f"{PATH}/{token_id}", params={"user_id": user}, headers=admin
            )
            assert gone.status_code == status
        sent = await client.post("/api/sync/batches", json=batch(device="dev_2"), headers=device)
        assert sent.status_code == 401
        settings = collector.service.settings
    async with open_ledger(settings) as ledger:
        audits = [row.entry for row in await ledger.read(AuditPage(10))]
    actions = [entry.action for entry in audits if entry.subject == "user:someone"]
    assert actions == ["device_token.revoked", "device_token.minted"]
    assert all(token not in str(entry) for entry in audits)


async def test_only_platform_admins_may(collect: Any, user_header: Any) -> None:
    """Others are told which role it takes; without a token nobody gets so far."""
    async with collect() as collector:
        for header, status, code in (
            (user_header(Role.CLINIC_ADMIN), 403, "role_required"),
            ({"Authorization": ""}, 401, "user_token_missing"),
        ):
            answer = await collector.client.post(PATH, json=IDS, headers=header)
            assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_what_is_no_id_is_refused_by_its_name(collect: Any, user_header: Any) -> None:
    """Empty, too long, of another type, or unknown."""
    admin = user_header(Role.PLATFORM_ADMIN)
    async with collect() as collector:
        for change in ({"user_id": ""}, {"device_id": "d" * 257}, {"user_id": 5}, {"x": "y"}):
            answer = await collector.client.post(PATH, json=IDS | change, headers=admin)
            assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")
            assert answer.json()["field"] == next(iter(change))
        answer = await collector.client.get(PATH, headers=admin)
        assert (answer.status_code, answer.json()["field"]) == (400, "user_id")
