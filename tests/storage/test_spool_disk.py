"""The spool against disks that are really full, not against patched calls."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason
from penstock.engine.ports import SpoolChunk
from penstock.storage.members import encode_chunk
from penstock.storage.spool import SpoolFolder

MakeBatch = Callable[..., Arrival]
MakeChunk = Callable[..., SpoolChunk]
ONE = str(UUID(int=1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk],  # noqa: S607
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", disk], check=True)  # noqa: S607


def test_a_full_disk_sheds_whole_chunks_until_there_is_room(
    small_disk: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """On a full disk each chunk is there whole or not at all; given room, it goes on by itself."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(64 << 10))
    chunk = make_chunk(1, *[make_batch()] * 20)
    size = len(b"".join(encode_chunk(chunk)))
    with SpoolFolder(small_disk / "spool", max_open_files=1) as spool:
        results: list[Reason | None] = []
        while len(results) < 200 and Reason.DISK_FULL not in results:
            results += spool.append([chunk])
        assert results[-1] is Reason.DISK_FULL
        assert spool.health().reason is Reason.DISK_FULL
        assert spool.probe().reason is Reason.DISK_FULL
        path = small_disk / "spool" / f"{ONE}.bin.gz"
        assert path.stat().st_size == (len(results) - 1) * size
        ballast.unlink()
        assert spool.append([chunk]) == [None]
        assert spool.health().writable
        assert path.stat().st_size == len(results) * size
        assert gzip.decompress(path.read_bytes())


_LIMITED = """
import resource, sys
from pathlib import Path
from uuid import UUID
from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Tally
from penstock.engine.ports import SpoolChunk
from penstock.engine.timeline import Timeline
from penstock.engine.wire import FrameBatch
from penstock.storage.spool import SpoolFolder

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
before = Checkpoint(SessionIdentity(str(UUID(int=1)), "p", "o"), 0, 0, Timeline(), Tally())
chunk = SpoolChunk(before, (Arrival(FrameBatch(1, 10, (0,), bytes(4000), b""), 0),))
with SpoolFolder(Path(sys.argv[1]), max_open_files=1) as spool:
    for _ in range(4):
        print(spool.append([chunk])[0], spool.health().writable)
"""


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    """At the process's limit of file size nothing dies, and the file ends after a whole chunk."""
    told = subprocess.check_output([sys.executable, "-c", _LIMITED, tmp_path], text=True)
    assert told.split("\n")[:4] == [
        "None True",
        "None True",
        "disk_full False",
        "disk_full False",
    ]
    length = (tmp_path / f"{ONE}.bin.gz").stat().st_size
    assert length % 2 == 0
    assert 8000 < length < 10_000
