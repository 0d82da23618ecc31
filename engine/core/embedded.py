"""Core within this process: its events are checked and written as those from elsewhere are."""

from collections.abc import Callable
from typing import Any

from penstock.engine.core.records import AggregateEntry
from penstock.engine.core_port import CoreRefusedError, CoreUnavailableError
from penstock.engine.receipts import Committed, Lane
from penstock.engine.writer import Writer


class EmbeddedCore:
    """The port `Core` over the writer's durable lane.

    `read_event` checks an event and gives its entry, or raises CoreRefusedError naming the field.
    """

    def __init__(
        self, writer: Writer, read_event: Callable[[dict[str, Any]], AggregateEntry]
    ) -> None:
        self._writer = writer
        self._read_event = read_event

    async def publish(self, event: dict[str, Any]) -> None:
        """Have an event taken; the wait is bounded by the writer's own for the ledger."""
        entry = self._read_event(event)
        answer = await self._writer.enter_nowait(entry, Lane.DURABLE).wait()
        if isinstance(answer, Committed):
            return
        unavailable = CoreRefusedError if answer.retry_after is None else CoreUnavailableError
        raise unavailable(f"{answer.reason}: {answer.detail}")
