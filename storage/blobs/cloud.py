"""Blobs in an object store: S3 and what speaks like it, Google Cloud Storage, Azure; by obstore.

The synchronous half of obstore's interface is used, each call in a thread: the asynchronous half
runs on asyncio's loop only, and dropping one of its uploads leaves the parts behind, unaborted.
The calls release the GIL; they end by themselves, because each request, its retries and the time
between them are bounded by the client that `opening` configures.

Content of up to PART_BYTES is one request, more is a multipart upload: either becomes visible whole
and at once. An upload that fails is aborted by obstore. One that a kill interrupts leaves parts
that no listing shows; only a lifecycle rule of the bucket removes those.
"""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import obstore
from obstore.exceptions import PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from penstock.engine.blob_port import (
    BlobInfo,
    BlobMissingError,
    BlobPage,
    BlobReason,
    BlobUnavailableError,
    is_key,
)
from penstock.storage.blobs.cloud_errors import ObjectMissingError, translated
from penstock.storage.blobs.site import PART_BYTES

# What S3 gives at most in one answer.
PAGE_BLOBS = 1000

# Two parts on their way and one being filled: an upload holds some 20 MiB at most.
_PARTS_AT_ONCE = 2
# No Content-Encoding: whoever downloads a replay wants the gzip file, not what is in it.
_ATTRIBUTES = {"Content-Type": "application/gzip"}


class CloudSite:
    """The port `Site` over one of obstore's stores, which already knows bucket and prefix."""

    def __init__(self, store: S3Store | GCSStore | AzureStore, url: str) -> None:
        self._store = store
        self._url = url.rstrip("/")

    def write(self, key: str, parts: Iterator[bytes], size: int) -> None:
        """Upload, in one request or in parts."""
        many = size > PART_BYTES
        with translated():
            obstore.put(
                self._store,
                key,
                parts if many else b"".join(parts),
                attributes=cast("Any", _ATTRIBUTES),
                use_multipart=many,
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def find(self, key: str) -> BlobInfo | None:
        """Ask for one byte: the answer to HEAD has no body that would tell what is missing."""
        try:
            with translated():
                meta = obstore.get(self._store, key, options={"range": (0, 1)}).meta
        except ObjectMissingError:
            return None
        return _info(cast("dict[str, Any]", meta))

    def read(self, blob: BlobInfo, start: int, end: int) -> bytes:
        """Read a range of the object that has this version's tag."""
        try:
            with translated():
                result = obstore.get(
                    self._store, blob.key, options={"range": (start, end), "if_match": blob.version}
                )
                return bytes(result.bytes())
        except ObjectMissingError:
            raise BlobMissingError(blob.key) from None
        except BlobUnavailableError as error:
            if isinstance(error.__cause__, PreconditionError):
                raise BlobUnavailableError(BlobReason.CHANGED, blob.key) from None
            raise

    def delete(self, key: str) -> None:
        """Remove the object. In a bucket with versions, the older ones are the bucket's affair."""
        try:
            with translated():
                obstore.delete(self._store, key)
        except ObjectMissingError:
            return

    def page(self, prefix: str, after: str | None) -> BlobPage:
        """Give one answer's worth of objects."""
        with translated():
            listing = obstore.list(self._store, prefix or None, offset=after, chunk_size=PAGE_BLOBS)
            metas = cast("list[dict[str, Any]]", next(iter(listing), []))
        found = tuple(_info(meta) for meta in metas if is_key(meta["path"]))
        return BlobPage(found, metas[-1]["path"] if len(metas) >= PAGE_BLOBS else None)

    def sign(self, key: str, expires_seconds: int) -> str | None:
        """Sign a GET with the store's own credentials."""
        with translated():
            return obstore.sign(self._store, "GET", key, timedelta(seconds=expires_seconds))

    def url(self, key: str) -> str:
        """Give the object's URL in the scheme that the store was named by."""
        return f"{self._url}/{key}"

    def probe(self) -> None:
        """Write an object, read it back and remove it."""
        name, content = f".probe-{secrets.token_hex(8)}", secrets.token_bytes(64)
        with translated():
            obstore.put(self._store, name, content, use_multipart=False)
            try:
                read = bytes(obstore.get(self._store, name).bytes())
            finally:
                obstore.delete(self._store, name)
        if read != content:
            raise BlobUnavailableError(BlobReason.CORRUPT, "a probe came back as something else")


def _info(meta: dict[str, Any]) -> BlobInfo:
    return BlobInfo(
        meta["path"], meta["size"], meta["last_modified"].timestamp(), meta["e_tag"] or ""
    )
