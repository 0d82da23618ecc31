"""The promise of a kill -9: the unflushed interval of frames is lost, and nothing else."""

import gzip
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from penstock.engine.outcomes import Reason
from penstock.engine.wire import decode
from penstock.storage.members import ChunkSpan, Window, walk, whole_batches
from penstock.storage.replay import read_replay

KILLS = 20
SESSIONS = range(1, 21)
FLUSH_SECONDS = 0.1
# What the machine may add to the flush interval: a tick, a group of appends, other processes.
SLACK_SECONDS = 0.7
QUICK = {
    "spool_flush_seconds": str(FLUSH_SECONDS),
    "rate_batches_per_second": "1000",
    "rate_burst": "1000",
    "shutdown_notice_seconds": "0",
}
Serve = Callable[..., Any]
Encode = Callable[..., bytes]


@dataclass(slots=True, eq=False)
class Told:
    """A batch that was sent, and when it was acknowledged; never, when the answer is missing."""

    member: bytes
    frames: int
    acknowledged: float | None = None


@dataclass(slots=True, eq=False)
class Client:
    """One session's camera, which remembers everything that it was told."""

    number: int
    encode: Encode
    on_disk: list[bytes] = field(default_factory=list)
    life: list[Told] = field(default_factory=list)
    clock_ms: int = 0

    async def send(self, service: Any) -> None:
        """Post batch after batch until the service dies, checking each position."""
        chance = random.Random(self.number * 1000 + len(self.on_disk))  # noqa: S311
        token = service.token(self.number)
        held = sum(decode(member).frame_count for member in self.on_disk)
        try:
            link = await service.connect()
        except OSError:
            return
        async with link.stream:
            while True:
                frames = chance.randint(1, 3)
                told = Told(self.encode(frames, self.clock_ms), frames)
                self.clock_ms += 100 * frames
                self.life.append(told)
                try:
                    status, answer = await link.post(token, told.member)
                except trio.BrokenResourceError:
                    return
                told.acknowledged = trio.current_time()
                held += frames
                assert (status, answer["buffer_position_bytes"]) == (202, 528 * held)
                await trio.sleep(chance.uniform(0.0, 0.06))

    def look(self, path: Path, killed: float) -> int:
        """Compare the file with what the client was told; give how many batches were lost."""
        before = len(self.on_disk)
        found = _members(path) if path.exists() else []
        assert found[:before] == self.on_disk, "what was on disk at the last look has changed"
        new = found[before:]
        assert new == [told.member for told in self.life[: len(new)]], "a hole, or out of order"
        lost = self.life[len(new) :]
        for told in lost:
            if told.acknowledged is not None:
                assert told.acknowledged > killed - FLUSH_SECONDS - SLACK_SECONDS
        self.on_disk, self.life = found, []
        return sum(told.acknowledged is not None for told in lost)


def _members(path: Path) -> list[bytes]:
    """Give the whole members of a file; each header must tell exactly what lies before it."""
    data = path.read_bytes()
    window = Window.over(data)
    members: list[bytes] = []
    frames = 0
    for span in walk(window):
        before = span.header.before
        assert before.accepted_frames == frames
        assert before.tally.conserved
        torn = before.tally.ended.get(Reason.TORN_SPOOL, 0)
        assert before.tally.seen - torn == frames == before.timeline.used
        batches = whole_batches(window, span)
        members += [batch.member for batch in batches]
        frames += sum(batch.frame_count for batch in batches)
    return members


def _check_replay(path: Path, members: list[bytes]) -> None:
    """Check that a sound file is what its members say, to every reader."""
    report = read_replay(path)
    assert report.verified, report.damage
    assert report.frames == report.used == sum(decode(member).frame_count for member in members)
    assert report.checkpoint is not None
    assert report.checkpoint.seen == sum(report.checkpoint.by_reason.values())
    content = b"".join(decode(member).payload for member in members)
    assert gzip.decompress(path.read_bytes()) == content


async def test_a_kill_costs_the_unflushed_interval_and_nothing_else(
    tmp_path: Path, serve: Serve, encode_member: Encode
) -> None:
    """Over 20 kills with traffic on, every file is what its client was told, but for the end."""
    chance = random.Random(20)  # noqa: S311
    clients = [Client(number, encode_member) for number in SESSIONS]
    lost = kept = 0
    for kill in range(KILLS):
        async with serve(tmp_path / "data", **QUICK) as service, trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.send, service)
            await trio.sleep(chance.uniform(0.1, 1.2))
            killed = trio.current_time()
            service.kill()
            # Every connection is gone now, so every client returns.
        for client in clients:
            lost += client.look(service.file(client.number), killed)
            kept = max(kept, len(client.on_disk))
        for client in clients[kill % 10 :: 10]:
            path = service.file(client.number)
            if path.exists() and not read_replay(path).torn_bytes:
                _check_replay(path, client.on_disk)
    assert kept > KILLS
    assert lost > 0  # or the kills came at moments that prove nothing
    async with serve(tmp_path / "data", **QUICK) as service:
        for client in clients:
            assert (await service.post(client.number, client.encode(1, client.clock_ms)))[0] == 202
        assert await service.stop() == 0
    for client in clients:
        path = service.file(client.number)
        assert len(_members(path)) == len(client.on_disk) + 1
        _check_replay(path, _members(path))


@dataclass(slots=True, frozen=True)
class Cut:
    """Where a file of two chunks is torn: what is then whole, and what is known to be lost."""

    where: Callable[[ChunkSpan, ChunkSpan, int], int]
    kept_batches: int
    torn_frames: int


# Given the two chunks and the length of the third batch. The batches have 1, 2, 3 and 4 frames.
CUTS = (
    Cut(lambda _first, last, _third: last.offset, 2, 0),
    Cut(lambda _first, last, _third: last.offset + 1, 2, 0),
    Cut(lambda _first, last, _third: last.body_offset - 1, 2, 0),
    Cut(lambda _first, last, _third: last.body_offset, 2, 7),
    Cut(lambda _first, last, _third: last.body_offset + 1, 2, 7),
    Cut(lambda _first, last, third: last.body_offset + third - 1, 2, 7),
    Cut(lambda _first, last, third: last.body_offset + third, 3, 4),
    Cut(lambda _first, last, third: last.body_offset + third + 1, 3, 4),
    Cut(lambda _first, last, _third: last.end - 1, 3, 4),
    Cut(lambda first, _last, _third: first.body_offset + 1, 0, 3),
)


async def test_a_torn_end_is_cut_off_and_counted(
    tmp_path: Path, serve: Serve, encode_member: Encode
) -> None:
    """Wherever the last chunk is torn, the session goes on behind the last whole batch."""
    data = tmp_path / "data"
    members = [encode_member(frames, 1000 * frames) for frames in (1, 2, 3, 4)]
    extra = encode_member(5, 9000)
    # The flush comes with the orderly end, so that two batches are one chunk.
    for pair in (members[:2], members[2:]):
        async with serve(data, **QUICK | {"spool_flush_seconds": "30"}) as service:
            for number in range(len(CUTS)):
                for member in pair:
                    assert (await service.post(number, member))[0] == 202
            assert await service.stop() == 0
    for number, cut in enumerate(CUTS):
        path = service.file(number)
        first, last = walk(Window.over(path.read_bytes()))
        os.truncate(path, cut.where(first, last, len(members[2])))
    async with serve(data, **QUICK) as service:
        for number, cut in enumerate(CUTS):
            held = sum(range(1, cut.kept_batches + 1))
            status, answer = await service.post(number, extra)
            assert (status, answer["buffer_position_bytes"]) == (202, 528 * (held + 5))
        assert await service.stop() == 0
    for number, cut in enumerate(CUTS):
        path = service.file(number)
        assert _members(path) == [*members[: cut.kept_batches], extra]
        _check_replay(path, _members(path))
        counted = (read_replay(path).checkpoint or pytest.fail("no checkpoint")).by_reason
        assert counted.get("torn_spool", 0) == cut.torn_frames
