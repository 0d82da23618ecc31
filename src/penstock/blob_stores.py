"""Which blob store the settings name."""

import os

from penstock.engine.blob_port import BlobUnavailableError
from penstock.errors import StartupError
from penstock.settings import Settings
from penstock.storage.blobs.opening import BlobUrlError, open_blobs
from penstock.storage.blobs.store import BlobLimits, Blobs


async def open_blob_store(settings: Settings) -> Blobs:
    """Open the store; StartupError when that is impossible."""
    limits = BlobLimits(
        settings.blob_connect_seconds,
        settings.blob_read_seconds,
        settings.blob_request_seconds,
        settings.blob_total_seconds,
        settings.blob_retries,
    )
    try:
        return await open_blobs(
            settings.blob_url or str(settings.data_dir / "blobs"),
            limits,
            environ=os.environ,
            allow_http=settings.blob_allow_http,
        )
    except BlobUrlError as error:
        raise StartupError(str(error)) from None
    except BlobUnavailableError as error:
        raise StartupError(f"blob_url: {error.detail}") from None
