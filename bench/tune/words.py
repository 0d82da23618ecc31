"""A result in words: one table for the terminal and the page, and the sentences around it."""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.bench.tune.result import Band, Point, TuningResult

HEAD = (
    "policy",
    "load",
    "lost, %",
    "thinned/refused/unsent, %",
    "refusals, % of batches",
    "longest gap, s",
    "counted alike, %",
    "repetitions off",
    "range off, deg",
    "tempo off, ms",
    "wait, ms",
)


def rows(result: TuningResult) -> Iterator[tuple[str, ...]]:
    """Give a row for each point: policies in their order, each at its loads."""
    for point in result.points:
        yield (
            name(result, point.policy),
            f"{point.load:g}",
            band(point.lost_share, 100, 0),
            f"{100 * point.thinned_share:.0f}/{100 * point.refused_share:.0f}/"
            f"{100 * (point.withheld_share + point.given_up_share):.0f}",
            f"{100 * point.batches_refused_share:.0f}",
            f"{point.gap_longest_ms / 1000:.1f}",
            band(point.exact_share, 100, 0),
            band(point.repetitions, 1, 2),
            band(point.range_degrees),
            band(point.tempo_ms, 1, 0),
            f"{1000 * point.wait_seconds:.0f}",
        )


def name(result: TuningResult, policy: int) -> str:
    """Name a policy by what it turns, and say what it is."""
    text = _turned(result, policy)
    marks = ["in force"] if policy == 0 else []
    if result.choice is not None and result.choice.policy == policy:
        marks.append("best")
    if policy == 0:
        return " and ".join(marks)
    return f"{text} ({', '.join(marks)})" if marks else text


def _turned(result: TuningResult, policy: int) -> str:
    base = result.policies[0]
    knobs = {k: v for k, v in result.policies[policy].items() if v != base[k]}
    return knobs_told(knobs) or "the one in force"


def knobs_told(knobs: Mapping[str, Any]) -> str:
    """Write knobs as `penstock policy set` reads them."""
    return " ".join(
        f"{key}={value:.12g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in knobs.items()
    )


def band(found: Band | None, scale: float = 1.0, digits: int = 1) -> str:
    """Write a figure with its interval."""
    if found is None:
        return "-"
    value, low, high = (
        f"{scale * part:.{digits}f}" for part in (found.value, found.low, found.high)
    )
    return f"{value} ({low}-{high})"


def told(result: TuningResult) -> list[str]:
    """Say what the tuning was of, and what it recommends."""
    seeds = ", ".join(map(str, result.tried.seeds))
    lines = [
        f"{len(result.sessions)} sessions in {result.tried.places} places, "
        f"{len(result.policies)} policies, seeds {seeds}; the policy in force: "
        f"{result.in_force_from}.",
        *result.notes,
        f"Bounds of the errors, at the upper end of the 95 % interval: {_bounds(result)}.",
    ]
    choice = result.choice
    if choice is None:
        return [*lines, f"No policy that was tried keeps within them. {_nearest(result)}"]
    point = result.point(choice.policy, choice.load)
    assert point is not None  # noqa: S101  the choice was made of the points
    lines.append(
        f"The best keeps within them up to {choice.load:g} times the capacity, where it sheds "
        f"{100 * point.lost_share.value:.0f} % of the frames: {_turned(result, choice.policy)}."
    )
    if choice.line is None:
        lines.append("It is the one in force: there is nothing to set.")
    return lines


def _bounds(result: TuningResult) -> str:
    bounds = result.bounds
    parts = [
        (bounds.range_degrees, "range of motion", "degrees"),
        (bounds.repetitions, "repetitions", ""),
        (bounds.tempo_ms, "tempo", "ms"),
        (bounds.wait_seconds, "and of the mean wait", "s"),
    ]
    told = [f"{what} {bound:g} {unit}".strip() for bound, what, unit in parts if bound is not None]
    return ", ".join(told)


def _nearest(result: TuningResult) -> str:
    """Name the policy whose range is least off, at the lowest load."""
    load = result.tried.loads[0]
    points = [p for p in result.points if p.load == load and p.range_degrees is not None]
    if not points:
        return "No session tells a range of motion."
    best: Point = min(points, key=lambda p: p.range_degrees.high if p.range_degrees else 0.0)
    return (
        f"At {load:g} times the capacity the nearest is {name(result, best.policy)}, with the "
        f"range off by {band(best.range_degrees)} degrees."
    )
