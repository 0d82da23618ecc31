"""How figures are written, in the terminal and on the page alike: three digits are enough."""

import math
from collections.abc import Mapping

NONE = "-"


def count(value: int | None) -> str:
    """Write a number of things."""
    return NONE if value is None else f"{value:,}"


def figure(value: float | None) -> str:
    """Write a measured figure with three significant digits, and whole numbers whole."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    # Rounded first: 9.996 is 10.0, and not 10.00.
    rounded = float(f"{value:.2e}")
    digits = 2 - math.floor(math.log10(abs(rounded)))
    if digits > 5:
        return f"{rounded:g}"
    return f"{value:,.{max(0, digits)}f}"


def plain(value: float) -> str:
    """Write what was chosen, not measured: as it is, without zeros that say nothing."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def share(value: float | None) -> str:
    """Write a share as a percentage."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.1%}"


def mebibytes(value: float | None) -> str:
    """Write an amount of memory, without its unit."""
    return NONE if value is None else figure(value / (1 << 20))


def span(low: float, high: float) -> str:
    """Write a range."""
    return f"{figure(low)} to {figure(high)}"


def counts(values: Mapping[str, int]) -> str:
    """Write what was counted, the most frequent first."""
    most = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{what}: {number:,}" for what, number in most if number) or "none"


def accepted(outcome: str) -> bool:
    """Say whether an outcome, such as `202` or `429 inbox_full`, is what was asked for."""
    return outcome.startswith("2")
