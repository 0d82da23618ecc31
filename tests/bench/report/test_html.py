import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from penstock.bench.errors import BenchError
from penstock.bench.report.html import render_html
from penstock.bench.report.models import Report
from penstock.bench.report.style import DARK, LIGHT

Make = Callable[..., Report]

_HOSTILE = "<script>alert('x')</script>\"&\x00\ud800"
# About as wide as a character of the plots' text.
_CHARACTER = 6.6


def _parsed(page: str) -> ET.Element:
    return ET.fromstring(page)  # noqa: S314  it is our own page


def _plots(page: str) -> list[ET.Element]:
    return [one for one in _parsed(page).iter("svg") if one.get("class") == "plot"]


def test_a_page_is_well_formed_and_has_its_plots(make: Make) -> None:
    """Each kind gives a page that any parser reads, with at least one plot and its data."""
    page = render_html(make())
    figures = list(_parsed(page).iter("figure"))
    assert figures
    for figure in figures:
        assert figure.find("svg[@class='plot']") is not None
        assert len(figure.findall("details//tbody/tr")) > 1


def test_a_load_run_has_all_its_plots(make_load: Make) -> None:
    """Throughput, latency, percentiles, refusals, memory, processor and lag are all drawn."""
    titles = [
        figure.findtext("figcaption/h2")
        for figure in _parsed(render_html(make_load())).iter("figure")
    ]
    assert titles == [
        "Throughput",
        "Latency over time",
        "Latency by percentile",
        "Refusals over time",
        "Server memory",
        "Processor use",
        "Processor time an answer",
        "Lag of the harness",
    ]


def test_plots_can_be_heard(make: Make) -> None:
    """Each plot is an image with a title and a description of its own."""
    page = render_html(make())
    ids = [one.get("id") for one in _parsed(page).iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    for plot in _plots(page):
        assert plot.get("role") == "img"
        named = (plot.get("aria-labelledby") or "").split()
        assert [plot[0].get("id"), plot[1].get("id")] == named
        assert plot[0].text
        assert plot[1].text


def test_nothing_is_drawn_outside(make: Make) -> None:
    """Every coordinate, and every text as far as its length tells, is inside the plot's box."""
    for plot in _plots(render_html(make())):
        _, _, width, height = map(float, (plot.get("viewBox") or "").split())
        points = [point for shape in plot.iter() for point in _corners(shape)]
        assert len(points) > 20
        outside = [(x, y) for x, y in points if not (0 <= x <= width and 0 <= y <= height)]
        assert outside == []


def _corners(shape: ET.Element) -> list[tuple[float, float]]:
    def number(name: str) -> float:
        return float(shape.get(name) or 0)

    if shape.tag == "path":
        found = [float(text) for text in re.findall(r"-?[\d.]+", shape.get("d") or "")]
        return list(zip(found[::2], found[1::2], strict=True))
    if shape.tag == "rect":
        x, y = number("x"), number("y")
        assert number("width") >= 0
        assert number("height") >= 0
        return [(x, y), (x + number("width"), y + number("height"))]
    if shape.tag == "line":
        return [(number("x1"), number("y1")), (number("x2"), number("y2"))]
    if shape.tag == "circle":
        x, y, radius = number("cx"), number("cy"), number("r")
        return [(x - radius, y - radius), (x + radius, y + radius)]
    if shape.tag == "text":
        length = len(shape.text or "") * _CHARACTER
        anchor = (shape.get("class") or "").split()[-1]
        start = number("x") - length * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        return [(start, number("y")), (start + length, number("y"))]
    return []


def test_nothing_comes_from_outside(make: Make) -> None:
    """The page makes no request: no address, no script, no style or picture of elsewhere."""
    page = render_html(make())
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img|src=|href=", page)
    assert "default-src 'none'" in page


def test_text_of_a_report_is_never_markup(make: Make) -> None:
    """A setting, a fault or a command that looks like markup is shown, not run."""
    page = render_html(make(server={_HOSTILE: _HOSTILE}, faults=[_HOSTILE], command=_HOSTILE))
    page.encode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not list(_parsed(page).iter("script"))


def test_names_in_plots_are_never_markup(make_peers: Make, make_load: Make) -> None:
    """Names from servers and outcomes are escaped in plots, tooltips and legends too."""
    peers: Report = make_peers()
    assert peers.peers is not None
    renamed = [one.model_copy(update={"name": _HOSTILE}) for one in peers.peers.peers[:1]]
    run = peers.peers.model_copy(update={"peers": renamed})
    load: Report = make_load()
    assert load.load is not None
    seconds = [
        one.model_copy(update={"outcomes": {"202": 1, f"500 {_HOSTILE}": 3}})
        for one in load.load.seconds
    ]
    noisy = load.load.model_copy(update={"seconds": seconds})
    for report in (
        peers.model_copy(update={"peers": run}),
        load.model_copy(update={"load": noisy}),
    ):
        page = render_html(report)
        assert "<script" not in page
        assert len(_plots(page)) >= 1


def test_faults_are_the_first_thing_to_see(make: Make) -> None:
    """A report with faults says before any figure that it should not be used."""
    page = render_html(make(faults=["the harness was late"]))
    assert page.index("should not be used") < page.index("the harness was late")
    assert page.index("the harness was late") < page.index('<div class="plots">')
    assert "should not be used" not in render_html(make())


def test_a_long_run_is_drawn_with_fewer_points(make_load: Make) -> None:
    """An hour's page stays small, and a second's peak is still in it."""
    report: Report = make_load(seconds=3600)
    assert report.load is not None
    report.load.seconds[1234] = report.load.seconds[1234].model_copy(update={"max_ms": 98_765.0})
    page = render_html(report)
    assert len(page) < 1_000_000
    assert "98,765" in page
    assert "15 s a point" in page


def test_runs_without_anything_have_a_page(make_load: Make) -> None:
    """A run that was interrupted at once, or of one second, is shown as far as it goes."""
    report: Report = make_load()
    assert report.load is not None
    for seconds in ([], report.load.seconds[:1]):
        empty = report.load.model_copy(update={"seconds": seconds, "latency": {}, "outcomes": {}})
        _parsed(render_html(report.model_copy(update={"load": empty})))


def test_a_damaged_histogram_is_told(make_load: Make) -> None:
    """A report whose latencies were cut off is refused with the name of the request."""
    report: Report = make_load()
    assert report.load is not None
    broken = report.load.latency["pose"].model_copy(update={"hdr": "AAAA"})
    run = report.load.model_copy(update={"latency": {"pose": broken}})
    with pytest.raises(BenchError, match="'pose'"):
        render_html(report.model_copy(update={"load": run}))


def _contrast(one: str, other: str) -> float:
    """Give the contrast of two colours as WCAG 2.2 defines it."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_told_from_their_ground(palette: dict[str, str]) -> None:
    """Text has a contrast of 4.5 and a plot's lines one of 3, in light and in dark."""
    for ground in ("paper", "panel"):
        for name in ("ink", "soft", "good", "bad"):
            assert _contrast(palette[name], palette[ground]) >= 4.5, (name, ground)
    for name in (f"s{n}" for n in range(7)):
        assert _contrast(palette[name], palette["paper"]) >= 3, name


def test_both_palettes_name_the_same_colours() -> None:
    """No colour is missing in the dark."""
    assert LIGHT.keys() == DARK.keys()
