# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock.engine.endings import Ended
from penstock.engine.figures import figures
from penstock.engine.folding import fold_recovered
from penstock.engine.inbox import Arrival
from penstock.engine.losses import Span
from penstock.engine.motion.motion import NO_MOTION
from penstock.engine.outcomes import Reason, Tally
from penstock.engine.unsent import Unsent

MakeArrival = Callable[..., Arrival]
OpenWorld = Callable[..., Any]


def test_the_account_is_the_tallys() -> None:
    """Received is what was accepted; used, shed and lost are the sums of their reasons."""
    ended = {
        Reason.USED: 70,
        Reason.REPEATED: 5,
        Reason.POLICY_THINNED: 10,
        Reason.DISK_FULL: 8,
        Reason.TORN_SPOOL: 4,
        Reason.ACTOR_CRASHED: 3,
    }
    found = figures(NO_MOTION, 100, Tally(100, 0, ended), (Span(0, 9, Reason.DISK_FULL),))
    session = found.session_metrics
    assert (session["frames_received"], session["frames_used"]) == (100, 70)
    assert (session["frames_shed"], session["frames_lost"]) == (18, 7)
    assert session["completeness_ratio"] == 0.7
    assert (session["gaps"], found.rep_metrics) == ([], [])


@pytest.mark.parametrize("fault", ["client", "disk", "nobody"])
async def test_a_gap_says_why_its_frames_are_missing(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, fault: str
) -> None:
    """What the client never sent, what the disk did not take, and what nobody knows of."""
    async with open_world() as world:
        await world.offer(make_arrival(10, 0))
        await trio.sleep(2)
        last = make_arrival(10, 3000)
        if fault == "client":
            last = last._replace(unsent=(Unsent(20, Reason.UNSENT_NETWORK),))
        elif fault == "disk":
            world.spool.shed = Reason.DISK_FULL
            await world.offer(make_arrival(20, 1000))
            await trio.sleep(2)
            world.spool.shed = None
        await world.offer(last)
        outcome = await world.end()
        assert isinstance(outcome, Ended)
        (gap,) = outcome.final.session_metrics["gaps"]
        assert (gap["start_ms"], gap["end_ms"], gap["length_ms"]) == (900, 3000, 2100)
        reasons = {"client": "unsent_network", "disk": "disk_full", "nobody": "unknown"}
        assert gap["reason"] == reasons[fault]


async def test_the_file_tells_the_same_figures(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """What an end says, and what its file says when it is folded again, are one."""
    async with open_world() as world:
        for at in (0, 1000, 4000, 3000, 9000):
            await world.offer(make_arrival(10, at))
            await trio.sleep(1.5)
        outcome = await world.end()
        assert isinstance(outcome, Ended)
        await trio.sleep(1)
        spool = world.spool
        spool.files[world.name(1)] = spool.archive[world.name(1)]
        spool.next_process()
        state = fold_recovered(spool.recover(world.name(1)), pytest.fail)
        again = figures(state.motion, state.accepted_frames, state.tally, state.losses)
        assert again.session_metrics == outcome.final.session_metrics
        assert again.rep_metrics == outcome.final.rep_metrics
