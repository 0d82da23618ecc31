"""An object store that refuses, hangs, breaks off, or garbles what it is given."""

import hashlib
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import trio
from obstore.exceptions import GenericError

from penstock.engine.blob_port import (
    BlobReason,
    BlobStore,
    BlobUnavailableError,
)
from penstock.storage.blobs.cloud_errors import translated
from penstock.storage.blobs.opening import open_blobs
from penstock.storage.blobs.site import PART_BYTES
from penstock.storage.blobs.store import BlobLimits

SMALL = b"\x1f\x8b a small replay"
LARGE = hashlib.shake_256(b"replay").digest(2 * PART_BYTES + 12345)
HASTY = BlobLimits(
    connect_seconds=0.2, read_seconds=0.2, request_seconds=0.3, total_seconds=10, retries=1
)


def calls(store: BlobStore, key: str) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "put": lambda: store.put(key, lambda: [SMALL]),
        "put large": lambda: store.put(key, lambda: [LARGE]),
        "head": lambda: store.head(key),
        "list": store.list,
        "delete": lambda: store.delete(key),
        "probe": store.probe,
    }


async def failures(store: BlobStore, key: str) -> dict[str, BlobReason]:
    """Make every call there is; all of them must fail, each with one printable line."""
    told = {}
    for name, call in calls(store, key).items():
        with pytest.raises(BlobUnavailableError) as failed:
            await call()
        assert re.fullmatch(r"[^\r\n<?]{10,300}", failed.value.detail), failed.value.detail
        told[name] = failed.value.reason
    assert store.statistics().failures == len(told)
    assert store.statistics().unavailable is told["probe"]
    return told


@contextmanager
def authentication(moto: str) -> Iterator[None]:
    """Have moto look at credentials, which it does not otherwise."""
    httpx.post(f"{moto}/moto-api/reset-auth", content=b"0")
    try:
        yield
    finally:
        httpx.post(f"{moto}/moto-api/reset-auth", content=b"1000000000")


async def test_wrong_credentials_are_told_as_such(bucket: Any, key: str) -> None:
    """Every call says that it was denied, and right credentials then find all in order."""
    store = await bucket.open()
    await store.put(key, lambda: [SMALL])
    with authentication(bucket.endpoint):
        told = await failures(await bucket.open(), key)
    assert set(told.values()) == {BlobReason.DENIED}
    assert await store.head(key) is not None
    assert bucket.unfinished() == 0


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
async def test_the_environment_is_enough(
    bucket: Any, key: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endpoint, credentials and region come from the variables that every tool of S3's reads."""
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    for variable, value in (given | {name: bucket.endpoint}).items():
        monkeypatch.setenv(variable, value)
    store = await open_blobs(bucket.url, BlobLimits(), environ=os.environ)
    await store.put(key, lambda: [SMALL])
    assert bucket.raw(key) == SMALL


async def test_a_missing_bucket_is_not_a_missing_blob(bucket: Any, key: str) -> None:
    """Every call says that the bucket is missing, also those that a missing blob does not fail."""
    told = await failures(await replace(bucket, bucket="there-is-none").open(), key)
    assert set(told.values()) == {BlobReason.BUCKET_MISSING}


async def test_an_endpoint_that_nobody_listens_to_is_unreachable(
    bucket: Any, key: str, wire: Callable[[], Any]
) -> None:
    """Every call says so at once."""
    async with wire() as proxy:
        pass
    told = await failures(await bucket.open(HASTY, endpoint=proxy.address), key)
    assert set(told.values()) == {BlobReason.UNREACHABLE}


async def test_an_endpoint_that_hangs_times_out(
    bucket: Any, key: str, wire: Callable[[], Any]
) -> None:
    """Every call ends by the bounds of its requests and their one retry, and says so."""
    async with wire() as proxy:
        proxy.stall = True
        store = await bucket.open(HASTY, endpoint=proxy.address)
        begun = time.monotonic()
        told = await failures(store, key)
        # Two requests of 0.2 s without an answer, and ample for a machine that is busy.
        assert time.monotonic() - begun < len(told) * 2
        assert set(told.values()) == {BlobReason.TIMED_OUT}
        assert proxy.connections <= 2 * len(told)


@pytest.mark.parametrize("content", [SMALL * 1000, LARGE], ids=len)
async def test_an_upload_that_breaks_off_leaves_no_blob(
    bucket: Any, key: str, wire: Callable[[], Any], content: bytes
) -> None:
    """It is told as unreachable, nobody sees a half, and once the endpoint is back it goes on."""
    async with wire() as proxy:
        proxy.cut_after = len(content) * 2 // 3
        store = await bucket.open(endpoint=proxy.address)
        with pytest.raises(BlobUnavailableError) as failed:
            await store.put(key, lambda: [content])
        assert failed.value.reason is BlobReason.UNREACHABLE
        assert bucket.raw(key) is None
        assert store.statistics().unavailable is BlobReason.UNREACHABLE
        proxy.cut_after = None
        await store.put(key, lambda: [content])
        assert store.statistics().unavailable is None
        assert bucket.raw(key) == content


async def test_a_download_that_breaks_off_is_told(
    bucket: Any, key: str, wire: Callable[[], Any]
) -> None:
    """Reading ends with an error and not early, and later the same bytes can be read in full."""
    left = 100_000

    def broken(data: bytes) -> bytes:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise trio.BrokenResourceError
        return data

    content = SMALL * 50_000
    async with wire() as proxy:
        store = await bucket.open(endpoint=proxy.address)
        await store.put(key, lambda: [content])
        blob = await store.head(key)
        proxy.color = broken
        async with aclosing(store.get_range(blob, 0, blob.size)) as reading:
            with pytest.raises(BlobUnavailableError) as failed:
                await anext(reading)
        assert failed.value.reason is BlobReason.UNREACHABLE
        proxy.color = bytes
        assert b"".join([each async for each in store.get_range(blob, 0, blob.size)]) == content


async def test_one_broken_connection_is_bridged(
    bucket: Any, key: str, wire: Callable[[], Any]
) -> None:
    """A request that was cut is made again, within the bounds, and nobody hears of it."""
    async with wire() as proxy:
        proxy.cut_after, proxy.cut_once = PART_BYTES + 1000, True
        store = await bucket.open(endpoint=proxy.address)
        await store.put(key, lambda: [LARGE])
    assert proxy.cut_after is None
    assert bucket.raw(key) == LARGE
    assert bucket.unfinished() == 0


async def test_what_was_garbled_on_its_way_is_not_taken_for_stored(
    bucket: Any, key: str, wire: Callable[[], Any]
) -> None:
    """The proof finds it, the wrong blob is removed, and a sound put afterwards is no conflict."""
    async with wire() as proxy:
        proxy.spoil = lambda data: data.replace(SMALL, SMALL[::-1])
        store = await bucket.open(endpoint=proxy.address)
        with pytest.raises(BlobUnavailableError) as failed:
            await store.put(key, lambda: [SMALL])
        assert failed.value.reason is BlobReason.CORRUPT
        assert bucket.raw(key) is None
        proxy.spoil = lambda data: data
        await store.put(key, lambda: [SMALL])


async def test_a_store_whose_tags_prove_nothing_is_read_back(
    bucket: Any, key: str, wire: Callable[[], Any]
) -> None:
    """Where the tag is no MD5, all of the blob is fetched and compared; garbled, it is found."""
    received = 0

    def color(data: bytes) -> bytes:
        nonlocal received
        received += len(data)
        return re.sub(rb'(?i)(etag: )"', rb'\1"x-', data)

    content = SMALL * 10_000
    async with wire() as proxy:
        proxy.color = color
        proxy.spoil = lambda data: data.replace(b'if-match: "x-', b'if-match: "')
        store = await bucket.open(endpoint=proxy.address)
        await store.put(key, lambda: [content])
        assert len(content) < received < 2 * len(content)
        await store.put(key, lambda: [content])
        assert store.statistics().repeated == 1
        bucket.overwrite(key, content[::-1])
        with pytest.raises(Exception, match="other 170000 were offered"):
            await store.put(key, lambda: [content])


async def test_a_signed_url_serves_ranges_to_anybody(bucket: Any, key: str) -> None:
    """Whoever has the link reads the gzip file as it is, whole or in part, until it expires."""
    store = await bucket.open()
    await store.put(key, lambda: [SMALL])
    url = await store.sign(key, 90)
    assert url is not None
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Expires"] == ["90"]
    assert "X-Amz-Signature" in query
    async with httpx.AsyncClient() as client:
        whole = await client.get(url)
        assert (whole.status_code, whole.content) == (200, SMALL)
        assert whole.headers["content-type"] == "application/gzip"
        assert "content-encoding" not in whole.headers
        part = await client.get(url, headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, SMALL[2:5])
    for seconds in (0, -1, 604_801):
        with pytest.raises(ValueError, match="604800"):
            await store.sign(key, seconds)


async def test_a_caller_waits_no_longer_than_the_total(
    bucket: Any, key: str, wire: Callable[[], Any]
) -> None:
    """Where the requests' own bounds are longer, the total still ends the call."""
    async with wire() as proxy:
        proxy.stall = True
        limits = replace(HASTY, read_seconds=3, request_seconds=3, total_seconds=0.2)
        store = await bucket.open(limits, endpoint=proxy.address)
        with trio.fail_after(2), pytest.raises(BlobUnavailableError) as failed:
            await store.head(key)
    assert failed.value.reason is BlobReason.TIMED_OUT
    assert store.statistics().unavailable is BlobReason.TIMED_OUT


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('Status { status: 404, body: Some("<Code>ContainerNotFound</Code>")', "BUCKET_MISSING"),
        ("Server returned non-2xx status code: 403 Forbidden: <Error>", "DENIED"),
        ("PUT http://169.254.169.254/latest/api/token: kind: Connect, ", "DENIED"),
        ("kind: Connect,", "UNREACHABLE"),
        ("kind: Timeout,", "TIMED_OUT"),
        ("status code: 503 Service Unavailable: <Code>SlowDown</Code>", "IO_ERROR"),
        ("something new", "IO_ERROR"),
    ],
)
def test_errors_of_stores_that_are_not_here(said: str, reason: str) -> None:
    """What other clouds say in their own words comes to the same few reasons."""
    with pytest.raises(BlobUnavailableError) as failed, translated():
        raise GenericError(said)
    assert failed.value.reason is BlobReason[reason]


def test_a_detail_holds_no_signature_and_no_body() -> None:
    """An operator reads one line: what was asked and the code, not the query that grants access."""
    with pytest.raises(BlobUnavailableError) as failed, translated():
        raise GenericError(
            "Error performing GET https://x.test/c/b?sv=1&sig=SECRET in 2ms - status code: 500: "
            "<Error><Code>InternalError</Code><Message>m</Message></Error>\n\nDebug source:\nsig"
        )
    assert failed.value.detail == (
        "Error performing GET https://x.test/c/b in 2ms - status code: 500 (InternalError)"
    )
