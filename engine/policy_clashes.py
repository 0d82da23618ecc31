"""Where the knobs that the scopes set contradict each other.

Only some pairs of knobs can, see `Policy.faults`. A narrow scope that sets neither knob of a pair
has what the global scope has; and a session within an organisation makes a contradiction that
neither of them makes alone only where each of the two sets one knob of a pair, whatever the global
scope says. So no policy has to be put together for each session in each organisation.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from penstock.engine.policy import DEFAULT_POLICY, KNOBS, Policy
from penstock.engine.policy_editions import GLOBAL, is_org

Overlays = Mapping[str, Mapping[str, Any]]


def _pairs() -> tuple[tuple[str, str], ...]:
    """Ask the policy which knobs must not be above which others."""
    numbers = {name: knob for name, knob in KNOBS.items() if not knob.words}
    lows: dict[str, Any] = {name: knob.low for name, knob in numbers.items()}
    highs: dict[str, Any] = {name: knob.high for name, knob in numbers.items()}
    lowest = replace(DEFAULT_POLICY, **lows)
    return tuple(
        (fault.knob, fault.other)
        for name in numbers
        for fault in replace(lowest, **{name: highs[name]}).faults()
        if fault.knob == name and fault.other is not None
    )


PAIRS = _pairs()


class Clash(NamedTuple):
    """A chain of scopes, the widest first, in which `lower` is above `upper`."""

    chain: tuple[str, ...]
    lower: str
    upper: str
    low: float
    high: float


def find_clashes(
    base: Policy, narrow: Overlays, scope: str | None, knobs: Collection[str] | None = None
) -> Iterator[Clash]:
    """Find what a change of one scope's knobs can have put wrong; None for all of them.

    `base` is the global scope's policy, `narrow` has the knobs that each other scope sets.
    """
    pairs = [pair for pair in PAIRS if knobs is None or pair[0] in knobs or pair[1] in knobs]
    # A wide change reaches all of the narrow scopes, a narrow one only itself.
    reached = narrow
    if scope is not None and scope != GLOBAL:
        reached = {scope: narrow[scope]} if scope in narrow else {}
    yield from _below_global(base, reached, pairs, wide=reached is narrow)
    if scope == GLOBAL or not pairs or not reached:
        return
    # One of the two kinds is the scope's own, of the other kind all can be met.
    orgs = sessions = reached
    if scope is None or not is_org(scope):
        orgs = {name: put for name, put in narrow.items() if is_org(name)}
    if scope is None or is_org(scope):
        sessions = {name: put for name, put in narrow.items() if not is_org(name)}
    for lower, upper in pairs:
        yield from _between(orgs, sessions, lower, upper)


def _below_global(
    base: Policy, reached: Overlays, pairs: Collection[tuple[str, str]], *, wide: bool
) -> Iterator[Clash]:
    """Find what is wrong in the global scope, where that is asked, and in single narrow ones."""
    for lower, upper in pairs:
        low, high = getattr(base, lower), getattr(base, upper)
        if wide and low > high:
            yield Clash((GLOBAL,), lower, upper, low, high)
        for name, put in reached.items():
            if lower in put or upper in put:
                least, most = put.get(lower, low), put.get(upper, high)
                if least > most:
                    yield Clash((GLOBAL, name), lower, upper, least, most)


def _between(orgs: Overlays, sessions: Overlays, lower: str, upper: str) -> Iterator[Clash]:
    """Find sessions that set one of the knobs, and organisations that set the other one."""
    lows, highs = _only(sessions, lower, upper), _having(orgs, upper)
    for session, org in _crossed(lows, highs):
        yield Clash((GLOBAL, org, session), lower, upper, lows[session], highs[org])
    lows, highs = _having(orgs, lower), _only(sessions, upper, lower)
    for org, session in _crossed(lows, highs):
        yield Clash((GLOBAL, org, session), lower, upper, lows[org], highs[session])


def _only(overlays: Overlays, knob: str, without: str) -> dict[str, float]:
    return {n: put[knob] for n, put in overlays.items() if knob in put and without not in put}


def _having(overlays: Overlays, knob: str) -> dict[str, float]:
    return {name: put[knob] for name, put in overlays.items() if knob in put}


def _crossed(lows: dict[str, float], highs: dict[str, float]) -> Iterator[tuple[str, str]]:
    if not lows or not highs or max(lows.values()) <= min(highs.values()):
        return
    for below, low in lows.items():
        for above, high in highs.items():
            if low > high:
                yield below, above
