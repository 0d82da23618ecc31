"""Opening the blob store that a URL names.

================================  ==================================================================
`/path` or `file:///path`         a local folder
`s3://bucket/prefix`              S3, or what `AWS_ENDPOINT_URL` names
`gs://bucket/prefix`              Google Cloud Storage
`az://container/prefix`           Azure, the account by `AZURE_STORAGE_ACCOUNT_NAME`
================================  ==================================================================

Credentials and regions come from the environment, by the names of each provider's own tools.
Nothing is asked over the network here: a store that cannot be used is told by `probe`.
"""

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import trio
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from penstock.storage.blobs.cloud import CloudSite
from penstock.storage.blobs.folder import FolderSite
from penstock.storage.blobs.store import BlobLimits, Blobs

if TYPE_CHECKING:  # obstore's stubs alone have these names
    from obstore.store import ClientConfig, RetryConfig

_STORES: dict[str, type[S3Store | GCSStore | AzureStore]] = {
    "s3": S3Store,
    "gs": GCSStore,
    "az": AzureStore,
}
# By precedence, as obstore's options and as the variables that they stand for.
_ENDPOINTS = ("aws_endpoint_url_s3", "aws_endpoint_url", "aws_endpoint", "endpoint")


class BlobUrlError(ValueError):
    """The blob store cannot be opened by this URL and these options. One line, for the operator."""


async def open_blobs(
    url: str,
    limits: BlobLimits,
    *,
    environ: Mapping[str, str],
    options: Mapping[str, str] | None = None,
    allow_http: bool = False,
) -> Blobs:
    """Open the store; BlobUrlError, or BlobUnavailableError for a folder that cannot be made.

    `options` are obstore's for this kind of store, and win over the environment. An endpoint
    without TLS is used on loopback only, unless `allow_http`.
    """
    parts = urlsplit(url)
    if parts.scheme in _STORES:
        site = _cloud(url, limits, environ, dict(options or {}), allow_http=allow_http)
        return Blobs(site, limits)
    return Blobs(await trio.to_thread.run_sync(FolderSite, _folder(url)), limits)


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    if not parts.scheme and url:
        return Path(url)
    if parts.scheme != "file":
        raise BlobUrlError(
            f"blob_url: {_bare(url)!r} is neither a path nor one of file:///, s3://, gs://, az://"
        )
    if parts.netloc not in {"", "localhost"} or parts.path in {"", "/"}:
        raise BlobUrlError(f"blob_url: {_bare(url)!r} is no file:///path")
    return Path(unquote(parts.path))


def _cloud(
    url: str,
    limits: BlobLimits,
    environ: Mapping[str, str],
    options: dict[str, str],
    *,
    allow_http: bool,
) -> CloudSite:
    parts = urlsplit(url)
    if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise BlobUrlError(
            f"blob_url: {_bare(url)!r} is no {parts.scheme}://bucket/prefix; credentials and "
            "options belong into the environment"
        )
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=limits.connect_seconds),
        "read_timeout": timedelta(seconds=limits.read_seconds),
        "timeout": timedelta(seconds=limits.request_seconds),
    }
    if _plain_http(parts.scheme, environ, options, allow_http=allow_http):
        client["allow_http"] = True
    retry: RetryConfig = {
        "max_retries": limits.retries,
        "retry_timeout": timedelta(seconds=limits.request_seconds),
        "backoff": {
            "init_backoff": timedelta(seconds=0.1),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }
    given: Any = options
    try:
        store = _STORES[parts.scheme].from_url(
            url, config=given, client_options=client, retry_config=retry
        )
    except (BaseError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise BlobUrlError(f"blob_url: {_bare(url)!r} cannot be used: {said}") from error
    return CloudSite(store, url)


def _plain_http(
    scheme: str, environ: Mapping[str, str], options: Mapping[str, str], *, allow_http: bool
) -> bool:
    """Say whether requests without TLS are to be allowed; BlobUrlError when they must not be."""
    if allow_http:
        return True
    if scheme != "s3":
        return False
    given = {name.lower(): value for name, value in environ.items()} | {
        name.lower(): value for name, value in options.items()
    }
    endpoint = next((given[name] for name in _ENDPOINTS if given.get(name)), "")
    parts = urlsplit(endpoint)
    if parts.scheme != "http":
        return False
    if not _is_loopback(parts.hostname or ""):
        raise BlobUrlError(
            f"blob_url: the endpoint {_bare(endpoint)!r} has no TLS and is not on loopback; "
            "blob_allow_http permits it"
        )
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bare(url: str) -> str:
    """Give a URL without what may be a secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else url
