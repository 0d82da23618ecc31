"""How fast the platform's parts are: lookups before a request, and entries a ledger takes.

Entries go as in the service: through the writer's lanes, each submitter with its next one as soon
as the last is answered. Lookups are of addresses and headers that are not remembered, among as many
exclusions as were asked for.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import numpy as np
import trio

from penstock.engine.ledger_lanes import LedgerLanes
from penstock.engine.ledger_port import Entry, Ledger
from penstock.engine.platform.actors import ActorNames, ActorType
from penstock.engine.platform.addresses import Address, ProxyChain, Range
from penstock.engine.platform.context import Enrichment, Person, Visitor
from penstock.engine.platform.exclusions import Exclusion, ExclusionBook, ExclusionEdition
from penstock.engine.platform.networks import NetworkTable
from penstock.engine.receipts import Committed, Lane
from penstock.errors import StartupError
from penstock.http.platform.bodies import AnalyticsBody, AuditBody, ErrorBody
from penstock.http.user_agents import surroundings_of
from penstock.ledgers import open_ledger
from penstock.settings import Settings
from penstock.storage.platform.geo import GeoDatabase

T = TypeVar("T")

_SUBMITTERS = (1, 64, 256)
_WAIT_SECONDS = 30.0
_LOOKUPS = 100_000
_PHONE = (
    b"Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/121.0.0.0 Mobile Safari/537.36"
)


@dataclass(slots=True, frozen=True)
class LookupSpeed:
    """What one kind of lookup costs."""

    what: str
    per_second: float
    p99_us: float


@dataclass(slots=True, frozen=True)
class EntrySpeed:
    """How many entries of a kind a ledger takes."""

    kind: str
    submitters: int
    per_second: float
    p99_ms: float


class _Clock:
    monotonic = staticmethod(time.monotonic)
    unix = staticmethod(time.time)


def measure_lookups(geo_file: Path, networks: int) -> list[LookupSpeed]:
    """Measure among so many excluded networks, and in a geo database if there is one."""
    random = np.random.default_rng(1)
    table = NetworkTable(_networks(random, networks))
    v4 = [IPv4Address(n) for n in random.integers(0, 2**32, _LOOKUPS).tolist()]
    v6 = [IPv6Address((n << 64) | n) for n in random.integers(0, 2**63, _LOOKUPS).tolist()]
    found = [
        _timed(f"exclusion of an IPv4 address among {networks:,}", v4, table.find),
        _timed(f"exclusion of an IPv6 address among {networks:,}", v6, table.find),
    ]
    geo = GeoDatabase(geo_file)
    if geo.status is not None:
        found.append(_timed(f"country in {geo.status.database_type}", v4, geo.country))
    listed = [Exclusion("198.51.100.0/24", "ccpa_do_not_sell", 0)]
    enrichment = Enrichment(
        ProxyChain.of(("10.0.0.0/8",)),
        ExclusionBook(ExclusionEdition(listed)),
        geo,
        surroundings_of,
        ActorNames(secrets.token_bytes(32), 30 * 86_400),
        _Clock(),
    )
    person = Person(str(uuid4()), ActorType.USER, str(uuid4()), 2)
    visitors = [Visitor("10.0.0.1", f"{address}, 10.0.0.2", _PHONE) for address in v4[:20_000]]
    found.append(
        _timed("a whole context", visitors, lambda visitor: enrichment.enrich("r", visitor, person))
    )
    headers = [_PHONE.replace(b"121", b"%d" % n) for n in range(500)]
    found.append(_timed("a User-Agent that is not remembered", headers, surroundings_of))
    geo.close()
    return found


async def measure_entries(settings: Settings, seconds: float) -> list[EntrySpeed]:
    """Measure the ledger that the settings name; StartupError when it is no new one."""
    if settings.database_url is not None:
        from penstock.storage.ledger.postgres import look_at_postgres  # noqa: PLC0415

        server = await look_at_postgres(settings.database_url.get_secret_value())
        if server.taken:
            raise StartupError(
                f"the database {server.database!r} holds a ledger; make an empty one for this"
            )
    async with open_ledger(settings) as ledger:
        return await _measure(ledger, seconds)


async def _measure(ledger: Ledger, seconds: float) -> list[EntrySpeed]:
    lanes = LedgerLanes(
        ledger, _Clock(), max_queued_entries=max(_SUBMITTERS), wait_seconds=_WAIT_SECONDS
    )
    measured = []
    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run)
        for kind, make in _kinds().items():
            for count in _SUBMITTERS:
                await _submit(lanes, make, count, seconds / 10)  # connections, caches
                started = time.monotonic()
                waits = await _submit(lanes, make, count, seconds)
                took = time.monotonic() - started
                p99 = float(np.percentile(waits, 99)) * 1000
                measured.append(EntrySpeed(kind, count, len(waits) / took, p99))
        nursery.cancel_scope.cancel()
    return measured


async def _submit(
    lanes: LedgerLanes, make: Callable[[], Entry], submitters: int, seconds: float
) -> list[float]:
    waits: list[float] = []
    until = time.monotonic() + seconds

    async def submit() -> None:
        while (began := time.monotonic()) < until:
            answer = await lanes.enter_nowait(make(), Lane.DURABLE).wait()
            if not isinstance(answer, Committed):
                raise StartupError(f"the ledger refused an entry: {answer.detail}")
            waits.append(time.monotonic() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(submitters):
            nursery.start_soon(submit)
    return waits


def _kinds() -> dict[str, Callable[[], Entry]]:
    """Give a maker of each kind, scrubbing included."""
    org, clock = str(uuid4()), _Clock()
    enrichment = Enrichment(
        ProxyChain(),
        ExclusionBook(ExclusionEdition(())),
        _Nowhere(),
        surroundings_of,
        ActorNames(b"k" * 32, 86_400),
        clock,
    )
    person = Person(str(uuid4()), ActorType.USER, org, 2)
    context = enrichment.enrich("r-1", Visitor("203.0.113.9", "", _PHONE), person)
    analytics = AnalyticsBody(
        event_name="page.view",
        event_category="navigation",
        timestamp=datetime.now(UTC).isoformat(),  # type: ignore[arg-type]
        page_url="/library",
        properties={"filter_condition": "neck_pain", "results_count": 12},
    )
    audit = AuditBody(
        action="patient.view",
        resource_type="patient",
        resource_id="patient-123",
        status="success",
        status_code=200,
        metadata={"fields_accessed": ["name", "treatment_plans"]},
    )
    error = ErrorBody(
        error_type="video_error",
        error_message="Failed to load video segment",
        stack_trace="Error: fetch failed\n    at load (https://a.example/app.js:1:2)",
    )

    def now() -> int:
        return int(clock.unix() * 1000)

    return {
        "analytics": lambda: analytics.entry(str(uuid4()), org, now(), now(), context),
        "errors": lambda: error.entry(str(uuid4()), org, now(), context),
        "audit": lambda: audit.entry("service:core", now(), context),
    }


class _Nowhere:
    def country(self, address: Address) -> None:
        """Know of none."""
        del address


def _networks(random: np.random.Generator, count: int) -> list[Range]:
    half = count // 2
    v4 = random.integers(0, 2**28, half).tolist()
    v6 = random.integers(0, 2**48, count - half).tolist()
    return [
        *(Range(4, number << 4, 28) for number in v4),
        *(Range(6, number << 80, 48) for number in v6),
    ]


def _timed(what: str, items: Sequence[T], ask: Callable[[T], object]) -> LookupSpeed:
    took = np.empty(len(items))
    clock = time.perf_counter_ns
    for place, item in enumerate(items):
        began = clock()
        ask(item)
        took[place] = clock() - began
    began = clock()
    for item in items:
        ask(item)
    seconds = (clock() - began) / 1e9
    if what.startswith("a User-Agent"):  # by now all are remembered
        seconds = float(took.sum()) / 1e9
    return LookupSpeed(what, len(items) / seconds, float(np.percentile(took, 99)) / 1000)
