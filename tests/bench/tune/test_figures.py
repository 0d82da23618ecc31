import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from penstock.bench.tune.fates import Fate, thinned
from penstock.bench.tune.figures import COLUMN, Told, errors, longest_gap_ms, told
from penstock.bench.tune.takes import PatientSource, Take

TAKE = PatientSource(1, 1).read(30.0)
WHOLE = told(TAKE, np.ones(len(TAKE.times), np.bool_))
CODES = [*Fate, thinned(2, 0), thinned(2, 1), thinned(4, 3)]
fates = st.lists(
    st.sampled_from([int(code) for code in CODES]),
    min_size=len(TAKE.sizes),
    max_size=len(TAKE.sizes),
)


def _row(codes: list[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return errors(TAKE, WHOLE, np.array([codes], np.uint8))[0]


def test_without_loss_there_is_no_error() -> None:
    """A session of which everything came is told as it was: all errors are 0."""
    assert WHOLE.repetitions > 0
    row = _row([Fate.WHOLE] * len(TAKE.sizes))
    assert row[COLUMN.lost] == row[COLUMN.gap_ms] == 0
    assert row[COLUMN.repetitions] == row[COLUMN.range_degrees] == row[COLUMN.tempo_ms] == 0


def test_a_figure_that_is_gone_is_wrong_by_all_of_it() -> None:
    """Who loses every frame is off by every repetition, the whole range and the whole tempo."""
    row = _row([Fate.REFUSED] * len(TAKE.sizes))
    assert row[COLUMN.lost] == row[COLUMN.due] == len(TAKE.times)
    assert row[COLUMN.repetitions] == WHOLE.repetitions
    assert row[COLUMN.range_degrees] == WHOLE.range_degrees
    assert row[COLUMN.tempo_ms] == WHOLE.tempo_ms
    assert row[COLUMN.gap_ms] == TAKE.times[-1] - TAKE.times[0]


def test_what_the_whole_does_not_tell_is_not_compared() -> None:
    """Where all frames give no range, there is no error of it, whatever is lost."""
    row = errors(TAKE, Told(0, None, None), np.zeros((1, len(TAKE.sizes)), np.uint8))[0]
    assert np.isnan(row[COLUMN.range_degrees])
    assert np.isnan(row[COLUMN.tempo_ms])


@given(fates)
@hypothesis_settings(max_examples=25)
def test_every_lost_frame_has_one_cause(codes: list[int]) -> None:
    """Lost frames are those thinned, refused, withheld and given up, and no others."""
    row = _row(codes)
    by_cause = (COLUMN.thinned, COLUMN.refused, COLUMN.withheld, COLUMN.given_up)
    assert row[COLUMN.lost] == sum(row[column] for column in by_cause)
    assert 0 <= row[COLUMN.lost] <= row[COLUMN.due] == len(TAKE.times)


@given(fates, st.integers(0, len(TAKE.sizes) - 1))
@hypothesis_settings(max_examples=25)
def test_losing_one_more_batch_never_shows_less_loss(codes: list[int], place: int) -> None:
    """A batch that is refused on top of the others adds its frames, and shortens no gap."""
    more = [*codes[:place], int(Fate.REFUSED), *codes[place + 1 :]]
    before, after = _row(codes), _row(more)
    assert after[COLUMN.lost] >= before[COLUMN.lost]
    assert after[COLUMN.gap_ms] >= before[COLUMN.gap_ms]


def test_runs_folded_together_are_the_same_as_one_by_one() -> None:
    """Many runs in one pass, equal ones among them, give what each gives alone."""
    random = np.random.default_rng(1)
    many = random.choice(np.array(CODES, np.uint8), (40, len(TAKE.sizes)))
    many[7] = many[3]
    together = errors(TAKE, WHOLE, many)
    for run in (0, 3, 7, 39):
        assert together[run].tolist() == _row(many[run].tolist()).tolist()


@pytest.mark.parametrize(
    ("kept", "gap"),
    [
        ([1, 1, 1, 1], 0),
        ([1, 0, 1, 1], 200),
        ([1, 0, 0, 1], 300),
        ([0, 1, 1, 1], 100),
        ([1, 1, 0, 0], 200),
        ([0, 0, 0, 0], 300),
    ],
)
def test_a_gap_reaches_from_a_kept_frame_to_the_next(kept: list[int], gap: int) -> None:
    """Lost frames leave the time between those around them, or to the session's edges."""
    take = Take(np.array([5, 105, 205, 305]), TAKE.values[:4], (4,), world=False, exercise=None)
    assert longest_gap_ms(take, np.array(kept, np.bool_)) == gap
