"""What the engine needs from Core, the system that keeps patients' records: somebody who listens.

Core may be a companion in this process or a service far away. It gets every final at least once,
and once in effect: it knows them by session and revision.
"""

from typing import Any, Protocol


class CoreUnavailableError(Exception):
    """Core cannot take it now; `detail` is one line for an operator, and holds nothing of it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class CoreRefusedError(CoreUnavailableError):
    """Core answered that it will not take it. It is tried again: Core may be mended."""


class Core(Protocol):
    """Where aggregates are published."""

    async def publish(self, event: dict[str, Any]) -> None:
        """Have an aggregation event taken, for good on return; CoreUnavailableError if it is not.

        Ends in bounded time.
        """
        ...
