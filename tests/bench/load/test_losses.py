import pickle
from typing import cast

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock.bench.load.losses import LossTable, SessionLoss, spread, unfair_share
from penstock.bench.report.models import SessionLosses

# A batch's frames, and how many of them are kept.
BATCHES = st.lists(
    st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=30
)
SESSIONS = st.lists(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1
)


def _session(*batches: tuple[int, int], org: int = 0) -> SessionLoss:
    loss = SessionLoss(org)
    for frames, kept in batches:
        loss.conclude(frames, kept)
    return loss


def _spread(*sessions: SessionLoss, frame_ms: float = 100.0) -> SessionLosses:
    return cast("SessionLosses", spread([LossTable.of(sessions)], frame_ms=frame_ms))


def _columns(sessions: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    due, lost = zip(*sessions, strict=True)
    return np.array(due, dtype=np.float64), np.array(lost, dtype=np.float64)


@given(BATCHES)
def test_the_longest_run_is_that_of_the_frames_themselves(batches: list[tuple[int, int]]) -> None:
    """What is counted batch by batch is what one would find by laying all the frames out."""
    whole = [(frames, kept) for frames, kept in batches if kept in (0, frames)]
    laid_out = "".join(("x" if kept == 0 else ".") * frames for frames, kept in whole)
    found = _session(*whole)
    assert found.longest_run == max(map(len, laid_out.split(".")))
    assert (found.due, found.kept) == (len(laid_out), laid_out.count("."))


@given(BATCHES.filter(bool), st.integers(1, 60))
def test_a_batch_passed_over_comes_after_the_one_ahead(
    batches: list[tuple[int, int]], passed: int
) -> None:
    """Given up before the one ahead has its outcome, it counts as if it had been lost after it."""
    early, late = SessionLoss(0), SessionLoss(0)
    for loss in (early, late):
        for frames, kept in batches[:-1]:
            loss.conclude(frames, kept)
    early.pass_over(passed)
    early.conclude(*batches[-1])
    late.conclude(*batches[-1])
    late.conclude(passed, 0)
    for loss in (early, late):
        loss.conclude(10, 0)
    assert [early.due, early.kept, early.longest_run] == [late.due, late.kept, late.longest_run]


def test_thinning_makes_no_gap_beyond_its_step() -> None:
    """Every second frame kept is a gap of two frames' time, however many batches are thinned."""
    assert _spread(_session(*[(10, 5)] * 40)).gap_max_ms == 200
    assert _spread(_session(*[(10, 4)] * 40)).gap_max_ms == 300


def test_a_gap_is_what_lies_between_two_kept_frames() -> None:
    """Of two batches of ten lost in a row it is 2.1 s; of none lost it is nothing."""
    found = _spread(_session((10, 10), (10, 0), (10, 0), (10, 10)), _session((10, 10)))
    assert (found.gap_max_ms, found.gap_median_ms) == (2100, 1050)


@given(SESSIONS, st.integers(1, 50))
def test_equal_shares_are_fair(sessions: list[tuple[int, int]], lost: int) -> None:
    """When each session loses the same share of its own frames, nothing would have to be moved."""
    due, _ = _columns(sessions)
    assert unfair_share(due, due * lost / 50) == pytest.approx(0, abs=1e-9)


@given(SESSIONS, st.data())
def test_moving_what_is_told_makes_it_fair(
    sessions: list[tuple[int, int]], data: st.DataObject
) -> None:
    """The share is the least that must change hands: as much is missing below as is above."""
    due, lost = _columns(sessions)
    assume(lost.sum() > 0)
    fairest = due * lost.sum() / due.sum()
    moved = unfair_share(due, lost) * lost.sum()
    assert 0 <= moved <= lost.sum()
    assert moved == pytest.approx(np.maximum(fairest - lost, 0).sum(), abs=1e-6)
    order = data.draw(st.permutations(range(len(sessions))))
    assert unfair_share(due[order], lost[order]) == pytest.approx(unfair_share(due, lost))


def test_one_session_that_bears_it_all_is_unfair() -> None:
    """Of ten equal sessions, nine tenths of what one lost alone belong to the others."""
    lost = np.zeros(10)
    lost[3] = 50
    assert unfair_share(np.full(10, 100.0), lost) == pytest.approx(0.9)
    assert unfair_share(np.full(10, 100.0), np.zeros(10)) == 0


def test_the_others_are_apart() -> None:
    """Of several organisations, those beside the first can be summed up alone."""
    table = LossTable.of([_session((10, 0)), _session((10, 9), org=1), _session((10, 10), org=2)])
    others = spread([table], frame_ms=100, others=True)
    assert others is not None
    assert (others.sessions, others.frames_due, others.frames_lost) == (2, 20, 1)
    assert spread([LossTable.of([_session((10, 0))])], frame_ms=100, others=True) is None


def test_many_sessions_are_few_places() -> None:
    """The shares of the report are ascending, from the least to the most, and not too many."""
    sessions = [_session((1000, 1000 - n % 1000)) for n in range(5000)]
    found = _spread(*sessions)
    assert found.shares == sorted(found.shares)
    assert len(found.shares) == 201
    assert (found.shares[0], found.shares[-1]) == (found.share_min, found.share_max) == (0, 0.999)


def test_sessions_without_frames_have_no_share() -> None:
    """Who never had anything to send is not in the table, and the table travels."""
    table = LossTable.of([_session(), _session((10, 10))])
    assert pickle.loads(pickle.dumps(table)) == table  # noqa: S301  it is our own
    found = spread([table, LossTable()], frame_ms=100)
    assert found is not None
    assert (found.sessions, found.share_max) == (1, 0)
    assert spread([LossTable()], frame_ms=100) is None
