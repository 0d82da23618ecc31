"""A quantity with a high-water mark and, where it has one, a bound."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class LevelStatistics:
    """What is held now, and the most that was held since the mark was last reset."""

    held: int
    peak: int
    limit: int | None


class Level:
    """Counts in and out. Whoever takes must give back the same."""

    __slots__ = ("_peak", "held", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.held = 0
        self._peak = 0

    def take_nowait(self, amount: int) -> bool:
        """Add to the level, or say that the bound forbids it."""
        held = self.held + amount
        if self.limit is not None and held > self.limit:
            return False
        self.held = held
        self._peak = max(self._peak, held)
        return True

    def give(self, amount: int) -> None:
        """Take off the level."""
        self.held -= amount

    def statistics(self) -> LevelStatistics:
        """Give the level and its mark."""
        return LevelStatistics(self.held, self._peak, self.limit)

    def reset_peak(self) -> None:
        """Begin a new high-water mark, at what is held now."""
        self._peak = self.held
