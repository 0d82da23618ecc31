"""How wrong the motion's figures are, against the truth of synthetic patients.

`python -m penstock.bench.motion_error FOLDER` draws the curves of the documentation: count, range
and times against noise, fatigue, pauses and lost frames. Patients are the plausible ones of
`patients`, one of each exercise and seed; equal arguments give the same curves.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from penstock.bench.patients import Exercise, Recording, Traits, record
from penstock.bench.report.plots import Frame, Series, line_plot
from penstock.bench.report.scales import exact, linear
from penstock.bench.report.style import LIGHT
from penstock.engine.motion.metrics import metrics
from penstock.engine.motion.motion import NO_MOTION, advance
from penstock.engine.motion.signals import measure

SECONDS: Final = 60.0
SEEDS: Final = 4
_BURST_FRAMES: Final = 20
_BATCH_FRAMES: Final = 10
Kept = npt.NDArray[np.bool_]


@dataclass(slots=True, frozen=True)
class Errors:
    """What a condition costs, over many patients."""

    exact_share: float
    within_one_share: float
    range_degrees: float | None
    bounds_seconds: float | None


@dataclass(slots=True, frozen=True)
class Condition:
    """One point of a curve: how patients are, and what is left of their frames."""

    value: float
    traits: Callable[[Traits], Traits]
    kept: Callable[[int, np.random.Generator], Kept] | None = None


def measured(condition: Condition, *, seeds: int = SEEDS) -> Errors:
    """Measure one condition over all exercises, each named, and so many seeds."""
    wrong: list[int] = []
    ranges: list[float] = []
    bounds: list[float] = []
    for exercise in Exercise:
        for seed in range(seeds):
            usual = Traits(exercise=exercise, rest_seconds=20.0)
            found = record(condition.traits(usual), seconds=SECONDS, seed=seed)
            random = np.random.default_rng(seed)
            kept = None if condition.kept is None else condition.kept(len(found.landmarks), random)
            figures = _figures(found, kept)
            _compare(found, figures, wrong, ranges, bounds)
    return Errors(
        fmean(one == 0 for one in wrong),
        fmean(abs(one) <= 1 for one in wrong),
        median(ranges) if ranges else None,
        median(bounds) if bounds else None,
    )


def _figures(found: Recording, kept: Kept | None) -> dict[str, Any]:
    times, points = found.timestamps_ms.astype(np.int64), found.landmarks
    if kept is not None:
        times, points = times[kept], points[kept]
    motion = NO_MOTION.told(world=False, exercise=found.truth.exercise.value)
    values = measure(points, found.aspect)
    return metrics(advance([motion], [len(times)], times, values)[0])


def _compare(
    found: Recording,
    figures: dict[str, Any],
    wrong: list[int],
    ranges: list[float],
    bounds: list[float],
) -> None:
    truth = [one for one in found.truth.repetitions if not one.partial]
    count = figures["session_metrics"]["rep_count"]
    wrong.append(count - min(max(count, len(truth)), len(found.truth.repetitions)))
    for one in figures["rep_metrics"]:
        real = min(truth, key=lambda r: abs(r.turn_ms - one["turn_ms"]), default=None)
        if real is None or not one["seen"] or not real.start_ms < one["turn_ms"] < real.end_ms:
            continue
        bounds.append(abs(one["start_ms"] - real.start_ms) / 1000)
        bounds.append(abs(one["end_ms"] - real.end_ms) / 1000)
        if one["range_deg"] is not None:
            ranges.append(abs(one["range_deg"] - real.range_degrees))


# What is lost.


def lost(share: float, length: int) -> Callable[[int, np.random.Generator], Kept]:
    """Lose that share of the frames, in pieces of so many."""

    def kept(frames: int, random: np.random.Generator) -> Kept:
        left = np.ones(frames, np.bool_)
        while (missing := round(share * frames) - int((~left).sum())) > 0:
            start = int(random.integers(max(1, frames - length + 1)))
            if length == _BATCH_FRAMES:
                start -= start % length
            left[start : start + min(length, missing)] = False
        return left

    return kept


def losses(length: int) -> list[Condition]:
    """Give the conditions from no loss to half of all frames."""
    return [
        Condition(100 * share, lambda usual: usual, lost(share, length))
        for share in (0.0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
    ]


def _varied(values: Iterable[float], change: Callable[[Traits, float], Traits]) -> list[Condition]:
    return [
        Condition(value, lambda usual, value=value: change(usual, value))  # type: ignore[misc]
        for value in values
    ]


CURVES: Final[dict[str, tuple[str, dict[str, list[Condition]]]]] = {
    "loss": (
        "share of frames lost, %",
        {
            "single frames": losses(1),
            "whole batches": losses(_BATCH_FRAMES),
            "bursts of two seconds": losses(_BURST_FRAMES),
        },
    ),
    "noise": (
        "jitter, times the usual",
        {
            "patients": _varied(
                (0.0, 0.5, 1, 2, 3, 4, 6),
                lambda usual, value: replace(usual, jitter=usual.jitter * value),
            )
        },
    ),
    "fatigue": (
        "range lost by the end of a set, %",
        {
            "patients": _varied(
                (0, 10, 20, 30, 40, 50, 60),
                lambda usual, value: replace(
                    usual, fatigue_range=value / 100, fatigue_tempo=value / 100
                ),
            )
        },
    ),
    "pauses": (
        "chance of a pause after a repetition, %",
        {
            "patients": _varied(
                (0, 10, 20, 30, 50, 75),
                lambda usual, value: replace(usual, pause_chance=value / 100),
            )
        },
    ),
}
_SHOWN: Final[tuple[tuple[str, str, Callable[[Errors], float | None]], ...]] = (
    ("count", "counted exactly, % of patients", lambda errors: 100 * errors.exact_share),
    ("range", "error of range, median degrees", lambda errors: errors.range_degrees),
    ("bounds", "error of beginning and end, median s", lambda errors: errors.bounds_seconds),
)


def curve(name: str) -> dict[str, list[tuple[float, Errors]]]:
    """Measure one of CURVES."""
    _, lines = CURVES[name]
    return {
        line: [(one.value, measured(one)) for one in conditions]
        for line, conditions in lines.items()
    }


def pictures(name: str, found: dict[str, list[tuple[float, Errors]]]) -> dict[str, str]:
    """Draw a curve's pictures, by their file names."""
    x_name, _ = CURVES[name]
    drawn = {}
    for shown, y_name, value in _SHOWN:
        series = [
            Series(line, [(x, value(errors)) for x, errors in points], number + 1)
            for number, (line, points) in enumerate(found.items())
        ]
        xs = [x for one in series for x, _ in one.points]
        ys = [y for one in series for _, y in one.points if y is not None]
        y_axis = exact(y_name, 0, 100) if shown == "count" else linear(y_name, ys)
        frame = Frame(
            f"{name}-{shown}",
            f"{y_name} against {x_name}",
            f"Lines for {', '.join(found)}.",
            exact(x_name, 0, max(xs)),
            y_axis,
            lambda x: f"{x:g}",
            lambda y: f"{y:.2g}",
            width=640,
            height=260,
        )
        drawn[f"{name}-{shown}.svg"] = _alone(line_plot(frame, series), list(found))
    return drawn


def _alone(plot: str, lines: Sequence[str]) -> str:
    """Make a page's plot a file of its own: with its colours, and with its legend."""
    style = "".join(
        f".line.s{n}{{stroke:{LIGHT[f's{n}']};fill:none;stroke-width:2}}.fill.s{n}{{fill:{LIGHT[f's{n}']}}}"
        f".s{n}-text{{fill:{LIGHT[f's{n}']}}}"
        for n in range(1, 5)
    )
    style += (
        "svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#57606c}"
        ".end{text-anchor:end}.middle{text-anchor:middle}.tip{fill:none}"
        ".grid{stroke:#d9dde3}.axis,.tick{stroke:#57606c}"
    )
    legend = "".join(
        f'<text class="s{n + 1}-text" x="{250 + 130 * n}" y="14">{line}</text>'
        for n, line in enumerate(lines)
        if len(lines) > 1
    )
    begin = plot.index(">") + 1
    head = plot[:begin].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{head}<style>{style}</style>{plot[begin:].removesuffix('</svg>')}{legend}</svg>\n"


def main(folder: Path) -> None:
    """Measure all curves, print them, and draw them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CURVES:
        found = curve(name)
        for line, points in found.items():
            for value, errors in points:
                sys.stdout.write(f"{name} {line} {value:g}: {errors}\n")
        for file, picture in pictures(name, found).items():
            (folder / file).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
