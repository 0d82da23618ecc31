"""The folder against full disks, kills, rot, and whatever else lies in it."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from penstock.engine.blob_port import BlobReason, BlobUnavailableError
from penstock.storage.blobs.folder import PAGE_BLOBS, FolderSite
from penstock.storage.blobs.opening import open_blobs
from penstock.storage.blobs.store import BlobLimits, Blobs

SMALL = b"\x1f\x8b a small replay"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk],  # noqa: S607
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", disk], check=True)  # noqa: S607


def _make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)  # noqa: S607


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_nobody_else_may_read_blobs(folder: Any, key: str) -> None:
    """Folders are 0700 and files 0600, whatever the umask grants."""
    before = os.umask(0)
    try:
        await (await folder.open()).put(key, lambda: [SMALL])
    finally:
        os.umask(before)
    path = folder.folder / key
    assert [_mode(each) for each in (folder.folder, path.parent, path)] == [0o700, 0o700, 0o600]


async def test_a_full_disk_refuses_the_blob_and_keeps_what_it_has(
    small_disk: Path, key: str, key_of: Callable[..., str]
) -> None:
    """It is told as such, leaves nothing behind, and with room the same put succeeds."""
    store = await open_blobs(str(small_disk / "blobs"), BlobLimits(), environ={})
    await store.put(key, lambda: [SMALL])
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(128 << 10))
    with pytest.raises(BlobUnavailableError) as failed:
        await store.put(key_of(2), lambda: [bytes(128 << 10)])
    assert failed.value.reason is BlobReason.DISK_FULL
    assert [blob.key for blob in (await store.list()).blobs] == [key]
    assert list((small_disk / "blobs" / ".incoming").iterdir()) == []
    ballast.write_bytes(bytes(200 << 10))
    with pytest.raises(BlobUnavailableError) as failed:
        await store.probe()
    assert failed.value.reason is BlobReason.DISK_FULL
    ballast.unlink()
    await store.put(key_of(2), lambda: [bytes(128 << 10)])
    await store.probe()


async def test_a_read_only_disk_denies(small_disk: Path, key: str) -> None:
    """Writing and deleting are told as denied; reading goes on."""
    store = await open_blobs(str(small_disk / "blobs"), BlobLimits(), environ={})
    await store.put(key, lambda: [SMALL])
    _make_read_only(small_disk)
    for call in (
        lambda: store.put(key, lambda: [SMALL[::-1]], supersede=True),
        lambda: store.delete(key),
        store.probe,
    ):
        with pytest.raises(BlobUnavailableError) as failed:
            await call()
        assert failed.value.reason is BlobReason.DENIED
    blob = await store.head(key)
    assert blob is not None
    assert [block async for block in store.get_range(blob, 0, 99)] == [SMALL]


_LIMITED = """
import resource, sys
import trio
from penstock.engine.blob_port import BlobUnavailableError
from penstock.storage.blobs.opening import open_blobs
from penstock.storage.blobs.store import BlobLimits

async def main(folder, key):
    store = await open_blobs(folder, BlobLimits(), environ={})
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        await store.put(key, lambda: [bytes(20_000)])
    except BlobUnavailableError as error:
        print(error.reason.name)

trio.run(main, *sys.argv[1:])
"""
# Says a line when half of the blob is written, and never writes the rest.
_HALF = """
import os, sys
import trio
from penstock.storage.blobs.opening import open_blobs
from penstock.storage.blobs.store import BlobLimits

HALF = bytes(6 << 20)

def writing():
    yield HALF
    os.write(1, b"half\\n")
    sys.stdin.read()

async def main(folder, key):
    store = await open_blobs(folder, BlobLimits(), environ={})
    readings = iter([[HALF, HALF], writing()])
    await store.put(key, lambda: next(readings))

trio.run(main, *sys.argv[1:])
"""


def test_a_file_size_limit_is_a_full_disk(folder: Any, key: str) -> None:
    """At the process's limit of file size nothing dies and nothing is left."""
    command = [sys.executable, "-c", _LIMITED, str(folder.folder), key]
    told = subprocess.check_output(command, text=True)
    assert told.split() == ["DISK_FULL"]
    assert folder.raw(key) is None
    assert folder.unfinished() == 0


def _launched(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def test_a_kill_midway_leaves_no_half_blob(folder: Any, key: str) -> None:
    """Nothing is under the key, a start meanwhile takes nothing away, and the next one clears."""
    command = [sys.executable, "-c", _HALF, str(folder.folder), key]
    with _launched(command) as child:
        try:
            assert child.stdout is not None
            with trio.fail_after(20):
                assert await trio.to_thread.run_sync(child.stdout.readline) == b"half\n"
            assert folder.raw(key) is None
            store = await folder.open()
            assert folder.unfinished() == 1
        finally:
            child.send_signal(signal.SIGKILL)
    assert await store.head(key) is None
    assert folder.unfinished() == 1
    store = await folder.open()
    assert folder.unfinished() == 0
    await store.put(key, lambda: [SMALL])
    assert folder.raw(key) == SMALL


class RottingSite(FolderSite):
    """A disk that loses a bit of what was written to it."""

    def write(self, key: str, parts: Iterator[bytes], size: int) -> None:
        super().write(key, parts, size)
        path = self._folder / key
        written = path.read_bytes()
        path.write_bytes(bytes([written[0] ^ 1]) + written[1:])


async def test_a_disk_that_rots_is_found_out_at_once(tmp_path: Path, key: str) -> None:
    """What reads back as something else is not stored, and is not left to be found later."""
    store = Blobs(RottingSite(tmp_path), BlobLimits())
    with pytest.raises(BlobUnavailableError) as failed:
        await store.put(key, lambda: [SMALL])
    assert failed.value.reason is BlobReason.CORRUPT
    assert not (tmp_path / key).exists()
    await Blobs(FolderSite(tmp_path), BlobLimits()).put(key, lambda: [SMALL])


async def test_a_blob_that_was_cut_is_told_when_it_is_read(folder: Any, key: str) -> None:
    """Fewer bytes than the listing told end the reading with an error, never quietly."""
    store = await folder.open()
    await store.put(key, lambda: [SMALL])
    blob = await store.head(key)
    os.truncate(folder.folder / key, 4)
    with pytest.raises(BlobUnavailableError) as failed:
        async for _ in store.get_range(blob, 0, blob.size):
            pass
    assert failed.value.reason is BlobReason.CHANGED


async def test_a_link_is_no_blob_and_is_not_followed(folder: Any, key: str, tmp_path: Path) -> None:
    """A link under a blob's name is not read, and a put replaces it and not what it leads to."""
    store = await folder.open()
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret")
    (folder.folder / key).parent.mkdir()
    (folder.folder / key).symlink_to(secret)
    assert await store.head(key) is None
    assert (await store.list()).blobs == ()
    await store.put(key, lambda: [SMALL])
    assert secret.read_bytes() == b"a secret"
    assert folder.raw(key) == SMALL


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file in its place is an error with a reason, and no traceback of the system's."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BlobUnavailableError) as failed:
        await open_blobs(str(tmp_path / "file"), BlobLimits(), environ={})
    assert failed.value.reason is BlobReason.IO_ERROR


async def test_many_blobs_come_in_pages(folder: Any, key_of: Callable[..., str]) -> None:
    """No page is larger than a page, and together they are everything, once."""
    store = await folder.open()
    keys = sorted(key_of(number, number % 3) for number in range(PAGE_BLOBS * 2 + 5))
    for key in keys:
        folder.overwrite(key, SMALL)
    found: list[str] = []
    pages, after = 0, None
    while pages == 0 or after is not None:
        page = await store.list(after=after)
        found += [blob.key for blob in page.blobs]
        pages, after = pages + 1, page.after
    assert (found, pages) == (keys, 3)


async def test_a_folder_signs_nothing_and_names_files(folder: Any, key: str) -> None:
    """Links to it are the service's own affair; its names are file URLs."""
    store = await folder.open()
    assert await store.sign(key, 60) is None
    assert store.url(key) == f"file://{folder.folder}/{key}"
