"""The drop policy's knobs: what an operator may set, within which bounds, and what fits together.

A policy is plain data. The ladder, the loss budget and the inbox read it (see `sluice`); the book
of policies says which one is in force where (see `policy_book`). Nothing here decides anything.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

KIB = 1024
MIB = 1024 * KIB


class InboxMode(StrEnum):
    """What gives way when a session's inbox is at its hard bound."""

    REFUSE = "refuse"
    DROP_OLDEST = "drop_oldest"


class Knob(NamedTuple):
    """What a knob may be set to: a number within bounds, or one of some words."""

    meaning: str
    unit: str
    low: float = 0
    high: float = 0
    whole: bool = False
    words: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """Say it in words."""
        if self.words:
            return " or ".join(self.words)
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:.12g} to {self.high:.12g}"


class Fault(NamedTuple):
    """What is wrong with a value. `other` is the knob that it contradicts, where it does."""

    knob: str
    detail: str
    seen: Any
    limit: Any = None
    other: str | None = None


class PolicyFaultsError(Exception):
    """These values make no policy."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.knob}: {fault.detail}" for fault in faults))
        self.faults = faults


@dataclass(slots=True, frozen=True)
class Policy:
    """One set of knobs. The defaults are the policy in force until somebody edits it."""

    thin_at: float = 50.0
    thin_until: float = 35.0
    refuse_at: float = 70.0
    refuse_until: float = 50.0
    refuse_bulk_at: float = 90.0
    refuse_bulk_until: float = 70.0
    dwell_seconds: float = 3.0
    keep_every: int = 2
    loss_percent: float = 5.0
    gap_seconds: float = 1.0
    inbox_mode: InboxMode = InboxMode.REFUSE
    inbox_soft_batches: int = 32
    inbox_batches: int = 64
    inbox_soft_bytes: int = 1 * MIB
    inbox_bytes: int = 2 * MIB
    retry_after_max_seconds: float = 30.0

    def faults(self) -> tuple[Fault, ...]:
        """Find what contradicts what between values that are right one by one."""
        pairs = (
            ("thin_until", "thin_at"),
            ("refuse_until", "refuse_at"),
            ("refuse_bulk_until", "refuse_bulk_at"),
            ("thin_at", "refuse_at"),
            ("refuse_at", "refuse_bulk_at"),
            ("inbox_soft_batches", "inbox_batches"),
            ("inbox_soft_bytes", "inbox_bytes"),
        )
        found = []
        for lower, upper in pairs:
            low, high = getattr(self, lower), getattr(self, upper)
            if low > high:
                detail = f"{lower} is {low:.12g}; it must not be above {upper}, {high:.12g}"
                found.append(Fault(lower, detail, low, high, upper))
        return tuple(found)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """Give the policy with these knobs turned, or raise PolicyFaultsError with all faults."""
        checked, faults = check_knobs(values)
        policy = replace(self, **checked)
        if faults := faults or policy.faults():
            raise PolicyFaultsError(faults)
        return policy

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return asdict(self)


_STRESS = "stress, 0 to 100"

KNOBS: dict[str, Knob] = {
    "thin_at": Knob("Stress at which frames begin to be thinned.", _STRESS, 0, 100),
    "thin_until": Knob("Stress below which thinning ends.", _STRESS, 0, 100),
    "refuse_at": Knob("Stress at which batches begin to be refused.", _STRESS, 0, 100),
    "refuse_until": Knob("Stress below which refusing ends.", _STRESS, 0, 100),
    "refuse_bulk_at": Knob(
        "Stress at which bulk writes wait, too: sync batches and batches of runs are refused, and "
        "retention and the statistics of media rest.",
        _STRESS,
        0,
        100,
    ),
    "refuse_bulk_until": Knob("Stress below which bulk writes are taken again.", _STRESS, 0, 100),
    "dwell_seconds": Knob(
        "The ladder steps down one rung only after the stress has been below that rung's end for "
        "so long.",
        "seconds",
        0.1,
        600,
    ),
    "keep_every": Knob(
        "Thinning keeps every so-manieth frame of a batch, evenly over time.",
        "frames",
        2,
        10,
        whole=True,
    ),
    "loss_percent": Knob(
        "The loss budget: the share of its frames that a session may lose.", "percent", 0, 100
    ),
    "gap_seconds": Knob(
        "The loss budget: the longest unbroken stretch of frames that a session may lose.",
        "seconds",
        0,
        600,
    ),
    "inbox_mode": Knob(
        "What gives way at an inbox's hard bound: the batch that comes, or the oldest that wait.",
        "word",
        words=tuple(InboxMode),
    ),
    "inbox_soft_batches": Knob(
        "A session with more batches waiting is thinned, whatever the stress.",
        "batches",
        1,
        10_000,
        whole=True,
    ),
    "inbox_batches": Knob(
        "The most batches that wait for one session.", "batches", 1, 10_000, whole=True
    ),
    "inbox_soft_bytes": Knob(
        "A session with more bytes waiting is thinned, whatever the stress.",
        "bytes",
        1,
        1024 * MIB,
        whole=True,
    ),
    "inbox_bytes": Knob(
        "The most bytes that wait for one session; at least one batch of the largest kind.",
        "bytes",
        1088 * KIB,
        1024 * MIB,
        whole=True,
    ),
    "retry_after_max_seconds": Knob(
        "The longest wait that a refused client is told.", "seconds", 1, 600
    ),
}


def check_knobs(values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """Give the values that are right one by one, as their knobs' types, and what is wrong."""
    checked: dict[str, Any] = {}
    faults = []
    for name, value in values.items():
        knob = KNOBS.get(name)
        if knob is None:
            known = ", ".join(KNOBS)
            faults.append(Fault(name, f"there is no such knob; there are {known}", value))
        elif knob.words:
            if value in knob.words:
                checked[name] = InboxMode(value)
            else:
                faults.append(Fault(name, f"it must be {knob.allowed}", value))
        elif not _is_number(value, whole=knob.whole) or not knob.low <= value <= knob.high:
            limit = None
            if _is_number(value, whole=knob.whole):
                limit = knob.low if value < knob.low else knob.high
            faults.append(Fault(name, f"it must be {knob.allowed}", value, limit))
        else:
            checked[name] = int(value) if knob.whole else float(value)
    return checked, tuple(faults)


def _is_number(value: object, *, whole: bool) -> bool:
    # A bool is an int to Python, but nobody's number; NaN fails every comparison with a bound.
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (
        isinstance(value, float) and (not whole or value.is_integer())
    )


DEFAULT_POLICY = Policy()
