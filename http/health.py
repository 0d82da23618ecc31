"""Whether this process should get traffic, and why not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Finding:
    """One reason not to send traffic here. The code is stable, the detail is for people."""

    code: str
    detail: str


class Readiness:
    """Asks every check each time: readiness is never remembered.

    What `notes` find is worth knowing, and no reason to send traffic elsewhere.
    """

    def __init__(
        self,
        checks: Sequence[Callable[[], Finding | None]],
        notes: Sequence[Callable[[], Finding | None]] = (),
    ) -> None:
        self._checks = tuple(checks)
        self._notes = tuple(notes)

    def findings(self) -> list[Finding]:
        """Give what is wrong now; nothing means ready."""
        return [finding for check in self._checks if (finding := check()) is not None]

    def notes(self) -> list[Finding]:
        """Give what is worth knowing."""
        return [finding for note in self._notes if (finding := note()) is not None]
