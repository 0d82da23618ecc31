"""The plot: frames lost against each error, a point for each policy and load, as a PNG."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.bench.errors import BenchError
from penstock.bench.report.style import LIGHT
from penstock.bench.tune.result import Band, Point, TuningResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT, _DPI = 13.0, 4.6, 100
_MARKERS: Final = ("o", "s", "^", "v", "P", "X")


def check_plotting() -> None:
    """Raise BenchError, with what to do, where nothing can be drawn."""
    if find_spec("matplotlib") is None:
        raise BenchError("matplotlib is needed to draw the plot: pip install 'penstock[bench]'")


def draw(result: TuningResult, path: Path) -> None:
    """Draw a result into a file."""
    # The figure's own canvas, and no pyplot: no display is asked for, and nothing is kept.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(figure.subplots(1, 3))
    bounds = result.bounds
    _panel(panels[0], result, "range_degrees", "range of motion, degrees", bounds.range_degrees)
    _panel(panels[1], result, "repetitions", "repetitions, count", bounds.repetitions)
    _panel(panels[2], result, "tempo_ms", "tempo, ms a repetition", bounds.tempo_ms)
    panels[0].set_ylabel("mean error against the same session whole")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(
        f"{len(result.sessions)} sessions, {len(result.policies)} policies, seeds "
        f"{', '.join(map(str, result.tried.seeds))}; bars are 95 % intervals",
        fontsize=11,
    )
    figure.savefig(path, format="png", metadata={"Software": None})


def _panel(panel: "Axes", result: TuningResult, name: str, title: str, bound: float | None) -> None:
    for at, load in enumerate(result.tried.loads):
        points = [p for p in result.points if p.load == load and getattr(p, name) is not None]
        colour = LIGHT[f"s{at % 6 + 1}"]
        marker = _MARKERS[at % len(_MARKERS)]
        _bars(panel, points, name, colour, marker, f"{load:g} times the capacity")
        for policy, mark, label in _marked(result):
            own = [p for p in points if p.policy == policy]
            if own:
                panel.scatter(
                    [100 * p.lost_share.value for p in own],
                    [_band(p, name).value for p in own],
                    s=170,
                    marker=mark,
                    facecolors="none" if mark == "D" else colour,
                    edgecolors=LIGHT["ink"],
                    linewidths=1.3,
                    zorder=4,
                    label=label if at == 0 else None,
                )
    if bound is not None:
        panel.axhline(bound, color=LIGHT["bad"], linestyle="--", linewidth=1, label="the bound")
    panel.set_title(title, fontsize=10, loc="left")
    panel.set_xlabel("frames lost, %")
    panel.set_ylim(bottom=0)
    panel.grid(visible=True, color=LIGHT["rule"], linewidth=0.6)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _bars(
    panel: "Axes", points: list[Point], name: str, colour: str, marker: str, label: str
) -> None:
    bands = [_band(p, name) for p in points]
    values = [band.value for band in bands]
    # A percentile of draws may lie a rounding beyond the mean.
    low = [max(0.0, band.value - band.low) for band in bands]
    high = [max(0.0, band.high - band.value) for band in bands]
    panel.errorbar(
        [100 * p.lost_share.value for p in points],
        values,
        yerr=[low, high],
        fmt=marker,
        color=colour,
        ecolor=f"{colour}66",
        markersize=5,
        elinewidth=1,
        label=label,
    )


def _marked(result: TuningResult) -> list[tuple[int, str, str]]:
    found = [(0, "D", "in force")]
    if result.choice is not None:
        found.append((result.choice.policy, "*", "best within the bounds"))
    return found


def _band(point: Point, name: str) -> Band:
    band = getattr(point, name)
    assert isinstance(band, Band)  # noqa: S101  those without were left out
    return band
