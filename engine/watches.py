"""Those who look on while a session goes on: its newest frames, as they come to the disk.

Looking on slows nobody down. A watch holds what came last and nothing else: who takes it too
seldom misses what came between. Sessions that nobody watches pay for one look into a dictionary,
once for each of their chunks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from penstock.engine.inbox import Arrival
from penstock.engine.motion.motion import Motion
from penstock.engine.outcomes import Tally
from penstock.engine.wakeup import WakeUp

# Each costs its session's figures once a second, which is some milliseconds.
MOST_WATCHES: Final = 4


class Seen(NamedTuple):
    """What came to the disk at once: frames, the motion after them, and the frames' counts."""

    arrivals: tuple[Arrival, ...]
    motion: Motion
    tally: Tally


class TooManyWatchesError(Exception):
    """As many look on as may."""


class Watch:
    """One who looks on, and takes what is new when it suits them."""

    __slots__ = ("_newest", "_wake_up")

    def __init__(self) -> None:
        self._newest: Seen | None = None
        self._wake_up = WakeUp()

    def tell_nowait(self, seen: Seen) -> None:
        """Put what is new in the place of what was not taken."""
        self._newest = seen
        self._wake_up.set()

    async def take(self) -> Seen:
        """Wait for what is new."""
        while True:
            await self._wake_up.wait()
            newest, self._newest = self._newest, None
            if newest is not None:
                return newest


class Watches:
    """All who look on, by the session that they watch."""

    def __init__(self) -> None:
        self.watched: dict[str, list[Watch]] = {}

    @property
    def number(self) -> int:
        """Tell how many look on."""
        return sum(map(len, self.watched.values()))

    def tell_nowait(
        self, session_id: str, arrivals: Sequence[Arrival], motion: Motion, tally: Tally
    ) -> None:
        """Show a session's frames to those who watch it."""
        watches = self.watched.get(session_id)
        if watches:
            seen = Seen(tuple(arrivals), motion, tally.copy())
            for watch in watches:
                watch.tell_nowait(seen)

    @contextmanager
    def watch(self, session_id: str) -> Iterator[Watch]:
        """Look on around the block; TooManyWatchesError when as many do as may."""
        if self.number >= MOST_WATCHES:
            raise TooManyWatchesError
        watch = Watch()
        self.watched.setdefault(session_id, []).append(watch)
        try:
            yield watch
        finally:
            left = self.watched[session_id]
            left.remove(watch)
            if not left:
                del self.watched[session_id]
