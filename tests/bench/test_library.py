import itertools

import pytest

from penstock.bench.library import Library, make_library, make_track
from penstock.bench.patients import Traits
from penstock.engine.wire import decode


@pytest.mark.parametrize("frames", [1, 10, 30])
def test_every_member_is_a_batch_and_time_goes_forward(frames: int) -> None:
    """Along a track each batch is accepted, has its frames, and begins after the one before it."""
    library = make_library(batches=7, frames_a_batch=frames, seed=3, tracks=6)
    assert library.frames_a_batch == frames
    for track in library.tracks:
        batches = [decode(member) for member in track]
        assert [batch.frame_count for batch in batches] == [frames] * 7
        times = [time for batch in batches for time in batch.timestamps_ms]
        assert all(a < b for a, b in itertools.pairwise(times))
        assert times[-1] == pytest.approx((7 * frames - 1) * 100, abs=50)


def test_sessions_are_spread_over_the_tracks_and_begin_again() -> None:
    """Neighbouring sessions send different patients, and a session that runs out starts over."""
    library = make_library(batches=5, frames_a_batch=2, seed=0, tracks=3)
    assert len({library.member(session, 2) for session in range(3)}) == 3
    assert library.member(4, 1) == library.tracks[1][1]
    assert library.member(4, 6) == library.member(4, 1)


def test_equal_arguments_make_equal_libraries() -> None:
    """A run can be repeated byte by byte, and another seed makes other patients."""
    first, again, other = (
        make_library(batches=2, frames_a_batch=3, seed=seed, tracks=4) for seed in (1, 1, 2)
    )
    assert first.tracks == again.tracks
    assert not {*itertools.chain(*first.tracks)} & {*itertools.chain(*other.tracks)}


@pytest.mark.parametrize(("batches", "tracks"), [(1, 64), (128, 64), (300, 27), (2500, 4)])
def test_the_number_of_members_is_bounded(batches: int, tracks: int) -> None:
    """However long sessions go on, about 8,192 members are made, of at least four patients."""
    library = make_library(batches=batches, frames_a_batch=1, seed=0)
    assert len(library.tracks) == tracks
    assert {len(track) for track in library.tracks} == {batches}


def test_progress_is_told() -> None:
    """Whoever waits for the library sees how far it is."""
    told: list[str] = []
    make_library(batches=1, frames_a_batch=1, seed=0, tracks=2, progress=told.append)
    assert told == ["encoding batches: track 1 of 2", "encoding batches: track 2 of 2"]


def test_a_long_track_is_several_recordings() -> None:
    """Beyond what one recording holds, time still goes forward, and nothing is repeated."""
    track = make_track(Traits(), batches=300, frames_a_batch=100, seed=0)
    times = [time for member in track for time in decode(member).timestamps_ms]
    assert len(times) == 30_000
    assert all(a < b for a, b in itertools.pairwise(times))
    assert len(set(track)) == 300


def test_the_mean_size_is_that_of_the_members() -> None:
    """What a report says about the size of bodies is what is sent."""
    assert Library(((b"12", b"3456"), (b"", b"12")), 1).member_bytes == 2.0


@pytest.mark.parametrize(("batches", "frames", "tracks"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_an_empty_library_is_refused(batches: int, frames: int, tracks: int) -> None:
    """A library without batches, frames or tracks is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one"):
        make_library(batches=batches, frames_a_batch=frames, seed=0, tracks=tracks)
