"""Reads, ten times a second, how hard the engine is pressed, for the drop policy to go by."""

from collections.abc import Callable

import trio

from penstock.engine.session import Plant
from penstock.engine.stress import Readings

SENSE_SECONDS = 0.1


class Senses:
    """Asks the engine's parts, and whoever else knows of requests that wait."""

    def __init__(
        self, plant: Plant, live_sessions: Callable[[], int], request_delay: Callable[[], float]
    ) -> None:
        self._plant = plant
        self._live_sessions = live_sessions
        self._request_delay = request_delay

    async def run(self) -> None:
        """Sense until cancelled."""
        clock = self._plant.clock
        while True:
            self._plant.sluice.sense(self.readings(), clock.monotonic(), clock.unix())
            await trio.sleep(SENSE_SECONDS)

    def readings(self) -> Readings:
        """Read everything once."""
        plant = self._plant
        soft = plant.sluice.policy.inbox_soft_batches
        return Readings(
            memory_held=plant.memory.held,
            memory_limit=plant.memory.limit or 0,
            inbox_held=plant.waiting.held,
            inbox_room=self._live_sessions() * soft,
            writer_lag_seconds=plant.writer.statistics().oldest_age_seconds,
            request_delay_seconds=max(plant.pacer.take_lateness(), self._request_delay()),
        )
