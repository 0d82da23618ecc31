"""Whether this process should get traffic, and why not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Finding:
    """One reason not to send traffic here. The code is stable, the detail is for people."""

    code: str
    detail: str


class Readiness:
    """Asks every check each time: readiness is never remembered."""

    def __init__(self, checks: Sequence[Callable[[], Finding | None]]) -> None:
        self._checks = tuple(checks)

    def findings(self) -> list[Finding]:
        """Give what is wrong now; nothing means ready."""
        return [finding for check in self._checks if (finding := check()) is not None]
