"""The service with its replays in S3, and a store that goes away under ends."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from ending_clients import EndingClients
from penstock.engine.blob_port import replay_key

CLIENTS = 6
OUTAGE_SECONDS = 1.0
ORG = "00000000-0000-0000-0000-000000000008"
QUICK = {
    "rate_batches_per_second": "1000",
    "rate_burst": "1000",
    "shutdown_notice_seconds": "0",
    "end_wait_seconds": "0.7",
    "blob_connect_seconds": "0.5",
    "blob_read_seconds": "0.5",
    "blob_request_seconds": "1",
    "blob_retries": "0",
}


@pytest.mark.parametrize("how", ["cut", "stall"])
async def test_ends_survive_a_store_that_goes_away(
    serve: Callable[..., Any],
    encode_member: Callable[..., bytes],
    bucket: Any,
    wire: Callable[[], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """Clients are told to come back, and then get their 200; every replay is stored, once."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    async with wire() as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        async with serve(tmp_path / "data", blob_url=bucket.url, **QUICK) as service:
            clients = EndingClients(service, encode_member(10, 1000))
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENTS):
                    nursery.start_soon(clients.patient)
                await clients.wait_answered(10)
                assert not clients.told_to_wait
                if how == "cut":
                    proxy.cut_after = 0
                else:
                    proxy.stall = True
                await trio.sleep(OUTAGE_SECONDS)
                proxy.cut_after, proxy.stall = None, False
                back, answered = time.monotonic(), len(clients.answered)
                await clients.wait_answered(1)
                took = time.monotonic() - back
                await clients.wait_answered(10)
                clients.going = False
            assert await service.stop() == 0
    assert clients.told_to_wait
    assert len(clients.answered) == clients.begun > answered
    member = encode_member(10, 1000)
    for session_id, told in clients.answered.items():
        key = replay_key(ORG, session_id)
        assert told["replay_blob"] == f"{bucket.url}/{key}"
        assert member in bucket.raw(key)
    print(  # noqa: T201 - figures for the documentation
        f"{how}: {len(clients.answered)} ends, told to wait {dict(clients.told_to_wait)},"
        f" slowest {clients.slowest_seconds:.2f} s; first 200 after {took:.1f} s"
    )
