"""The service with a Core far away that goes away: ends are answered, and Core is told later."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from core_stand_in import stand_in_for_core
from ending_clients import EndingClients

CLIENTS = 6
OUTAGE_SECONDS = 1.0
PENDING = 'penstock_outbox_finals{state="pending"}'
QUICK = {
    "rate_batches_per_second": "1000",
    "rate_burst": "1000",
    "shutdown_notice_seconds": "0",
    "core_timeout_seconds": "1",
}
Serve = Callable[..., Any]
Encode = Callable[..., bytes]


@pytest.mark.parametrize("how", ["hangs", "errors"])
async def test_ends_are_answered_without_core(
    serve: Serve, encode_member: Encode, tmp_path: Path, how: str
) -> None:
    """200 with the publication pending, the replay stored; Core is told once it is back."""
    async with stand_in_for_core() as core:
        core.body = b'{"purposes": ["biometric", "analytics"], "batches_per_second": null}'
        async with serve(tmp_path / "data", core_api_url=core.url, **QUICK) as service:
            clients = EndingClients(service, encode_member(10, 1000))
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENTS):
                    nursery.start_soon(clients.patient)
                await clients.wait_answered(10)
                before = clients.begun
                if how == "hangs":
                    core.before = trio.sleep_forever
                else:
                    core.status = 500
                await trio.sleep(OUTAGE_SECONDS)
                await clients.wait_answered(1)
                core.before, core.status = trio.lowlevel.checkpoint, 200
                core.asked.clear()
                back = time.monotonic()
                clients.going = False
            assert not clients.told_to_wait
            with trio.fail_after(60):
                while (await service.metrics())[PENDING]:  # noqa: ASYNC110 - another process
                    await trio.sleep(0.05)
            took = time.monotonic() - back
            assert await service.stop() == 0
        pending = [one for one in clients.answered.values() if not one["aggregates_published_at"]]
        assert pending
        assert len(clients.answered) == clients.begun > before
        for one in pending:
            assert (one["status"], one["client_status"]) == ("publication_pending", "completed")
            assert one["replay_blob"]
        told = Counter(
            json.loads(asked.body)["session_id"]
            for asked in core.asked
            if asked.target.endswith("session-aggregated")
        )
        assert set(told) >= {one["session_id"] for one in pending}
        print(  # noqa: T201 - figures for the documentation
            f"{how}: {len(clients.answered)} ends, all 200, slowest {clients.slowest_seconds:.2f}"
            f" s; {len(pending)} pending, all published {took:.1f} s after Core was back"
        )
