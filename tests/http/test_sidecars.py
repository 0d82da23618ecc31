"""Sidecars that are hard to store: as much as the limits allow, kept as they came."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson
import pytest

from penstock.engine.ports import MAX_CHUNK_BATCHES
from penstock.engine.sidecar import MAX_SIDECAR_BYTES
from penstock.storage.members import Window, read_header
from penstock.storage.replay import read_replay

Make = Callable[..., bytes]


def _filled(before: str, item: str, after: str) -> str:
    """Repeat an item as often as the limit on a sidecar's length allows."""
    room = MAX_SIDECAR_BYTES - len(before) - len(after)
    return before + ",".join([item] * ((room + 1) // (len(item) + 1))) + after


SIDECARS = {
    "short numbers": _filled('{"k":[', "1e15", "]}"),
    "empty strings": _filled('{"k":[', '""', "]}"),
    "brackets": _filled('{"b":"' + "[" * 1100 + '","k":[', '""', "]}"),
    "escapes": _filled('{"b":"' + "[" * 1100 + '","k":[', '"\\\\"', "]}"),
}


@pytest.mark.parametrize("in_query", [True, False], ids=["query", "header"])
@pytest.mark.parametrize("sidecar", SIDECARS.values(), ids=SIDECARS.keys())
async def test_a_chunk_of_the_largest_sidecars_is_written(
    serve: Any, dial: Any, make_request: Make, make_batch: Make, sidecar: str, *, in_query: bool
) -> None:
    """A whole chunk of the longest sidecars is taken, stored as equal JSON, and verified."""
    count = MAX_CHUNK_BATCHES
    options = {"rate_burst": 50, "spool_flush_seconds": 5.0, "max_header_bytes": 65_536}
    async with serve(**options) as service, dial(service) as client:
        for number in range(count):
            body = make_batch(1, 100 * number)
            raw = (
                make_request(body, target=f"/v1/pose/frames?meta={quote(sidecar)}")
                if in_query
                else make_request(body, more=[("X-Batch-Meta", sidecar)])
            )
            await client.send(raw)
            reply = await client.reply()
            assert reply.status == 202, reply.body
        assert await client.usable()
    path = service.settings.data_dir / "spool" / f"{UUID(int=1)}.bin.gz"
    report = read_replay(path)
    assert report.verified, report.damage
    assert (report.chunks, report.used, report.sidecars.batches) == (1, count, count)
    header, _ = read_header(Window.over(path.read_bytes()), 0)
    for entry in header.entries:
        assert entry.sidecar is not None
        assert orjson.loads(entry.sidecar) == orjson.loads(sidecar)
