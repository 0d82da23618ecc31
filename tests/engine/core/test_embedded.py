"""The companion Core in this process: what becomes of an event that is published."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from penstock.engine.core.embedded import EmbeddedCore
from penstock.engine.core.grants import LedgerGrants
from penstock.engine.core.records import AggregateEntry, ExerciseSessionOf
from penstock.engine.core_port import CoreRefusedError, CoreUnavailableError
from penstock.engine.grants import GrantsUnavailableError
from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError
from penstock.engine.ports import Quota
from penstock.engine.writer import Writer
from penstock.storage.ledger import SqliteLedger, open_sqlite_ledger
from penstock.storage.spool import SpoolFolder


class Clock:
    """The Trio clock, so that mock time drives the writer."""

    def monotonic(self) -> float:
        return trio.current_time()

    def unix(self) -> float:
        return 1_700_000_000 + trio.current_time()


def _entry(event: dict[str, Any]) -> AggregateEntry:
    if "refuse" in event:
        raise CoreRefusedError("revision: it is wrong")
    return AggregateEntry(
        session_id="s", org_id=event.get("org", "o"), principal_id="p", revision=1,
        status="completed", provisional=False, exercise_id="", started_unix_ms=None,
        ended_unix_ms=5, completeness=None, session_metrics=event.get("metrics", {}),
        rep_metrics=(), media_metrics=None,
    )  # fmt: skip


@asynccontextmanager
async def opened(folder: Path, **given: Any) -> AsyncIterator[tuple[SqliteLedger, EmbeddedCore]]:
    """Run a ledger, a writer and the Core over them."""
    async with open_sqlite_ledger(folder / "ledger.db") as ledger:
        with SpoolFolder(folder / "spool", max_open_files=1) as spool:
            writer = Writer(spool, Clock(), max_queued_chunks=1, ledger=ledger, **given)
            async with trio.open_nursery() as nursery:
                await nursery.start(writer.run)
                yield ledger, EmbeddedCore(writer, _entry)
                nursery.cancel_scope.cancel()


async def test_what_was_published_is_there(tmp_path: Path) -> None:
    """On return it is committed; published again it is fine, and changes nothing."""
    async with opened(tmp_path) as (ledger, core):
        for _ in range(2):
            await core.publish({})
        found = await ledger.read(ExerciseSessionOf("o", "s"))
        assert found is not None
        assert found.revision == 1


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"refuse": True}, "revision: it is wrong"),
        ({"metrics": {"x": object()}}, "ledger_unfit"),
        ({"org": "another"}, "ledger_conflict"),
    ],
    ids=["schema", "unfit", "foreign"],
)
async def test_an_event_that_can_never_be_taken_is_refused(
    tmp_path: Path, event: dict[str, Any], why: str
) -> None:
    """Whether its form is wrong, the ledger cannot hold it, or the session is somebody else's."""
    async with opened(tmp_path) as (_, core):
        if "org" in event:
            await core.publish({})
        with pytest.raises(CoreRefusedError, match=why):
            await core.publish(event)


async def test_a_ledger_without_room_is_unavailable_not_a_refusal(tmp_path: Path) -> None:
    """The event is good, and is to be published again later."""
    async with opened(tmp_path, max_queued_entries=1) as (_, core):
        told: list[type[Exception]] = []

        async def publish() -> None:
            try:
                await core.publish({})
            except CoreUnavailableError as error:
                told.append(type(error))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(publish)
        assert set(told) == {CoreUnavailableError}


async def test_the_ledger_says_what_it_knows_of_grants(tmp_path: Path) -> None:
    """No record is None and no limit; a ledger that cannot be read is neither."""
    async with open_sqlite_ledger(tmp_path / "ledger.db") as ledger:
        grants = LedgerGrants(ledger)
        assert await grants.purposes("p", "o") is None
        assert await grants.quota("o") == Quota(None)

    class Broken:
        async def read(self, _: object) -> None:
            raise LedgerUnavailableError(LedgerReason.IO_ERROR, "the disk is gone")

    broken: Any = Broken()
    with pytest.raises(GrantsUnavailableError, match="ledger_io_error"):
        await LedgerGrants(broken).purposes("p", "o")
    with pytest.raises(GrantsUnavailableError, match="ledger_io_error"):
        await LedgerGrants(broken).quota("o")
