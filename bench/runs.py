"""How many runs a second are made durable, and how long each query takes among many.

Theory of operation
-------------------
Two measurements of services that are started for them, over HTTP. *Posts*: a closed loop of
connections, each with one POST under way, every answer a 201 whose run is on disk; then the same
for batches, and for a peer (see `peers.runs_peer`), in turns, since a disk that is shared is not
the same from one minute to the next. *Queries*: the ledger is filled by batches, and each
documented query is asked again and again on one connection, so that its time is its own.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from penstock.bench.closed_loop import ClosedLoop
from penstock.bench.errors import BenchError
from penstock.bench.latencies import Latencies
from penstock.bench.servers import RunningServer, ServerSpec, penstock_spec, run_server

_PATH = "/api/v1/runs"
_AGENTS = 40
_JOBS = 12
_STATUSES = ("success", "success", "success", "failure", "partial", "running")
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_TIMEOUT_SECONDS = 60.0
_WARM_UP_SECONDS = 1.0


@dataclass(slots=True, frozen=True)
class RunsPlan:
    """What to measure."""

    connections: int = 16
    rounds: int = 3
    seconds: float = 5.0
    peer: bool = True
    batch: int = 100
    rows: int = 100_000
    asked: int = 200
    seed: int = 1
    settings: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(slots=True, frozen=True)
class WriteFigures:
    """A closed loop's outcome; `runs_per_second` counts runs, not requests."""

    runs_per_second: float
    p50_ms: float
    p99_ms: float
    generator_cpu_share: float


@dataclass(slots=True, frozen=True)
class QueryFigures:
    """One query's times, and how many runs its answer holds."""

    query: str
    runs: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(slots=True, frozen=True)
class RunsOutcome:
    """All figures."""

    posts: tuple[WriteFigures, ...]
    peer: tuple[WriteFigures, ...]
    batches: tuple[WriteFigures, ...]
    rows: int
    fill_per_second: float
    queries: tuple[QueryFigures, ...]

    @property
    def ratio(self) -> float | None:
        """Give how many times the peer's posts a second: the median of the rounds' ratios."""
        pairs = zip(self.posts, self.peer, strict=False)
        ratios = [ours.runs_per_second / peer.runs_per_second for ours, peer in pairs]
        return median(ratios) if ratios else None


def measure_runs(plan: RunsPlan, tell: Callable[[str], None]) -> RunsOutcome:
    """Measure; BenchError where the service does not answer as it must."""
    posts, peer, batches = [], [], []
    for number in range(1, plan.rounds + 1):
        tell(f"round {number} of {plan.rounds}: posts over {plan.connections} connections")
        with _service(plan) as server:
            posts.append(_write(server, plan, 1))
            batches.append(_write(server, plan, plan.batch))
        if plan.peer:
            with _peer() as server:
                peer.append(_write(server, plan, 1))
    rate = 0.0
    queries: tuple[QueryFigures, ...] = ()
    if plan.rows:
        with _service(plan) as server:
            tell(f"filling the ledger with {plan.rows} runs")
            began = time.perf_counter()
            _fill(server, plan)
            rate = plan.rows / (time.perf_counter() - began)
            tell(f"asking each query {plan.asked} times")
            queries = tuple(_ask(server, plan))
    return RunsOutcome(tuple(posts), tuple(peer), tuple(batches), plan.rows, rate, queries)


@contextmanager
def _service(plan: RunsPlan) -> Iterator[RunningServer]:
    with TemporaryDirectory(prefix="penstock-bench-") as folder:
        spec = penstock_spec(Path(folder) / "runs", 1, **plan.settings)
        # The ledger's threads are part of what is measured: it has all cores.
        with run_server(spec, None) as server:
            yield server


@contextmanager
def _peer() -> Iterator[RunningServer]:
    with TemporaryDirectory(prefix="penstock-bench-") as folder:
        command = [sys.executable, "-m", "penstock.bench.peers.runs_peer", f"{folder}/runs.sqlite3"]
        with run_server(ServerSpec("the peer", command, {}), None) as server:
            yield server


def _write(server: RunningServer, plan: RunsPlan, batch: int) -> WriteFigures:
    numbers = count()
    status = 201 if batch == 1 else 200
    path = _PATH if batch == 1 else f"{_PATH}/batch"

    def next_request(_connection: int) -> bytes:
        runs = [make_run(next(numbers), batch) for _ in range(batch)]
        return _request(path, runs[0] if batch == 1 else runs)

    with ClosedLoop(server.address, plan.connections) as loop:
        loop.run(next_request, seconds=min(_WARM_UP_SECONDS, plan.seconds))
        result = loop.run(next_request, seconds=plan.seconds)
    wrong = {code: number for code, number in result.by_status.items() if code != status}
    if wrong or result.failures:
        raise BenchError(
            f"not every answer to {path} was {status}: {wrong or ''} {result.failures} had none"
        )
    if not result.requests:
        raise BenchError(f"no answer to {path} within {plan.seconds:g} s: measure for longer")
    return WriteFigures(
        result.rate * batch,
        result.latencies.quantile_us(0.5) / 1000,
        result.latencies.quantile_us(0.99) / 1000,
        result.generator_cpu_share,
    )


def _request(path: str, document: object) -> bytes:
    body = json.dumps(document).encode()
    return (
        b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    )


def make_run(number: int, kind: int = 0, *, spread: Random | None = None) -> dict[str, Any]:
    """Make a run such as agents report; with `spread`, one of a year's."""
    run: dict[str, Any] = {
        "event_id": str(UUID(int=(kind << 64) + number)),
        "run_id": f"2026-01-01T00:00:00Z-agent-{number:08}",
        "agent_name": f"team.agent-{number % _AGENTS:02}",
        "job_type": f"job-{number % _JOBS:02}",
        "status": _STATUSES[number % len(_STATUSES)],
        "start_time": _BEGIN.isoformat(),
        "items_discovered": 10,
        "items_succeeded": 9,
        "duration_ms": 1234,
        "git_repo": "https://github.com/example/repo",
        "git_branch": "main",
        "git_commit_hash": "0123456789abcdef0123456789abcdef01234567",
        "host": "worker-01",
        "environment": "prod",
        "output_summary": "Processed what there was to be processed",
        "metrics_json": {"tokens": number, "seconds": 1.5},
    }
    if spread is not None:
        start = _BEGIN + timedelta(seconds=spread.random() * 365 * 86_400)
        run["start_time"] = start.isoformat()
        run["created_at"] = (start + timedelta(seconds=spread.random() * 60)).isoformat()
    return run


def _fill(server: RunningServer, plan: RunsPlan) -> None:
    spread = Random(plan.seed)  # noqa: S311 - made-up runs
    link = HTTPConnection(*server.address, timeout=_TIMEOUT_SECONDS)
    size = 1000
    for first in range(0, plan.rows, size):
        runs = [
            make_run(number, 7, spread=spread)
            for number in range(first, min(first + size, plan.rows))
        ]
        status, body, _ = _exchange(link, "POST", f"{_PATH}/batch", json.dumps(runs))
        if status != 200 or json.loads(body)["inserted"] != len(runs):
            raise BenchError(f"a batch was answered {status}: {body[:200]!r}")
    link.close()


def documented_queries(rows: int) -> dict[str, dict[str, str]]:
    """Give one query for each documented filter and each way of paging, by what it is."""
    late, day = "2026-12-20T00:00:00Z", "2026-07-01T00:00:00Z"
    return {
        "newest 100": {},
        "newest 1000": {"limit": "1000"},
        "agent_name": {"agent_name": "team.agent-07"},
        "status": {"status": "failed"},
        "job_type": {"job_type": "job-03"},
        "agent_name, status, job_type": {
            "agent_name": "team.agent-03",
            "status": "failure",
            "job_type": "job-03",
        },
        "filters that nothing passes": {"agent_name": "team.agent-00", "job_type": "job-01"},
        "created_before": {"created_before": day},
        "created_after": {"created_after": late},
        "start_time, one hour": {
            "start_time_from": "2026-07-01T00:00:00Z",
            "start_time_to": "2026-07-01T01:00:00Z",
        },
        "start_time, half a year, its end long ago": {
            "start_time_from": "2026-01-01T00:00:00Z",
            "start_time_to": day,
        },
        "agent_name, start_time_from": {
            "agent_name": "team.agent-07",
            "start_time_from": day,
        },
        "offset, in the middle": {"offset": str(rows // 2)},
        "offset, at the end": {"offset": str(rows - 100)},
        "agent_name, offset at its end": {
            "agent_name": "team.agent-07",
            "offset": str(max(0, rows // _AGENTS - 100)),
        },
    }


def _ask(server: RunningServer, plan: RunsPlan) -> Iterator[QueryFigures]:
    link = HTTPConnection(*server.address, timeout=_TIMEOUT_SECONDS)
    targets = {
        name: f"{_PATH}?{urlencode(query)}" for name, query in documented_queries(plan.rows).items()
    }
    _, _, middle = _exchange(link, "GET", targets["created_before"])
    targets["cursor, in the middle"] = f"{_PATH}?{urlencode({'cursor': middle})}"
    targets["one run"] = f"{_PATH}/{make_run(plan.rows // 2, 7)['event_id']}"
    targets["metadata, not remembered or remembered"] = "/api/v1/metadata"
    targets["metrics"] = "/metrics"
    for name, target in targets.items():
        times = Latencies()
        runs = 0
        for _ in range(plan.asked):
            began = time.perf_counter()
            status, body, _ = _exchange(link, "GET", target)
            times.record(int((time.perf_counter() - began) * 1e6))
            if status != 200:
                raise BenchError(f"{target} was answered {status}: {body[:200]!r}")
            found = json.loads(body)
            runs = len(found) if isinstance(found, list) else 1
        yield QueryFigures(
            name, runs, *(times.quantile_us(share) / 1000 for share in (0.5, 0.99, 1.0))
        )
    link.close()


def _exchange(
    link: HTTPConnection, method: str, target: str, body: str | None = None
) -> tuple[int, bytes, str]:
    """Ask, and give status, body and the next page's cursor."""
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        link.request(method, target, body, headers)
        answer = link.getresponse()
        return answer.status, answer.read(), answer.headers.get("X-Next-Cursor", "")
    except (OSError, HTTPException) as error:
        raise BenchError(f"{target} was not answered: {error!r}") from None
