"""A site that hangs: who waits for it, for how long, and who does not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
import trio
import trio.testing

from penstock.engine.blob_port import BlobInfo, BlobReason, BlobUnavailableError
from penstock.storage.blobs.folder import FolderSite
from penstock.storage.blobs.store import BlobLimits, Blobs

SMALL = b"\x1f\x8b a small replay"


class HangingSite(FolderSite):
    """A folder on a disk that answers no write until it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answer = Event()
        self.writes = 0

    def write(self, key: str, parts: Iterator[bytes], size: int) -> None:
        self.writes += 1
        assert self.answer.wait(20)
        super().write(key, parts, size)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[HangingSite]:
    hanging = HangingSite(tmp_path)
    yield hanging
    hanging.answer.set()


async def test_uploads_that_hang_keep_no_reader_waiting(
    site: HangingSite, key: str, key_of: Callable[..., str]
) -> None:
    """With every upload's place taken, readers read, and the next upload waits for its turn."""
    store = Blobs(site, BlobLimits(uploads=1, reads=1, total_seconds=30))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.put, key, lambda: [SMALL])
        nursery.start_soon(store.put, key_of(2), lambda: [SMALL])
        with trio.fail_after(10):
            while not site.writes:  # noqa: ASYNC110 - a thread of another library's sets no event
                await trio.sleep(0.001)
            assert await store.head(key) is None
            assert (await store.list()).blobs == ()
        assert store.statistics().uploading == 1
        assert site.writes == 1
        site.answer.set()
    assert len((await store.list()).blobs) == 2
    assert store.statistics().uploading == 0


async def test_a_put_out_of_time_never_comes_after_the_next(site: HangingSite, key: str) -> None:
    """What was given up writes nothing any more, however late its disk answers."""
    store = Blobs(site, BlobLimits(total_seconds=0.2))
    with pytest.raises(BlobUnavailableError) as failed:
        await store.put(key, lambda: [SMALL])
    assert failed.value.reason is BlobReason.TIMED_OUT
    later = Blobs(site, BlobLimits())
    later._turns = store._turns
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later.put, key, lambda: [SMALL, SMALL])
        await trio.testing.wait_all_tasks_blocked(0.01)
        site.answer.set()
    assert (site._folder / key).read_bytes() == SMALL * 2
    assert site.writes == 2


async def test_an_empty_range_asks_nobody(tmp_path: Path, key: str) -> None:
    """A range that ends before it begins, or lies behind the end, gives nothing and asks nobody."""
    store = Blobs(FolderSite(tmp_path), BlobLimits())
    blob = BlobInfo(key, 10, 0.0, "v")
    for start, end in ((5, 5), (7, 3), (10, 20), (11, 12)):
        assert [each async for each in store.get_range(blob, start, end)] == []
    assert store.statistics().failures == 0
