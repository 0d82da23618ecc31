"""A session's figures are the same wherever they are asked: its final, its file, its replay."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import trio

from penstock.bench.patients import Traits, record
from penstock.engine import wire
from penstock.engine.records import FinalEntry, FinalOf
from penstock.storage.ledger import open_sqlite_ledger

BATCH = 20
LEFT_OUT = range(200, 240)


async def test_the_final_the_file_and_the_blob_agree(
    tmp_path: Path, serve: Callable[..., Any], run: Callable[..., Any]
) -> None:
    """`penstock replay --metrics` over the spool file, the blob and the id gives the final's."""
    found = record(Traits(), seconds=60, seed=4)
    kept = [at for at in range(len(found.timestamps_ms)) if at not in LEFT_OUT]
    data = tmp_path / "data"
    calm = {"rate_batches_per_second": "1000", "rate_burst": "1000", "spool_flush_seconds": "0.1"}
    async with serve(data, shutdown_notice_seconds="0", **calm) as service:
        link = await service.connect()
        async with link.stream:
            for first in range(0, len(kept), BATCH):
                which = kept[first : first + BATCH]
                points = np.asarray(found.landmarks[which], "<f4")
                member = wire.encode(
                    points, [int(found.timestamps_ms[at]) for at in which], level=1
                )
                assert (await link.post(service.token(1), member))[0] == 202
            await trio.sleep(0.5)  # until the frames are in the file
            spooled = shutil.copy(service.file(1), tmp_path / "spooled.bin.gz")
            body = b'{"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}'
            status, answer = await link.ask(
                b"POST /v1/sessions/%b/end HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %b\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (str(UUID(int=1)).encode(), service.token(1).encode(), len(body), body)
            )
        assert status == 200, answer
        # The spool file goes when the blob is verified, which the answer does not wait for.
        with trio.fail_after(30):
            while service.file(1).parent.parent.name != "blobs":  # noqa: ASYNC110 - of a process
                await trio.sleep(0.02)
        assert await service.stop() == 0
    async with open_sqlite_ledger(data / "ledger.sqlite3") as ledger:
        final = await ledger.read(FinalOf(str(UUID(int=1))))
    assert isinstance(final, FinalEntry)
    figures = {name: final.body[name] for name in ("session_metrics", "rep_metrics")}
    assert figures["session_metrics"]["frames_used"] == len(kept)
    assert figures["session_metrics"]["rep_count"] > 0
    assert [gap["reason"] for gap in figures["session_metrics"]["gaps"]] == ["unknown"]
    blob = service.file(1)
    secrets = json.loads((data / "dev-secrets.json").read_bytes())
    environ = {f"PENSTOCK_{name.upper()}": str(value) for name, value in secrets.items()}
    for source in (str(spooled), str(blob), str(UUID(int=1))):
        command = ("replay", source, "--metrics", "--json", "--data-dir", str(data))
        told = await trio.to_thread.run_sync(partial(run, *command, **environ))
        assert told.code == 0, told.err
        assert json.loads(told.out) == figures
