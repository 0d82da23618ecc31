"""What has to go, in which order, and that a run does exactly what its dry run said."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.blob_port import BlobInfo, BlobReason, BlobUnavailableError, StoredBlob
from penstock.storage.blobs.folder import FolderSite
from penstock.storage.blobs.retention import (
    MAX_LISTED,
    Cause,
    RetentionReport,
    RetentionRule,
    Survey,
    sweep,
)
from penstock.storage.blobs.store import BlobLimits, Blobs

NOW = 1_000_000.0


def blob(number: int, age: float, size: int) -> BlobInfo:
    return BlobInfo(f"key-{number:04}", size, NOW - age, "v")


def decided(
    blobs: list[BlobInfo], rule: RetentionRule, max_candidates: int
) -> list[tuple[str, Cause]]:
    """Run passes to the end over a listing."""
    survey: Survey | None = Survey(rule, NOW, max_candidates)
    gone: list[tuple[str, Cause]] = []
    first = True
    while survey is not None:
        expired = survey.expired(blobs)
        if first:
            gone += [(each.key, Cause.EXPIRED) for each in expired]
        first = False
        over, survey = survey.over_size()
        gone += [(each.key, Cause.OVER_SIZE) for each in over]
    return gone


def oracle(blobs: list[BlobInfo], rule: RetentionRule) -> list[tuple[str, Cause]]:
    """Decide with everything in memory."""
    age, most = rule.max_age_seconds, rule.max_bytes
    expired = [each for each in blobs if age is not None and NOW - each.modified_unix > age]
    gone = [(each.key, Cause.EXPIRED) for each in expired]
    kept = sorted(
        (each for each in blobs if each not in expired),
        key=lambda each: (each.modified_unix, each.key),
    )
    while most is not None and sum(each.size for each in kept) > most:
        gone.append((kept.pop(0).key, Cause.OVER_SIZE))
    return gone


@given(
    st.lists(st.tuples(st.integers(-5, 50), st.integers(0, 30)), max_size=40),
    st.none() | st.integers(0, 50),
    st.none() | st.integers(0, 400),
    st.integers(1, 50),
)
def test_what_goes_is_what_full_knowledge_would_choose(
    made: list[tuple[int, int]], age: int | None, most: int | None, max_candidates: int
) -> None:
    """However few candidates a pass can keep, the same blobs go in the same order."""
    blobs = [blob(number, *each) for number, each in enumerate(made)]
    rule = RetentionRule(age, most)
    assert decided(blobs, rule, max_candidates) == oracle(blobs, rule)


class FlakySite(FolderSite):
    """A folder that fails a number of calls after a while."""

    deletions_left: float = float("inf")

    def delete(self, key: str) -> None:
        if self.deletions_left <= 0:
            raise BlobUnavailableError(BlobReason.IO_ERROR, "the disk is gone")
        self.deletions_left -= 1
        super().delete(key)


@pytest.fixture
def site(folder: Any) -> FlakySite:
    return FlakySite(folder.folder)


@pytest.fixture
def store(site: FlakySite) -> Blobs:
    return Blobs(site, BlobLimits())


async def fill(store: Blobs, folder: Any, keys: list[str]) -> list[StoredBlob]:
    """Put blobs of 100 bytes, each 10 s older than the one before."""
    stored = []
    for number, key in enumerate(keys):
        stored.append(await store.put(key, lambda number=number: [bytes([number]) * 100]))
        when = NOW - 10 * number
        os.utime(folder.folder / key, (when, when))
    return stored


async def kept(store: Blobs) -> list[str]:
    return [each.key for each in (await store.list()).blobs]


@pytest.fixture
def keys(key_of: Callable[..., str]) -> list[str]:
    return [key_of(number) for number in range(10)]


RULE = RetentionRule(max_age_seconds=75, max_bytes=500)


@pytest.mark.parametrize("max_candidates", [1, 2, 100])
async def test_a_run_does_what_its_dry_run_said(
    store: Blobs, folder: Any, keys: list[str], max_candidates: int
) -> None:
    """The dry run removes nothing; the run removes exactly what it named; another has no work."""
    await fill(store, folder, keys)

    async def run(*, dry_run: bool) -> RetentionReport:
        return await sweep(
            store, RULE, now_unix=NOW, dry_run=dry_run, max_candidates=max_candidates
        )

    told = await run(dry_run=True)
    assert await kept(store) == keys
    done = await run(dry_run=False)
    assert await kept(store) == keys[:5]
    assert [(each.blob.key, each.cause) for each in told.removals] == [
        *[(key, Cause.EXPIRED) for key in keys[8:]],
        *[(key, Cause.OVER_SIZE) for key in (keys[7], keys[6], keys[5])],
    ]
    assert done.removals == told.removals
    for report in (told, done):
        assert (report.found, report.found_bytes) == (10, 1000)
        assert (report.removed, report.removed_bytes) == (5, 500)
        assert (report.expired, report.over_size, report.replaced) == (2, 3, 0)
        assert report.stopped is None
    assert (told.dry_run, done.dry_run) == (True, False)
    again = await run(dry_run=False)
    assert (again.found, again.removed, again.removals) == (5, 0, ())


async def test_a_run_that_the_store_stops_is_resumed_by_the_next(
    store: Blobs, site: FlakySite, folder: Any, keys: list[str]
) -> None:
    """Its report says how far it came and why not further; the next one does the rest."""
    await fill(store, folder, keys)
    site.deletions_left = 3
    report = await sweep(store, RULE, now_unix=NOW, dry_run=False)
    assert (report.removed, report.stopped) == (3, BlobReason.IO_ERROR)
    assert report.stopped_detail == "the disk is gone"
    assert len(await kept(store)) == 7
    site.deletions_left = 100
    report = await sweep(store, RULE, now_unix=NOW, dry_run=False)
    assert (report.removed, report.stopped) == (2, None)
    assert await kept(store) == keys[:5]


async def test_without_limits_everything_is_kept(
    store: Blobs, folder: Any, keys: list[str]
) -> None:
    """No rule removes nothing."""
    await fill(store, folder, keys)
    report = await sweep(store, RetentionRule(), now_unix=NOW * 2, dry_run=False)
    assert (report.found, report.removed) == (10, 0)


async def test_a_bucket_is_swept_too(bucket: Any, keys: list[str]) -> None:
    """An object store's own times and sizes serve as well."""
    store = await bucket.open()
    for key in keys[:3]:
        await store.put(key, lambda: [b"some bytes"])
    newest = max(each.modified_unix for each in (await store.list()).blobs)
    rule = RetentionRule(max_age_seconds=60, max_bytes=20)
    report = await sweep(store, rule, now_unix=newest + 30, dry_run=False)
    assert (report.expired, report.over_size) == (0, 1)
    report = await sweep(store, rule, now_unix=newest + 90, dry_run=False)
    assert (report.expired, report.over_size) == (2, 0)
    assert await kept(store) == []


class Growing(FlakySite):
    """A folder where each blob is replaced as soon as it has been listed."""

    def page(self, prefix: str, after: str | None) -> Any:
        page = super().page(prefix, after)
        for each in page.blobs:
            self.write(each.key, iter([b"newer"]), 5)
        return page


async def test_a_blob_replaced_meanwhile_is_kept(
    store: Blobs, folder: Any, keys: list[str]
) -> None:
    """A newer revision does not go for its predecessor's age; the report counts it."""
    await fill(store, folder, keys[:3])
    growing = Blobs(Growing(folder.folder), BlobLimits())
    report = await sweep(growing, RetentionRule(0), now_unix=NOW * 2, dry_run=False)
    assert (report.found, report.removed, report.replaced) == (3, 0, 3)
    assert [folder.raw(key) for key in keys[:3]] == [b"newer"] * 3


async def test_a_report_names_only_so_many(
    store: Blobs, folder: Any, key_of: Callable[..., str]
) -> None:
    """However much goes, the list in the report ends, and its counts do not."""
    for number in range(MAX_LISTED + 5):
        folder.overwrite(key_of(number), b"1234")
    report = await sweep(store, RetentionRule(max_bytes=0), now_unix=NOW, dry_run=True)
    assert (report.removed, report.removed_bytes) == (MAX_LISTED + 5, 4 * (MAX_LISTED + 5))
    assert len(report.removals) == MAX_LISTED
