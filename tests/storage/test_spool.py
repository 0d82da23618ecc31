import errno
import gzip
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason
from penstock.engine.ports import RecoveryError, Spool, SpoolChunk, SpoolHealth
from penstock.storage.members import encode_chunk
from penstock.storage.spool import SpoolFolder

MakeBatch = Callable[..., Arrival]
Altered = Callable[..., Arrival]
MakeChunk = Callable[..., SpoolChunk]
ONE, TWO, THREE = (str(UUID(int=n)) for n in (1, 2, 3))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolFolder]:
    with SpoolFolder(tmp_path / "spool", max_open_files=2) as folder:
        yield folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def _bytes(*chunks: SpoolChunk) -> bytes:
    return b"".join(b"".join(encode_chunk(chunk)) for chunk in chunks)


def test_it_is_the_engines_port(spool: SpoolFolder) -> None:
    """The folder is a Spool to the type checker and to the engine."""
    port: Spool = spool
    assert port.health() == SpoolHealth(writable=True)


def test_what_is_appended_is_the_file(
    spool: SpoolFolder, folder: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """Chunks lie in their session's file in order, readable to the owner only."""
    chunks = [make_chunk(1, make_batch()), make_chunk(2), make_chunk(1, make_batch(2, 300))]
    assert spool.append(chunks) == [None, None, None]
    path = folder / f"{ONE}.bin.gz"
    assert path.read_bytes() == _bytes(chunks[0], chunks[2])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert gzip.decompress(path.read_bytes())
    statistics = spool.statistics()
    assert (statistics.appends, statistics.failures, statistics.open_files) == (3, 0, 2)
    assert statistics.appended_bytes == len(_bytes(*chunks))


def test_descriptors_are_kept_up_to_the_cap(
    spool: SpoolFolder,
    make_batch: MakeBatch,
    make_chunk: MakeChunk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First come keeps its file open, later sessions open per append; a release makes room."""
    opened: list[str] = []
    real = os.open

    def counted(path: str, *rest: int, **keywords: int) -> int:
        opened.append(path)
        return real(path, *rest, **keywords)

    monkeypatch.setattr(os, "open", counted)
    for _ in range(3):
        spool.append([make_chunk(n, make_batch()) for n in (1, 2, 3)])
    assert opened == [f"{name}.bin.gz" for name in (ONE, TWO, THREE, THREE, THREE)]
    assert spool.statistics().open_files == 2
    spool.release(ONE)
    assert spool.statistics().open_files == 1
    opened.clear()
    for _ in range(2):
        spool.append([make_chunk(3, make_batch())])
    assert opened == [f"{THREE}.bin.gz"]


def test_no_descriptor_outlives_the_spool(
    folder: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """Closing gives back every descriptor that was opened."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with SpoolFolder(folder, max_open_files=2) as spool:
        spool.append([make_chunk(n, make_batch()) for n in (1, 2, 3)])
        spool.release(TWO)
        spool.recover(TWO)
        spool.probe()
    spool.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_chunk_of_very_many_batches_is_one_write(
    spool: SpoolFolder, folder: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """More buffers than one system call takes still make one whole chunk."""
    chunk = make_chunk(1, *[make_batch(1)] * 1500)
    assert spool.append([chunk]) == [None]
    assert (folder / f"{ONE}.bin.gz").read_bytes() == _bytes(chunk)
    recovered = spool.recover(ONE)
    assert recovered is not None
    assert len(recovered.batches) == 1500


def test_an_impossible_chunk_costs_that_chunk_alone(
    spool: SpoolFolder, folder: Path, make_batch: MakeBatch, altered: Altered, make_chunk: MakeChunk
) -> None:
    """One session's mistake is answered for that session; the others of the group are written."""
    bad = make_chunk(2, altered(make_batch(), member=b""))
    good = make_chunk(1, make_batch())
    assert spool.append([bad, good]) == [Reason.SPOOL_UNWRITABLE, None]
    assert [path.read_bytes() for path in folder.iterdir()] == [_bytes(good)]
    assert spool.health().writable
    with pytest.raises(ValueError, match="no file name"):
        spool.recover("../etc")


def test_what_is_no_plain_file_is_not_opened(
    tmp_path: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """A pipe never blocks the writer, and a link never leads it elsewhere."""
    folder = tmp_path / "spool"
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    with SpoolFolder(folder, max_open_files=8) as spool:
        os.mkfifo(folder / f"{ONE}.bin.gz")
        (folder / f"{TWO}.bin.gz").symlink_to(victim)
        chunks = [make_chunk(1, make_batch()), make_chunk(2, make_batch())]
        assert spool.append(chunks) == [Reason.SPOOL_UNWRITABLE] * 2
        for session_id in (ONE, TWO):
            with pytest.raises(RecoveryError):
                spool.recover(session_id)
    assert victim.read_bytes() == b"precious"


def test_holds_tells_of_files_that_were_left(
    spool: SpoolFolder, folder: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """A session is held from the moment it is left behind until it is live again."""
    chunk = make_chunk(1, make_batch())
    spool.append([chunk])
    spool.release(TWO)
    assert not spool.holds(ONE)
    assert not spool.holds(TWO)
    spool.release(ONE)
    assert spool.holds(ONE)
    with SpoolFolder(folder, max_open_files=2) as later:
        assert later.holds(ONE)
        assert later.statistics().left_behind == 1
        assert later.recover(ONE) is not None
        assert not later.holds(ONE)
        later.release(ONE)
        assert later.holds(ONE)
        later.append([chunk])
        assert not later.holds(ONE)
    assert (folder / f"{ONE}.bin.gz").read_bytes() == _bytes(chunk, chunk)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, Reason.DISK_FULL),
        (errno.EDQUOT, Reason.DISK_FULL),
        (errno.EFBIG, Reason.DISK_FULL),
        (errno.EROFS, Reason.SPOOL_UNWRITABLE),
        (errno.EACCES, Reason.SPOOL_UNWRITABLE),
        (errno.EIO, Reason.SPOOL_UNWRITABLE),
    ],
)
@pytest.mark.parametrize("call", ["open", "writev"])
def test_a_failure_sheds_one_chunk_and_shows_in_health(
    spool: SpoolFolder,
    make_batch: MakeBatch,
    make_chunk: MakeChunk,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    reason: Reason,
) -> None:
    """Each error has its reason; health tells it until something is written again."""
    chunk = make_chunk(1, make_batch())

    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        assert spool.append([chunk]) == [reason]
        assert spool.health() == SpoolHealth(
            writable=False, reason=reason, detail=os.strerror(number)
        )
        if call == "open":
            assert spool.probe().reason is reason
    assert not spool.health().writable
    assert spool.append([chunk]) == [None]
    assert spool.health() == SpoolHealth(writable=True)
    assert spool.statistics().failures == (2 if call == "open" else 1)


def test_a_probe_restores_health_and_leaves_nothing(
    spool: SpoolFolder, folder: Path, make_chunk: MakeChunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that can write says so, and its file is gone whether it could or not."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", full)
        spool.append([make_chunk(1)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert spool.probe().reason is Reason.DISK_FULL
    assert spool.probe() == spool.health() == SpoolHealth(writable=True)
    assert [path.name for path in folder.iterdir()] == [f"{ONE}.bin.gz"]


@pytest.mark.parametrize("times", [1, 2])
def test_running_out_of_descriptors_closes_the_kept_ones_once(
    spool: SpoolFolder,
    make_batch: MakeBatch,
    make_chunk: MakeChunk,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    """Kept descriptors are given up before a frame is; only if that does not help is it shed."""
    spool.append([make_chunk(1, make_batch()), make_chunk(2, make_batch())])
    real = os.open
    failures = iter([errno.EMFILE] * times)

    def scarce(path: str, *rest: int, **keywords: int) -> int:
        if (number := next(failures, None)) is not None:
            raise OSError(number, os.strerror(number))
        return real(path, *rest, **keywords)

    monkeypatch.setattr(os, "open", scarce)
    expected = None if times == 1 else Reason.SPOOL_UNWRITABLE
    assert spool.append([make_chunk(3, make_batch())]) == [expected]
    assert spool.statistics().open_files == (1 if times == 1 else 0)
    assert spool.append([make_chunk(n, make_batch()) for n in (1, 2, 3)]) == [None] * 3


def test_recovery_gets_a_descriptor_from_the_kept_ones(
    spool: SpoolFolder,
    make_batch: MakeBatch,
    make_chunk: MakeChunk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A recovery does not fail for want of a descriptor that an idle file holds."""
    spool.append([make_chunk(1, make_batch()), make_chunk(2, make_batch())])
    spool.release(ONE)
    real = os.open
    failures = iter([errno.ENFILE] * 2)

    def scarce(path: str, *rest: int, **keywords: int) -> int:
        if (number := next(failures, None)) is not None:
            raise OSError(number, os.strerror(number))
        return real(path, *rest, **keywords)

    monkeypatch.setattr(os, "open", scarce)
    assert spool.recover(ONE) is not None
    assert spool.statistics().open_files == 0


def test_a_release_never_waits_for_a_write_nor_closes_under_it(
    spool: SpoolFolder,
    make_batch: MakeBatch,
    make_chunk: MakeChunk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the writer is inside a write, a release returns at once and the file closes later."""
    spool.append([make_chunk(1, make_batch()), make_chunk(2, make_batch())])
    inside, go_on = threading.Event(), threading.Event()
    real = os.writev

    def slow(fd: int, buffers: list[bytes]) -> int:
        inside.set()
        assert go_on.wait(10)
        return real(fd, buffers)

    monkeypatch.setattr(os, "writev", slow)
    results: list[Reason | None] = []
    writer = threading.Thread(
        target=lambda: results.extend(spool.append([make_chunk(1, make_batch())]))
    )
    writer.start()
    try:
        assert inside.wait(10)
        spool.release(ONE)
        spool.release(TWO)
        assert spool.holds(TWO)
        assert spool.statistics().open_files == 2
    finally:
        go_on.set()
        writer.join(10)
    assert results == [None]
    assert spool.statistics().open_files == 0


faults = st.none() | st.tuples(st.integers(0, 3000), st.booleans())


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(0, 2), faults), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_file_is_exactly_the_chunks_that_were_reported_written(
    tmp_path_factory: pytest.TempPathFactory,
    make_batch: MakeBatch,
    make_chunk: MakeChunk,
    steps: list[tuple[int, int, tuple[int, bool] | None]],
) -> None:
    """Whatever writes fail half way, and even if undoing fails, no shed byte stays in a file."""
    folder = tmp_path_factory.mktemp("spool")
    expected: dict[int, bytes] = {}
    real_writev, real_truncate = os.writev, os.ftruncate
    with SpoolFolder(folder, max_open_files=1) as spool:
        for session, count, fault in steps:
            chunk = make_chunk(session, *[make_batch(2)] * count)
            with pytest.MonkeyPatch.context() as patch:
                if fault is not None:
                    written, undo_fails = fault

                    def half(fd: int, buffers: list[bytes], n: int = written) -> int:
                        data = b"".join(buffers)
                        return real_writev(fd, [data[: min(n, len(data) - 1)]])

                    def full(*_: object) -> int:
                        raise OSError(errno.ENOSPC, "full")

                    patch.setattr(os, "writev", half)
                    patch.setattr(os, "write", full)
                    patch.setattr(os, "ftruncate", full if undo_fails else real_truncate)
                (reason,) = spool.append([chunk])
            assert (reason is None) == (fault is None)
            if reason is None:
                expected[session] = expected.get(session, b"") + _bytes(chunk)
        for session in (1, 2, 3):
            name = str(UUID(int=session))
            spool.release(name)
            recovered = spool.recover(name)
            assert recovered is None or recovered.torn_frames == 0
            assert (recovered is None) == (session not in expected)
    for session, content in expected.items():
        assert (folder / f"{UUID(int=session)}.bin.gz").read_bytes() == content


def test_a_file_says_whose_it_is(
    spool: SpoolFolder, folder: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """Open, released or left by another process; of what is no file of ours nobody can tell."""
    chunk = make_chunk(1, make_batch())
    spool.append([chunk])
    assert spool.owner(ONE) == chunk.before.identity
    spool.release(ONE)
    assert spool.owner(ONE) == chunk.before.identity
    assert spool.owner(TWO) is None
    (folder / f"{TWO}.bin.gz").write_bytes(b"no member")
    (folder / f"{THREE}.bin.gz").mkdir()
    assert spool.owner(TWO) is None
    assert spool.owner(THREE) is None


def test_an_erased_session_leaves_no_file(
    spool: SpoolFolder, folder: Path, make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """Neither its own nor what was saved of it as damaged; those of others stay."""
    spool.append([make_chunk(1, make_batch()), make_chunk(2, make_batch())])
    damaged = folder / "damaged"
    damaged.mkdir()
    for name in (f"{ONE}-10.bin", f"{ONE}-10-1.bin", f"{TWO}-10.bin"):
        (damaged / name).write_bytes(b"x")
    assert spool.erase(ONE) == 3
    assert spool.erase(ONE) == 0
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert left == {f"{TWO}.bin.gz", f"{TWO}-10.bin"}
    assert not spool.holds(ONE)
    with pytest.raises(ValueError, match="no file name"):
        spool.erase("../x")
