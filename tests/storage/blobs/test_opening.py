"""Which URLs name a store, and which are refused before anything is asked."""

from pathlib import Path
from typing import Any

import pytest

from penstock.storage.blobs.opening import BlobUrlError, open_blobs
from penstock.storage.blobs.store import BlobLimits

GIVEN = {"access_key_id": "k", "secret_access_key": "s", "region": "eu-west-1"}


async def test_a_path_and_its_file_url_are_one_folder(tmp_path: Path, key: str) -> None:
    """A blob put by the one is found by the other, also where the path needs quoting."""
    folder = tmp_path / "a b%41"
    by_path = await open_blobs(str(folder), BlobLimits(), environ={})
    await by_path.put(key, lambda: [b"x"])
    by_url = await open_blobs(folder.as_uri(), BlobLimits(), environ={})
    assert await by_url.head(key) == await by_path.head(key)
    assert by_url.url(key) == by_path.url(key)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "neither a path nor one of"),
        ("memory:///", "neither a path nor one of"),
        ("", "neither a path nor one of"),
        ("file:///", "no file:///path"),
        ("file://host/x", "no file:///path"),
        ("s3://", "no s3://bucket/prefix"),
        ("s3://bucket/x?region=y", "no s3://bucket/prefix"),
        ("s3://key:secret@bucket/x", "no s3://bucket/prefix"),
        ("az://", "no az://bucket/prefix"),
    ],
)
async def test_other_urls_are_refused_in_one_line(url: str, said: str) -> None:
    """The line names the setting and what is wrong, and repeats no secret."""
    with pytest.raises(BlobUrlError, match=said) as refused:
        await open_blobs(url, BlobLimits(), environ={})
    assert str(refused.value).startswith("blob_url: ")
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_an_unknown_option_is_refused() -> None:
    """A misspelt option is not passed over."""
    with pytest.raises(BlobUrlError, match="endpiont"):
        await open_blobs("s3://bucket", BlobLimits(), environ={}, options={"endpiont": "x"})


async def test_an_endpoint_without_tls_is_for_loopback_only() -> None:
    """Landmarks do not travel in clear text unless somebody says so, however it was set."""
    far = "http://10.0.0.1:9000"
    for environ, options in (
        ({"AWS_ENDPOINT_URL": far}, GIVEN),
        ({"AWS_ENDPOINT_URL_S3": far, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, GIVEN),
        ({}, GIVEN | {"endpoint": far}),
    ):
        with pytest.raises(BlobUrlError, match=r"'http://10\.0\.0\.1:9000' has no TLS"):
            await open_blobs("s3://bucket", BlobLimits(), environ=environ, options=options)
        await open_blobs(
            "s3://bucket", BlobLimits(), environ=environ, options=options, allow_http=True
        )
    for near in ("http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost", "https://x.y"):
        await open_blobs(
            "s3://bucket", BlobLimits(), environ={}, options=GIVEN | {"endpoint": near}
        )


async def test_each_cloud_has_its_scheme(key: str) -> None:
    """Opening asks nobody, and a blob is named as its store was."""
    given: dict[str, Any] = {
        "s3://bucket/a/": GIVEN,
        "gs://bucket/a": {"skip_signature": "true"},
        "az://container/a": {"account_name": "account", "skip_signature": "true"},
    }
    for url, options in given.items():
        store = await open_blobs(url, BlobLimits(), environ={}, options=options)
        assert store.url(key) == f"{url.rstrip('/')}/{key}"
