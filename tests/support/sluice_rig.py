"""A sluice with a book that is changed, and a clock that is moved, by hand; usual batches."""

from typing import Any, NamedTuple

from penstock.engine.decisions import Offer
from penstock.engine.policy import DEFAULT_POLICY, Policy
from penstock.engine.sluice import Sluice
from penstock.engine.stress import Readings


class Found(NamedTuple):
    policy: Policy
    scopes: tuple[str, ...]


class Book:
    """Overlays by scope and by candidate, merged when asked."""

    def __init__(self, **knobs: Any) -> None:
        self.overlays: dict[str, dict[str, Any]] = {"global": knobs}
        self.candidates: dict[str, dict[str, Any]] = {}

    def in_force(self, org_id: str, session_id: str, *candidate: dict[str, Any]) -> Found:
        scopes, knobs = ["global"], dict(self.overlays["global"])
        for overlay in candidate:
            knobs |= overlay
        for scope in (f"org:{org_id}", f"session:{session_id}"):
            if scope in self.overlays:
                scopes.append(scope)
                knobs |= self.overlays[scope]
        return Found(DEFAULT_POLICY.changed(knobs), tuple(scopes))

    def candidate_in_force(self, name: str, org_id: str, session_id: str) -> Found:
        return self.in_force(org_id, session_id, self.candidates[name])


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now + 1e9


class Rig:
    """A sluice with its book and its clock, pressed by hand."""

    def __init__(self, **knobs: Any) -> None:
        self.book = Book(**knobs)
        self.clock = HandClock()
        self.sluice = Sluice(self.book, self.clock)

    def press(self, level: float, seconds: float = 0.0) -> None:
        for _ in range(max(1, round(seconds * 10))):
            self.clock.now += 0.1
            held = round(level * 1000)
            readings = Readings(held, 100_000, 0, 1, 0.0, 0.0)
            self.sluice.sense(readings, self.clock.now, self.clock.unix())

    def edit(self, scope: str = "global", /, **knobs: Any) -> None:
        self.book.overlays[scope] = self.book.overlays.get(scope, {}) | knobs
        self.sluice.adopt()


def batch(number: int = 0, *, inbox: int = 0, waiting: int = 0, frames: int = 10) -> Offer:
    """Give the batch of that second."""
    first = number * 1000
    return Offer(frames, first, first + 90 * frames, 5_000, inbox, waiting)
