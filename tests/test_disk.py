"""A whole service over a disk that is really full or read-only, and clients that hang up."""

import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from ending_clients import EndingClients
from penstock.storage.replay import read_replay

QUICK = {
    "spool_flush_seconds": "0.1",
    "rate_batches_per_second": "1000",
    "rate_burst": "1000",
    "shutdown_notice_seconds": "0",
}
Serve = Callable[..., Any]
Encode = Callable[..., bytes]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 512 KiB where the spool will be; give the data folder."""
    yield from _mounted(tmp_path / "data" / "spool")


@pytest.fixture
def small_store(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 512 KiB where the blobs will be; give the data folder."""
    yield from _mounted(tmp_path / "data" / "blobs")


def _mounted(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True)
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "none", folder],  # noqa: S607
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
        yield folder.parent


def _remount(data: Path, how: str, folder: str = "spool") -> None:
    subprocess.run(
        ["mount", "-o", f"remount,{how}", data / folder],  # noqa: S607
        check=True,
        capture_output=True,
    )


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(15):
        while not await condition():  # noqa: ASYNC110 - another process cannot set an event
            await trio.sleep(0.05)


async def _settled(service: Any) -> dict[str, int]:
    """Wait until no frame waits any more; give the tally."""

    async def done() -> bool:
        return (await service.frames())["pending"] == 0

    await _until(done)
    tally: dict[str, int] = await service.frames()
    return tally


async def _ready(service: Any) -> tuple[int, list[str]]:
    status, body = await service.get("/readyz")
    return status, [reason["code"] for reason in orjson.loads(body)["reasons"]]


async def _recovers(service: Any) -> None:
    """Wait until the service says by itself, without traffic, that it is ready again."""

    async def ready() -> bool:
        return (await _ready(service))[0] == 200

    await _until(ready)


async def test_a_full_disk_sheds_frames_until_there_is_room_again(
    small_disk: Path, serve: Serve, encode_member: Encode
) -> None:
    """Frames are shed under disk_full and readiness says so; with room, all goes on by itself."""
    async with serve(small_disk, **QUICK) as service:
        assert (await service.post(1, encode_member(3, 0)))[0] == 202
        assert await _settled(service) == {"seen": 3, "pending": 0, "used": 3}
        filler = small_disk / "spool" / "filler"
        _fill(filler)
        assert (await service.post(1, encode_member(10, 1000, noise=True)))[0] == 202
        assert (await service.post(2, encode_member(10, 1000, noise=True)))[0] == 202
        assert await _settled(service) == {"seen": 23, "pending": 0, "used": 3, "disk_full": 20}
        assert await _ready(service) == (503, ["disk_full"])
        assert (await service.metrics())["penstock_spool_writable"] == 0
        filler.unlink()
        await _recovers(service)
        for number in (1, 2):
            status, answer = await service.post(number, encode_member(2, 5000))
            before = {1: 13, 2: 10}[number]
            assert (status, answer["buffer_position_bytes"]) == (202, (before + 2) * 528)
        assert (await _settled(service))["used"] == 7
        assert await service.stop() == 0
    for number, frames in ((1, 5), (2, 2)):
        report = read_replay(service.file(number))
        assert (report.verified, report.frames) == (True, frames)
        assert report.checkpoint is not None
        assert report.checkpoint.by_reason["disk_full"] == 10


async def test_a_read_only_disk_sheds_frames_until_it_can_be_written(
    small_disk: Path, serve: Serve, encode_member: Encode
) -> None:
    """Frames are shed under spool_unwritable, readiness says so, and a remount mends it alone."""
    async with serve(small_disk, **QUICK) as service:
        _remount(small_disk, "ro")
        assert (await service.post(1, encode_member(3, 0)))[0] == 202
        assert await _settled(service) == {"seen": 3, "pending": 0, "spool_unwritable": 3}
        assert await _ready(service) == (503, ["spool_unwritable"])
        _remount(small_disk, "rw")
        await _recovers(service)
        assert (await service.post(1, encode_member(2, 1000)))[0] == 202
        assert (await _settled(service))["used"] == 2
        assert await service.stop() == 0
    report = read_replay(service.file(1))
    assert (report.verified, report.frames) == (True, 2)


async def test_a_service_stops_in_order_although_its_disk_is_full(
    small_disk: Path, serve: Serve, encode_member: Encode
) -> None:
    """Nothing can be written any more, and the end is still prompt, clean and counted."""
    async with serve(small_disk, **QUICK) as service:
        _fill(small_disk / "spool" / "filler")
        for number in range(1, 6):
            assert (await service.post(number, encode_member(10, 0, noise=True)))[0] == 202
        assert await service.stop() == 0
        said = [orjson.loads(line) for line in service.log.read_bytes().splitlines()]
        (last,) = (record for record in said if record["event"] == "service.stopped")
        assert (last["frames_seen"], last["disk_full"]) == (50, 50)
        assert not [record for record in said if record["level"] == "error"]


@pytest.mark.parametrize("express", [True, False])
async def test_what_a_client_sent_before_it_hung_up_lands_on_disk(
    tmp_path: Path,
    serve: Serve,
    encode_member: Encode,
    encode_request: Callable[..., bytes],
    *,
    express: bool,
) -> None:
    """A batch that arrived whole is taken, although nobody waits for the answer, on each path."""
    async with serve(tmp_path / "data", **QUICK, request_timeout_seconds="3") as service:
        for number in range(1, 21):
            request = encode_request(service.token(number), encode_member(3, 0), express=express)
            link = await service.connect()
            await link.stream.send_all(request)
            await link.stream.aclose()

        async def all_there() -> bool:
            tally: dict[str, int] = await service.frames()
            return tally.get("used") == 60

        await _until(all_there)
        assert await service.frames() == {"seen": 60, "pending": 0, "used": 60}
        assert await service.stop() == 0
    assert sum(read_replay(service.file(number)).frames for number in range(1, 21)) == 60


async def test_a_data_folder_has_one_service(
    tmp_path: Path, serve: Serve, launch_service: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    """A second one refuses to start with exit code 2 and one line that says who has the folder."""
    async with serve(tmp_path / "data", **QUICK) as service:
        second = launch_service(tmp_path / "data")
        with trio.fail_after(30):
            code = await trio.to_thread.run_sync(second.wait)
        lines = (tmp_path / "second.log").read_text().splitlines()
        assert (code, len(lines)) == (2, 1)
        assert str(tmp_path / "data") in lines[0]
        assert str(service.process.pid) in lines[0]
        assert (await _ready(service)) == (200, [])


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


async def test_ends_wait_for_room_in_the_store(
    small_store: Path, serve: Serve, encode_member: Encode
) -> None:
    """A full disk of blobs is a reason to ask again; with room, each end is stored and answered."""
    async with serve(small_store, **QUICK) as service:
        clients = EndingClients(service, encode_member(20, 1000, noise=True))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(clients.patient)

            async def full() -> bool:
                return clients.told_to_wait["500 blob_disk_full"] >= 6

            await _until(full)
            assert clients.answered
            _remount(small_store, "size=64m", "blobs")
            roomy = time.monotonic()
            await clients.wait_answered(1)
            took = time.monotonic() - roomy
            await clients.wait_answered(5)
            clients.going = False
        assert await service.stop() == 0
    assert set(clients.told_to_wait) == {"500 blob_disk_full"}
    assert len(clients.answered) == clients.begun
    for number in range(1, clients.begun + 1):
        blob = service.file(number)
        assert blob.parent.parent.name == "blobs"
        assert read_replay(blob).frames == 20
    print(  # noqa: T201 - figures for the documentation
        f"{clients.begun} ends, told to wait {dict(clients.told_to_wait)}; 200 after {took:.1f} s"
    )
