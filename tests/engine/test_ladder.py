from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.ladder import Ladder, Rung
from penstock.engine.policy import DEFAULT_POLICY, Policy

levels = st.one_of(
    st.floats(0, 100), st.sampled_from([0.0, 34.9, 35.0, 49.9, 50.0, 69.9, 70.0, 89.9, 90.0, 100.0])
)


def _policy(*numbers: float, dwell: float) -> Policy:
    low, middle, high, top = sorted(numbers[:4])
    return Policy(
        thin_at=middle,
        thin_until=low,
        refuse_at=high,
        refuse_until=low + (high - low) * numbers[4],
        refuse_bulk_at=top,
        refuse_bulk_until=low + (top - low) * numbers[4],
        dwell_seconds=dwell,
    )


policies = st.builds(
    lambda numbers, dwell: _policy(*numbers, dwell=dwell),
    st.tuples(*[st.floats(0, 100)] * 4, st.floats(0, 1)),
    st.floats(0.1, 10),
)


@given(policies, st.lists(st.tuples(levels, st.floats(0.001, 2)), max_size=120))
def test_it_never_steps_more_often_than_the_bound(
    policy: Policy, series: list[tuple[float, float]]
) -> None:
    """In the first T seconds at most 2 * floor(T / dwell) + 3 steps; in any other T, two more."""
    ladder, now, changes = Ladder(policy), 0.0, list[tuple[float, int]]()
    for level, pause in series:
        now += pause
        before = ladder.rung
        after = ladder.climb(level, now)
        changes.append((now, abs(after - before)))
        assert after >= before - 1
    for first, (start, _) in enumerate(changes):
        steps = 0
        for at, size in changes[first:]:
            steps += size
            # The rounding of the sums of pauses, in the direction of the bound.
            allowed = 2 * int((at - start) / policy.dwell_seconds + 1e-9) + 5
            assert steps <= allowed
    total = sum(size for _, size in changes)
    assert total <= 2 * int(now / policy.dwell_seconds + 1e-9) + 3


def _worst_steps(policy: Policy, dwells: int) -> int:
    """Let the level always be what makes the ladder step soonest; count the steps."""
    ladder, steps = Ladder(policy), 0
    for number in range(1, 16 * dwells + 1):
        before = ladder.rung
        level = 100.0 if before is Rung.CALM else 0.0
        steps += abs(ladder.climb(level, number * policy.dwell_seconds / 16) - before)
    return steps


@given(policies)
def test_no_adversary_gets_over_the_bound(policy: Policy) -> None:
    """A level that always does what hurts most makes at most the bound's steps."""
    assert _worst_steps(policy, 20) <= 2 * 20 + 3


def test_the_bound_is_no_looser_than_it_must_be() -> None:
    """The same adversary does make most of the steps that the bound allows."""
    assert _worst_steps(DEFAULT_POLICY.changed({"dwell_seconds": 1.0}), 20) >= 30


@given(policies, st.lists(st.tuples(levels, st.floats(0.01, 5)), max_size=60))
def test_up_is_at_once_and_down_is_earned(
    policy: Policy, series: list[tuple[float, float]]
) -> None:
    """It is never below what the level asks; a step down follows a whole dwell below the end."""
    at = (policy.thin_at, policy.refuse_at, policy.refuse_bulk_at)
    until = (float("-inf"), policy.thin_until, policy.refuse_until, policy.refuse_bulk_until)
    ladder, now, seen = Ladder(policy), 0.0, list[tuple[float, float, Rung]]()
    for level, pause in series:
        now += pause
        rung = ladder.climb(level, now)
        assert rung >= sum(level >= threshold for threshold in at)
        seen.append((now, level, rung))
    for (_, _, before), (moment, _, after) in pairwise(seen):
        if after < before:
            window = [(t, low) for t, low, _ in seen if t <= moment]
            below = []
            for t, low in reversed(window):
                if low >= until[before]:
                    break
                below.append(t)
            assert moment - below[-1] >= policy.dwell_seconds


def test_it_climbs_over_rungs_and_comes_down_one_by_one() -> None:
    """From calm to the top in one reading, and back in three dwells."""
    ladder = Ladder(DEFAULT_POLICY)
    assert ladder.climb(95, 0.0) is Rung.REFUSE_BULK
    rungs = [ladder.climb(10, second) for second in range(1, 11)]
    assert [rungs.index(rung) + 1 for rung in (Rung.REFUSE, Rung.THIN, Rung.CALM)] == [4, 7, 10]


def test_a_break_begins_the_dwell_anew() -> None:
    """One reading at the rung's end is a break."""
    ladder = Ladder(DEFAULT_POLICY)
    ladder.climb(60, 0.0)
    ladder.climb(34.9, 1.0)
    ladder.climb(35.0, 3.9)
    assert ladder.climb(34.9, 4.0) is Rung.THIN
    assert ladder.climb(34.9, 6.9) is Rung.THIN
    assert ladder.climb(34.9, 7.0) is Rung.CALM


def test_an_edit_moves_the_rung_at_once() -> None:
    """Lowered thresholds are climbed, raised ends are left, and other edits change no rung."""
    ladder = Ladder(DEFAULT_POLICY)
    ladder.climb(45, 0.0)
    assert ladder.adopt(DEFAULT_POLICY.changed({"thin_at": 40}), 0.1) is Rung.THIN
    assert ladder.adopt(DEFAULT_POLICY, 0.2) is Rung.THIN
    ladder.climb(30, 0.3)
    assert ladder.adopt(DEFAULT_POLICY.changed({"keep_every": 5}), 0.4) is Rung.THIN
    assert ladder.adopt(DEFAULT_POLICY.changed({"thin_until": 31}), 0.5) is Rung.CALM


def test_a_fork_stands_where_the_ladder_stands() -> None:
    """A scope's own policy goes on from the rung and the wait of the one before."""
    ladder = Ladder(DEFAULT_POLICY)
    ladder.climb(60, 0.0)
    ladder.climb(10, 1.0)
    other = ladder.fork(DEFAULT_POLICY, 2.0)
    assert other.rung is Rung.THIN
    assert other.climb(10, 4.0) is Rung.CALM
    assert ladder.rung is Rung.THIN
