"""How long to wait after a delivery that failed. Pure, but for the dice."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """Waits that double, up to the longest, each a random part of that (full jitter).

    What the service asks for is kept, up to the longest wait.
    """

    first_seconds: float = 0.25
    longest_seconds: float = 60.0
    # Jitter needs no secrecy.
    _dice: random.Random = field(default_factory=random.Random, repr=False)
    _failures: int = 0

    def wait(self, asked_seconds: float = 0.0) -> float:
        """Give the wait after one more failure."""
        ceiling = min(self.longest_seconds, self.first_seconds * 2 ** min(self._failures, 32))
        self._failures += 1
        return max(self._dice.uniform(0, ceiling), min(asked_seconds, self.longest_seconds))

    def calm(self) -> None:
        """Begin anew: a delivery succeeded."""
        self._failures = 0
