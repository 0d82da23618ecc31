"""Where the knobs that the scopes set contradict each other.

Only some pairs of knobs can, see `Policy.faults`. A narrow scope that sets neither knob of a pair
has what the global scope has; and a session within an organisation makes a contradiction that
neither of them makes alone only where each of the two sets one knob of a pair, whatever the global
scope says. So no policy has to be put together for each session in each organisation.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from penstock.engine.policy import KNOBS, Policy
from penstock.engine.policy_editions import GLOBAL, is_org

Overlays = Mapping[str, Mapping[str, Any]]


def _pairs() -> tuple[tuple[str, str], ...]:
    """Ask the policy which knobs must not be above which others."""
    numbers = {name: knob for name, knob in KNOBS.items() if not knob.words}
    lowest = Policy(**{name: knob.low for name, knob in numbers.items()})
    return tuple(
        (fault.knob, fault.other)
        for name, knob in numbers.items()
        for fault in replace(lowest, **{name: knob.high}).faults()
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
    wide = scope is None or scope == GLOBAL
    found = narrow if wide else {name: narrow[name] for name in (scope,) if name in narrow}
    for lower, upper in pairs:
        low, high = getattr(base, lower), getattr(base, upper)
        if wide and low > high:
            yield Clash((GLOBAL,), lower, upper, low, high)
        for name, put in found.items():
            if lower in put or upper in put:
                least, most = put.get(lower, low), put.get(upper, high)
                if least > most:
                    yield Clash((GLOBAL, name), lower, upper, least, most)
    if scope == GLOBAL:
        return
    orgs = {
        name: put
        for name, put in (narrow if wide or not is_org(scope) else found).items()
        if is_org(name)
    }
    sessions = {
        name: put
        for name, put in (narrow if wide or is_org(scope) else found).items()
        if not is_org(name)
    }
    for lower, upper in pairs:
        yield from _between(orgs, sessions, lower, upper)


def _between(orgs: Overlays, sessions: Overlays, lower: str, upper: str) -> Iterator[Clash]:
    """Find sessions that set one of the knobs, and organisations that set the other one."""
    lows = [
        (put[lower], name) for name, put in sessions.items() if lower in put and upper not in put
    ]
    highs = [(put[upper], name) for name, put in orgs.items() if upper in put]
    if lows and highs and max(lows)[0] > min(highs)[0]:
        for low, session in lows:
            for high, org in highs:
                if low > high:
                    yield Clash((GLOBAL, org, session), lower, upper, low, high)
    highs = [
        (put[upper], name) for name, put in sessions.items() if upper in put and lower not in put
    ]
    lows = [(put[lower], name) for name, put in orgs.items() if lower in put]
    if lows and highs and max(lows)[0] > min(highs)[0]:
        for high, session in highs:
            for low, org in lows:
                if low > high:
                    yield Clash((GLOBAL, org, session), lower, upper, low, high)
