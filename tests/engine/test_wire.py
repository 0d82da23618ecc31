import gzip
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.engine import wire
from penstock.engine.wire import FrameBatch, WireError, WireFault, decode, encode, peek_frame_count

landmarks = st.integers(1, 4).flatmap(
    lambda n: hnp.arrays(np.dtype("<f4"), (n, 33, 4), elements=st.floats(width=32), fill=st.just(0))
)
times = st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4).map(sorted)


def _block(frames: int = 2, version: int = 1, timestamps: tuple[int, ...] | None = None) -> bytes:
    at = tuple(range(frames)) if timestamps is None else timestamps
    head = struct.pack("<BII", version, frames, 10)
    return head + bytes(528 * frames) + struct.pack(f"<{len(at)}I", *at)


def _gz(block: bytes) -> bytes:
    return wire.compress(block)


def _fault(member: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        decode(member)
    assert str(caught.value) == caught.value.detail
    return caught.value


@given(landmarks, times, st.integers(0, 2**32 - 1))
def test_what_is_encoded_is_decoded(
    points: npt.NDArray[np.float32], at: list[int], fps: int
) -> None:
    """Every batch comes back bit for bit, not a number included, and keeps its member."""
    at = at[: len(points)]
    member = encode(points, at, fps_hint=fps)
    batch = decode(member)
    assert batch.frame_count == len(points) == peek_frame_count(member)
    assert batch.fps_hint == fps
    assert batch.timestamps_ms == tuple(at)
    assert batch.landmarks.tobytes() == points.tobytes()
    assert batch.member is member
    assert batch.payload == gzip.decompress(member)
    assert batch.landmark_bytes == 528 * len(points)
    assert batch.held_bytes == len(member) + len(batch.payload)


def test_landmarks_are_a_view() -> None:
    """The landmarks share the payload's memory and cannot be written to."""
    batch = decode(_gz(_block()))
    payload = np.frombuffer(batch.payload, np.uint8)
    assert np.shares_memory(batch.landmarks, payload)
    assert not batch.landmarks.flags.writeable
    assert batch.landmarks.dtype == np.float32


def test_values_that_are_not_finite_are_untracked_not_malformed() -> None:
    """A landmark with any infinite or missing value is marked, the others are not."""
    points = np.zeros((2, 33, 4), "<f4")
    points[0, 5, 0] = np.nan
    points[1, 7, 3] = np.inf
    points[1, 8, 1] = -np.inf
    marked = wire.untracked(decode(encode(points, [0, 1])).landmarks)
    assert list(zip(*np.nonzero(marked), strict=True)) == [(0, 5), (1, 7), (1, 8)]


_RANDOM = np.random.default_rng(1).bytes(wire.MAX_MEMBER_BYTES)

FAULTS: dict[WireFault, bytes] = {
    WireFault.BODY_EMPTY: b"",
    WireFault.MEMBER_TOO_LARGE: _gz(_RANDOM),
    WireFault.NOT_GZIP: b"PK\x03\x04 is something else",
    WireFault.GZIP_CORRUPT: _gz(_block())[:-8] + bytes(8),
    WireFault.GZIP_TRUNCATED: _gz(_block())[:-1],
    WireFault.SEVERAL_MEMBERS: _gz(_block()) * 2,
    WireFault.TRAILING_BYTES: _gz(_block()) + b"\x00",
    WireFault.INFLATED_TOO_LARGE: _gz(bytes(wire.MAX_INFLATED_BYTES + 1)),
    WireFault.HEADER_TRUNCATED: _gz(_block()[:8]),
    WireFault.VERSION_UNSUPPORTED: _gz(_block(version=2)),
    WireFault.FRAME_COUNT_ZERO: _gz(_block(0)),
    WireFault.LENGTH_MISMATCH: _gz(_block() + b"\x00"),
    WireFault.TIMESTAMPS_BACKWARDS: _gz(_block(3, timestamps=(5, 9, 8))),
}


@pytest.mark.parametrize("fault", list(WireFault))
def test_every_fault_is_told_apart(fault: WireFault) -> None:
    """Each way to be wrong has its own code."""
    assert _fault(FAULTS[fault]).fault is fault


def test_faults_tell_the_limit_and_what_was_seen() -> None:
    """A refusal carries the facts that its answer needs."""
    assert _fault(FAULTS[WireFault.MEMBER_TOO_LARGE]).facts["limit"] == 65_536
    assert _fault(FAULTS[WireFault.INFLATED_TOO_LARGE]).facts["limit"] == 1 << 20
    assert _fault(FAULTS[WireFault.VERSION_UNSUPPORTED]).facts == {"seen": 2, "supported": 1}
    assert _fault(FAULTS[WireFault.LENGTH_MISMATCH]).facts == {"expected": 1073, "seen": 1074}
    assert _fault(FAULTS[WireFault.TRAILING_BYTES]).facts == {"seen": 1}
    backwards = _fault(FAULTS[WireFault.TIMESTAMPS_BACKWARDS])
    assert backwards.facts == {"frame": 2, "seen": 8, "previous": 9}
    assert backwards.frames == 3


def test_limits_are_inclusive() -> None:
    """A body of exactly the largest size, and equal times, are accepted."""
    batch = decode(_gz(_block(3, timestamps=(7, 7, 7))))
    assert batch.timestamps_ms == (7, 7, 7)
    frames = (wire.MAX_INFLATED_BYTES - 9) // 532
    assert decode(_gz(_block(frames))).frame_count == frames
    padded = zlib.compressobj(0, zlib.DEFLATED, 31)
    stored = padded.compress(_RANDOM[:65_000]) + padded.flush()
    assert _fault(stored).fault is not WireFault.MEMBER_TOO_LARGE


def test_a_cut_at_every_byte_is_truncation() -> None:
    """A body that ends early anywhere is told as such; its claim is read once it can be."""
    member = encode(np.random.default_rng(2).random((2, 33, 4)), [0, 100])
    for cut in range(1, len(member)):
        assert _fault(member[:cut]).fault is WireFault.GZIP_TRUNCATED
        assert peek_frame_count(member[:cut]) in {0, 2}
    assert peek_frame_count(member[:200]) == 2


def test_a_flipped_bit_anywhere_is_a_fault_or_the_same_batch() -> None:
    """A wrong bit never changes a batch unnoticed: only gzip's own unused fields may differ."""
    member = encode(np.random.default_rng(3).random((1, 33, 4)), [0])
    whole = decode(member)
    for bit in range(len(member) * 8):
        broken = bytearray(member)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            batch = decode(bytes(broken))
        except WireError:
            continue
        assert batch.payload == whole.payload


@given(st.binary(max_size=400), st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00"]))
def test_arbitrary_bytes_are_a_batch_or_the_typed_error(body: bytes, head: bytes) -> None:
    """Nothing but FrameBatch and WireError leaves the decoder, and peeking never fails."""
    with suppress(WireError):
        assert isinstance(decode(head + body), FrameBatch)
    assert peek_frame_count(head + body) >= 0


@given(st.binary(max_size=1200), st.integers(0, 3), st.integers(0, 2))
def test_arbitrary_blocks_are_a_batch_or_the_typed_error(
    rest: bytes, frames: int, version: int
) -> None:
    """The same inside a sound gzip member; and an accepted batch is the one that was peeked at."""
    member = _gz(struct.pack("<BII", version, frames, 10) + rest)
    try:
        batch = decode(member)
    except WireError:
        assert peek_frame_count(member) in {0, frames}
    else:
        assert peek_frame_count(member) == batch.frame_count


def test_peeking_believes_only_claims_that_could_be_kept() -> None:
    """A count that no acceptable batch could hold, or another version's, counts as none."""
    for head in (
        struct.pack("<BII", 1, 2**32 - 1, 10),
        struct.pack("<BII", 1, wire.MAX_INFLATED_BYTES // 532 + 1, 10),
        struct.pack("<BII", 2, 3, 10),
    ):
        assert peek_frame_count(_gz(head)) == 0
    assert peek_frame_count(_gz(struct.pack("<BII", 1, 3, 10))) == 3
    assert peek_frame_count(b"") == peek_frame_count(b"nothing") == 0


def test_a_gzip_bomb_costs_no_more_than_the_largest_batch() -> None:
    """A body that would inflate to 60 MiB is refused after a little more than one MiB of it."""
    bomb = _gz(bytes(60 << 20))
    assert len(bomb) < wire.MAX_MEMBER_BYTES
    tracemalloc.start()
    try:
        assert _fault(bomb).fault is WireFault.INFLATED_TOO_LARGE
        assert peek_frame_count(bomb) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("points", "at"),
    [
        (np.zeros((2, 33)), [0, 1]),
        (np.zeros((2, 32, 4)), [0, 1]),
        (np.zeros((2, 33, 4)), [0]),
        (np.zeros((2, 33, 4)), [-1, 0]),
        (np.zeros((2, 33, 4)), [0, 2**32]),
    ],
)
def test_the_encoder_refuses_what_has_no_wire_form(
    points: npt.NDArray[np.float64], at: list[int]
) -> None:
    """Wrong shapes and times outside 32 bits are errors, not other batches."""
    with pytest.raises(ValueError, match=r"landmarks must|need as many|must fit"):
        encode(points, at)


def test_equal_input_gives_equal_bytes() -> None:
    """A member carries no time stamp, so that a repeated request is the same request."""
    assert _gz(b"same") == _gz(b"same")


@given(frames=st.integers(1, 40), keep_every=st.integers(2, 10), first=st.integers(0, 9))
def test_a_thinned_batch_is_a_batch_of_every_so_manieth_frame(
    frames: int, keep_every: int, first: int
) -> None:
    """It decodes like a client's own, and holds exactly those frames and times."""
    first %= frames
    points = np.arange(frames * 33 * 4, dtype="<f4").reshape(frames, 33, 4)
    whole = wire.decode(wire.encode(points, [7 * n for n in range(frames)], fps_hint=30))
    kept = wire.thinned(whole, keep_every, first)
    assert kept is not None
    assert wire.decode(kept.member) == kept
    assert kept.fps_hint == 30
    assert kept.timestamps_ms == whole.timestamps_ms[first::keep_every]
    np.testing.assert_array_equal(kept.landmarks, points[first::keep_every])


def test_a_long_batch_is_compressed_when_it_is_thinned() -> None:
    """Its frames do not fit into a member as they are; compressed they do."""
    whole = wire.decode(wire.encode(np.zeros((1900, 33, 4)), range(1900)))
    kept = wire.thinned(whole, 2, 0)
    assert kept is not None
    assert len(kept.payload) > wire.MAX_MEMBER_BYTES >= len(kept.member)


def test_what_fits_into_no_member_is_not_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that a better compressor than ours squeezed into its member stays whole."""
    whole = wire.decode(wire.encode(np.random.default_rng(1).random((20, 33, 4)), range(20)))
    monkeypatch.setattr(wire, "MAX_MEMBER_BYTES", 1000)
    assert wire.thinned(whole, 2, 0) is None
