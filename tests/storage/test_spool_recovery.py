import errno
import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from penstock.engine.inbox import Arrival
from penstock.engine.ports import Recovered, RecoveryError, SpoolChunk
from penstock.storage import members
from penstock.storage.members import encode_chunk
from penstock.storage.repair import DAMAGED
from penstock.storage.replay import read_replay
from penstock.storage.spool import SpoolFolder

MakeBatch = Callable[..., Arrival]
MakeChunk = Callable[..., SpoolChunk]
ONE = str(UUID(int=1))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolFolder]:
    with SpoolFolder(tmp_path, max_open_files=2) as folder:
        yield folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / f"{ONE}.bin.gz"


@pytest.fixture
def chunks(make_batch: MakeBatch, make_chunk: MakeChunk) -> list[SpoolChunk]:
    return [
        make_chunk(1, make_batch(3, 0)),
        make_chunk(1, make_batch(2, 300), make_batch(4, 500), used=3, newest=200),
    ]


def _bytes(*chunks: SpoolChunk) -> bytes:
    return b"".join(b"".join(encode_chunk(chunk)) for chunk in chunks)


def _frames(recovered: Recovered) -> list[int]:
    return [batch.frame_count for batch in recovered.batches]


def test_a_whole_file_gives_back_its_last_chunk(
    spool: SpoolFolder, path: Path, chunks: list[SpoolChunk]
) -> None:
    """The state before the last chunk and its batches are the whole session; no byte moves."""
    spool.append(chunks)
    spool.release(ONE)
    recovered = spool.recover(ONE)
    assert recovered is not None
    assert recovered.before == chunks[1].before
    assert [batch.member for batch in recovered.batches] == [
        batch.member for batch in chunks[1].batches
    ]
    assert recovered.torn_frames == 0
    assert path.read_bytes() == _bytes(*chunks)


def test_nothing_to_recover(spool: SpoolFolder, path: Path) -> None:
    """No file, and an empty file, are no session; the empty file is removed."""
    assert spool.recover(ONE) is None
    path.touch()
    assert spool.recover(ONE) is None
    assert not path.exists()
    spool.release(ONE)
    assert not spool.holds(ONE)


def test_a_death_at_any_byte_loses_only_what_was_not_written(
    spool: SpoolFolder, path: Path, chunks: list[SpoolChunk], tmp_path: Path
) -> None:
    """At every length a dying write can leave, whole members stay, torn ones count, all goes on."""
    data = _bytes(*chunks)
    first = len(_bytes(chunks[0]))
    header_one = len(encode_chunk(chunks[0])[0])
    header_two, member_one, _ = map(len, encode_chunk(chunks[1]))
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        recovered = spool.recover(ONE)
        if cut < header_one:
            assert recovered is None
            assert not path.exists()
            continue
        assert recovered is not None
        if cut < first + header_two:
            assert recovered.before == chunks[0].before
            assert (_frames(recovered), recovered.torn_frames) == (
                ([], 3) if cut < first else ([3], 0)
            )
        else:
            assert recovered.before == chunks[1].before
            expected = ([2], 4) if cut >= first + header_two + member_one else ([], 6)
            assert (_frames(recovered), recovered.torn_frames) == expected
        again = spool.recover(ONE)
        assert again is not None
        assert (_frames(again), again.torn_frames) == (_frames(recovered), 0)
        assert spool.append([chunks[1]]) == [None]
        spool.release(ONE)
        report = read_replay(path)
        assert report.verified
        assert report.identity == chunks[0].before.identity
        path.unlink()
    assert not (tmp_path / DAMAGED).exists()


def test_a_death_during_the_repair_is_repaired_alike(
    spool: SpoolFolder, path: Path, chunks: list[SpoolChunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recovery that ends after its cut and before its header leaves the same recovery to do."""
    path.write_bytes(_bytes(*chunks)[:-5])

    def die(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", die)
        with pytest.raises(RecoveryError, match="Input/output error"):
            spool.recover(ONE)
    recovered = spool.recover(ONE)
    assert recovered is not None
    assert (_frames(recovered), recovered.torn_frames) == ([2], 4)


def test_damage_in_the_middle_is_kept_aside(
    spool: SpoolFolder, path: Path, chunks: list[SpoolChunk], tmp_path: Path
) -> None:
    """What is cut behind a damaged header is saved first, and the log says how much and where."""
    data = _bytes(*chunks)
    at = len(_bytes(chunks[0]))
    broken = data[:at] + b"\x00" + data[at + 1 :] + _bytes(chunks[1])
    for copy in (f"{ONE}-{at}.bin", f"{ONE}-{at}-1.bin"):
        path.write_bytes(broken)
        with capture_logs() as logs:
            recovered = spool.recover(ONE)
        assert recovered is not None
        assert (recovered.before, _frames(recovered)) == (chunks[0].before, [3])
        assert path.read_bytes() == data[:at]
        assert (tmp_path / DAMAGED / copy).read_bytes() == broken[at:]
        assert logs == [
            {
                "event": "spool_file_damaged",
                "log_level": "warning",
                "session_id": ONE,
                "offset": at,
                "saved_bytes": len(broken) - at,
            }
        ]


def test_a_damaged_batch_of_the_last_chunk_is_kept_aside(
    spool: SpoolFolder, path: Path, chunks: list[SpoolChunk], tmp_path: Path
) -> None:
    """A last member that is there but not sound is cut, counted as torn, and saved."""
    data = bytearray(_bytes(*chunks))
    data[-5] ^= 1
    path.write_bytes(data)
    recovered = spool.recover(ONE)
    assert recovered is not None
    assert (_frames(recovered), recovered.torn_frames) == ([2], 4)
    (saved,) = (tmp_path / DAMAGED).iterdir()
    assert saved.read_bytes() == data[-len(chunks[1].batches[1].member) :]
    assert read_replay(path).verified


def test_a_file_damaged_from_its_start_is_moved_aside_whole(
    spool: SpoolFolder, path: Path, tmp_path: Path
) -> None:
    """A file with nothing of use at its start is saved and gone, and the session starts anew."""
    path.write_bytes(b"not a spool file at all")
    assert spool.recover(ONE) is None
    assert not path.exists()
    assert (tmp_path / DAMAGED / f"{ONE}-0.bin").read_bytes() == b"not a spool file at all"


def test_nothing_is_cut_that_could_not_be_saved(
    spool: SpoolFolder,
    path: Path,
    chunks: list[SpoolChunk],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without room for the copy recovery fails, the file is as it was, no half copy stays."""
    broken = _bytes(chunks[0]) + b"damage" + _bytes(chunks[1])
    path.write_bytes(broken)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RecoveryError, match=f"{ONE}: No space left"):
            spool.recover(ONE)
    assert path.read_bytes() == broken
    assert list((tmp_path / DAMAGED).iterdir()) == []


def test_another_versions_or_sessions_file_is_left_alone(
    spool: SpoolFolder, path: Path, chunks: list[SpoolChunk], make_chunk: MakeChunk
) -> None:
    """A sound file of another version or session is an error and stays untouched."""
    foreign = members._header(b'{"before":{"v":2},"batches":[]}')
    for content, message in (
        (foreign, "JSON is not as expected"),
        (_bytes(chunks[0]) + foreign, "JSON is not as expected"),
        (_bytes(make_chunk(2)), f"belongs to session {UUID(int=2)}"),
    ):
        path.write_bytes(content)
        with pytest.raises(RecoveryError, match=message):
            spool.recover(ONE)
        assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_stays_held(tmp_path: Path, path: Path) -> None:
    """A failed recovery names the session and the error, and the file still counts as left."""
    path.mkdir()
    with SpoolFolder(tmp_path, max_open_files=1) as spool:
        with pytest.raises(RecoveryError, match=f"{ONE}: Is a directory"):
            spool.recover(ONE)
        assert spool.holds(ONE)


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=20)), max_size=3),
    st.integers(0, 10_000),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_damage_is_recovered_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    chunks: list[SpoolChunk],
    patches: list[tuple[int, bytes]],
    cut: int,
) -> None:
    """Whatever overwrote the file, recovery refuses and leaves it, or repairs it once for all."""
    data = bytearray(_bytes(*chunks))
    for at, patch in patches:
        place = at % len(data)
        data[place : place + len(patch)] = patch
    data = data[: len(data) - cut % len(data)]
    folder = tmp_path_factory.mktemp("spool")
    (folder / f"{ONE}.bin.gz").write_bytes(data)
    with SpoolFolder(folder, max_open_files=1) as spool:
        try:
            recovered = spool.recover(ONE)
        except RecoveryError:
            assert (folder / f"{ONE}.bin.gz").read_bytes() == data
            return
        again = spool.recover(ONE)
    if recovered is None:
        assert again is None
    else:
        assert again is not None
        assert again.before == recovered.before
        assert _frames(again) == _frames(recovered)
        assert again.torn_frames == 0


def test_a_recovered_session_goes_on_with_sidecars_and_lengths(
    spool: SpoolFolder, path: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """After a torn end, what is appended next is read as its own chunk, sidecars and all."""
    sidecar = b'{"camera_resolution":"640x480"}'
    chunk = make_chunk(1, make_batch(2, 0, sidecar), make_batch(2, 200, sidecar))
    path.write_bytes(_bytes(chunk)[:-1])
    recovered = spool.recover(ONE)
    assert recovered is not None
    assert recovered.torn_frames == 2
    spool.append([chunk._replace(batches=chunk.batches[1:])])
    report = read_replay(path)
    assert (report.chunks, report.batches, report.frames, report.verified) == (2, 2, 4, True)
    assert report.sidecars.values == {"camera_resolution": {"640x480": 2}}
    assert len(gzip.decompress(path.read_bytes())) == report.inflated_bytes
