"""What a candidate would have taken of the batches of which the policy in force took another part.

Such a batch may be lost later, and then the candidate loses what it had taken. It is remembered
for as long as it can wait: in the session's inbox, or in the one chunk that is with the writer.
"""

from collections import deque

from penstock.engine.decisions import Offer
from penstock.engine.ports import MAX_CHUNK_BATCHES


class TakenOtherwise:
    """One session's batches under one candidate."""

    __slots__ = ("_batches",)

    def __init__(self) -> None:
        # First and last frame's time, and the frames taken.
        self._batches: deque[tuple[int, int, int]] = deque()

    def note(self, offer: Offer, taken: int) -> None:
        """Remember a batch, and forget those that wait no more."""
        batches = self._batches
        batches.append((offer.first_ms, offer.last_ms, taken))
        while len(batches) > offer.inbox_batches + MAX_CHUNK_BATCHES + 1:
            batches.popleft()

    def find(self, first_ms: int, last_ms: int) -> int | None:
        """Give the frames taken of the batch that these times are in; None if it is not here.

        The times may be those of a thinned batch, which begins later and ends earlier. The newest
        comes first, since a client's clock may have begun anew.
        """
        for first, last, taken in reversed(self._batches):
            if first <= first_ms and last_ms <= last:
                return taken
        return None
