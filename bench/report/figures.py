"""One figure of two reports, side by side."""

from dataclasses import dataclass

from penstock.bench.report.noise import Estimate, Verdict, judge


@dataclass(slots=True, frozen=True)
class Figure:
    """A figure in A and in B. The interval holds the ratio B/A with 95 %, as far as noise goes."""

    name: str
    unit: str
    a: float
    b: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    less_is_better: bool
    verdict: Verdict


def judged(name: str, unit: str, a: Estimate, b: Estimate, *, less_is_better: bool) -> Figure:
    """Put two estimates side by side."""
    found = judge(a, b, less_is_better=less_is_better)
    return Figure(
        name,
        unit,
        a.value,
        b.value,
        found.ratio,
        found.low,
        found.high,
        less_is_better,
        found.verdict,
    )
