"""How many results a second a ledger takes, with how many submitters, and how long each waits.

As in the service: finals through the writer's lanes, each submitter with its next one as soon as
the last is answered. Many submitters make large groups, which is what a ledger is fast by.
"""

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import trio

from penstock.engine.ledger_lanes import LedgerLanes
from penstock.engine.ledger_port import Entry, Ledger
from penstock.engine.receipts import Committed, Lane
from penstock.engine.records import FinalEntry
from penstock.errors import StartupError
from penstock.ledgers import open_ledger
from penstock.settings import Settings

_SUBMITTERS = (1, 16, 256)
_WAIT_SECONDS = 30.0
# About the size of a final with its aggregates.
_BODY: dict[str, Any] = {f"figure_{number}": number * 0.731 for number in range(60)}


@dataclass(slots=True, frozen=True)
class LedgerSpeed:
    """What was measured with one number of submitters."""

    submitters: int
    finals_per_second: float
    commits_per_second: float
    p50_ms: float
    p99_ms: float


@dataclass(slots=True, frozen=True)
class Speed:
    """What was measured of any kind of entry with one number of submitters."""

    submitters: int
    entries_per_second: float
    commits_per_second: float
    p50_ms: float
    p99_ms: float


class _Clock:
    monotonic = staticmethod(time.monotonic)
    unix = staticmethod(time.time)


async def measure_new_ledger(settings: Settings, *, seconds: float) -> list[LedgerSpeed]:
    """Measure the ledger that the settings name; StartupError when it is no new one."""
    await refuse_used(settings)
    async with open_ledger(settings) as ledger:
        speeds = await measure(ledger, seconds, _final, Lane.FINAL)
        return [LedgerSpeed(*astuple(speed)) for speed in speeds]


async def refuse_used(settings: Settings) -> None:
    """Raise StartupError where the settings name a database that holds a ledger."""
    if settings.database_url is not None:
        from penstock.storage.ledger.postgres import look_at_postgres  # noqa: PLC0415

        server = await look_at_postgres(settings.database_url.get_secret_value())
        if server.taken:
            raise StartupError(
                f"the database {server.database!r} holds a ledger; make an empty one for this"
            )


async def measure(
    ledger: Ledger, seconds: float, make: Callable[[], Entry], lane: Lane
) -> list[Speed]:
    """Commit entries through a lane, with few and with many of them waiting at a time."""
    lanes = LedgerLanes(
        ledger, _Clock(), max_queued_entries=max(_SUBMITTERS), wait_seconds=_WAIT_SECONDS
    )
    measured: list[Speed] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        for count in _SUBMITTERS:
            await _submit(
                lanes, count, time.monotonic() + seconds / 10, make, lane
            )  # connections, caches
            commits, started = ledger.statistics().commits, time.monotonic()
            waits = np.array(await _submit(lanes, count, started + seconds, make, lane)) * 1000
            took = time.monotonic() - started
            measured.append(
                Speed(
                    count,
                    len(waits) / took,
                    (ledger.statistics().commits - commits) / took,
                    float(np.percentile(waits, 50)),
                    float(np.percentile(waits, 99)),
                )
            )
        nursery.cancel_scope.cancel()
    return measured


def _final() -> FinalEntry:
    return FinalEntry(str(uuid4()), "org", "principal", 1, "completed", 0, _BODY)


async def _submit(
    lanes: LedgerLanes, count: int, until: float, make: Callable[[], Entry], lane: Lane
) -> list[float]:
    waits: list[float] = []

    async def submit() -> None:
        # At least once each, however short the time: a figure is made of something.
        began = time.monotonic()
        while True:
            answer = await lanes.enter_nowait(make(), lane).wait()
            if not isinstance(answer, Committed):
                raise StartupError(f"the ledger refused it: {answer.reason}: {answer.detail}")
            now = time.monotonic()
            waits.append(now - began)
            if now >= until:
                return
            began = now

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(submit)
    return waits
