from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.errors import BenchError
from penstock.bench.load.plan import (
    CLOSING_ENDS_PER_SECOND,
    HOSTILE,
    Kind,
    check_plan,
    connections_of,
)
from penstock.bench.load.schedule import Due, Schedule
from penstock.bench.report.models import LoadPlan

MakePlan = Callable[..., LoadPlan]
ROUTES = frozenset({Kind.MEDIA, Kind.END})

PLANS = st.builds(
    LoadPlan,
    sessions=st.integers(1, 40),
    ramp_seconds=st.floats(0, 20),
    seconds=st.floats(1, 60),
    interval_seconds=st.floats(0.2, 3),
    jitter=st.floats(0, 0.5),
    frames_a_batch=st.just(10),
    connections=st.none(),
    reconnect_share=st.floats(0, 1),
    offline_seconds=st.floats(0, 10),
    hostile_share=st.floats(0, 0.5),
    media=st.booleans(),
    ends=st.booleans(),
    processes=st.integers(1, 3),
    seed=st.integers(0, 1 << 40),
)


def _all(plan: LoadPlan) -> list[list[Due]]:
    schedule = Schedule(plan, ROUTES)
    return [list(schedule.moments(session)) for session in range(plan.sessions)]


@given(PLANS)
def test_equal_plans_are_equal_schedules(plan: LoadPlan) -> None:
    """All that is random follows from the plan and its seed, in whatever process."""
    assert _all(plan) == _all(plan)


def test_live_clients_end_one_after_the_other(plan: MakePlan) -> None:
    """The ends that close the run come after its last batch, never more at once than there may."""
    made = plan(ends=True, ends_per_second=5.0, seconds=4, connections=None, live_clients=True)
    moments = [due for session in _all(made) for due in session]
    stop = made.ramp_seconds + made.seconds
    closing = sorted(due.at for due in moments if due.kind is Kind.CLOSING)
    assert len(closing) == made.sessions
    assert closing[0] > stop
    assert all(b - a > 0.99 / CLOSING_ENDS_PER_SECOND for a, b in pairwise(closing))
    assert all(due.at < stop for due in moments if due.kind is not Kind.CLOSING)
    assert sum(due.kind is Kind.END for due in moments) == 20


def test_another_seed_is_another_schedule(plan: MakePlan) -> None:
    """The seed is what the places of the sessions depend on."""
    assert _all(plan(seed=1)) != _all(plan(seed=2))


@given(PLANS)
def test_moments_come_in_order_and_none_is_missing(plan: LoadPlan) -> None:
    """A session's moments go forward in time, and its batches are numbered without a gap."""
    for moments in _all(plan):
        assert all(a.at <= b.at for a, b in pairwise(moments))
        for kind in (Kind.POSE, Kind.MEDIA):
            numbers = [due.number for due in moments if due.kind is kind]
            assert numbers == list(range(len(numbers)))


@given(PLANS)
def test_the_rate_is_that_of_the_interval(plan: LoadPlan) -> None:
    """From its begin to the run's end a session has one batch an interval: jitter adds nothing."""
    stop = plan.ramp_seconds + plan.seconds
    for moments in _all(plan):
        poses = [due for due in moments if due.kind is Kind.POSE]
        expected = (stop - poses[0].made_at) / plan.interval_seconds
        assert abs(len(poses) - expected) <= 1 + plan.jitter
        reach = plan.jitter * plan.interval_seconds * (1 + 1e-9) + 1e-9
        for due in poses:
            regular = poses[0].made_at + due.number * plan.interval_seconds
            assert abs(due.made_at - regular) <= reach


@given(PLANS)
def test_sessions_begin_evenly_over_the_ramp(plan: LoadPlan) -> None:
    """Sessions begin one after the other, all equally far apart, within the ramp."""
    begins = sorted(moments[0].at for moments in _all(plan))
    assert begins[0] >= 0
    for number, begin in enumerate(begins):
        assert begin == pytest.approx(number * plan.ramp_seconds / plan.sessions)


@given(PLANS)
def test_what_was_missed_offline_is_due_at_once(plan: LoadPlan) -> None:
    """Nothing is due while a session is offline; all of that time is due when it comes back."""
    schedule = Schedule(plan, ROUTES)
    back_again = 0
    for session in range(plan.sessions):
        offline = schedule.offline(session)
        moments = list(schedule.moments(session))
        leaves = [due.at for due in moments if due.kind is None]
        if offline is None:
            assert not leaves
            assert all(due.at == due.made_at for due in moments)
            continue
        back_again += 1
        away, back = offline
        assert leaves == [away]
        assert back - away == pytest.approx(plan.offline_seconds)
        assert back <= schedule.stop
        for due in moments:
            if due.kind is not None:
                assert due.at == (back if away <= due.made_at < back else due.made_at)
    assert back_again <= round(plan.reconnect_share * plan.sessions)


def test_the_share_of_reconnects_is_exact(plan: MakePlan) -> None:
    """So many sessions go offline as the plan says, where the run is long enough for it."""
    long = plan(sessions=40, seconds=20, reconnect_share=0.3, offline_seconds=5)
    schedule = Schedule(long, ROUTES)
    assert sum(schedule.offline(session) is not None for session in range(40)) == 12


@pytest.mark.parametrize("seconds", [5, 60])
def test_media_come_at_the_contracts_ratio(plan: MakePlan, seconds: int) -> None:
    """A thousand sessions have 110 events a second, in short runs and in long ones."""
    moments = _all(plan(sessions=1000, ramp_seconds=0, seconds=seconds, media=True))
    events = sum(due.kind is Kind.MEDIA for session in moments for due in session)
    assert events / seconds == pytest.approx(110, rel=0.1)


@given(PLANS)
def test_a_session_ends_once_after_everything_else(plan: LoadPlan) -> None:
    """The end is a session's last moment, right after the run, and knows its number of batches."""
    stop = plan.ramp_seconds + plan.seconds
    for moments in _all(plan):
        ends = [due for due in moments if due.kind is Kind.END]
        if not plan.ends:
            assert not ends
            continue
        assert moments[-1:] == ends
        assert ends[0].number == sum(due.kind is Kind.POSE for due in moments)
        latest = stop + plan.interval_seconds * (1 + 2 * plan.jitter)
        assert stop <= ends[0].at <= latest + 1e-6


def test_routes_that_are_not_served_are_left_out(plan: MakePlan) -> None:
    """Without the routes there are neither events nor ends, whatever the plan says."""
    schedule = Schedule(plan(media=True, ends=True, seconds=30), frozenset({Kind.POSE}))
    assert {due.kind for due in schedule.moments(0)} == {Kind.POSE}


@given(PLANS)
def test_hostile_clients_take_turns(plan: LoadPlan) -> None:
    """A hostile client does something each second, all kinds alike, until the run's end."""
    schedule = Schedule(plan, ROUTES)
    assert schedule.hostile_clients == round(plan.hostile_share * plan.sessions)
    for client in range(schedule.hostile_clients):
        moments = list(schedule.hostile(client))
        assert abs(len(moments) - schedule.stop) <= 1
        kinds = Counter(due.kind for due in moments)
        assert max(kinds.values()) - min(kinds[kind] for kind in HOSTILE) <= 1
        assert all(b.at - a.at == pytest.approx(1) for a, b in pairwise(moments))


@given(st.integers(1, 500), st.integers(1, 20))
def test_the_workers_share_the_connections(connections: int, processes: int) -> None:
    """The workers' pools add up to the planned connections, and none is without any."""
    plan = LoadPlan.model_construct(
        connections=max(connections, processes), processes=processes
    )  # fmt: skip
    shares = [connections_of(plan, worker) for worker in range(processes)]
    numbers = [share for share in shares if share is not None]
    assert len(numbers) == processes
    assert sum(numbers) == plan.connections
    assert min(numbers) >= 1


@pytest.mark.parametrize(
    "changes",
    [
        {"jitter": 0.6}, {"jitter": -0.1}, {"interval_seconds": 0}, {"seconds": -1},
        {"sessions": 0}, {"frames_a_batch": 0}, {"connections": 1, "processes": 2},
        {"reconnect_share": 1.5}, {"hostile_share": -0.1}, {"ends_per_second": -1},
        {"ends_per_second": 1, "reconnect_share": 0.5}, {"orgs": 0}, {"noisy_sessions": 20},
    ],
)  # fmt: skip
def test_impossible_plans_are_refused(plan: MakePlan, changes: dict[str, float]) -> None:
    """A plan that cannot be kept is told before anything is sent."""
    with pytest.raises(BenchError):
        check_plan(plan(**changes))


@given(PLANS, st.floats(0.1, 30))
def test_ends_come_at_their_rate(plan: LoadPlan, rate: float) -> None:
    """So many sessions a second end and are replaced, one after the other, once all have begun."""
    plan = plan.model_copy(update={"ends": True, "ends_per_second": rate, "reconnect_share": 0.0})
    sessions = _all(plan)
    ends = sorted(due.at for dues in sessions for due in dues if due.kind is Kind.END and due.last)
    assert all(plan.ramp_seconds <= at < plan.ramp_seconds + plan.seconds for at in ends)
    # Of those that were due, only sessions without a batch of their own have no end.
    assert len(ends) <= rate * plan.seconds + 1
    if plan.sessions > 10 * rate * plan.interval_seconds:
        assert len(ends) >= rate * (plan.seconds - plan.interval_seconds) * 0.5 - 1
    for dues in sessions:
        numbers = [due.number for due in dues if due.kind is Kind.POSE]
        lives = [due.number for due in dues if due.kind is Kind.END]
        # Each session counts its own batches from 0, and its end says how many they were.
        assert numbers == [n for batches in lives for n in range(batches)]
        assert all(lives)
        assert [due.at for due in dues] == sorted(due.at for due in dues)


def test_replaced_sessions_leave_the_batches_as_they_are(plan: MakePlan) -> None:
    """A place's batches are due at the same moments, whichever session sends them."""
    changes: dict[str, float] = {"seconds": 5, "ends": True}
    with_ends = _all(plan(**changes, ends_per_second=7.0))
    without = _all(plan(**changes))
    for some, others in zip(with_ends, without, strict=True):
        assert [one.at for one in some if one.kind is Kind.POSE] == [
            one.at for one in others if one.kind is Kind.POSE
        ]
