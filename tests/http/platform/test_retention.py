"""What is too old is removed by the service itself; where players watch is told to statistics."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from trio.testing import MockClock

from maxmind_stand_in import write_database
from penstock.engine.ledger_port import Entry, LedgerReason
from penstock.engine.platform.exclusions import Exclusion, ExclusionEdition
from penstock.engine.platform.records import AuditChainOf, ExpiryEntry, Kept
from penstock.engine.platform.retention import (
    FIRST_LOOK_SECONDS,
    LOOK_SECONDS,
    STEP_ROWS,
    Retention,
)
from penstock.engine.receipts import Committed, Lane, Receipt, Refused
from penstock.engine.records import AuditEntry
from penstock.engine.retention_records import PruneAudits
from penstock.storage.platform.exclusions_file import ExclusionsFile

DAY_MS = 86_400_000
SESSION = str(UUID(int=1))


class Wall:
    def monotonic(self) -> float:
        return trio.current_time()

    def unix(self) -> float:
        return 1_770_000_000.0


class Store:
    """In the place of the writer: a class's rows that are too old, and steps that take some."""

    def __init__(self, rows: dict[Kept, int]) -> None:
        self.rows = rows
        self.steps: list[tuple[float, ExpiryEntry]] = []
        self.broken = False

    def enter_nowait(self, entry: Entry, lane: Lane) -> Receipt:
        assert isinstance(entry, ExpiryEntry)
        assert lane is Lane.DURABLE
        self.steps.append((trio.current_time(), entry))
        if self.broken:
            return Receipt(Refused(LedgerReason.UNREACHABLE, "away", 5.0))
        taken = min(self.rows.get(entry.kept, 0), entry.limit)
        self.rows[entry.kept] = self.rows.get(entry.kept, 0) - taken
        return Receipt(Committed(value=taken))


async def _run(store: Store, days: dict[Kept, int], seconds: float, *, rests: bool = False) -> Any:
    retention = Retention(store, Wall(), days, lambda: rests)  # type: ignore[arg-type]
    with trio.move_on_after(seconds):
        await retention.run()
    return retention


async def test_a_large_removal_is_many_small_steps(autojump_clock: MockClock) -> None:
    """Each step takes a bounded number of rows, with pauses; classes without days stay."""
    assert autojump_clock is not None
    store = Store({Kept.ANALYTICS: 2 * STEP_ROWS + 7, Kept.MEDIA: 5})
    days = {Kept.ANALYTICS: 395, Kept.MEDIA: 0, Kept.ERRORS: 90}
    retention = await _run(store, days, FIRST_LOOK_SECONDS + 60)
    assert retention.removed == {Kept.ANALYTICS: 2 * STEP_ROWS + 7}
    assert store.rows[Kept.MEDIA] == 5
    times = [at for at, entry in store.steps if entry.kept is Kept.ANALYTICS]
    assert len(times) == 4
    assert times[0] == FIRST_LOOK_SECONDS
    assert all(after > before for before, after in pairwise(times))
    cut = store.steps[0][1].before_unix_ms
    assert cut == int(Wall().unix() * 1000) - 395 * DAY_MS


async def test_nothing_is_removed_under_pressure(autojump_clock: MockClock) -> None:
    """While bulk is refused removals wait; a ledger that is away is asked again later."""
    assert autojump_clock is not None
    store = Store({Kept.ANALYTICS: 9})
    await _run(store, {Kept.ANALYTICS: 1}, FIRST_LOOK_SECONDS + 5, rests=True)
    assert store.steps == []
    store.broken = True
    await _run(store, {Kept.ANALYTICS: 1}, FIRST_LOOK_SECONDS + LOOK_SECONDS + 5)
    assert len(store.steps) == 2


async def test_the_whole_service_removes_what_is_too_old(platform: Any) -> None:
    """A step through the real writer takes old audit entries and leaves the chain whole."""
    async with platform() as api:
        writer = api.service.writer
        for at in (1, 2, int(datetime.now(UTC).timestamp() * 1000)):
            entry = AuditEntry(at, "ada", "did", "it", {})
            assert isinstance(await writer.enter_nowait(entry, Lane.DURABLE).wait(), Committed)
        told = await writer.enter_nowait(PruneAudits(1000, 9), Lane.DURABLE).wait()
        assert told == Committed(value=2)
        chain = await api.read(AuditChainOf())
        assert (chain.links, chain.removed_links) == (3, 2)


@pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
@pytest.mark.parametrize("excluded", [False, True], ids=["plain", "excluded"])
async def test_statistics_know_where_players_are(
    platform: Any, make_token: Any, tmp_path: Path, *, excluded: bool, express_lane: bool
) -> None:
    """A media event's session has the country behind our proxies; an excluded one has nothing."""
    folder = tmp_path / "data1" / "platform"
    write_database(folder / "geo.mmdb", {"203.0.113.0/24": "RO"})
    if excluded:
        listed = [Exclusion("203.0.113.0/24", "ccpa_do_not_sell", 0)]
        ExclusionsFile(folder / "privacy-exclusions.jsonl").keep(ExclusionEdition(listed))
    body = {
        "event": "error",
        "session_id": SESSION,
        "media_id": "squat",
        "media_type": "video",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": {"error_code": "E1", "error_message": f"for ann@clinic.example {uuid4()}"},
    }
    headers = {"X-Forwarded-For": "203.0.113.9", "User-Agent": "Firefox/140.0"}
    settings = {"trusted_proxies": ("127.0.0.1",), "express_lane": express_lane}
    async with platform(**settings) as api:
        reply = await api.ask("POST", "/v1/media/events", make_token(), body, headers)
        assert reply.status == 202, reply
        rows = _rows(api.service.settings.data_dir)
    expected = (None, None, None) if excluded else ("RO", "other", "Firefox")
    assert rows[0] == expected
    assert "ann@clinic.example" not in rows[1][0]


def _rows(data_dir: Path) -> list[tuple[Any, ...]]:
    import sqlite3  # noqa: PLC0415 - here alone
    from contextlib import closing  # noqa: PLC0415

    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as db:
        return [
            db.execute(
                "SELECT country_code, device_type, browser_family FROM media_sessions"
            ).fetchone(),
            db.execute("SELECT data FROM media_events").fetchone(),
        ]
