# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
"""The knobs of the drop policy turned while batches are accepted and wait, through a whole engine.

Each scene brings one session to where its knob matters, offers a batch, turns the knob and offers
the very next one. Then the session ends, and whatever was accepted has to be somewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock.engine.endings import EndDelayed, Ended
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Outcome, Reason
from penstock.engine.policy import KIB, KNOBS, MIB
from penstock.engine.session import Admitted, Refusal
from penstock.engine.stress import WRITER_LAG_FULL_SECONDS, Readings
from penstock.engine.unsent import Unsent

MakeArrival = Callable[..., Arrival]
OpenWorld = Callable[..., Any]

# So much was taken whole before, that a budget of 5 % has room for many batches of ten frames.
PAST_FRAMES, PAST_BATCHES = 1000, 8
WHOLE, HALF = "10 of 10", "5 of 10"
REFUSED, INBOX_FULL = "policy_refused, 30 s", "inbox_full, 1 s"


@dataclass(eq=False)
class Trial:
    """One session of one engine, and what became of its batches."""

    world: Any
    make_arrival: MakeArrival
    clock_ms: int = 0
    accepted: int = 0
    offered: int = 0

    async def offer(self, frames: int = 10, **more: Any) -> str:
        """Offer a batch that follows the one before it, and say in words what became of it."""
        arrival = self.make_arrival(frames, self.clock_ms)._replace(**more)
        self.clock_ms += 100 * frames
        self.offered += frames
        outcome = await self.world.offer(arrival)
        self.world.check()
        if isinstance(outcome, Refusal):
            return f"{outcome.reason}, {outcome.retry_after:g} s"
        assert isinstance(outcome, Admitted)
        self.accepted += outcome.frame_count
        assert outcome.position_bytes == 528 * self.accepted
        return f"{outcome.frame_count} of {frames}"

    async def live_a_while(self) -> None:
        """Give the session a past without loss."""
        for _ in range(PAST_BATCHES):
            assert await self.offer(PAST_FRAMES) == f"{PAST_FRAMES} of {PAST_FRAMES}"
        await trio.sleep(2)
        assert self.world.plant.memory.held == 0
        self.world.spool.append_seconds = 30.0  # from now on everything waits

    async def press(self, level: float) -> None:
        """Press the engine so hard for three seconds."""
        readings = Readings(0, 1, 0, 1, WRITER_LAG_FULL_SECONDS * level / 100, 0.0)
        sluice = self.world.plant.sluice
        for _ in range(12):
            await trio.sleep(0.25)
            sluice.sense(readings, trio.current_time(), 0.0)
        assert sluice.stress.level == pytest.approx(level, abs=0.1)

    async def end(self) -> None:
        """End the session: what was accepted is on disk and in the final, or counted out."""
        world = self.world
        world.spool.append_seconds = 0.0
        outcome = await world.end(frames_attempted=self.offered)
        while isinstance(outcome, EndDelayed):  # for as long as the disk was slow
            outcome = await world.end(frames_attempted=self.offered)
        assert isinstance(outcome, Ended)
        world.settled_exactly()
        process = world.ledger.process
        dropped = world.ended(Reason.INBOX_DROPPED_OLDEST)
        on_disk = world.spool.frames(world.name(1))
        assert on_disk == world.ended(Reason.USED) == self.accepted - dropped
        thinned, refused = world.ended(Reason.POLICY_THINNED), process.count(Outcome.REFUSED)
        assert self.offered == process.seen == self.accepted + thinned + refused
        final = outcome.final
        assert final.frames_received == self.accepted
        assert (final.frames_shed, final.frames_lost) == (thinned + dropped, 0)
        assert final.tally == process.plain()
        times = [
            time
            for chunk in world.spool.chunks(world.name(1))
            for arrival in chunk.batches
            for time in arrival.batch.timestamps_ms
        ]
        assert all(earlier < later for earlier, later in pairwise(times))


@dataclass(frozen=True)
class Scene:
    """A knob that is turned, and what is answered to the batch before and to the one after."""

    turn: Any
    before: str
    after: str
    levels: tuple[float, ...] = ()
    waiting: int = 2
    frames: int = 10
    knobs: dict[str, Any] = field(default_factory=dict)
    refuses_bulk: tuple[bool, bool] = (False, False)


ROOMY = {
    "loss_percent": 5.0,
    "gap_seconds": 600.0,
    "dwell_seconds": 600.0,
    "inbox_soft_batches": 32,
    "inbox_batches": 64,
}
TIGHT = {"inbox_soft_batches": 3, "inbox_batches": 3, "loss_percent": 0.0}
SCENES = {
    "thin_at": Scene(38, WHOLE, HALF, levels=(40,)),
    "thin_until": Scene(45, HALF, WHOLE, levels=(60, 40)),
    "refuse_at": Scene(58, HALF, REFUSED, levels=(60,)),
    "refuse_until": Scene(58, REFUSED, HALF, levels=(80, 55)),
    "refuse_bulk_at": Scene(75, REFUSED, REFUSED, levels=(80,), refuses_bulk=(False, True)),
    "refuse_bulk_until": Scene(85, REFUSED, REFUSED, levels=(95, 80), refuses_bulk=(True, False)),
    "dwell_seconds": Scene(1.0, HALF, WHOLE, levels=(60, 20)),
    "keep_every": Scene(5, HALF, "2 of 10", levels=(60,)),
    "loss_percent": Scene(0, HALF, WHOLE, levels=(60,)),
    "gap_seconds": Scene(0, REFUSED, HALF, levels=(80,)),
    "inbox_mode": Scene("drop_oldest", INBOX_FULL, WHOLE, waiting=3, knobs=TIGHT),
    "inbox_soft_batches": Scene(2, WHOLE, HALF),
    "inbox_batches": Scene(3, WHOLE, INBOX_FULL, knobs=TIGHT | {"inbox_batches": 64}),
    "inbox_soft_bytes": Scene(1, WHOLE, HALF),
    "inbox_bytes": Scene(
        1088 * KIB,
        "900 of 900",
        INBOX_FULL,
        frames=900,
        knobs={"inbox_soft_bytes": MIB, "loss_percent": 0.0},
    ),
    "retry_after_max_seconds": Scene(2, REFUSED, "policy_refused, 2 s", levels=(80,)),
}


@pytest.mark.parametrize("knob", KNOBS)
async def test_a_knob_turned_live_counts_for_the_very_next_batch(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, knob: str
) -> None:
    """The next batch is decided by the new value, and nothing that was accepted is lost."""
    scene = SCENES[knob]
    async with open_world(**ROOMY) as world:
        trial = Trial(world, make_arrival)
        await trial.live_a_while()
        world.turn(**scene.knobs)
        for _ in range(scene.waiting):
            assert await trial.offer(scene.frames) == f"{scene.frames} of {scene.frames}"
        for level in scene.levels:
            await trial.press(level)
        sluice = world.plant.sluice
        assert await trial.offer(scene.frames) == scene.before
        assert sluice.refuses_bulk is scene.refuses_bulk[0]
        assert world.ledger.process.pending
        world.turn(**{knob: scene.turn})
        assert await trial.offer(scene.frames) == scene.after
        assert sluice.refuses_bulk is scene.refuses_bulk[1]
        await trial.end()


@pytest.mark.parametrize("knob", ["inbox_batches", "inbox_bytes"])
async def test_a_hard_bound_below_what_waits_takes_nothing_back(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, knob: str
) -> None:
    """What was accepted under the old bound gets to disk; only what comes next is refused."""
    async with open_world(**ROOMY | {"loss_percent": 0.0}) as world:
        trial = Trial(world, make_arrival)
        for _ in range(6):
            assert await trial.offer(900) == "900 of 900"
        bounds = {"inbox_batches": 2} if knob == "inbox_batches" else {"inbox_bytes": 1088 * KIB}
        world.turn(inbox_soft_batches=2, inbox_soft_bytes=MIB, **bounds)
        for _ in range(3):
            assert await trial.offer(900) == INBOX_FULL
        await trio.sleep(2)
        assert await trial.offer(900) == "900 of 900"
        await trial.end()
        assert trial.accepted == 7 * 900


async def test_drop_oldest_keeps_the_newest(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Every batch is taken; of those that waited the newest get to disk, the others are counted."""
    async with open_world(**ROOMY | TIGHT | {"inbox_mode": "drop_oldest"}) as world:
        trial = Trial(world, make_arrival)
        for _ in range(10):
            assert await trial.offer() == WHOLE
        assert world.ended(Reason.INBOX_DROPPED_OLDEST) == 70
        await trial.end()
        (chunk,) = world.spool.chunks(world.name(1))
        assert [arrival.batch.timestamps_ms[0] for arrival in chunk.batches] == [7000, 8000, 9000]


async def test_a_bound_lowered_in_drop_oldest_mode_gives_room_at_the_next_batch(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """As many of the oldest give way as the new bound asks, not one; each is counted once."""
    async with open_world(**ROOMY | {"loss_percent": 0.0}) as world:
        trial = Trial(world, make_arrival)
        for _ in range(8):
            assert await trial.offer() == WHOLE
        world.turn(**TIGHT, inbox_mode="drop_oldest")
        assert world.ledger.process.pending == 80
        assert await trial.offer() == WHOLE
        assert (world.ledger.process.pending, world.ended(Reason.INBOX_DROPPED_OLDEST)) == (30, 60)
        await trial.end()


async def test_thinned_batches_are_evenly_spaced_and_keep_their_sidecars(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Across batches of any length every third frame is kept, each batch with what came beside."""
    async with open_world(**ROOMY | {"keep_every": 3, "loss_percent": 70.0}) as world:
        trial = Trial(world, make_arrival)
        assert await trial.offer(10, sidecar=b"0") == WHOLE
        world.turn(inbox_soft_batches=1)
        for number, frames in enumerate((3, 7, 10, 4, 5, 11, 3, 8), 1):
            assert await trial.offer(frames, sidecar=b"%d" % number) != f"{frames} of {frames}"
        await trial.end()
        (chunk,) = world.spool.chunks(world.name(1))
        first, *thinned = chunk.batches
        assert [arrival.sidecar for arrival in thinned] == [b"%d" % n for n in range(1, 9)]
        kept = [time for arrival in thinned for time in arrival.batch.timestamps_ms]
        steps = {later - earlier for earlier, later in pairwise(kept)}
        assert steps == {300}
        assert kept[0] - first.batch.timestamps_ms[-1] <= 300


@pytest.mark.parametrize("refused_by", ["memory", "inbox"])
async def test_unsent_frames_count_once_with_the_batch_that_is_taken(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, refused_by: str
) -> None:
    """A report on a refused batch is not taken: the client gives it again with the next one."""
    room_for_one = make_arrival(10).batch.held_bytes * 3 // 2
    bounds: dict[str, dict[str, Any]] = {
        "memory": {"memory": room_for_one},
        "inbox": {"inbox_soft_batches": 1, "inbox_batches": 1, "loss_percent": 0.0},
    }
    async with open_world(**ROOMY | bounds[refused_by]) as world:
        trial = Trial(world, make_arrival)
        assert await trial.offer() == WHOLE
        told = (Unsent(30, Reason.UNSENT_NETWORK), Unsent(4, Reason.UNSENT_CPU))
        assert (await trial.offer(unsent=told)).endswith("_full, 1 s")
        assert world.ledger.process.unsent == {}
        await trio.sleep(2)
        assert await trial.offer(unsent=told) == WHOLE
        counted = {Reason.UNSENT_NETWORK: 30, Reason.UNSENT_CPU: 4}
        assert world.ledger.process.unsent == world.actor().tally.unsent == counted
        await trial.end()


async def test_a_promise_outlives_the_rest(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A client that was told to wait longer than sessions stay awake is taken when it comes."""
    knobs = {"loss_percent": 100, "gap_seconds": 600, "retry_after_max_seconds": 600}
    async with open_world(rest_seconds=0.1, **knobs) as world:
        for start in range(0, 20_000, 1000):
            await world.offer(make_arrival(10, start))
        world.turn(refuse_at=0, refuse_until=0, thin_at=0, thin_until=0)
        await trio.sleep(0.5)  # so that idle sessions are looked for in the middle of a wait
        waits = []
        for start in range(20_000, 60_000, 1000):
            refusal = await world.offer(make_arrival(10, start))
            if isinstance(refusal, Refusal) and refusal.reason is Reason.POLICY_REFUSED:
                assert refusal.retry_after is not None
                waits.append(refusal.retry_after)
                await trio.sleep(refusal.retry_after)
                taken = await world.offer(make_arrival(10, start + 500))
                assert isinstance(taken, Admitted)
        assert waits
