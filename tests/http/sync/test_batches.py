"""Batches over HTTP: acknowledged field by field, or refused in a few short words."""

from typing import Any

import orjson
import pytest

from penstock.engine.sync.ack import no_counts
from penstock.http.cold_routes import Call
from penstock.http.sync.reading import read_batch
from sync_rig import DEVICE, ack_of, batch, error_of, event, example, source, summary

EXPECTED = example("expected")


async def test_the_contract_s_cases_are_acknowledged_as_it_says(collect: Any) -> None:
    """The worked example, the same again, the least batch, and one with a bad record."""
    async with collect() as collector:
        first = ack_of(await collector.send(example("day")))
        assert first == {
            "schema_version": "sync_ack.v1",
            "batch_id": example("day")["batch_id"],
            "accepted": EXPECTED["ack_first"]["accepted"],
            "duplicates": no_counts(),
            "updated": no_counts(),
            "rejected": [],
        }
        again = ack_of(await collector.send(example("day")))
        assert again["accepted"] == again["updated"] == no_counts()
        assert again["duplicates"] == EXPECTED["ack_resend"]["duplicates"]
        least = ack_of(await collector.send(example("minimal")))
        assert least["accepted"] == least["duplicates"] == no_counts()
        await collector.client.post("/api/sync/reset", json={"confirm": "reset_synced_data"})
        bad = ack_of(await collector.send(example("one_bad_record")))
        told = EXPECTED["one_bad_record"]["ack"]
        assert bad["accepted"] == no_counts() | told["accepted"]
        (rejected,) = bad["rejected"]
        assert (
            rejected.pop("reason")
            == "usage.total_tokens: input should be greater than or equal to 0"
        )
        assert rejected == {name: told["rejected"][0][name] for name in ("kind", "id")}


async def test_each_bad_record_is_told_and_the_rest_is_stored(collect: Any) -> None:
    """With its kind, its id where it has one that can be shown, and the rule; never its content."""
    secret = "planted-7f3a"
    bad = [
        summary(1, usage={"total_tokens": secret}),
        {**summary(2), "summary_id": ""},
        {**summary(3), "summary_id": 5},
        summary(4, provider="p" * 300),
        summary(5, period_start=secret),
        {"summary_id": "sum_x"},
        secret,
        None,
    ]
    async with collect() as collector:
        document = batch(summaries=[*bad, summary(9)], sources=[source(), 7])
        answer = await collector.send(document)
        ack = ack_of(answer)
        assert secret not in answer.text
        assert ack["accepted"] == no_counts() | {"summaries": 1, "sources": 1}
        told = [
            (one["kind"], one["id"], one["reason"].partition(":")[0]) for one in ack["rejected"]
        ]
        name = summary(1)["summary_id"][:-1]
        assert told == [
            ("source", None, "input should be a valid dictionary or instance of SourceLocation"),
            ("summary", f"{name}1", "usage.total_tokens"),
            ("summary", None, "summary_id"),
            ("summary", None, "summary_id"),
            ("summary", f"{name}4", "its provider must have at most 256 bytes"),
            ("summary", f"{name}5", "period_start"),
            ("summary", "sum_x", "schema_version"),
            ("summary", None, "input should be a valid dictionary or instance of UsageSummary"),
            ("summary", None, "input should be a valid dictionary or instance of UsageSummary"),
        ]


async def test_changes_are_counted_as_updated_and_events_stay(collect: Any) -> None:
    """What replaces is among the accepted; an event that differs is a rejection."""
    async with collect() as collector:
        await collector.send(batch(summaries=[summary(1)], events=[event(1)]))
        changed = batch(
            summaries=[summary(1, tokens=5), summary(2)], events=[event(1, provider="x"), event(2)]
        )
        ack = ack_of(await collector.send(changed))
        assert ack["accepted"] == no_counts() | {"summaries": 2, "events": 1}
        assert ack["updated"] == no_counts() | {"summaries": 1}
        assert [one["kind"] for one in ack["rejected"]] == ["event"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"schema_version": "sync_batch.v2"}, "unsupported_schema_version"),
        ({"schema_version": None}, "invalid_batch"),
        ({"batch_id": ""}, "invalid_batch"),
        ({"batch_id": None}, "invalid_batch"),
        ({"batch_id": "b" * 257}, "invalid_batch"),
        ({"batch_id": "b\0"}, "invalid_batch"),
        ({"device_id": 5}, "invalid_batch"),
        ({"created_at": "yesterday"}, "invalid_batch"),
        ({"created_at": None}, "invalid_batch"),
        ({"summaries": None}, "invalid_batch"),
        ({"summaries": {}}, "invalid_batch"),
    ],
    ids=str,
)
async def test_a_batch_that_is_none_is_refused_whole(
    collect: Any, change: dict[str, Any], error: str
) -> None:
    """Nothing of it is stored, however good its records are."""
    async with collect() as collector:
        answer = await collector.send(batch(sources=[source()]) | change)
        assert error_of(answer) == (400, error)
        status = await collector.get("status")
        assert status["mirrorCounts"] == no_counts()
        assert status["device"]["last_sync_batch_id"] is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 3000, b'"\\ud800"'])
async def test_a_body_that_is_no_object_is_refused(collect: Any, body: bytes) -> None:
    """Whatever bytes come, the answer is a 400 and not a fault."""
    async with collect() as collector:
        answer = await collector.client.post("/api/sync/batches", content=body)
        assert error_of(answer) == (400, "invalid_batch")


async def test_the_token_is_the_device_s(collect: Any) -> None:
    """Without it the answer is 401, with another device's 403."""
    async with collect() as collector:
        assert error_of(await collector.send(batch(device="dev_x"))) == (403, "device_mismatch")
        for header in ("", "Bearer", "Bearer pds_unknown", "Basic x", f"Bearer pds_{'x' * 300}"):
            answer = await collector.client.get(
                "/api/sync/status", headers={"Authorization": header}
            )
            assert error_of(answer) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_batch_over_the_limit_is_split_by_the_client(collect: Any) -> None:
    """Too many bytes, told or not, or too many records: the same error and nothing stored."""
    async with collect(sync_batch_bytes=64 * 1024, sync_batch_records=3) as collector:
        large = batch(summaries=[summary(1, note="x" * 70_000)])
        assert error_of(await collector.send(large)) == (413, "sync_batch_too_large")

        async def pieces() -> Any:
            yield orjson.dumps(large)

        answer = await collector.client.post("/api/sync/batches", content=pieces())
        assert error_of(answer) == (413, "sync_batch_too_large")
        many = batch(summaries=[summary(number) for number in range(4)])
        assert error_of(await collector.send(many)) == (413, "sync_batch_too_large")
        assert (await collector.get("status"))["mirrorCounts"] == no_counts()


async def test_a_batch_of_many_sums_is_split_by_the_client(collect: Any) -> None:
    """What a transaction costs is the sums that it changes, whether of records or of models."""
    of_many = batch(summaries=[summary(n, day=f"2026-01-{n:02}") for n in range(1, 31)])
    models = {f"model-{number}": 1 for number in range(60)}
    of_models = batch(summaries=[summary(1, models=models)])
    async with collect(sync_batch_sums=150) as collector:
        for document in (of_many, of_models):
            answer = await collector.send(document)
            assert error_of(answer) == (413, "sync_batch_too_large")
            assert "sync_batch_sums" in answer.json()["message"]
        assert (await collector.get("status"))["mirrorCounts"] == no_counts()
        half = of_many | {"summaries": of_many["summaries"][:15]}
        assert ack_of(await collector.send(half))["accepted"]["summaries"] == 15
        # As many records that change the same sums are no more than one.
        same = batch(summaries=[summary(100 + number) for number in range(200)])
        assert ack_of(await collector.send(same))["accepted"]["summaries"] == 200


async def test_an_id_with_other_content_is_a_conflict(collect: Any) -> None:
    """The first batch stands; order of keys is no other content."""
    async with collect() as collector:
        document = batch(batch_id="b", summaries=[summary(1)])
        ack_of(await collector.send(document))
        turned = dict(reversed(document.items()))
        assert ack_of(await collector.send(turned))["duplicates"]["summaries"] == 1
        other = document | {"summaries": [summary(2)]}
        assert error_of(await collector.send(other)) == (409, "batch_id_payload_conflict")


async def test_under_pressure_bulk_waits(collect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is refused before it is read, with a time to come back."""
    async with collect() as collector:
        monkeypatch.setattr(type(collector.service.sessions._plant.sluice), "refuses_bulk", True)
        answer = await collector.send(batch())
        assert error_of(answer) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        monkeypatch.undo()
        ack_of(await collector.send(batch()))


async def test_the_local_twin_answers_nobody_else(collect: Any) -> None:
    """On this machine it is the same route; to another address it is not there."""
    async with collect() as collector:
        local = await collector.client.post("/v1/sync/batches", json=batch(sources=[source()]))
        assert ack_of(local)["accepted"]["sources"] == 1
        bare = await collector.client.post(
            "/v1/sync/batches", json=batch(), headers={"Authorization": ""}
        )
        assert error_of(bare) == (401, "unauthorized")
        assert error_of(await collector.client.get("/api/sync/nowhere")) == (404, "not_found")
        assert error_of(await collector.client.get("/api/sync/batches"))[0] == 405


async def test_status_and_reset_tell_of_this_device(collect: Any) -> None:
    """What it has sent, when and last; and a reset needs the word."""
    async with collect() as collector:
        await collector.send(batch(batch_id="b1", summaries=[summary(1)], sources=[source()]))
        status = await collector.get("status", view="preflight")
        assert status["mirrorCounts"] == no_counts() | {"summaries": 1, "sources": 1}
        assert status["device"]["device_id"] == DEVICE
        assert status["device"]["last_sync_batch_id"] == "b1"
        assert status["device"]["last_sync_at"].endswith("Z")
        for body in (b"", b"[]", b'{"confirm": true}', b'{"confirm":"yes"}'):
            answer = await collector.client.post("/api/sync/reset", content=body)
            assert error_of(answer) == (400, "confirmation_required")
        done = await collector.client.post("/api/sync/reset", json={"confirm": "reset_synced_data"})
        assert done.json() == {
            "status": "reset",
            "cleared": no_counts() | {"summaries": 1, "sources": 1},
        }
        status = await collector.get("status")
        assert status["mirrorCounts"] == no_counts()
        assert status["device"]["last_sync_batch_id"] is None
        assert (await collector.get("rollups"))["rows"] == []


@pytest.mark.parametrize(
    ("peer", "status"),
    [("127.0.0.1", 401), ("::1", 401), ("::ffff:127.0.0.1", 401), ("10.0.0.7", 404), ("", 404)],
)
async def test_only_a_loopback_address_reaches_the_twin(peer: str, status: int) -> None:
    """It is the address that connected to us that counts."""
    from penstock.http.plain_errors import PlainError  # noqa: PLC0415
    from penstock.http.sync.device_tokens import DeviceGate  # noqa: PLC0415
    from penstock.http.sync.surface import SyncLimits, SyncSurface  # noqa: PLC0415

    nobody: Any = None
    limits = SyncLimits(1, 1, 1, 1.0)
    surface = SyncSurface(DeviceGate(nobody), nobody, nobody, nobody, nobody, limits)
    call = Call("POST", "/v1/sync/batches", {}, {}, {}, peer, "id", nobody)
    with pytest.raises(PlainError) as refused:
        await surface._take_locally(call)
    assert refused.value.status == status


def test_reading_keeps_what_it_does_not_know() -> None:
    """Keys of a later version are part of the record, at every level."""
    record = summary(1, later={"x": [1]})
    record["usage"]["later"] = 2
    (submitted,) = read_batch(orjson.dumps(batch(summaries=[record], later=1)), 10, 1000).submitted
    assert orjson.loads(submitted.body) == record
