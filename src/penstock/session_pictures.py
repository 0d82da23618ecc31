"""Pictures of sessions for the console: their replays read beside the running service.

A replay is read and measured in a thread, and takes of the interpreter what the event loop does not
have meanwhile. So one is made at a time, of files of bounded size, and the newest are kept for as
long as nothing has changed. A page that is left open on a live session asks every few seconds: it
gets what is kept until making pictures has rested so long that all such pages together take a
small share of a core.
"""

from collections import OrderedDict
from contextlib import aclosing
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time

import numpy as np
import trio

from penstock.engine.blob_port import (
    BlobInfo,
    BlobMissingError,
    BlobStore,
    BlobUnavailableError,
    replay_key,
)
from penstock.engine.motion.signals import SIGNALS
from penstock.engine.outcomes import Outcome
from penstock.engine.ports import Clock
from penstock.engine.session_picture import (
    MOST_REPLAY_BYTES,
    MOST_REPLAY_FRAMES,
    KeptFrames,
    Made,
    Now,
    PictureError,
    SessionPicture,
    picture_of,
)
from penstock.storage.replay import ReplayError, read_replay
from penstock.storage.spool import SpoolFolder

# A page that is answered later than this has been left.
_WAIT_SECONDS = 20.0
# Some hundred KiB each.
_KEPT = 8
# Of a core, for all pages that are left open.
_CORE_SHARE = 0.05

# What a picture was made of: another file, or other counts, make another one.
_Version = tuple[object, ...]


class SessionPictures:
    """Makes pictures, one at a time."""

    def __init__(self, spool: SpoolFolder, blobs: BlobStore, clock: Clock) -> None:
        self._spool = spool
        self._blobs = blobs
        self._clock = clock
        self._rests_until = 0.0
        self._turn = trio.Lock()
        self._kept: OrderedDict[str, tuple[_Version, Made]] = OrderedDict()

    async def of(self, now: Now, *, older_will_do: bool = False) -> Made:
        """Read the session's file or blob and make its picture; PictureError."""
        kept = self._kept.get(now.identity.session_id)
        if older_will_do and kept is not None and self._clock.monotonic() < self._rests_until:
            return kept[1]
        _check_frames(now.tally.seen - now.tally.count(Outcome.REFUSED))
        with trio.move_on_after(_WAIT_SECONDS) as waiting:
            await self._turn.acquire()
        if waiting.cancelled_caught:
            raise PictureError("other sessions' replays are being read", later=True)
        try:
            return await self._from_spool(now) or await self._from_blob(now)
        finally:
            self._turn.release()

    async def _from_spool(self, now: Now) -> Made | None:
        path = self._spool.path(now.identity.session_id)
        try:
            told = await trio.to_thread.run_sync(path.stat)
        except OSError:
            return None
        version = ("spool", told.st_size, told.st_mtime_ns)
        if (made := self._known(now, version)) is not None:
            return made
        _check_size(told.st_size)
        try:
            return await self._make(now, path, version)
        except ReplayError:
            return None  # it has gone meanwhile, to the blob store

    async def _from_blob(self, now: Now) -> Made:
        identity = now.identity
        try:
            blob = await self._blobs.head(replay_key(identity.org_id, identity.session_id))
            if blob is None:
                raise PictureError(
                    "there is no replay: no frame of it came to disk, or it has been removed"
                )
            version = ("blob", blob.version)
            if (made := self._known(now, version)) is not None:
                return made
            _check_size(blob.size)
            with TemporaryDirectory(prefix="penstock-") as folder:
                copy = Path(folder) / "replay.bin.gz"
                await self._fetch(blob, copy)
                return await self._make(now, copy, version)
        except BlobMissingError:
            raise PictureError("its replay has just been removed", later=True) from None
        except BlobUnavailableError as error:
            raise PictureError(f"the blob store: {error.detail}", later=True) from None
        except (ReplayError, OSError) as error:
            raise PictureError(f"its replay cannot be read: {error}", later=True) from None

    async def _fetch(self, blob: BlobInfo, copy: Path) -> None:
        async with (
            await trio.open_file(copy, "wb") as file,
            aclosing(self._blobs.get_range(blob, 0, blob.size)) as blocks,
        ):
            async for block in blocks:
                await file.write(block)

    def _known(self, now: Now, version: _Version) -> Made | None:
        session_id = now.identity.session_id
        found = self._kept.get(session_id)
        if found is None or found[0] != (*version, now.tally, now.spans):
            return None
        self._kept.move_to_end(session_id)
        return found[1]

    async def _make(self, now: Now, path: Path, version: _Version) -> Made:
        made_unix = self._clock.unix()
        picture, seconds = await trio.to_thread.run_sync(_made, now, path)
        made = Made(picture, made_unix, seconds)
        self._rests_until = self._clock.monotonic() + seconds / _CORE_SHARE
        self._kept[now.identity.session_id] = (*version, now.tally, now.spans), made
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return made


def _check_size(size: int) -> None:
    _check(size, MOST_REPLAY_BYTES, "bytes")


def _check_frames(frames: int) -> None:
    _check(frames, MOST_REPLAY_FRAMES, "frames")


def _check(seen: int, most: int, unit: str) -> None:
    if seen > most:
        raise PictureError(
            f"its replay has {seen:,} {unit}, and {most:,} are read for a page at most: draw it "
            "with `penstock replay --plot`"
        )


def _made(now: Now, path: Path) -> tuple[SessionPicture, float]:
    began = thread_time()
    report = read_replay(path, traces=True)
    stamps = list(chain.from_iterable(trace.timestamps_ms for trace in report.traces))
    values = [trace.values for trace in report.traces]
    kept = KeptFrames(
        np.array(stamps, np.int64),
        np.concatenate(values) if values else np.empty((0, len(SIGNALS)), np.float32),
        report.standings,
        report.losses,
        report.motion,
        report.file_bytes,
        report.damage_count,
    )
    return picture_of(kept, now), thread_time() - began
