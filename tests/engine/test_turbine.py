"""The turbine against the same frames measured one session at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock.engine import wire
from penstock.engine.inbox import Arrival
from penstock.engine.motion.joints import JOINTS, joint_angles
from penstock.engine.motion.reach import NO_REACH, Reach
from penstock.engine.sidecar import NO_META, BatchMeta, Coordinates
from penstock.engine.turbine import Turbine, reaches

METAS = (
    NO_META,
    BatchMeta(camera_resolution=(480, 640)),
    BatchMeta(coords=Coordinates.WORLD),
)


def _arrival(frames: int, seed: int, meta: BatchMeta = NO_META) -> Arrival:
    points = np.random.default_rng(seed).uniform(0.3, 0.9, (frames, 33, 4))
    times = [100 * n for n in range(frames)]
    return Arrival(wire.decode(wire.encode(points, times, level=1)), 0, None, meta)


def _alone(arrival: Arrival) -> Reach:
    meta = arrival.meta
    world = meta.coords is Coordinates.WORLD
    angles = joint_angles(arrival.batch.landmarks, meta.aspect, world=world)
    degrees = np.stack((np.nanmin(angles, axis=0), np.nanmax(angles, axis=0)))
    return Reach(degrees.astype(np.float32).round(1))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 4), st.sampled_from(METAS)), min_size=1, max_size=3),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_many_sessions_at_once_are_measured_as_each_alone(
    plan: list[list[tuple[int, BatchMeta]]],
) -> None:
    """Whatever is fed beside it, a session's reach is that of its own frames."""
    parts = [
        [_arrival(frames, 10 * p + n, meta) for n, (frames, meta) in enumerate(part)]
        for p, part in enumerate(plan)
    ]
    for part, degrees in zip(parts, reaches(parts), strict=True):
        expected = NO_REACH
        for arrival in part:
            expected = expected.widened(_alone(arrival).degrees)
        np.testing.assert_allclose(degrees, expected.degrees, atol=0.1001)


def test_a_turn_answers_each_once_and_in_order() -> None:
    """Every feed is called back at the next turn, once, with what belongs to it."""
    turbine = Turbine()
    arrivals = [_arrival(2, seed) for seed in range(3)]
    told: list[tuple[int, Any]] = []
    for number, arrival in enumerate(arrivals):
        turbine.feed_nowait([arrival], lambda degrees, n=number: told.append((n, degrees)))
    turbine.turn_nowait()
    turbine.turn_nowait()
    assert [number for number, _ in told] == [0, 1, 2]
    for (_, degrees), arrival in zip(told, arrivals, strict=True):
        assert Reach(degrees) == _alone(arrival)


async def test_the_reach_of_a_session_outlives_its_process(
    autojump_clock: MockClock,  # noqa: ARG001
    open_world: Callable[..., Any],
    make_spool: Callable[..., Any],
) -> None:
    """After a restart the reach is that of all frames on disk, as if nothing had happened."""
    spool = make_spool()
    async with open_world(spool) as world:
        for n in range(3):
            batch = _later(_arrival(4, n), 400 * n)
            await world.offer(batch)
            await trio.sleep(2)
        before = world.actor().reach
    spool.next_process()
    async with open_world(spool) as world:
        await world.offer(_later(_arrival(1, 0), 1200))
        assert world.actor().reach == before
        assert before != NO_REACH


def _later(arrival: Arrival, by_ms: int) -> Arrival:
    batch = arrival.batch
    times = [by_ms + at for at in batch.timestamps_ms]
    return arrival._replace(batch=wire.decode(wire.encode(batch.landmarks, times, level=1)))


def test_a_reach_is_of_the_joints_seen() -> None:
    """A joint that was never seen stays null in JSON, and comes back as it was."""
    rows = np.full((2, len(JOINTS)), np.nan, np.float32)
    rows[:, 3] = 10.1, 95.5
    reach = Reach(rows)
    assert reach.plain()[0][3] == pytest.approx(10.1)
    assert reach.plain()[1][2] is None
    assert Reach.from_plain(reach.plain()) == reach
    assert hash(Reach.from_plain(reach.plain())) == hash(reach)


@pytest.mark.parametrize(
    "rows", [None, [], [[1.0] * 10], [["a"] * 10] * 2, [[float("inf")] * 10] * 2]
)
def test_a_foreign_reach_is_refused(rows: object) -> None:
    """What is no reach raises a TypeError or a ValueError, and nothing else."""
    with pytest.raises((TypeError, ValueError)):
        Reach.from_plain(rows)
