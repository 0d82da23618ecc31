from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import trio

from penstock import session_pictures
from penstock.blob_stores import open_blob_store
from penstock.engine import wire
from penstock.engine.blob_port import BlobStore, replay_key
from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.frame_bins import Fate
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason, Tally
from penstock.engine.ports import SpoolChunk
from penstock.engine.session_picture import MOST_REPLAY_FRAMES, Now, PictureError
from penstock.engine.timeline import Timeline
from penstock.session_pictures import SessionPictures
from penstock.settings import Settings
from penstock.storage.spool import SpoolFolder
from sluice_rig import HandClock

WHO = SessionIdentity(*(str(UUID(int=n)) for n in (1, 7, 8)))
NOW = Now(WHO, Tally())


@asynccontextmanager
async def made(folder: Path) -> AsyncIterator[tuple[SessionPictures, SpoolFolder, BlobStore]]:
    """Give the maker of pictures over an empty spool and an empty store."""
    blobs = await open_blob_store(Settings(data_dir=folder))
    with SpoolFolder(folder / "spool", max_open_files=8) as spool:
        yield SessionPictures(spool, blobs, HandClock()), spool, blobs


def append(spool: SpoolFolder, second: int) -> None:
    """Put ten frames of a second into the session's file."""
    times = range(1000 * second, 1000 * second + 1000, 100)
    member = wire.encode(np.full((10, 33, 4), 0.5, "<f4"), list(times), level=1)
    newest = None if not second else 1000 * second - 100
    before = Checkpoint(WHO, 0, 10 * second, Timeline(0, newest, 10 * second), Tally())
    assert spool.append([SpoolChunk(before, (Arrival(wire.decode(member), 0),))]) == [None]


async def test_the_same_picture_comes_of_the_file_and_of_the_blob(tmp_path: Path) -> None:
    """It is kept until the file has grown or the counts have changed; then it is made anew."""
    async with made(tmp_path) as (pictures, spool, blobs):
        append(spool, 0)
        first = await pictures.of(NOW)
        assert await pictures.of(NOW) is first
        append(spool, 1)
        second = await pictures.of(NOW)
        assert second is not first
        assert second.picture.bins.counts[Fate.TAKEN] == (10, 10)
        assert second.seconds > 0
        other = Now(WHO, Tally(3))
        assert await pictures.of(other) is not second
        await blobs.put(replay_key(WHO.org_id, WHO.session_id), spool.content(WHO.session_id))
        spool.remove(WHO.session_id)
        stored = await pictures.of(NOW)
        assert stored.picture == second.picture
        assert await pictures.of(NOW) is stored


async def test_without_a_replay_there_is_no_picture(tmp_path: Path) -> None:
    """Neither a file nor a blob: the page is told so, and that asking again is of no use."""
    async with made(tmp_path) as (pictures, *_):
        with pytest.raises(PictureError, match="no frame of it came to disk") as told:
            await pictures.of(NOW)
        assert not told.value.later


async def test_what_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file and of a blob alike: the size, the limit, and what to do instead are told."""
    async with made(tmp_path) as (pictures, spool, blobs):
        append(spool, 0)
        monkeypatch.setattr(session_pictures, "MOST_REPLAY_BYTES", 100)
        words = r"100 are read .* `penstock replay --plot`"
        with pytest.raises(PictureError, match=words):
            await pictures.of(NOW)
        await blobs.put(replay_key(WHO.org_id, WHO.session_id), spool.content(WHO.session_id))
        spool.remove(WHO.session_id)
        with pytest.raises(PictureError, match=words) as told:
            await pictures.of(NOW)
        assert not told.value.later


async def test_of_too_many_frames_nothing_is_read(tmp_path: Path) -> None:
    """However small their file is; frames that were refused are not in it, and do not count."""
    async with made(tmp_path) as (pictures, spool, _):
        append(spool, 0)
        frames = MOST_REPLAY_FRAMES + 1
        with pytest.raises(PictureError, match="500,001 frames, and 500,000 are read") as told:
            await pictures.of(Now(WHO, Tally(frames, 0, {Reason.USED: frames})))
        assert not told.value.later
        refused = {Reason.USED: 10, Reason.POLICY_REFUSED: frames}
        assert (await pictures.of(Now(WHO, Tally(frames + 10, 0, refused)))).picture.frames == 10


async def test_damage_is_counted_and_the_rest_is_drawn(tmp_path: Path) -> None:
    """A damaged batch costs that batch alone."""
    async with made(tmp_path) as (pictures, spool, _):
        for second in range(3):
            append(spool, second)
        path = spool.path(WHO.session_id)
        content = bytearray(path.read_bytes())
        content[-5] ^= 0xFF  # in the checksum of the last batch
        path.write_bytes(content)
        found = (await pictures.of(NOW)).picture
        assert found.damage_count == 1
        assert found.frames == 20


async def test_one_is_made_at_a_time_and_whoever_waits_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading that takes long keeps the others waiting, for a while; then they may ask again."""
    async with made(tmp_path) as (pictures, spool, _):
        append(spool, 0)
        monkeypatch.setattr(session_pictures, "_WAIT_SECONDS", 0.05)
        entered, go_on = trio.Event(), trio.Event()
        from_spool: Any = pictures._from_spool

        async def slowly(now: Now) -> Any:
            entered.set()
            await go_on.wait()
            return await from_spool(now)

        monkeypatch.setattr(pictures, "_from_spool", slowly)
        found = []

        async def ask() -> None:
            found.append(await pictures.of(NOW))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await entered.wait()
            with pytest.raises(PictureError, match="are being read") as told:
                await pictures.of(NOW)
            assert told.value.later
            go_on.set()
        assert len(found) == 1
        assert await pictures.of(NOW) is found[0]


async def test_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks at many sessions has the newest in memory, and no more."""
    async with made(tmp_path) as (pictures, spool, _):
        append(spool, 0)
        monkeypatch.setattr(session_pictures, "_KEPT", 1)
        content = spool.path(WHO.session_id).read_bytes()
        other = SessionIdentity(str(UUID(int=2)), WHO.principal_id, WHO.org_id)
        spool.path(other.session_id).write_bytes(content)
        first = await pictures.of(NOW)
        await pictures.of(Now(other, Tally()))
        assert len(pictures._kept) == 1
        assert await pictures.of(NOW) is not first


async def test_open_pages_get_what_is_kept_until_their_share_is_earned(tmp_path: Path) -> None:
    """Making a picture is followed by a rest for pages that are left open, and for them alone."""
    async with made(tmp_path) as (pictures, spool, _):
        append(spool, 0)
        first = await pictures.of(NOW, older_will_do=True)
        append(spool, 1)
        assert await pictures.of(NOW, older_will_do=True) is first
        clock: Any = pictures._clock
        clock.now += first.seconds / 0.05
        second = await pictures.of(NOW, older_will_do=True)
        assert second.picture.frames == 20
        assert second.made_unix > first.made_unix
        append(spool, 2)
        assert (await pictures.of(NOW)).picture.frames == 30
