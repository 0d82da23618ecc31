"""Runs queried, counted and named; who may ask, and how often."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any, cast
from urllib.parse import quote

import trio
from pydantic import SecretStr

from penstock.engine.runs.records import RunNames
from penstock.http.app import AppLimits, Parts, create_app
from penstock.http.edge import CorsRules, Edge
from penstock.http.health import Readiness
from penstock.http.meters import RequestMeter
from penstock.http.runs.gate import Gate
from penstock.http.runs.names import KEPT_SECONDS, NamesCache
from penstock.http.runs.reading import StoreFacts
from penstock.http.runs.surface import Runs
from penstock.http.runs.writing import RunsLimits

PATH = "/api/v1/runs"
RunOf = Callable[..., dict[str, Any]]
DAY = "2026-01-{:02}T00:00:00Z"


async def _fill(client: Any, run_of: RunOf) -> None:
    rows = [
        run_of(
            str(day),
            agent_name=f"agent {day % 2}",
            job_type=f"job {day % 3}",
            status=("success", "failure")[day % 2],
            created_at=DAY.format(day),
            start_time=DAY.format(30 - day),
        )
        for day in range(1, 11)
    ]
    reply = await client.ask("POST", f"{PATH}/batch", rows)
    assert reply.json["inserted"] == 10


async def test_every_filter_and_both_ways_of_paging(agent: Any, run_of: RunOf) -> None:
    """Newest first; two bounds leave out what they name, two take it in; instants, not texts."""
    middle = quote("2026-01-05T02:00:00+02:00")
    wanted = {
        "": "10 9 8 7 6 5 4 3 2 1",
        "limit=3": "10 9 8",
        "limit=3&offset=8": "2 1",
        "offset=10": "",
        "agent_name=agent%200": "10 8 6 4 2",
        "agent_name=agent": "",
        "agent_name=": "",
        "status=failed": "9 7 5 3 1",
        "job_type=job%200": "9 6 3",
        "agent_name=agent%201&job_type=job%200&status=failure&limit=1": "9",
        f"created_before={middle}": "4 3 2 1",
        f"created_after={middle}": "10 9 8 7 6",
        f"created_after={DAY.format(3)}&created_before={DAY.format(6)}": "5 4",
        f"start_time_from={DAY.format(25)}": "5 4 3 2 1",
        f"start_time_to={DAY.format(25)}": "10 9 8 7 6 5",
        f"start_time_from={DAY.format(25)}&start_time_to={DAY.format(26)}": "5 4",
        "created_after=2026-01-08T00:00:00+00:00": "10 9",
        "unknown=1&limit=1": "10",
    }
    async with agent() as client:
        await _fill(client, run_of)
        for query, ids in wanted.items():
            reply = await client.query(query)
            assert reply.status == 200, query
            assert [run["event_id"] for run in reply.json] == ids.split(), query
        assert (await client.query("limit=1")).json == [await client.show("10")]
        seen, cursor = [], ""
        while cursor is not None:
            reply = await client.query(f"limit=4&status=success{cursor and f'&cursor={cursor}'}")
            seen += [run["event_id"] for run in reply.json]
            cursor = reply.headers.get("x-next-cursor")
        assert seen == ["10", "8", "6", "4", "2"]


async def test_filters_that_mean_nothing(any_agent: Any) -> None:
    """A status, a moment or a cursor that is none is 400 by name; a page's size is 422."""
    bad = {
        "status=done": "status",
        "status=": "status",
        "created_before=yesterday": "created_before",
        "created_after=2026-01-05": "created_after",
        "start_time_from=2026-01-05T00:00:00": "start_time_from",
        "start_time_to=": "start_time_to",
        "cursor=x": "cursor",
        "agent_name=%00": "agent_name",
    }
    sizes = ("limit=0", "limit=1001", "limit=x", "limit=", "limit=1.5", "offset=-1", "offset=x")
    async with any_agent() as (_, client):
        for query, name in bad.items():
            reply = await client.query(query)
            assert reply.status == 400, query
            assert name in reply.json["detail"]
        for query in (*sizes, f"offset={2**63}", f"limit={'9' * 5000}"):
            reply = await client.query(query)
            assert reply.status == 422, query
            assert reply.json["detail"][0]["loc"] == ["query", query.partition("=")[0]]
        assert (await client.query(f"offset={2**63 - 1}")).json == []


async def test_names_are_remembered_until_a_run_is_written(agent: Any, run_of: RunOf) -> None:
    """The second look is a hit; a report, a batch and an update each end that."""
    async with agent() as client:

        async def look() -> Any:
            reply = await client.ask("GET", "/api/v1/metadata")
            assert reply.status == 200
            return reply.json

        empty = {"agent_names": [], "job_types": [], "counts": {"agent_names": 0, "job_types": 0}}
        assert await look() == empty | {"cache_hit": False}
        assert await look() == empty | {"cache_hit": True}
        await client.post(agent_name="b")
        assert (await look())["agent_names"] == ["b"]
        await client.ask("POST", f"{PATH}/batch", [run_of("e2", agent_name="a", job_type="k")])
        full = await look()
        assert full == {
            "agent_names": ["a", "b"],
            "job_types": ["job", "k"],
            "counts": {"agent_names": 2, "job_types": 2},
            "cache_hit": False,
        }
        assert (await look())["cache_hit"]
        await client.ask("PATCH", f"{PATH}/e1", {"status": "success"})
        assert not (await look())["cache_hit"]


async def test_names_are_remembered_for_five_minutes() -> None:
    """Then they are asked for again; what was read before a write is not kept after it."""

    class Watch:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    class Store:
        asked = 0
        meanwhile: Callable[[], None] = staticmethod(lambda: None)

        async def read(self, _query: object) -> RunNames:
            self.asked += 1
            self.meanwhile()
            return RunNames([str(self.asked)], [])

    clock, store = Watch(), Store()
    cache = NamesCache(store, clock)  # type: ignore[arg-type]
    assert (await cache.read())[1] is False
    clock.now = KEPT_SECONDS - 1
    assert (await cache.read())[1] is True
    clock.now = KEPT_SECONDS
    assert await cache.read() == (RunNames(["2"], []), False)
    cache.forget()
    store.meanwhile = cache.forget
    assert (await cache.read())[1] is False
    store.meanwhile = lambda: None
    assert (await cache.read())[1] is False
    assert (await cache.read())[1] is True


async def test_health_and_metrics(any_agent: Any, run_of: RunOf) -> None:
    """Both in the documented shape; scrapers still get theirs, and journal `delete` is told."""
    for mode in ("wal", "delete"):
        async with any_agent(ledger_journal_mode=mode) as (service, client):
            path = str(service.settings.data_dir / "ledger.sqlite3")
            reply = await client.ask("GET", "/health")
            assert reply.status == 200
            assert reply.json == {
                "status": "ok",
                "version": "3.0.0",
                "db_path": path,
                "journal_mode": mode.upper(),
                "synchronous": "FULL",
            }
            await client.post(agent_name="a", created_at=DAY.format(1))
            await client.ask("POST", f"{PATH}/batch", [run_of("x", agent_name="b"), run_of("y")])
            for accept in (None, "*/*", "application/json"):
                reply = await client.ask("GET", "/metrics", Accept=accept)
                assert reply.headers["content-type"] == "application/json"
                assert reply.json == {
                    "total_runs": 3,
                    "agents": {"a": 1, "agent": 1, "b": 1},
                    "recent_24h": 2,
                    "performance": {"db_path": path, "journal_mode": mode.upper()},
                }
            for accept in ("text/plain", "application/openmetrics-text;version=1.0.0,*/*;q=0.1"):
                text = await client.ask("GET", "/metrics", Accept=accept)
                assert b"penstock_ledger" in text.body
            assert len((await client.query()).json) == 3


async def test_without_the_surface_nothing_of_it_is_there(any_agent: Any) -> None:
    """404 in the house's words, and metrics are Prometheus' for everybody."""
    async with any_agent(surfaces=("sessions",)) as (_, client):
        for path in (PATH, "/health", "/api/v1/metadata", "/docs", "/openapi.json"):
            reply = await client.ask("GET", path)
            assert (reply.status, reply.code) == (404, "not_found")
        assert (await client.post()).status == 404
        assert b"penstock_" in (await client.ask("GET", "/metrics")).body


GUARDED = [
    ("POST", PATH),
    ("POST", f"{PATH}/batch"),
    ("PATCH", f"{PATH}/e1"),
    ("POST", f"{PATH}/e1/associate-commit"),
    ("GET", f"{PATH}/e1/commit-url"),
    ("GET", f"{PATH}/e1/repo-url"),
]
OPEN = [
    ("GET", PATH),
    ("GET", f"{PATH}/e1"),
    ("GET", "/api/v1/metadata"),
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
]


async def test_the_token_is_asked_for_where_documented(agent: Any, run_of: RunOf) -> None:
    """401 before the body is looked at, on six routes; the others are open."""
    settings = {"runs_auth_enabled": True, "runs_auth_token": SecretStr("short")}
    async with agent(**settings) as client:
        good = {"Authorization": "Bearer short"}
        assert (await client.ask("POST", PATH, run_of(), **good)).status == 201
        for method, path in GUARDED:
            for header in (None, "", "short", "Basic short", "Bearer long", "Bearer short x"):
                body = None if method == "GET" else b"no JSON"
                reply = await client.ask(method, path, body, Authorization=header)
                assert reply.status == 401, (method, path, header)
                assert reply.headers["www-authenticate"] == "Bearer"
                assert isinstance(reply.json["detail"], str)
            body = None if method == "GET" else b"no JSON"
            known = await client.ask(method, path, body, Authorization="bearer short")
            assert known.status in {200, 422}
        for method, path in OPEN:
            assert (await client.ask(method, path)).status == 200, path


async def test_an_address_may_ask_so_often(agent: Any) -> None:
    """429 with the documented headers on every route but health and metrics."""
    async with agent(runs_rate_limit_enabled=True, runs_rate_limit_rpm=3) as client:
        assert (await client.post()).status == 201
        assert (await client.query()).status == 200
        assert (await client.ask("GET", f"{PATH}/nobody")).status == 404
        for method, path in (*GUARDED, *OPEN[:3]):
            body = None if method == "GET" else {}
            reply = await client.ask(method, path, body)
            assert reply.status == 429, (method, path)
            assert reply.headers["retry-after"] == "60"
            assert reply.headers["x-ratelimit-limit"] == "3"
            assert reply.headers["x-ratelimit-remaining"] == "0"
            assert "3 requests a minute" in reply.json["detail"]
        for method, path in OPEN[3:]:
            assert (await client.ask(method, path)).status == 200


async def test_no_such_path_or_method(any_agent: Any) -> None:
    """The shape of errors is this surface's below its paths, and methods are told."""
    async with any_agent() as (_, client):
        missing = await client.ask("GET", "/api/v1/nothing")
        assert (missing.status, missing.json) == (404, {"detail": "Not Found"})
        wrong = await client.ask("PUT", PATH, {})
        assert (wrong.status, wrong.json) == (405, {"detail": "Method Not Allowed"})
        assert wrong.headers["allow"] == "GET, HEAD, POST"


class Clock:
    """Stands still."""

    def monotonic(self) -> float:
        return 0.0

    def unix(self) -> float:
        return 0.0


async def test_batches_wait_while_the_service_is_pressed(run_of: RunOf) -> None:
    """503 with Retry-After for many at once, before a byte of them is read."""
    nobody = cast("Any", None)
    facts = StoreFacts("", "", "")
    runs = Runs(nobody, nobody, Clock(), facts, Gate(), RunsLimits(), lambda: True)
    parts = Parts(
        pose=nobody,
        edge=Edge(CorsRules(), Clock()),
        meter=RequestMeter(),
        readiness=Readiness(()),
        exposition=nobody,
        limits=AppLimits(10, 64),
        version="test",
        surfaces=(runs.surface(),),
    )
    client = create_app(parts).test_client()
    reply = await client.post(f"{PATH}/batch", json=[run_of()])
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    assert "pressed" in (await reply.get_json())["detail"]


async def test_a_ledger_that_cannot_be_written(any_agent: Any, run_of: RunOf) -> None:
    """Writes are 503 with Retry-After, and nothing of them is there; reads go on."""
    async with any_agent(ledger_wait_seconds=0.1) as (service, client):
        await client.post()
        path = service.settings.data_dir / "ledger.sqlite3"
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for method, at, body in (
                ("POST", PATH, run_of("e2")),
                ("POST", f"{PATH}/batch", [run_of("e2")]),
                ("PATCH", f"{PATH}/e1", {"status": "success"}),
            ):
                reply = await client.ask(method, at, body)
                assert reply.status == 503, reply
                assert int(reply.headers["retry-after"]) > 0
                assert isinstance(reply.json["detail"], str)
            assert (await client.show())["status"] == "running"
            other.execute("ROLLBACK")
        # It tries again by itself, and notices that the lock is gone.
        with trio.fail_after(10):
            status = 503
            while status == 503:
                reply = await client.ask("PATCH", f"{PATH}/e1", {"status": "success"})
                status = reply.status
        assert status == 200
        assert [run["event_id"] for run in (await client.query()).json] == ["e1"]
