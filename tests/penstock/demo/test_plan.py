from hypothesis import given
from hypothesis import strategies as st

from penstock.demo.plan import Phase, Plan

_PLANS = st.builds(
    Plan, st.integers(1, 500), st.integers(500, 2000), st.floats(10, 3600, allow_nan=False)
)


@given(_PLANS, st.floats(0, 1))
def test_patients_come_and_go_between_the_two_numbers(plan: Plan, share: float) -> None:
    """There are never fewer than the steady patients, nor more than the rush hour's."""
    assert plan.patients <= plan.wanted(share * plan.seconds) <= plan.most


@given(_PLANS)
def test_it_begins_and_ends_calmly(plan: Plan) -> None:
    """The load rises from what it is at the beginning, stays at the peak, and falls back to it."""
    ends = [plan.wanted(0.0), plan.wanted(plan.seconds * 0.999), plan.wanted(plan.seconds * 2)]
    assert ends == [plan.patients] * 3
    assert plan.wanted(plan.seconds * 0.5) == plan.most
    rising = [plan.wanted(plan.seconds * share / 100) for share in range(10, 42)]
    assert rising == sorted(rising)
    falling = [plan.wanted(plan.seconds * share / 100) for share in range(65, 100)]
    assert falling == sorted(falling, reverse=True)


@given(_PLANS)
def test_every_phase_has_its_time(plan: Plan) -> None:
    """The phases come in their order, each of them once."""
    seen = [plan.phase(plan.seconds * share / 1000) for share in range(1001)]
    assert list(dict.fromkeys(seen)) == list(Phase)
    assert seen == sorted(seen, key=list(Phase).index)
