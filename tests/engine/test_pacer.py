# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from functools import partial

import pytest
import trio
import trio.testing

from penstock.engine.pacer import TICK_SECONDS, Pacer, PacerStatistics


class HandClock:
    """A clock that shows what the test has set."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


async def test_whoever_asks_first_is_called_first(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, trio_clock: HandClock
) -> None:
    """Callers are called once each, in the order in which they asked."""
    pacer, called = Pacer(trio_clock, 1.0), list[int]()
    for number in range(5):
        pacer.call_later(partial(called.append, number))
    nursery.start_soon(pacer.run)
    await trio.sleep(5)
    assert called == [0, 1, 2, 3, 4]
    assert pacer.statistics().waiting == 0


async def test_nobody_is_called_early_or_much_too_late(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, trio_clock: HandClock
) -> None:
    """A call comes after the delay, and not more than a tick after it."""
    pacer, called = Pacer(trio_clock, 1.0), list[float]()
    nursery.start_soon(pacer.run)
    for _ in range(3):
        await trio.sleep(0.37)
        asked = trio.current_time()
        pacer.call_later(lambda: called.append(trio.current_time()))
        await trio.sleep(2)
        assert asked + 1.0 <= called[-1] <= asked + 1.0 + 2 * TICK_SECONDS
    assert len(called) == 3


async def test_a_call_may_ask_for_the_next(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, trio_clock: HandClock
) -> None:
    """Asking again from inside a call means another whole delay, not a loop."""
    pacer, called = Pacer(trio_clock, 1.0), list[float]()

    def again() -> None:
        called.append(trio.current_time())
        pacer.call_later(again)

    pacer.call_later(again)
    nursery.start_soon(pacer.run)
    await trio.sleep(3.5)
    assert len(called) == 3


async def test_the_scheduler_s_lateness_is_measured(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A tick that comes late tells by how much; the worst is kept until the mark is reset."""
    clock = HandClock()
    pacer = Pacer(clock, 1.0)
    nursery.start_soon(pacer.run)
    await trio.testing.wait_all_tasks_blocked()

    async def tick(seconds: float) -> PacerStatistics:
        clock.now += seconds
        mock_clock.jump(TICK_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        return pacer.statistics()

    late = await tick(0.25)
    assert late.scheduler_delay_seconds == pytest.approx(0.25 - TICK_SECONDS)
    on_time = await tick(TICK_SECONDS)
    assert on_time.scheduler_delay_seconds == pytest.approx(0.0, abs=1e-9)
    assert on_time.scheduler_delay_peak_seconds == pytest.approx(0.25 - TICK_SECONDS)
    pacer.reset_peak()
    assert pacer.statistics().scheduler_delay_peak_seconds == pytest.approx(0.0, abs=1e-9)


async def test_a_clock_that_is_ahead_of_the_sleep_is_no_lateness(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Lateness is never negative."""
    pacer = Pacer(HandClock(), 1.0)
    nursery.start_soon(pacer.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(TICK_SECONDS)
    await trio.testing.wait_all_tasks_blocked()
    assert pacer.statistics() == PacerStatistics(0, 0.0, 0.0)


def test_the_waiting_are_counted() -> None:
    """Statistics tell how many wait to be called."""
    pacer = Pacer(HandClock(), 1.0)
    for _ in range(3):
        pacer.call_later(lambda: None)
    assert pacer.statistics().waiting == 3
