"""From a spool file to a blob, and back to the same frames."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from penstock.engine.blob_port import BlobSourceError
from penstock.engine.inbox import Arrival
from penstock.engine.ports import SpoolChunk
from penstock.storage.replay import read_replay
from penstock.storage.replay_source import replay_of
from penstock.storage.spool import SpoolFolder

MakeBatch = Callable[..., Arrival]
MakeChunk = Callable[..., SpoolChunk]


@pytest.fixture
def spool_file(tmp_path: Path, make_batch: MakeBatch, make_chunk: MakeChunk) -> Path:
    """Spool three chunks of a session, one of them without a batch."""
    batches = [make_batch(3, start, b'{"exercise":"squat"}') for start in range(0, 4000, 1000)]
    with SpoolFolder(tmp_path / "spool", max_open_files=4) as spool:
        told = spool.append(
            [
                make_chunk(1, *batches[:3]),
                make_chunk(1, used=9, newest=2200),
                make_chunk(1, batches[3], used=9, newest=2200),
            ]
        )
    assert told == [None, None, None]
    return tmp_path / "spool" / f"{UUID(int=1)}.bin.gz"


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_blob_replays_as_its_spool_file_does(
    place: Any, key: str, spool_file: Path, tmp_path: Path
) -> None:
    """It is the file, byte for byte: the same frames, sidecars and counts, so the same figures."""
    store = await place.open()
    await store.put(key, replay_of(spool_file))
    blob = tmp_path / "blob.bin.gz"
    blob.write_bytes(place.raw(key))
    assert _bytes(blob) == _bytes(spool_file)
    assert gzip.decompress(_bytes(blob))
    assert read_replay(blob).as_dict() == read_replay(spool_file).as_dict()


@pytest.mark.parametrize("cut", [1, 500])
async def test_a_torn_file_is_not_stored(folder: Any, key: str, spool_file: Path, cut: int) -> None:
    """What was not recovered first is refused, or its spool file might be removed for less."""
    os.truncate(spool_file, len(_bytes(spool_file)) - cut)
    with pytest.raises(BlobSourceError):
        await (await folder.open()).put(key, replay_of(spool_file))
    assert folder.raw(key) is None


async def test_a_missing_or_foreign_file_is_told(folder: Any, key: str, tmp_path: Path) -> None:
    """Neither is a traceback, and neither makes a blob."""
    store = await folder.open()
    (tmp_path / "foreign").write_bytes(b"not a spool file")
    for name in ("missing", "foreign"):
        with pytest.raises(BlobSourceError, match="cannot be read"):
            await store.put(key, replay_of(tmp_path / name))
    assert folder.raw(key) is None
