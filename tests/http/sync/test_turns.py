"""Turns: so many at once, only so many of one device, and none is lost."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from penstock.engine.sync.records import DeviceIdentity
from penstock.http.sync.turns import NoTurnError, Turns

ADA, BOB, EVE = (DeviceIdentity(name, "dev") for name in ("ada", "bob", "eve"))


async def take(turns: Turns, device: DeviceIdentity, seconds: float, held: list[str]) -> None:
    """Hold a turn for so long, or note that there was none within ten seconds."""
    try:
        async with turns.turn(device, 10):
            held.append(device.user_id)
            await trio.sleep(seconds)
    except NoTurnError:
        held.append(f"none for {device.user_id}")


async def test_a_device_s_own_batches_wait_for_one_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However many it begins, another device has its turn at once."""
    turns, held = Turns(4, 2), []
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(take, turns, EVE, 7, held)
        await wait_all_tasks_blocked()
        nursery.start_soon(take, turns, ADA, 1, held)
        await wait_all_tasks_blocked()
        assert held == ["eve", "eve", "ada"]
    # Two more after seven seconds; for the last one ten were too short.
    assert sorted(held) == ["ada", "eve", "eve", "eve", "eve", "none for eve"]
    assert autojump_clock.current_time() == 14


async def test_all_devices_together_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    """The third waits until one of the two has done, and nothing is kept of who has gone."""
    turns, held = Turns(2, 2), []
    async with trio.open_nursery() as nursery:
        for device in (ADA, BOB, EVE):
            nursery.start_soon(take, turns, device, 3, held)
    assert sorted(held) == ["ada", "bob", "eve"]
    assert autojump_clock.current_time() == 6
    assert not turns._benches


async def test_whoever_gives_up_leaves_its_place(autojump_clock: trio.testing.MockClock) -> None:
    """By its patience, by a cancellation while it waits, or by an error in its turn."""
    turns, held = Turns(1, 1), []
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, turns, ADA, 12, held)
            await wait_all_tasks_blocked()
            nursery.start_soon(take, turns, ADA, 1, held)
            nursery.start_soon(take, turns, BOB, 1, held)
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, turns, ADA, 100, held)
                nursery.start_soon(take, turns, BOB, 100, held)
        with pytest.raises(ZeroDivisionError):
            async with turns.turn(EVE, 1):
                raise ZeroDivisionError
    assert held.count("none for ada") == held.count("none for bob") == 3
    assert not turns._benches
    async with turns.turn(EVE, 0.1):
        assert autojump_clock.current_time() > 36
