"""Batches of who means no good: nobody else's records, no wrong sum, nothing kept of them."""

import gzip
import logging
from typing import Any

import orjson
import pytest
import trio

from penstock.engine.receipts import Lane
from penstock.engine.sync.records import DeviceIdentity
from penstock.http.sync.device_tokens import mint_device_token
from sync_rig import DEVICE, ack_of, batch, error_of, event, summary

# As in the fixture.
USER = "00000000-0000-0000-0000-000000000007"


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps(batch(summaries=[summary(1)])).replace(b":100", b":NaN"),
        orjson.dumps(batch(summaries=[summary(1)])).replace(b":100", b":1e400"),
        orjson.dumps(batch(summaries=[summary(1)])).replace(b"codex", b"\\ud800", 1),
        orjson.dumps(batch(later=1)).replace(b'"later":1', b'"\\udc00":1'),
        orjson.dumps(batch(later=1)).replace(b":1}", b":" + b"[" * 300 + b"]" * 300 + b"}"),
        gzip.compress(orjson.dumps(batch())),
    ],
    ids=["NaN", "infinite", "surrogate", "surrogate key", "deep", "gzip untold"],
)
async def test_what_no_json_can_say_is_refused_whole(collect: Any, body: bytes) -> None:
    """Wherever in the batch it stands."""
    async with collect() as collector:
        answer = await collector.client.post("/api/sync/batches", content=body)
        assert error_of(answer) == (400, "invalid_batch")


async def test_numbers_beyond_64_bits_are_kept_or_rejected_and_never_wrong(collect: Any) -> None:
    """In a sum they would be wrong, so the record is rejected; elsewhere they are as they came."""
    summed = orjson.dumps(batch(summaries=[summary(1)])).replace(b":100", b":%d" % 2**64)
    beside = orjson.dumps(batch(events=[event(1)])).replace(b":8200", b":%d" % 2**70)
    async with collect() as collector:

        async def send(body: bytes) -> Any:
            return ack_of(await collector.client.post("/api/sync/batches", content=body))

        assert [one["reason"] for one in (await send(summed))["rejected"]] == [
            f"a sum of it is over {2**53 - 1}"
        ]
        assert (await send(beside))["accepted"]["events"] == 1
        assert (await collector.get("rollups"))["rows"] == []


async def test_the_same_batch_at_once_is_taken_once(collect: Any) -> None:
    """Of twelve requests one is told that its records are new, the others that they are there."""
    document = batch(summaries=[summary(1)], events=[event(1)])
    acks: list[Any] = []
    async with collect() as collector:

        async def send() -> None:
            acks.append(ack_of(await collector.send(document)))

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(send)
        (total,) = (await collector.get("rollups", granularity="all_time"))["rows"]
    new = [ack["accepted"]["summaries"] for ack in acks]
    assert sorted(new) == [0] * 11 + [1]
    assert all(ack["accepted"]["summaries"] + ack["duplicates"]["summaries"] == 1 for ack in acks)
    assert total["records"] == 1


async def test_nobody_reaches_another_user_s_records(collect: Any) -> None:
    """Neither by ids that are the same, nor by naming the other, nor by a reset."""
    async with collect() as collector:
        ack_of(await collector.send(batch(summaries=[summary(1)])))
        minted = mint_device_token(
            DeviceIdentity("mallory", DEVICE), minted_unix_ms=1, minted_by="a test"
        )
        await collector.service.writer.enter_nowait(minted.entry, Lane.DURABLE).wait()
        theirs = {"Authorization": f"Bearer {minted.token}"}
        client = collector.client
        stolen = batch(summaries=[summary(1, tokens=7)], user_id=USER)
        ack_of(await client.post("/api/sync/batches", json=stolen, headers=theirs))
        reset = {"confirm": "reset_synced_data", "user_id": USER, "device_id": DEVICE}
        done = await client.post("/api/sync/reset", json=reset, headers=theirs)
        assert done.json()["cleared"]["summaries"] == 1
        named = await client.get("/api/sync/rollups", params={"user_id": USER}, headers=theirs)
        assert error_of(named) == (400, "invalid_parameter")
        (total,) = (await collector.get("rollups", granularity="all_time"))["rows"]
        assert (total["records"], total["total_tokens"]) == (1, 100)


async def test_nothing_of_a_rejected_record_is_kept_anywhere(
    collect: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A planted text is in no log, no output and no file, also beside records that are stored."""
    caplog.set_level(logging.DEBUG)
    planted = "planted-5b1e-secret"
    bad = [
        {**summary(1), "usage": {"total_tokens": planted}},
        {**summary(2), "model": {"name": [planted]}},
        {planted: planted},
        planted,
    ]
    async with collect() as collector:
        ack = ack_of(await collector.send(batch(summaries=[*bad, summary(9)])))
        assert (len(ack["rejected"]), ack["accepted"]["summaries"]) == (4, 1)
        for body in (planted.encode(), orjson.dumps(batch() | {"created_at": planted})):
            answer = await collector.client.post("/api/sync/batches", content=body)
            assert error_of(answer) == (400, "invalid_batch")
        data_dir = collector.service.settings.data_dir
        files = [path for path in data_dir.rglob("*") if path.is_file()]
        assert any(summary(9)["summary_id"].encode() in path.read_bytes() for path in files)
        assert not any(planted.encode() in path.read_bytes() for path in files)
    assert planted not in caplog.text
    output = capfd.readouterr()
    assert planted not in output.out + output.err


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "GZIP"])
async def test_a_compressed_body_is_told_so(collect: Any, encoding: str) -> None:
    """Before it is read: 415, in the words of the surface."""
    async with collect() as collector:
        answer = await collector.client.post(
            "/api/sync/batches",
            content=gzip.compress(orjson.dumps(batch())),
            headers={"Content-Encoding": encoding},
        )
        assert error_of(answer) == (415, "unsupported_encoding")


async def test_what_came_through_a_proxy_is_not_local(collect: Any) -> None:
    """Whatever a proxy on this machine says of whom it speaks for; the other route is for them."""
    async with collect() as collector:
        for name, value in (
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("x-real-ip", "203.0.113.9"),
            ("Forwarded", "for=127.0.0.1"),
            ("Via", "1.1 proxy"),
            ("X-Forwarded-Host", "sync.example"),
        ):
            there = await collector.client.post(
                "/v1/sync/batches", json=batch(), headers={name: value}
            )
            assert error_of(there) == (404, "not_found"), name
            ack_of(
                await collector.client.post(
                    "/api/sync/batches", json=batch(), headers={name: value}
                )
            )
