"""A session's replay, wherever it is by now: in the spool, or in its blob once it has ended."""

from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from penstock.blob_stores import open_blob_store
from penstock.engine.blob_port import BlobMissingError, BlobUnavailableError, replay_key
from penstock.engine.ledger_port import LedgerUnavailableError
from penstock.engine.records import FinalEntry, FinalOf
from penstock.errors import StartupError
from penstock.ledgers import LEDGER_FILE, open_ledger
from penstock.settings import Settings
from penstock.storage.ledger import LedgerOpenError
from penstock.storage.spool import SUFFIX


@contextmanager
def kept_replay(settings: Settings, session_id: str) -> Iterator[Path]:
    """Give a file with the session's replay around the block; StartupError where there is none."""
    spooled = settings.data_dir / "spool" / f"{session_id}{SUFFIX}"
    if spooled.exists():
        yield spooled
        return
    if settings.database_url is None and not (settings.data_dir / LEDGER_FILE).exists():
        raise StartupError(f"session {session_id} has no spool file: {spooled} does not exist")
    with TemporaryDirectory(prefix="penstock-") as folder:
        copy = Path(folder) / spooled.name
        try:
            trio.run(_fetch, settings, session_id, copy)
        except LedgerOpenError as error:
            raise StartupError(str(error)) from None
        except (LedgerUnavailableError, BlobUnavailableError) as error:
            raise StartupError(f"session {session_id}: {error.detail}") from None
        except BlobMissingError as error:
            raise StartupError(f"session {session_id} has no replay: {error}") from None
        yield copy


async def _fetch(settings: Settings, session_id: str, copy: Path) -> None:
    async with open_ledger(settings) as ledger:
        final = await ledger.read(FinalOf(session_id))
    if not isinstance(final, FinalEntry):
        raise StartupError(f"session {session_id} has neither a spool file nor a final")
    key = replay_key(final.org_id, session_id)
    blobs = await open_blob_store(settings)
    blob = await blobs.head(key)
    if blob is None:
        raise BlobMissingError(key)
    async with (
        await trio.open_file(copy, "wb") as file,
        aclosing(blobs.get_range(blob, 0, blob.size)) as blocks,
    ):
        async for block in blocks:
            await file.write(block)
