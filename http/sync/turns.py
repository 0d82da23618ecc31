"""Whose batch is read now: so many at once, and only so many of them of one device.

A body takes room from when it begins to come until it is stored, and a slow sender takes long. The
share of one device is bounded, so that whoever sends slowly on many connections waits for itself,
and not everybody else for it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from penstock.engine.sync.records import DeviceIdentity


class NoTurnError(Exception):
    """There was no turn for as long as one may wait."""


@dataclass(slots=True)
class _Bench:
    """The places of one device, and how many of its batches have one or wait for it."""

    places: trio.Semaphore
    batches: int = 0


class Turns:
    """Gives turns, to each device in the order in which its batches come."""

    def __init__(self, at_once: int, of_a_device: int) -> None:
        self._all = trio.Semaphore(at_once)
        self._of_a_device = of_a_device
        self._benches: dict[DeviceIdentity, _Bench] = {}

    @asynccontextmanager
    async def turn(self, device: DeviceIdentity, patience_seconds: float) -> AsyncIterator[None]:
        """Have a turn around the block; NoTurnError if there is none within this time."""
        bench = self._benches.get(device)
        if bench is None:
            bench = self._benches[device] = _Bench(trio.Semaphore(self._of_a_device))
        bench.batches += 1
        try:
            with trio.move_on_after(patience_seconds) as waiting:
                await self._sit_down(bench)
            if waiting.cancelled_caught:
                raise NoTurnError
            try:
                yield
            finally:
                self._all.release()
                bench.places.release()
        finally:
            bench.batches -= 1
            if not bench.batches:
                del self._benches[device]

    async def _sit_down(self, bench: _Bench) -> None:
        await bench.places.acquire()
        try:
            await self._all.acquire()
        except trio.Cancelled:
            bench.places.release()
            raise
