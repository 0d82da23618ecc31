"""One lane of the ledger: entries in the order in which they came, until each has its answer."""

import math
from collections import deque
from dataclasses import dataclass

from penstock.engine.ledger_port import Entry, LedgerReason
from penstock.engine.receipts import Answer, Lane, Receipt, Refused

# A commit costs a sync, a fraction of a millisecond to some ten, and 15 µs an entry: with this many
# the entries cost as much as the sync, and little is gained by more.
MAX_GROUP_ENTRIES = 256
AGED_SHARE = 0.25


@dataclass(slots=True, frozen=True)
class LaneStatistics:
    """One lane. `queued` includes what is being committed."""

    queued: int
    peak_queued: int
    oldest_age_seconds: float
    committed: int
    refused: dict[LedgerReason, int]


@dataclass(slots=True, frozen=True, eq=False)
class Waiting:
    """An entry without an answer."""

    entry: Entry
    lane: Lane
    receipt: Receipt
    since: float


class LaneQueue:
    """One lane's entries that have no answer yet, in order. `taken` are in the ledger's hands."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[Waiting] = deque()
        self.taken: list[Waiting] = []
        self.peak = 0
        self.committed = 0
        self.refused: dict[LedgerReason, int] = {}

    @property
    def count(self) -> int:
        """Count the entries that have no answer, wherever they are."""
        return len(self.waiting) + len(self.taken)

    @property
    def since(self) -> float:
        """Give when the oldest was submitted."""
        oldest = self.taken or self.waiting
        return oldest[0].since if oldest else math.inf

    def put(self, waiting: Waiting) -> None:
        """Add an entry behind all others."""
        self.waiting.append(waiting)
        self.peak = max(self.peak, self.count)

    def take(self, count: int) -> None:
        """Give the ledger the oldest ones."""
        self.taken = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]

    def put_back(self) -> None:
        """Take back what the ledger did not store, into the old order."""
        self.waiting.extendleft(reversed(self.taken))
        self.taken = []

    def settle(self, waiting: Waiting, answer: Answer) -> None:
        """Tell an entry's submitter."""
        if isinstance(answer, Refused):
            self._note(answer)
        else:
            self.committed += 1
        waiting.receipt.settle_nowait(answer)

    def turn_away(self, refused: Refused) -> Receipt:
        """Refuse an entry that is not in the queue."""
        self._note(refused)
        return Receipt(refused)

    def _note(self, refused: Refused) -> None:
        self.refused[refused.reason] = self.refused.get(refused.reason, 0) + 1

    def statistics(self, now: float) -> LaneStatistics:
        """Give depth, age and totals."""
        age = max(0.0, now - self.since)
        return LaneStatistics(self.count, self.peak, age, self.committed, dict(self.refused))


def divide(finals: int, durable: int, aged: int) -> tuple[int, int]:
    """Divide a group: how many finals and how many durable entries, of which `aged` are due."""
    due = min(aged, durable, int(MAX_GROUP_ENTRIES * AGED_SHARE))
    first = min(finals, MAX_GROUP_ENTRIES - due)
    return first, min(durable, MAX_GROUP_ENTRIES - first)
