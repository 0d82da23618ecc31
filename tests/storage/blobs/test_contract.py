"""What every place for blobs promises, on each kind of place."""

import hashlib
from collections.abc import Callable, Iterator
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing

from penstock.engine.blob_port import (
    BlobConflictError,
    BlobInfo,
    BlobMissingError,
    BlobReason,
    BlobSourceError,
    BlobStore,
    BlobUnavailableError,
    InvalidBlobKeyError,
    StoredBlob,
    org_prefix,
    replay_key,
)
from penstock.storage.blobs.site import PART_BYTES

SMALL = b"\x1f\x8b a small replay"
LARGE = hashlib.shake_256(b"replay").digest(2 * PART_BYTES + 12345)


async def everything(store: BlobStore, prefix: str = "") -> list[BlobInfo]:
    found: list[BlobInfo] = []
    after: str | None = None
    while True:
        page = await store.list(prefix, after)
        found += page.blobs
        if (after := page.after) is None:
            return found


async def read(store: BlobStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    blob = await store.head(key)
    assert blob is not None
    blocks = [block async for block in store.get_range(blob, start, end or blob.size)]
    return b"".join(blocks)


def blocks(content: bytes, size: int = 65_000) -> Callable[[], Iterator[bytes]]:
    return lambda: (content[at : at + size] for at in range(0, len(content), size))


@pytest.mark.parametrize("content", [SMALL, LARGE[:PART_BYTES], LARGE], ids=len)
async def test_a_blob_comes_back_as_it_was_put(place: Any, key: str, content: bytes) -> None:
    """In one part or in several, in blocks of any size, what is stored is what was given."""
    store = await place.open()
    stored = await store.put(key, blocks(content))
    assert stored == StoredBlob(
        key, len(content), hashlib.sha256(content).hexdigest(), store.url(key)
    )
    assert stored.url.endswith(f"{place.url}/{key}")
    assert place.raw(key) == content
    assert await read(store, key) == content
    assert await read(store, key, 3, 7) == content[3:7]
    assert place.unfinished() == 0
    statistics = store.statistics()
    assert (statistics.puts, statistics.put_bytes) == (1, len(content))
    assert (statistics.read_bytes, statistics.failures) == (len(content) + 4, 0)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
async def test_the_same_put_again_changes_nothing(place: Any, key: str, content: bytes) -> None:
    """A put that is repeated gives the same answer and leaves the same version in place."""
    store = await place.open()
    first = await store.put(key, blocks(content))
    before = await store.head(key)
    again = await (await place.open()).put(key, blocks(content, 1000))
    assert again == first
    assert await store.head(key) == before
    await store.put(key, blocks(content))
    assert (store.statistics().puts, store.statistics().repeated) == (2, 1)


async def test_other_content_is_a_conflict_unless_it_supersedes(place: Any, key: str) -> None:
    """Another revision replaces a blob by the caller's word only, also where the size is equal."""
    store = await place.open()
    await store.put(key, lambda: [SMALL])
    for other in (SMALL[::-1], SMALL + b"!"):
        with pytest.raises(BlobConflictError) as refused:
            await store.put(key, lambda other=other: [other])
        assert (refused.value.stored_size, refused.value.offered_size) == (len(SMALL), len(other))
        assert place.raw(key) == SMALL
    assert store.statistics().conflicts == 2
    await store.put(key, lambda: [SMALL, b"more"], supersede=True)
    assert place.raw(key) == SMALL + b"more"


async def test_puts_of_one_key_come_one_after_another(place: Any, key: str) -> None:
    """Of several at once one is stored whole, and the others are told of a conflict."""
    store = await place.open()
    contents = [bytes([number]) * 300_000 for number in range(4)]
    together = Barrier(len(contents), timeout=10)
    told: list[StoredBlob | BlobConflictError] = []

    async def put(content: bytes) -> None:
        asked = iter([together.wait])

        def source() -> Iterator[bytes]:
            for wait in asked:  # the first time only
                wait()
            yield content

        try:
            told.append(await store.put(key, source))
        except BlobConflictError as conflict:
            told.append(conflict)

    async with trio.open_nursery() as nursery:
        for content in contents:
            nursery.start_soon(put, content)
    (stored,) = (answer for answer in told if isinstance(answer, StoredBlob))
    raw = place.raw(key)
    assert raw in contents
    assert hashlib.sha256(raw).hexdigest() == stored.sha256
    assert len(told) == len(contents)


async def test_a_source_that_fails_leaves_nothing(place: Any, key: str) -> None:
    """Unreadable, empty or changing content is refused with its reason, and nothing is stored."""
    store = await place.open()

    def broken() -> Iterator[bytes]:
        yield LARGE[: PART_BYTES + 1]
        raise OSError("the disk is gone")

    versions = iter([LARGE, LARGE[:-1] + b"?", LARGE, LARGE[:-1], LARGE, LARGE + b"more"])
    for source, said in (
        (broken, "the disk is gone"),
        (lambda: (), "no bytes"),
        *[(lambda: [next(versions)], "changed while")] * 3,
    ):
        with pytest.raises(BlobSourceError, match=said):
            await store.put(key, source)
        assert place.raw(key) is None
        assert place.unfinished() == 0
    assert next(versions, None) is None


async def test_what_is_not_there_is_told(place: Any, key: str) -> None:
    """A missing blob is None, a typed error when read, and nothing when deleted."""
    store = await place.open()
    assert await store.head(key) is None
    with pytest.raises(BlobMissingError):
        async for _ in store.get_range(BlobInfo(key, 5, 0.0, '"abc"'), 0, 5):
            pass
    await store.delete(key)
    assert not await store.delete_unchanged(BlobInfo(key, 5, 0.0, '"abc"'))
    assert (await store.list()).blobs == ()


async def test_a_deleted_blob_is_gone(place: Any, key: str, key_of: Callable[..., str]) -> None:
    """Deleting removes that blob and no other."""
    store = await place.open()
    other = key_of(2)
    for each in (key, other):
        await store.put(each, lambda: [SMALL])
    await store.delete(key)
    assert await store.head(key) is None
    assert [blob.key for blob in await everything(store)] == [other]


async def test_a_blob_that_was_replaced_is_not_deleted_by_its_old_listing(
    place: Any, key: str
) -> None:
    """`delete_unchanged` removes the version that was seen, and not what came after it."""
    store = await place.open()
    await store.put(key, lambda: [SMALL])
    (seen,) = await everything(store)
    await store.put(key, lambda: [SMALL, SMALL], supersede=True)
    assert not await store.delete_unchanged(seen)
    (seen,) = await everything(store)
    assert await store.delete_unchanged(seen)
    assert place.raw(key) is None


async def test_a_reader_never_gets_two_versions_mixed(place: Any, key: str) -> None:
    """A blob that is replaced while it is read ends the reading with an error that says so."""
    store = await place.open()
    await store.put(key, blocks(LARGE))
    blob = await store.head(key)
    assert blob is not None
    reading = store.get_range(blob, 0, blob.size)
    assert LARGE.startswith(await anext(reading))
    await store.put(key, blocks(LARGE[::-1]), supersede=True)
    with pytest.raises(BlobUnavailableError) as failed:
        await anext(reading)
    assert failed.value.reason is BlobReason.CHANGED


async def test_the_listing_is_complete_in_order_and_only_ours(
    place: Any, key_of: Callable[..., str]
) -> None:
    """Pages give every blob once, by key, also of one organisation; foreign files are passed by."""
    store = await place.open()
    keys = sorted(key_of(session, org) for session in range(3) for org in (7, 8, 9))
    for key in reversed(keys):
        await store.put(key, lambda: [SMALL])
    place.overwrite("notes/readme.txt", b"somebody else's")
    found = await everything(store)
    assert [blob.key for blob in found] == keys
    assert {blob.size for blob in found} == {len(SMALL)}
    assert found[4] == await store.head(keys[4])
    page = await store.list(after=keys[4])
    assert [blob.key for blob in page.blobs] == keys[5:]
    prefix = org_prefix(str(UUID(int=8)))
    assert [blob.key for blob in await everything(store, prefix)] == keys[3:6]
    assert [blob.key for blob in (await store.list(prefix, keys[4])).blobs] == keys[5:6]


async def test_a_blob_altered_behind_the_stores_back_is_no_repetition(place: Any, key: str) -> None:
    """Content of the same size with one bit flipped is found out, and superseding mends it."""
    store = await place.open()
    await store.put(key, lambda: [SMALL])
    place.overwrite(key, bytes([SMALL[0] ^ 1]) + SMALL[1:])
    with pytest.raises(BlobConflictError):
        await store.put(key, lambda: [SMALL])
    await store.put(key, lambda: [SMALL], supersede=True)
    assert place.raw(key) == SMALL


async def test_keys_name_nothing_but_replays(place: Any) -> None:
    """No id, key or prefix can lead anywhere else."""
    store = await place.open()
    one = str(UUID(int=1))
    bad = ["", "a", "../x", f"{one}/../x", f"{one}/{one}.bin", f"/{one}/{one}.bin.gz"]
    for key in [*bad, f"{one}/{one}.bin.gz\n", f"{one}//{one}.bin.gz"]:
        with pytest.raises(InvalidBlobKeyError):
            await store.put(key, lambda: [SMALL])
        with pytest.raises(InvalidBlobKeyError):
            await store.head(key)
        with pytest.raises(InvalidBlobKeyError):
            await store.delete(key)
        with pytest.raises(InvalidBlobKeyError):
            store.url(key)
    for prefix in ("..", f"{one}", "x/", f"{one}/a"):
        with pytest.raises(InvalidBlobKeyError):
            await store.list(prefix)
    for ids in (("..", one), (one, "a/b"), (one, "")):
        with pytest.raises(InvalidBlobKeyError):
            replay_key(*ids)


async def test_a_probe_leaves_nothing(place: Any, key: str) -> None:
    """A store that works passes, also when there are blobs, and looks as before."""
    store = await place.open()
    await store.put(key, lambda: [SMALL])
    await store.probe()
    assert len(await everything(store)) == 1
    assert place.unfinished() == 0


async def test_a_cancelled_put_leaves_no_half_blob(place: Any, key: str) -> None:
    """The caller goes at once, the upload aborts, and the next put of the key comes after it."""
    store = await place.open()
    begun, gone_on = trio.Event(), Barrier(2, timeout=10)
    token = trio.lowlevel.current_trio_token()
    reads = iter([False, True])

    def source() -> Iterator[bytes]:
        second = next(reads)
        yield LARGE[: PART_BYTES + 1]
        if second:
            token.run_sync_soon(begun.set)
            gone_on.wait()
        yield LARGE[PART_BYTES + 1 :]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.put, key, source)
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert place.raw(key) is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.put, key, lambda: [SMALL])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert place.raw(key) is None
        await trio.to_thread.run_sync(gone_on.wait)
    assert place.raw(key) == SMALL
    assert place.unfinished() == 0
