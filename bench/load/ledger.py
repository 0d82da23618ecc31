"""One session's frames: what became of them, and whether the server's position agrees. Pure.

Theory of operation
-------------------
A patient's client sends one batch after the other, so when an answer comes, every batch before it
has had its own answer or has lost it for good. A server that keeps what it accepts must then say

    position = base + 528 * (accepted + landed),   landed <= uncertain

Of a batch that it thins, a server accepts some frames, and says how many; the others are *thinned*.
`uncertain` are the frames of batches without an answer that can be trusted: the server may have
taken them, even later. `landed` is what the positions have shown of them so far; it never falls.
`base` is 0 for a fresh session, and learnt from the first answer for one that goes on.

A position that does not fit is told once: the base moves to it, so that the next batch lost in
silence is found as well, and the same one is not found twice.
"""

from penstock.engine.wire import LANDMARK_BYTES_PER_FRAME


class SessionLedger:
    """Counts frames; sent = accepted + thinned + refused + unanswered + those under way."""

    __slots__ = ("_base", "_landed", "_uncertain", "accepted", "refused", "sent", "thinned",
                 "unanswered")  # fmt: skip

    def __init__(self, *, fresh: bool) -> None:
        self.sent = self.accepted = self.thinned = self.refused = self.unanswered = 0
        self._uncertain = self._landed = 0
        self._base: int | None = 0 if fresh else None

    def count_sent(self, frames: int) -> None:
        """Count a batch of which at least a part went out."""
        self.sent += frames

    def count_refused(self, frames: int, *, certain: bool) -> None:
        """Count a refused batch; not certain when the server may have taken it all the same."""
        self.refused += frames
        if not certain:
            self._uncertain += frames

    def count_unanswered(self, frames: int) -> None:
        """Count a batch whose answer will never be known."""
        self.unanswered += frames
        self._uncertain += frames

    def count_accepted(self, sent: int, accepted: int, position_bytes: int) -> str | None:
        """Count a 202, and say in words what its position contradicts; None when it agrees.

        Frames of the batch that the answer does not claim count as thinned. To accept none, or more
        than there were, is a contradiction, too.
        """
        believed = min(max(accepted, 0), sent)
        self.accepted += believed
        self.thinned += sent - believed
        if not 0 < accepted <= sent:
            self._move_to(position_bytes)
            return f"{accepted} frames accepted of a batch of {sent}"
        if self._base is None:
            self._move_to(position_bytes)
            return None
        least = self._base + (self.accepted + self._landed) * LANDMARK_BYTES_PER_FRAME
        most = self._base + (self.accepted + self._uncertain) * LANDMARK_BYTES_PER_FRAME
        surplus, odd = divmod(position_bytes - least, LANDMARK_BYTES_PER_FRAME)
        if least <= position_bytes <= most and not odd:
            self._landed += surplus
            return None
        self._move_to(position_bytes)
        right = str(least) if least == most else f"{least} to {most}"
        return f"position {position_bytes} after {self.accepted} accepted frames, not {right}"

    def _move_to(self, position_bytes: int) -> None:
        known = self.accepted + self._landed
        self._base = position_bytes - known * LANDMARK_BYTES_PER_FRAME
