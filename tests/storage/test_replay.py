import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.engine import wire
from penstock.engine.inbox import Arrival
from penstock.engine.ports import SpoolChunk
from penstock.storage import replay
from penstock.storage.members import encode_chunk
from penstock.storage.replay import Damage, Gap, ReplayError, read_replay

MakeBatch = Callable[..., Arrival]
Altered = Callable[..., Arrival]
MakeChunk = Callable[..., SpoolChunk]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.bin.gz"


def _bytes(*chunks: SpoolChunk) -> bytes:
    return b"".join(b"".join(encode_chunk(chunk)) for chunk in chunks)


def test_a_sound_file_is_told_in_full(
    path: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """Every number of the report is what was put into the file, and it goes out as JSON."""
    sidecar = b'{"camera_resolution":"640x480","exercise":"squat","other":[1]}'
    chunks = [
        make_chunk(1, make_batch(5, 1000, sidecar), make_batch(5, 1300, b'{"coords":"world"}')),
        make_chunk(1, make_batch(4, 3000, sidecar), used=8, newest=1700),
    ]
    path.write_bytes(_bytes(*chunks))
    report = read_replay(path)
    assert report.verified
    assert (report.damage, report.torn_bytes) == ((), 0)
    assert report.identity == chunks[0].before.identity
    assert (report.chunks, report.batches, report.frames) == (2, 3, 14)
    assert (report.used, report.repeated) == (12, 2)
    assert (report.first_timestamp_ms, report.last_timestamp_ms) == (1000, 3300)
    assert report.duration_ms == 2300
    assert report.fps == round(11 / 2.3, 3)
    assert report.gaps == (Gap(1700, 3000, 1300),)
    assert (report.gap_count, report.longest_gap_ms) == (1, 1300)
    assert report.landmark_bytes == 14 * 528
    assert report.inflated_bytes == 14 * 532 + 3 * 9
    assert report.file_bytes == path.stat().st_size
    assert report.untracked_share == 0
    assert report.checkpoint is not None
    assert report.checkpoint.offset == len(_bytes(chunks[0]))
    assert (report.checkpoint.seen, report.checkpoint.by_reason) == (8, {"used": 8})
    assert report.sidecars.batches == 3
    assert report.sidecars.values == {
        "camera_resolution": {"640x480": 2},
        "coords": {"world": 1},
        "exercise": {"squat": 2},
    }
    plain = orjson.loads(orjson.dumps(report.as_dict()))
    assert plain["gaps"] == [{"start_ms": 1700, "end_ms": 3000, "length_ms": 1300}]
    assert plain["identity"]["session_id"] == str(UUID(int=1))


def test_a_plain_concatenation_of_batches_is_read(path: Path, make_batch: MakeBatch) -> None:
    """A blob without headers has the same frames, and nothing that only headers know."""
    points = np.full((2, 33, 4), np.nan, "<f4")
    points[:, 3:] = 1.0
    path.write_bytes(make_batch(3).member + wire.encode(points, [300, 400]))
    report = read_replay(path)
    assert report.verified
    assert (report.identity, report.checkpoint, report.chunks) == (None, None, 0)
    assert (report.batches, report.frames, report.used) == (2, 5, 5)
    assert report.untracked_share == pytest.approx(6 / (5 * 33))


@pytest.mark.parametrize("headers", [True, False])
def test_a_torn_end_is_told_to_the_byte(
    path: Path, make_batch: MakeBatch, make_chunk: MakeChunk, *, headers: bool
) -> None:
    """A file that ends at any byte tells how many bytes at its end are not whole, and where."""
    one, two = make_batch(2), make_batch(3, 200)
    pieces = encode_chunk(make_chunk(1, one, two)) if headers else [one.member, two.member]
    data = b"".join(pieces)
    ends = [0]
    for piece in pieces:
        ends.append(ends[-1] + len(piece))
    for cut in range(1, len(data)):
        path.write_bytes(data[:cut])
        report = read_replay(path)
        start = max(end for end in ends if end <= cut)
        # Right behind a batch, only a header can tell that another should follow.
        assert report.torn_bytes == cut - start
        assert report.verified == (not headers and cut in ends)
        assert report.batches == max(0, ends.index(start) - headers)
        assert [item.offset for item in report.damage] == ([] if report.verified else [start])


def test_a_damaged_batch_costs_that_batch(
    path: Path, make_batch: MakeBatch, altered: Altered, make_chunk: MakeChunk
) -> None:
    """Behind a damaged batch the reading goes on, with headers or without, and tells its place."""
    one, two, three = (make_batch(2, at) for at in (0, 200, 400))
    broken = bytearray(two.member)
    broken[-5] ^= 1
    bad = altered(two, member=bytes(broken))
    for pieces in (
        encode_chunk(make_chunk(1, one, bad, three)),
        [one.member, bad.member, three.member],
    ):
        path.write_bytes(b"".join(pieces))
        report = read_replay(path)
        assert not report.verified
        assert (report.batches, report.frames, report.torn_bytes) == (2, 4, 0)
        assert [item.offset for item in report.damage] == [
            len(b"".join(pieces)) - len(three.member) - len(bad.member)
        ]


def test_a_damaged_header_costs_only_what_it_knew(
    path: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """Batches behind a broken header are still found, and the next header is used again."""
    chunks = [make_chunk(1, make_batch(2, at, b'{"coords":"world"}')) for at in (0, 200, 400)]
    data = bytearray(_bytes(*chunks))
    at = len(_bytes(chunks[0]))
    for place in (at, at + 30):
        broken = data.copy()
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        report = read_replay(path)
        assert (report.chunks, report.batches, report.frames) == (2, 3, 6)
        assert report.sidecars.batches == 2
        assert [item.offset for item in report.damage] == [at]
        assert report.torn_bytes == 0


def test_what_does_not_belong_is_damage(
    path: Path, make_batch: MakeBatch, altered: Altered, make_chunk: MakeChunk
) -> None:
    """Another session's header, another frame count and a gzip member that is no batch are told."""
    batch = make_batch(2)
    first = _bytes(make_chunk(1, altered(batch, frame_count=5)))
    foreign = _bytes(make_chunk(2))
    text = wire.compress(b"text that is not a batch")
    path.write_bytes(first + foreign + text + b"tail")
    report = read_replay(path)
    assert [
        item.what.split(";")[0].removesuffix(": incorrect header check") for item in report.damage
    ] == [
        "2 frames where 5 were announced",
        "a header of another session",
        "a gzip member that is no batch: version byte 116",
        "neither a header member nor a batch: Error -3 while decompressing data",
    ]
    assert report.frames == 2
    assert report.identity is not None
    assert report.identity.session_id == str(UUID(int=1))


def test_no_file_and_an_empty_file(path: Path, tmp_path: Path) -> None:
    """What cannot be read is one error in one line; an empty file is a report that says so."""
    with pytest.raises(ReplayError, match=r"^\S+: No such file or directory$"):
        read_replay(path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for odd in (tmp_path, pipe):
        with pytest.raises(ReplayError, match="not a plain file"):
            read_replay(odd)
    path.touch()
    report = read_replay(path)
    assert report.damage == (Damage(0, "the file is empty"),)
    assert (report.verified, report.fps, report.untracked_share) == (False, None, None)


def test_lists_are_bounded_and_counts_are_not(
    path: Path, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file full of gaps and damage gives a short report with the true counts."""
    monkeypatch.setattr(replay, "MAX_LISTED", 3)
    path.write_bytes(b"".join(make_batch(1, at * 1000).member + b"junk" for at in range(8)))
    report = read_replay(path)
    assert (len(report.gaps), report.gap_count) == (3, 7)
    assert (len(report.damage), report.damage_count) == (3, 8)
    assert report.batches == 8


def test_a_large_file_is_read_in_blocks(
    path: Path, make_batch: MakeBatch, make_chunk: MakeChunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No read is as large as the file, also where junk has to be searched through."""
    body = _bytes(*[make_chunk(1, make_batch(2, at * 200)) for at in range(200)])
    path.write_bytes(body + b"\x1f\x8b" * 300_000 + body)
    asked: list[int] = []
    real = replay.os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        asked.append(length)
        return real(fd, length, offset)

    monkeypatch.setattr(replay.os, "pread", counted)
    report = read_replay(path)
    assert report.batches == 400
    assert report.damage_count == 1
    assert max(asked) <= 1 << 18


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=20)), max_size=3),
    st.binary(max_size=50),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_are_a_report(
    tmp_path_factory: pytest.TempPathFactory,
    make_batch: MakeBatch,
    make_chunk: MakeChunk,
    patches: list[tuple[int, bytes]],
    tail: bytes,
) -> None:
    """Whatever the bytes, there is a report, `verified` only with nothing to complain of."""
    data = bytearray(_bytes(make_chunk(1, make_batch(2), make_batch(2, 200))) + make_batch().member)
    for at, patch in patches:
        place = at % len(data)
        data[place : place + len(patch)] = patch
    path = tmp_path_factory.mktemp("replay") / "any"
    for content in (bytes(data) + tail, tail):
        path.write_bytes(content)
        report = read_replay(path)
        assert report.file_bytes == len(content)
        assert report.verified == (not report.damage)
        assert 0 <= report.torn_bytes <= len(content)
        assert orjson.dumps(report.as_dict())
