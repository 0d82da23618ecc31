"""The exposition: parsed as a scraper does, bounded, and true to the conservation law."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from penstock.engine.policy_book import Signed
from penstock.http.problems import Problem

Make = Callable[..., bytes]


async def _scrape(client: Any, accept: str = "text/plain") -> dict[str, Any]:
    ask = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
    await client.send(ask.encode())
    reply = await client.reply("GET")
    assert reply.status == 200
    return {family.name: family for family in text_string_to_metric_families(reply.body.decode())}


def _value(families: dict[str, Any], name: str, **labels: str) -> float:
    samples = [
        sample
        for sample in families[name].samples
        if labels.items() <= sample.labels.items() and not sample.name.endswith("_created")
    ]
    return sum(sample.value for sample in samples)


async def test_everything_is_ours_and_bounded(serve: Any, dial: Any, make_request: Make) -> None:
    """Names begin as they must, labels come from closed sets, and no session is named."""
    async with serve() as service, dial(service) as client:
        for session in range(1, 30):
            await client.send(make_request(session=session))
            await client.reply()
        for path in ("/a", "/b", "/c?d"):
            await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await client.reply("GET")
        families = await _scrape(client)
        assert families
        for name, family in families.items():
            assert name.startswith(("penstock_", "process_", "python_")), name
            assert family.documentation
            values = {value for sample in family.samples for value in sample.labels.values()}
            assert not any(str(UUID(int=session)) in values for session in range(30))
        codes = {sample.labels["code"] for sample in families["penstock_requests"].samples}
        known = {problem.code for problem in Problem}
        assert codes <= known | {"ok", "accepted", "not_ready", "preflight"}
        routes = {sample.labels["route"] for sample in families["penstock_requests"].samples}
        assert routes <= {"/v1/pose/frames", "/metrics", "none"}
        assert _value(families, "penstock_requests", code="accepted") == 29
        assert _value(families, "penstock_requests", route="none", code="not_found") == 3


async def test_open_metrics_are_spoken(serve: Any, dial: Any) -> None:
    """A scraper that asks for OpenMetrics gets it, and can read it."""
    async with serve() as service, dial(service) as client:
        ask = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\n\r\n"
        await client.send(ask.encode())
        reply = await client.reply("GET")
        assert reply.headers["content-type"].startswith("application/openmetrics-text")
        assert list(open_metrics(reply.body.decode()))


@pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
async def test_an_odd_accept_is_answered(serve: Any, dial: Any, *, express_lane: bool) -> None:
    """Whatever a scraper says that it accepts, it gets an exposition that says its own type."""
    odd = (
        "application/openmetrics-text; version=a.b.c",
        "application/openmetrics-text; version=",
        "application/openmetrics-text; version=1",
        "application/openmetrics-text; version=1.0.0.0.0",
        "application/openmetrics-text; version=-1.\xb2.0; escaping=x",
        "application/openmetrics-text;version;=;;,,",
        "text/plain; version=x.y",
        "*/*;q=x",
        "",
        "\xff\xfe",
        "application/openmetrics-text; version=" + "9." * 3000,
        "a/b;" * 2000,
        "," * 8000,
    )
    async with (
        serve(express_lane=express_lane, surfaces=("sessions",)) as service,
        dial(service) as client,
    ):
        for accept in odd:
            ask = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
            await client.send(ask.encode("latin1"))
            reply = await client.reply("GET")
            assert reply.status == 200, accept[:80]
            kind = reply.headers["content-type"]
            assert kind.startswith(("text/plain", "application/openmetrics-text"))
            parse = open_metrics if "openmetrics" in kind else text_string_to_metric_families
            assert list(parse(reply.body.decode()))
        assert await client.usable()


async def test_frames_are_conserved(
    serve: Any, dial: Any, make_request: Make, make_batch: Make
) -> None:
    """Frames seen are those that ended, by reason, and those still pending, at every scrape."""
    options = {"rate_batches_per_second": 0.01, "rate_burst": 2, "spool_flush_seconds": 0.05}
    async with serve(**options) as service, dial(service) as client:
        pending: set[float] = set()
        for round_ in range(1, 4):
            for start in (0, 0, 500):
                body = make_batch(4, start)
                await client.send(make_request(body, session=round_))
                await client.reply()
            await client.send(make_request(b"junk", session=90))
            await client.reply()
            families = await _scrape(client)
            seen = _value(families, "penstock_frames_seen")
            pending.add(_value(families, "penstock_frames_pending"))
            ended = _value(families, "penstock_frames")
            assert seen == round_ * 12 == ended + _value(families, "penstock_frames_pending")
        assert max(pending) > 0
        while service.ledger.process.pending:  # noqa: ASYNC110 - the ledger tells nobody
            await trio.sleep(0.01)
        families = await _scrape(client)
        assert _value(families, "penstock_frames", outcome="aggregated", reason="used") == 12
        assert _value(families, "penstock_frames", reason="repeated") == 12
        assert _value(families, "penstock_frames", reason="rate_session_exceeded") == 12


@pytest.mark.parametrize(
    ("held", "peak"),
    [
        ("penstock_frame_memory_bytes", "penstock_frame_memory_peak_bytes"),
        ("penstock_inbox_bytes", "penstock_inbox_peak_bytes"),
    ],
)
async def test_peaks_begin_anew_with_each_scrape(
    serve: Any, dial: Any, make_request: Make, held: str, peak: str
) -> None:
    """A high-water mark tells the most since the last scrape, and then begins at what is held."""
    async with serve() as service, dial(service) as client:
        await client.send(make_request())
        await client.reply()
        while service.ledger.process.pending:  # noqa: ASYNC110 - the ledger tells nobody
            await trio.sleep(0.01)
        first, second = await _scrape(client), await _scrape(client)
        assert _value(first, held) == _value(second, held) == 0
        assert _value(first, peak) > 0
        assert _value(second, peak) == 0


async def test_each_lane_is_timed(serve: Any, dial: Any, make_request: Make) -> None:
    """A request is timed once, in the lane that answered it, and falls into a bucket."""
    async with serve() as service, dial(service) as client:
        await client.send(make_request())
        await client.reply()
        families = await _scrape(client)
        buckets = families["penstock_request_seconds"].samples
        counts = {
            (sample.labels["lane"], sample.name): sample.value
            for sample in buckets
            if not sample.name.endswith("_bucket") or sample.labels["le"] == "+Inf"
        }
        assert counts["express", "penstock_request_seconds_count"] == 1
        assert counts["express", "penstock_request_seconds_bucket"] == 1
        assert counts["quart", "penstock_request_seconds_count"] == 0


async def test_the_policy_is_seen(serve: Any, dial: Any, make_request: Make, turn: Any) -> None:
    """Stress, editions, decisions and candidates are there; nobody's id is a label."""
    async with serve() as service, dial(service) as client:
        await turn(service, thin_at=0, thin_until=0, loss_percent=60)
        signed = Signed("a test", "to count", service.policies.book.revision)
        await service.policies.propose("calmer", {"thin_at": 70, "refuse_at": 80}, signed)
        org = f"org:{UUID(int=7)}"
        signed = Signed("a test", "to count", service.policies.book.revision)
        await service.policies.edit(org, {"keep_every": 3}, (), signed)
        await client.send(make_request())
        assert (await client.reply()).status == 202
        families = await _scrape(client)
        assert 0 <= _value(families, "penstock_stress") <= 100
        parts = {sample.labels["part"] for sample in families["penstock_stress_part"].samples}
        assert parts == {"memory", "backlog", "writer", "delay"}
        assert _value(families, "penstock_policy_editions", scope="global") == 1
        assert _value(families, "penstock_policy_editions", scope="org") == 1
        assert _value(families, "penstock_policy_decisions") == 1
        assert _value(families, "penstock_policy_shadow_decisions", candidate="calmer") == 1
        assert _value(families, "penstock_policy_seconds_since_change") < 60
        assert _value(families, "penstock_sessions_over_budget") == 0
        assert _value(families, "penstock_policy_rung", scope="global") in {0, 1}


async def test_results_are_seen(serve: Any, dial: Any, make_request: Make) -> None:
    """A committed end counts in its lane, and the ledger says that it can be written."""
    async with serve() as service, dial(service) as client:
        await client.send(make_request())
        await client.reply()
        said = b'{"ended_at":"2026-05-07T10:30:00Z","client_status":"completed"}'
        target = f"/v1/sessions/{UUID(int=1)}/end"
        changes = {"Content-Type": "application/json"}
        await client.send(make_request(said, target=target, changes=changes))
        assert (await client.reply()).status == 200
        families = await _scrape(client)
        entries = "penstock_ledger_entries"
        # The final with its order, and how far its delivery has come.
        assert _value(families, entries, lane="final", result="committed") == 2
        # What the embedded Core was told of it.
        assert _value(families, entries, lane="durable", result="committed") == 1
        assert _value(families, "penstock_ledger_writable") == 1
        assert _value(families, "penstock_ledger_last_success_timestamp_seconds") > 1e9
