"""How fast a service takes sync batches, and how fast it shows sums of many records.

A whole service in this process, over HTTP on loopback, its client beside it: what is measured is a
little slower than the service alone. Every batch is committed before it is answered.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import numpy as np
import orjson
import trio

from penstock.engine.receipts import Lane
from penstock.engine.sync.records import DeviceIdentity
from penstock.engine.sync.sums import Granularity, Grouping
from penstock.errors import StartupError
from penstock.http.sync.device_tokens import mint_device_token
from penstock.process import collecting_as_a_service
from penstock.service import open_service
from penstock.settings import Settings

SENDERS = (1, 8)
SIZES = (1, 100, 500)
# What a collector sends at once, if it has that many.
_AT_ONCE = 500
_BATCHES = 20
_DEVICE = "dev_bench"
_PROVIDERS, _PROJECTS = 3, 300
_TIMEOUT_SECONDS = 60.0
_BUSY = 503


@dataclass(slots=True, frozen=True)
class BatchSpeed:
    """What was measured with so many senders and records a batch."""

    senders: int
    records: int
    batches_per_second: float
    records_per_second: float
    p50_ms: float
    p99_ms: float


@dataclass(slots=True, frozen=True)
class Timing:
    """How long one thing took, with how many records it sent, or rows it was shown."""

    what: str
    rows: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(slots=True, frozen=True)
class SyncSpeed:
    """All of it. `loaded` is how many summaries the user had for `timings`."""

    batches: list[BatchSpeed]
    loaded: int
    loaded_per_second: float
    timings: list[Timing]


async def measure_sync(
    settings: Settings,
    *,
    seconds: float,
    summaries: int,
    asked: int,
    told: Callable[[int], None],
) -> SyncSpeed:
    """Measure a new ledger; `told` hears how many summaries have been loaded.

    Each read is asked for `asked` times.
    """
    made = settings.model_copy(update={"port": 0, "surfaces": ("sync",)})
    with collecting_as_a_service():
        return await _measure(made, seconds, summaries, asked, told)


async def _measure(
    settings: Settings, seconds: float, summaries: int, asked: int, told: Callable[[int], None]
) -> SyncSpeed:
    async with open_service(settings, dev=True) as service:
        identity = DeviceIdentity(f"bench-{secrets.token_hex(4)}", _DEVICE)
        minted = mint_device_token(identity, minted_unix_ms=0, minted_by="bench")
        await service.writer.enter_nowait(minted.entry, Lane.DURABLE).wait()
        async with httpx.AsyncClient(
            base_url=service.address,
            headers={"Authorization": f"Bearer {minted.token}"},
            trust_env=False,
            timeout=_TIMEOUT_SECONDS,
        ) as client:
            numbers = count()
            batches = [
                await _send_for(client, numbers, senders, size, seconds)
                for size in SIZES
                for senders in SENDERS
            ]
            await client.post("/api/sync/reset", json={"confirm": "reset_synced_data"})
            began = time.monotonic()
            for first in range(0, summaries, _AT_ONCE):
                await _send(client, range(first, min(summaries, first + _AT_ONCE)))
                told(min(summaries, first + _AT_ONCE))
            rate = summaries / (time.monotonic() - began)
            timings = [timing async for timing in _timings(client, summaries, asked)]
    return SyncSpeed(batches, summaries, rate, timings)


async def _send_for(
    client: httpx.AsyncClient, numbers: Iterator[int], senders: int, size: int, seconds: float
) -> BatchSpeed:
    waits: list[float] = []
    began = time.monotonic()

    async def send() -> None:
        while time.monotonic() < began + seconds:
            waits.append(await _send(client, [next(numbers) for _ in range(size)]))

    async with trio.open_nursery() as nursery:
        for _ in range(senders):
            nursery.start_soon(send)
    rate = len(waits) / (time.monotonic() - began)
    p50, p99 = np.percentile(np.array(waits) * 1000, [50, 99])
    return BatchSpeed(senders, size, rate, rate * size, float(p50), float(p99))


async def _timings(client: httpx.AsyncClient, summaries: int, asked: int) -> AsyncIterator[Timing]:
    kinds: dict[str, Callable[[int], tuple[int, int]]] = {
        "new": lambda n: (summaries + _AT_ONCE * n, 1),
        # Some of them for the second time.
        "replaced": lambda n: (97 * n, 2 + n),
        "known": lambda _: (summaries, 1),
    }
    for kind, choose in kinds.items():
        waits = []
        for number in range(_BATCHES):
            first, tokens = choose(number)
            waits.append(await _send(client, range(first, first + _AT_ONCE), tokens=tokens))
        yield _timing(f"batch of {_AT_ONCE} {kind}", _AT_ONCE, waits)
    for granularity in Granularity:
        for grouping in Grouping:
            query = {"granularity": granularity.value, "group_by": grouping.value}
            waits, rows = [], 0
            for _ in range(asked):
                began = time.monotonic()
                answer = await client.get("/api/sync/rollups", params=query)
                waits.append(time.monotonic() - began)
                rows = len(answer.json()["rows"])
            yield _timing(f"{granularity} by {grouping}", rows, waits)


def _timing(what: str, rows: int, waits: list[float]) -> Timing:
    p50, p99, worst = np.percentile(np.array(waits) * 1000, [50, 99, 100])
    return Timing(what, rows, float(p50), float(p99), float(worst))


async def _send(client: httpx.AsyncClient, numbers: Iterable[int], *, tokens: int = 1) -> float:
    summaries = [_summary(number, tokens) for number in numbers]
    body = orjson.dumps(
        {
            "schema_version": "sync_batch.v1",
            "batch_id": f"batch_{secrets.token_hex(8)}",
            "device_id": _DEVICE,
            "created_at": "2026-06-09T10:00:00Z",
            "summaries": summaries,
        }
    )
    while True:
        began = time.monotonic()
        answer = await client.post("/api/sync/batches", content=body)
        took = time.monotonic() - began
        if answer.status_code != _BUSY:
            break
        # Under pressure bulk writes are refused, and come again, as a collector's do.
        await trio.sleep(float(answer.headers["retry-after"]))
    if answer.status_code != 200 or answer.json()["rejected"]:
        raise StartupError(f"a batch was not taken: {answer.status_code} {answer.text[:200]}")
    return took


def _summary(number: int, tokens: int) -> dict[str, Any]:
    """Make a daily rollup: of one of some providers and projects, each day further back."""
    provider, project = number % _PROVIDERS, number // _PROVIDERS % _PROJECTS
    day = number // (_PROVIDERS * _PROJECTS)
    at = np.datetime64("2020-01-01") + np.timedelta64(day, "D")
    usage = {
        "input_tokens": tokens * 100,
        "output_tokens": 50,
        "cache_creation_tokens": 0,
        "cache_read_tokens": number,
        "reasoning_tokens": 0,
        "total_tokens": tokens * 100 + 50 + number,
        "requests": 1,
        "local_prompt_eval_tokens": None,
        "local_eval_tokens": None,
    }
    cost = {
        "currency": "USD",
        "estimated_api_equivalent_usd": 1,
        "provider_reported_usd": None,
        "pricing_source": "local_rollup",
        "pricing_version": None,
        "confidence": "medium",
    }
    return {
        "schema_version": "usage_summary.v1",
        "summary_id": f"sum_{number:032x}",
        "device_id": _DEVICE,
        "provider": f"provider_{provider}",
        "source_id": f"src_{provider:024x}",
        "provider_account_id": f"acct_{provider:024x}",
        "source": {
            "adapter_id": "local-jsonl",
            "adapter_version": "0.1.1",
            "source_kind": "local_adapter",
            "location_origin": "default",
            "source_type": "jsonl",
            "source_path_hash": f"{provider:064x}",
            "source_record_id": None,
            "parse_confidence": "high",
        },
        "model": None,
        "models": [{"model": {"name": f"model_{provider}"}, "usage": usage, "cost": cost}],
        "usage": usage,
        "cost": cost,
        "parse_evidence": None,
        "project": {"project_id": f"project_{project:024x}", "path_hash": f"{project:064x}"},
        "privacy": {
            "mode": "metadata_only",
            "contains_prompt_text": False,
            "contains_response_text": False,
            "contains_file_paths": False,
        },
        "metrics": None,
        "period_start": f"{at}T00:00:00Z",
        "period_end": f"{at + np.timedelta64(1, 'D')}T00:00:00Z",
        "observed_at": f"{at}T11:00:00Z",
        "metadata": {"summary_format": "daily_rollup.v1", "summary_version": "9"},
        "imported_at": f"{at}T11:00:00Z",
    }
