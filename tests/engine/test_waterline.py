import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.ladder import Rung
from penstock.engine.policy import DEFAULT_POLICY
from penstock.engine.waterline import Waterline

rungs = st.sampled_from(Rung)
moves = st.lists(
    st.tuples(
        rungs,
        st.floats(0, 100),
        st.floats(0, 2),
        st.integers(0, 10**6),
        st.integers(0, 10**5),
        st.floats(0, 200) | st.none(),
    ),
    max_size=60,
)
budgets = st.sampled_from([0.0, 5.0, 40.0, 100.0])


@given(moves, budgets)
def test_it_stays_at_the_budget_unless_it_is_in_overdraft(
    series: list[tuple[Rung, float, float, int, int, float | None]], budget: float
) -> None:
    """Whatever it is told, it is 0 when calm, never above the budget, and never above all."""
    policy = DEFAULT_POLICY.changed({"loss_percent": budget})
    line = Waterline()
    for rung, level, dt, due, offered, needed in series:
        if needed is None:
            line.gave()
        else:
            line.spared(needed)
        line.move(policy, rung, level, dt=dt, due=due, offered=offered)
        assert 0.0 <= line.height <= 100.0
        assert line.share == line.height / 100
        assert line.overdraft or line.height <= budget
        assert (
            not line.overdraft
            or (rung >= Rung.REFUSE and line.height >= budget)
            or (level >= policy.refuse_at)
        )
        assert rung is not Rung.CALM or (line.height == 0.0 and not line.at_budget)
        assert line.at_budget is (rung is not Rung.CALM and line.height >= budget)
        assert line.run >= 1


def _hold(
    line: Waterline, rung: Rung, level: float, seconds: float, *, age: float, loss: float = 5.0
) -> None:
    policy = DEFAULT_POLICY.changed({"loss_percent": loss})
    for _ in range(round(seconds * 10)):
        line.gave()
        line.move(policy, rung, level, dt=0.1, due=round(age * 1000), offered=100)


def test_it_rises_above_the_threshold_and_falls_below_it() -> None:
    """At the rung's own threshold or above it rises, below it falls."""
    line = Waterline()
    _hold(line, Rung.THIN, 55, 5, age=100, loss=100)
    risen = line.height
    _hold(line, Rung.THIN, 50, 1, age=100, loss=100)
    assert line.height > risen > 0
    risen = line.height
    _hold(line, Rung.REFUSE, 55, 1, age=100, loss=100)  # 55 is above THIN's, below REFUSE's
    assert 0 < line.height < risen


def test_old_sessions_are_asked_for_as_much_as_young_ones() -> None:
    """The rise times what was due so far, which is what it yields, does not depend on the age."""
    yields = []
    for age in (20.0, 200.0, 2000.0):
        line = Waterline()
        _hold(line, Rung.THIN, 52, 1, age=age)
        yields.append(line.height * age)
    assert yields == pytest.approx([yields[0]] * 3, rel=0.05)


def test_it_never_falls_faster_than_new_frames_dilute_the_shares() -> None:
    """When nothing is wanted, it falls as the share of a session that gives nothing does."""
    line = Waterline()
    _hold(line, Rung.THIN, 100, 5, age=100, loss=100)
    before = line.height
    _hold(line, Rung.THIN, 0, 10, age=100, loss=100)
    assert line.height == pytest.approx(before * (1 - 0.1 / 100) ** 100)


def test_the_overdraft_is_granted_after_a_whole_dwell_and_ends_with_the_need() -> None:
    """Not before the line stood at the budget for so long; and no longer than the need lasts."""
    line = Waterline()
    _hold(line, Rung.REFUSE, 72, 60, age=5, loss=5)
    assert line.overdraft
    line = Waterline()
    for _ in range(1000):
        _hold(line, Rung.REFUSE, 72, 0.1, age=5)
        if line.at_budget:
            break
    _hold(line, Rung.REFUSE, 72, DEFAULT_POLICY.dwell_seconds - 0.2, age=5)
    assert not line.overdraft
    _hold(line, Rung.REFUSE, 72, 0.3, age=5)
    assert line.overdraft
    _hold(line, Rung.REFUSE, 72, 1, age=5)
    assert line.height > 5
    _hold(line, Rung.REFUSE, 51, 60, age=5)
    assert not line.overdraft
    assert line.height <= 5


def test_a_break_in_the_need_begins_the_dwell_anew() -> None:
    """One reading below `refuse_at` while the line stands at the budget puts the overdraft off."""
    line = Waterline()
    policy = DEFAULT_POLICY.changed({"loss_percent": 0})
    for level in [70.0] * 29 + [69.9] + [70.0] * 29:
        line.move(policy, Rung.REFUSE, level, dt=0.1, due=1000, offered=100)
    assert not line.overdraft


def test_thinning_alone_never_overdraws() -> None:
    """Below REFUSE the budget holds, however high the level."""
    line = Waterline()
    _hold(line, Rung.THIN, 100, 600, age=5)
    assert line.height == 5.0
    assert not line.overdraft


def test_a_line_below_all_sessions_is_lifted_to_the_nearest() -> None:
    """When batches come and none gives for a second, the next one that could, will."""
    line = Waterline()
    for _ in range(5):
        line.spared(3.5)
        line.spared(4.5)
        line.move(DEFAULT_POLICY, Rung.THIN, 60, dt=0.1, due=10**9, offered=1000)
    assert line.height == pytest.approx(3.5, abs=0.05)
    line.move(DEFAULT_POLICY, Rung.CALM, 0, dt=0.1, due=10**9, offered=1000)
    assert line.height == 0.0


def test_the_run_is_what_an_even_spread_needs() -> None:
    """At a wanted half, every other batch; at four fifths, four in a row; never endless."""
    line = Waterline()
    runs = []
    for wanted in (50, 80, 100):
        line.height = 0.0
        line.move(DEFAULT_POLICY, Rung.THIN, 50 + wanted / 5, dt=0.0, due=10, offered=10)
        runs.append(line.run)
    assert runs[:2] == [1, 4]
    assert runs[2] == 600


def test_an_edit_of_the_budget_bounds_the_line_at_once() -> None:
    """A smaller budget takes the line down with it; one that is raised above it ends overdraft."""
    line = Waterline()
    _hold(line, Rung.THIN, 100, 100, age=50)
    line.adopt(DEFAULT_POLICY.changed({"loss_percent": 2}), Rung.THIN, Rung.THIN)
    assert line.height == 2.0
    _hold(line, Rung.REFUSE, 80, 20, age=50)
    assert line.overdraft
    line.adopt(DEFAULT_POLICY.changed({"loss_percent": 100}), Rung.REFUSE, Rung.REFUSE)
    assert not line.overdraft


def test_the_longest_gap_does_not_put_the_overdraft_off() -> None:
    """Where everything was wanted for a dwell, the line need not have come to the budget by itself.

    Old sessions yield so much that the line hardly moves, and can yet give only every other batch.
    """
    line = Waterline()
    _hold(line, Rung.REFUSE, 100, DEFAULT_POLICY.dwell_seconds - 0.2, age=3600)
    assert not line.overdraft
    assert line.height < 1
    _hold(line, Rung.REFUSE, 100, 0.4, age=3600)
    assert line.overdraft
    assert line.height >= 5


def test_an_edit_takes_back_what_another_asked_for_only_if_it_wants_less() -> None:
    """Whoever has budget goes on giving until the next reading, if neither rung nor line fell."""
    line = Waterline()
    _hold(line, Rung.THIN, 52, 1, age=1000)
    line.adopt(DEFAULT_POLICY, Rung.THIN, Rung.REFUSE)
    assert line.at_budget
    line.adopt(DEFAULT_POLICY.changed({"keep_every": 4}), Rung.REFUSE, Rung.REFUSE)
    assert line.at_budget
    line.adopt(DEFAULT_POLICY, Rung.REFUSE, Rung.THIN)
    assert not line.at_budget
    line.adopt(DEFAULT_POLICY, Rung.THIN, Rung.REFUSE)
    _hold(line, Rung.REFUSE, 72, 0.1, age=1000)
    assert not line.at_budget
