import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.engine import rate
from penstock.engine.rate import TokenBuckets

# Also the clock of a machine that has been up for a year.
starts = st.sampled_from([0.0, 12.5, 86_400.0 * 365])
steps = st.lists(st.floats(0, 10), min_size=1, max_size=60)
rates = st.sampled_from([0.1, 1.0, 1.25, 7.0, 1000.0])
bursts = st.sampled_from([1.0, 2.0, 5.0, 50.0])


@given(starts, steps, rates, bursts)
def test_the_answers_are_those_of_a_bucket_of_tokens(
    start: float, waits: list[float], per_second: float, burst: float
) -> None:
    """A key passes exactly when a bucket, filled at the rate and never over its burst, has one."""
    buckets, tokens, now = TokenBuckets(), burst, start
    for wait in waits:
        now += wait
        tokens = min(burst, tokens + wait * per_second)
        answer = buckets.take_nowait("k", now, per_second, burst)
        if abs(tokens - 1.0) < 1e-4:  # on the edge the two may round differently
            tokens = tokens - 1.0 if answer == 0.0 else tokens
        elif tokens > 1.0:
            assert answer == 0.0
            tokens -= 1.0
        else:
            assert answer == pytest.approx((1.0 - tokens) / per_second, abs=1e-4)


@given(starts, st.floats(0, 3), rates, bursts)
@example(86_400.0 * 365, 0.123456789, 1.25, 5.0)
def test_the_wait_that_is_told_is_honest(
    start: float, later: float, per_second: float, burst: float
) -> None:
    """Waiting exactly as long as told is enough; a hair less is not."""

    def emptied() -> tuple[TokenBuckets, float]:
        buckets = TokenBuckets()
        while (wait := buckets.take_nowait("k", start, per_second, burst)) == 0.0:
            pass
        return buckets, min(later, wait * 0.9)

    buckets, pause = emptied()
    wait = buckets.take_nowait("k", start + pause, per_second, burst)
    assert wait > 0
    hair = 1e-5
    if wait > 2 * hair:
        assert buckets.take_nowait("k", start + pause + wait - hair, per_second, burst) > 0
    assert buckets.take_nowait("k", start + pause + wait, per_second, burst) == 0.0


def test_a_client_whose_clock_is_a_little_fast_never_starves() -> None:
    """An hour at 1.02 batches a second passes a rate of 1.25 without one refusal."""
    buckets = TokenBuckets()
    assert not any(buckets.take_nowait("k", n / 1.02, 1.25, 5) for n in range(3600))


def test_a_refusal_costs_nothing() -> None:
    """Asking while there is no token does not put the next one off."""
    buckets = TokenBuckets()
    assert buckets.take_nowait("k", 0.0, 1.0, 1) == 0.0
    for tenth in range(1, 10):
        assert buckets.take_nowait("k", tenth / 10, 1.0, 1) == pytest.approx(1 - tenth / 10)
    assert buckets.take_nowait("k", 1.0, 1.0, 1) == 0.0


def test_keys_do_not_share_a_bucket() -> None:
    """What one key has used up, another still has."""
    buckets = TokenBuckets()
    assert buckets.take_nowait("a", 0.0, 1.0, 1) == 0.0
    assert buckets.take_nowait("a", 0.0, 1.0, 1) > 0
    assert buckets.take_nowait("b", 0.0, 1.0, 1) == 0.0


def test_the_table_holds_only_who_sent_lately() -> None:
    """A hundred thousand keys one after another leave a table of those whose bucket is not full."""
    buckets = TokenBuckets()
    for number in range(100_000):
        buckets.take_nowait(str(number), number / 1000, 1.25, 5)
        # A key is full again after 0.8 s, in which 800 others come.
        assert len(buckets) <= rate._SWEEP_EVERY + 800
