"""Usage over HTTP: four gates in their order, one row a day, and no trace of what is refused."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import trio

from penstock.engine.usage.records import UsageDays
from penstock.ledgers import open_ledger

FULL = {
    "memory_count": 1240,
    "device_count": 2,
    "bytes_stored": 8104820,
    "sync_ops": 420,
    "window_start": "2026-06-09T10:20:30.000Z",
}
SETTINGS = "/telemetry/settings"


def header(**claims: Any) -> dict[str, str]:
    """Make the header of a user as an identity provider signs it: no organisation, another role."""
    now = int(time.time())
    plain = {"sub": "user-1", "iss": "penstock", "aud": "penstock", "iat": now, "exp": now + 600}
    plain = {name: value for name, value in (plain | claims).items() if value is not None}
    token = jwt.encode({"role": "authenticated", **plain}, "u" * 40, algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def client_of(serve: Any, *, opted_in: bool = True) -> AsyncIterator[Any]:
    async with (
        serve() as service,
        httpx.AsyncClient(base_url=service.address, headers=header(), trust_env=False) as client,
    ):
        if opted_in:
            chosen = await client.put(SETTINGS, json={"telemetry_opt_in": True})
            assert (chosen.status_code, chosen.json()) == (200, {"telemetry_opt_in": True})
        yield client, service.settings


def error_of(answer: Any) -> tuple[int, str]:
    assert answer.json().keys() == {"error", "message"}
    return answer.status_code, answer.json()["error"]


async def test_a_report_is_answered_with_its_day(serve: Any) -> None:
    """201 and the whole row, with timestamps in UTC; what is left out stays as it was."""
    async with client_of(serve) as (client, _):
        answer = await client.post("/telemetry", json=FULL)
        assert answer.status_code == 201
        aggregate = answer.json()["aggregate"]
        reported = aggregate.pop("reported_at")
        assert len(reported) == len("2026-06-09T16:45:30.123Z")
        assert reported.endswith("Z")
        day = {**FULL, "user_id": "user-1", "window_start": "2026-06-09T00:00:00.000Z"}
        assert aggregate == day
        later = await client.post(
            "/telemetry", json={"window_start": "2026-06-09", "sync_ops": 421, "memory_count": None}
        )
        aggregate = later.json()["aggregate"]
        assert aggregate.pop("reported_at") >= reported
        assert aggregate == day | {"sync_ops": 421}
        today = (await client.post("/telemetry", json={})).json()["aggregate"]
        assert today["window_start"] == f"{today['reported_at'][:10]}T00:00:00.000Z"
        assert today["memory_count"] is None


async def test_the_gates_stand_in_their_order(serve: Any) -> None:
    """A request with everything wrong is told of the first gate that it does not pass."""
    worst = {"memory_contents": "x", "memory_count": True}
    async with client_of(serve, opted_in=False) as (client, _):
        bare = await client.post("/telemetry", json=worst, headers={"Authorization": ""})
        assert error_of(bare) == (401, "user_token_missing")
        assert error_of(await client.post("/telemetry", json=worst)) == (403, "telemetry_disabled")
        assert (await client.get(SETTINGS)).json() == {"telemetry_opt_in": False}
        await client.put(SETTINGS, json={"telemetry_opt_in": True})
        foreign = await client.post("/telemetry", json=worst)
        assert error_of(foreign) == (400, "non_aggregate_field")
        assert "memory_contents" in foreign.json()["message"]
        wrong = await client.post("/telemetry", json={"memory_count": True})
        assert error_of(wrong) == (400, "invalid_field")
        assert "memory_count" in wrong.json()["message"]
        await client.put(SETTINGS, json={"telemetry_opt_in": False})
        assert error_of(await client.post("/telemetry", json={})) == (403, "telemetry_disabled")


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"wallet": "0xAB"}, "0xAB"),
        ({"wallet_address": "0xCD"}, "0xCD"),
        ({"wallet": None, "wallet_address": ""}, "user-1"),
        ({"wallet": "0xAB", "sub": None}, "0xAB"),
    ],
)
async def test_a_user_is_the_wallet_else_the_subject(
    serve: Any, claims: dict[str, Any], user: str
) -> None:
    """The first claim that there is names whose day it is."""
    async with client_of(serve) as (client, _):
        mine = header(**claims)
        await client.put(SETTINGS, json={"telemetry_opt_in": True}, headers=mine)
        answer = await client.post("/telemetry", json=FULL, headers=mine)
        assert answer.json()["aggregate"]["user_id"] == user


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None},
        {"sub": "x" * 300},
        {"wallet": 5},
        {"iss": "other"},
        {"aud": "other"},
        {"exp": 5},
        {"exp": None},
        {"iat": 4e9},
    ],
    ids=str,
)
async def test_a_token_that_names_nobody_is_none(serve: Any, claims: dict[str, Any]) -> None:
    """Issuer, audience, times and a user are required."""
    async with client_of(serve) as (client, _):
        answer = await client.post("/telemetry", json=FULL, headers=header(**claims))
        assert answer.status_code == 401
        assert error_of(answer)[1].startswith("user_token_")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"{", b"\xff", b"null"])
async def test_a_body_that_is_no_object_is_refused(serve: Any, body: bytes) -> None:
    """In the surface's own words, for both routes that take one."""
    async with client_of(serve) as (client, _):
        assert error_of(await client.post("/telemetry", content=body)) == (400, "invalid_body")
        assert error_of(await client.put(SETTINGS, content=body)) == (400, "invalid_body")


async def test_the_setting_is_a_truth_value_and_nothing_else(serve: Any) -> None:
    """Neither another type, nor a number that looks like one, nor a second field."""
    async with client_of(serve) as (client, _):
        for body in ({}, {"telemetry_opt_in": 1}, {"telemetry_opt_in": True, "x": 1}):
            answer = await client.put(SETTINGS, json=body)
            assert error_of(answer) == (400, "invalid_field")
        large = await client.post("/telemetry", content=b"x" * 20_000)
        assert large.status_code == 413
        assert (await client.get("/telemetry/nothing")).json()["error"] == "not_found"


async def test_reports_at_once_make_one_day_with_all_fields(serve: Any) -> None:
    """Twenty of each field at once: one row, every field there."""
    async with client_of(serve) as (client, settings), trio.open_nursery() as nursery:
        for number in range(20):
            for name in ("memory_count", "device_count", "bytes_stored", "sync_ops"):
                body = {"window_start": "2026-06-09", name: number}
                nursery.start_soon(lambda body=body: client.post("/telemetry", json=body))
    async with open_ledger(settings) as ledger:
        (day,) = await ledger.read(UsageDays("user-1", 10))
    counters = day.counters
    seen = (counters.memory_count, counters.device_count, counters.bytes_stored, counters.sync_ops)
    assert all(value is not None for value in seen)


async def test_an_opt_out_amid_reports_holds_for_all_behind_it(serve: Any) -> None:
    """Each report is taken or told of it; once the opt-out is answered, none is taken any more."""
    async with client_of(serve) as (client, settings):
        statuses: list[int] = []

        async def report(number: int) -> None:
            answer = await client.post("/telemetry", json={"sync_ops": number})
            statuses.append(answer.status_code)
            assert answer.status_code == 201 or error_of(answer) == (403, "telemetry_disabled")

        async with trio.open_nursery() as nursery:
            for number in range(15):
                nursery.start_soon(report, number)
            await client.put(SETTINGS, json={"telemetry_opt_in": False})
            for number in range(1000, 1015):
                nursery.start_soon(report, number)
        assert statuses.count(403) >= 15
    async with open_ledger(settings) as ledger:
        days = await ledger.read(UsageDays("user-1", 10))
    assert all((day.counters.sync_ops or 0) < 1000 for day in days)


async def test_nothing_of_a_refused_body_is_kept_anywhere(
    serve: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A planted text is in no log, no output and no file of the service, whatever refused it."""
    caplog.set_level(logging.DEBUG)
    planted = "planted-3f9c-secret"
    bodies = [
        {"memory_contents": planted},
        {planted: 1},
        {"memory_count": planted},
        {"window_start": planted},
        {"memory_count": 1, "metadata": {"deep": [planted]}},
    ]
    async with client_of(serve) as (client, settings):
        data_dir = settings.data_dir
        for opted_in in (True, False):
            await client.put(SETTINGS, json={"telemetry_opt_in": opted_in})
            for body in bodies:
                answer = await client.post("/telemetry", json=body)
                assert answer.status_code in {400, 403}
            for raw in (f'["{planted}"]', f'{{"{planted}', planted * 2000):
                await client.post("/telemetry", content=raw.encode())
        assert found_in(data_dir, "user-1"), "the search finds nothing at all"
        assert not found_in(data_dir, planted)
    assert not found_in(data_dir, planted)
    assert planted not in caplog.text
    assert not any(planted in str(vars(record)) for record in caplog.records)
    output = capfd.readouterr()
    assert planted not in output.out + output.err


def found_in(folder: Path, text: str) -> list[Path]:
    """Search every file below a folder, the database with its log and the spool among them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]
