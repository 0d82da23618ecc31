"""The names in use, remembered for a while and until a run is written."""

from dataclasses import dataclass

from penstock.engine.ledger_port import Ledger
from penstock.engine.ports import Clock
from penstock.engine.runs.records import NamesOfRuns, RunNames

KEPT_SECONDS = 300.0


@dataclass(slots=True)
class NamesCache:
    """One answer. What was asked for before a run was written is not kept after it."""

    ledger: Ledger
    clock: Clock
    _names: RunNames | None = None
    _until: float = 0.0
    _writes: int = 0

    async def read(self) -> tuple[RunNames, bool]:
        """Give the names, and whether they were remembered."""
        if self._names is not None and self.clock.monotonic() < self._until:
            return self._names, True
        writes = self._writes
        names = await self.ledger.read(NamesOfRuns())
        if writes == self._writes:
            self._names = names
            self._until = self.clock.monotonic() + KEPT_SECONDS
        return names, False

    def forget(self) -> None:
        """Hear that a run was written."""
        self._writes += 1
        self._names = None
