"""What is tried: knobs, loads and bounds as an operator writes them, checked beforehand."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any, Final, NamedTuple

from penstock.bench.errors import BenchError
from penstock.engine.policy import KNOBS, Policy, PolicyFaultsError

# Small enough for some minutes: the knobs that turned out to make a difference, and the budget.
DEFAULT_KNOBS: Final = (
    "dwell_seconds=0.5,1,3",
    "keep_every=2,4",
    "loss_percent=5,20",
)
_MOST_POLICIES: Final = 500
_MOST_LOADS: Final = 12
_LOADS: Final = (0.1, 20.0)
# What the model of the service presses; the other knobs would look as if they did nothing.
_PRESSED: Final = frozenset(
    {
        "thin_at", "thin_until", "refuse_at", "refuse_until", "dwell_seconds", "keep_every",
        "loss_percent", "gap_seconds", "retry_after_max_seconds",
    }
)  # fmt: skip
_BOUND: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z°]*)")


class GridError(BenchError):
    """What is to be tried makes no sense. Each of the lines names the option and the value."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class Grid(NamedTuple):
    """The policies, the one in force first, and what was left out because it is none."""

    policies: tuple[Policy, ...]
    left_out: tuple[str, ...]


def read_grid(texts: Sequence[str], in_force: Policy) -> Grid:
    """Read `knob=value,value` texts; every combination is tried that makes a policy."""
    knobs: dict[str, tuple[object, ...]] = {}
    lines: list[str] = []
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            lines.append(f"--knob: {text!r}; it must be such as keep_every=2,3,4")
        elif name in knobs:
            lines.append(f"--knob: {name} is given twice")
        elif name in KNOBS and name not in _PRESSED:
            known = ", ".join(sorted(_PRESSED))
            lines.append(
                f"--knob: {name} does nothing in the model of the service, which has no inboxes "
                f"and no bulk writes; it can tell about {known}"
            )
        else:
            knobs[name] = _values(name, values, in_force, lines)
    if lines:
        raise GridError(*lines)
    number = math.prod(len(values) for values in knobs.values())
    if number > _MOST_POLICIES:
        raise GridError(f"--knob: {number} policies; at most {_MOST_POLICIES} are tried at once")
    return _combined(knobs, in_force)


def _values(name: str, text: str, in_force: Policy, lines: list[str]) -> tuple[object, ...]:
    found: dict[object, None] = {}
    for part in text.split(","):
        try:
            value: object = int(part) if part.strip().lstrip("+-").isdigit() else float(part)
        except ValueError:
            value = part
        try:
            policy = in_force.changed({name: value})
        except PolicyFaultsError as error:
            # A contradiction with another knob may be none in a combination.
            alone = [fault for fault in error.faults if fault.other is None]
            lines += [f"--knob: {fault.knob}: {fault.detail}, seen {part!r}" for fault in alone]
            found[value] = None
        else:
            found[getattr(policy, name)] = None
    return tuple(found)


def _combined(knobs: Mapping[str, Sequence[object]], in_force: Policy) -> Grid:
    policies = {in_force: None}
    left_out = []
    for values in product(*knobs.values()):
        chosen = dict(zip(knobs, values, strict=True))
        try:
            policies[in_force.changed(chosen)] = None
        except PolicyFaultsError as error:
            told = ", ".join(f"{name}={value}" for name, value in chosen.items())
            left_out.append(f"{told} makes no policy: {error}")
    if len(policies) == 1 and left_out:
        raise GridError(*(f"--knob: {line}" for line in left_out[:5]))
    return Grid(tuple(policies), tuple(left_out))


def read_loads(text: str) -> tuple[float, ...]:
    """Read different multiples of the capacity; they come back in ascending order."""
    low, high = _LOADS
    try:
        loads = tuple(sorted(float(part) for part in text.split(",")))
    except ValueError:
        loads = ()
    right = all(low <= load <= high for load in loads)
    if not loads or not right or len(set(loads)) < len(loads) or len(loads) > _MOST_LOADS:
        raise GridError(
            f"--load: {text!r}; it must be at most {_MOST_LOADS} different numbers from {low:g} to "
            f"{high:g} with commas between, multiples of the capacity"
        )
    return loads


def read_bound(option: str, text: str, units: Mapping[str, float]) -> float:
    """Read a bound such as `3deg`; `units` say how many of the first one each is."""
    found = _BOUND.fullmatch(text.strip().lower())
    scale = None if found is None else units.get(found[2] or next(iter(units)))
    if found is None or scale is None:
        names = ", ".join(units)
        raise GridError(f"{option}: {text!r}; it must be a number of at least 0, in {names}")
    return float(found[1]) * scale


def turned(policy: Policy, in_force: Policy) -> dict[str, Any]:
    """Give the knobs that differ from those in force."""
    names = [field.name for field in fields(policy)]
    return {
        name: getattr(policy, name)
        for name in names
        if getattr(policy, name) != getattr(in_force, name)
    }
