"""The turbine against the same frames measured one session at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock.engine import wire
from penstock.engine.inbox import Arrival
from penstock.engine.motion.motion import NO_MOTION, Motion
from penstock.engine.sidecar import NO_META, BatchMeta, Coordinates
from penstock.engine.turbine import Turbine, moved

METAS = (
    NO_META,
    BatchMeta(camera_resolution=(480, 640)),
    BatchMeta(coords=Coordinates.WORLD),
)


def _arrival(frames: int, seed: int, meta: BatchMeta = NO_META) -> Arrival:
    points = np.random.default_rng(seed).uniform(0.3, 0.9, (frames, 33, 4))
    times = [100 * n for n in range(frames)]
    return Arrival(wire.decode(wire.encode(points, times, level=1)), 0, None, meta)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 40), st.sampled_from(METAS)), min_size=1, max_size=3),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_many_sessions_at_once_are_folded_as_each_alone(
    plan: list[list[tuple[int, BatchMeta]]],
) -> None:
    """Whatever is fed beside it, a session's motion is that of its own frames."""
    parts = [_following(part, seed) for seed, part in enumerate(plan)]
    together = moved([(NO_MOTION, part) for part in parts])
    assert together == [moved([(NO_MOTION, part)])[0] for part in parts]


def _following(part: list[tuple[int, BatchMeta]], seed: int) -> list[Arrival]:
    arrivals, begun = [], 0
    for number, (frames, meta) in enumerate(part):
        arrivals.append(_later(_arrival(frames, 10 * seed + number, meta), begun))
        begun += 100 * frames
    return arrivals


def test_a_turn_answers_each_once_and_in_order() -> None:
    """Every feed is called back at the next turn, once, with what belongs to it."""
    turbine = Turbine()
    arrivals = [_arrival(2, seed) for seed in range(3)]
    told: list[tuple[int, Motion]] = []
    for number, arrival in enumerate(arrivals):
        turbine.feed_nowait(NO_MOTION, [arrival], lambda motion, n=number: told.append((n, motion)))
    turbine.turn_nowait()
    turbine.turn_nowait()
    assert [number for number, _ in told] == [0, 1, 2]
    for (_, motion), arrival in zip(told, arrivals, strict=True):
        assert motion == moved([(NO_MOTION, [arrival])])[0]


def test_what_the_client_says_is_kept() -> None:
    """The newest name of the exercise and the kind of coordinates belong to the motion."""
    said = BatchMeta(coords=Coordinates.WORLD, exercise="squat")
    (motion,) = moved([(NO_MOTION, [_arrival(2, 0, said), _later(_arrival(2, 1), 200)])])
    assert motion.folded.exercise == "squat"
    assert not motion.folded.world


async def test_the_motion_of_a_session_outlives_its_process(
    autojump_clock: MockClock,  # noqa: ARG001
    open_world: Callable[..., Any],
    make_spool: Callable[..., Any],
) -> None:
    """After a restart the motion is that of all frames on disk, as if nothing had happened."""
    spool = make_spool()
    async with open_world(spool) as world:
        for n in range(12):
            await world.offer(_later(_arrival(10, n), 1000 * n))
            await trio.sleep(2)
        before = world.actor().motion
        assert before.folded.frames
    spool.next_process()
    async with open_world(spool) as world:
        await world.offer(_later(_arrival(1, 0), 12_000))
        assert world.actor().motion == before


def _later(arrival: Arrival, by_ms: int) -> Arrival:
    batch = arrival.batch
    times = [by_ms + at for at in batch.timestamps_ms]
    return arrival._replace(batch=wire.decode(wire.encode(batch.landmarks, times, level=1)))
