"""Which policy is best within the errors that an operator allows. Pure.

A policy *keeps within the bounds* at a load when the upper end of each bounded figure's band does,
and the mean wait: at this load and at every lower one that was tried. The best is the one that
keeps within them up to the highest load. Of several it is the one under which batches wait least
for their turn there, since that is what dropping is for; of those that are alike in that, the one
that loses the fewest frames, and then the one that turns the fewest knobs. More loss is no merit of
its own: it need not spare the service anything.
"""

from collections.abc import Sequence
from typing import NamedTuple

from penstock.bench.tune.grid import turned
from penstock.bench.tune.result import Band, Bounds, Point
from penstock.engine.policy import Policy

# Waits are alike to ten milliseconds, and shares to a percent.
_WAIT_DIGITS = 2
_SHARE_DIGITS = 2


class Best(NamedTuple):
    """A policy by its number, and the highest load at which it keeps within the bounds."""

    policy: int
    load: float


def within(point: Point, bounds: Bounds) -> bool:
    """Say whether a point keeps within the bounds. What no session carries, nothing can break."""
    pairs: tuple[tuple[Band | None, float | None], ...] = (
        (point.range_degrees, bounds.range_degrees),
        (point.repetitions, bounds.repetitions),
        (point.tempo_ms, bounds.tempo_ms),
    )
    if bounds.wait_seconds is not None and point.wait_seconds > bounds.wait_seconds:
        return False
    return all(bound is None or band is None or band.high <= bound + 1e-9 for band, bound in pairs)


def held(points: Sequence[Point], policy: int, bounds: Bounds) -> Point | None:
    """Give the policy's point at the highest load up to which it keeps within the bounds."""
    found = None
    for point in sorted((p for p in points if p.policy == policy), key=lambda p: p.load):
        if not within(point, bounds):
            break
        found = point
    return found


def choose(points: Sequence[Point], policies: Sequence[Policy], bounds: Bounds) -> Best | None:
    """Give the best of the policies, the first of which is in force; None when none keeps in."""
    found = [
        (
            -point.load,
            round(point.wait_seconds, _WAIT_DIGITS),
            round(point.lost_share.value, _SHARE_DIGITS),
            len(turned(policy, policies[0])),
            number,
        )
        for number, policy in enumerate(policies)
        if (point := held(points, number, bounds)) is not None
    ]
    if not found:
        return None
    load, *_, number = min(found)
    return Best(number, -load)
