"""A report as one page: no script, nothing from outside, readable in light, in dark and on paper.

The page is well-formed XML as well as HTML, so that it can be checked; every text that comes from a
report is escaped where it is written (`safe`).
"""

from collections.abc import Iterable, Iterator, Sequence

from penstock.bench.report import units
from penstock.bench.report.models import LoadRun, PeersRun, Report
from penstock.bench.report.over_time import load_pictures
from penstock.bench.report.pictures import (
    Picture,
    capacity_pictures,
    peers_pictures,
    scale_pictures,
)
from penstock.bench.report.plots import key
from penstock.bench.report.policy_pictures import (
    cost_pictures,
    neighbour_pictures,
    pressure_pictures,
)
from penstock.bench.report.sections import CERTAINTY, Section, heading, sections
from penstock.bench.report.style import stylesheet
from penstock.bench.report.svg import safe

# Even a page that was tampered with loads nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_CELL = {"ok": "word ok", "NOT": "word not"}

# A figure, its unit, and what it is.
Key = tuple[str, str, str]


def render_html(report: Report) -> str:
    """Lay a report out as a page that needs nothing else."""
    title = safe(heading(report))
    body = "\n".join(
        (
            *_header(report, title),
            *_key_figures(report),
            '<div class="plots">',
            *map(_figure, _pictures(report)),
            "</div>",
            *(_section(one) for one in sections(report) if one.rows or one.notes),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{title}</title>\n<style>{stylesheet()}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _header(report: Report, title: str) -> Iterator[str]:
    yield '<header>\n<p class="eyebrow">Penstock benchmark</p>'
    yield f"<h1>{title}</h1>"
    yield f'<p class="made">{safe(report.made_at)} · <code>{safe(report.command)}</code></p>'
    if report.faults:
        faults = "".join(f"<li>{safe(fault)}</li>" for fault in report.faults)
        yield '<div class="verdict faulty"><strong>These figures should not be used.</strong>'
        yield f"<ul>{faults}</ul></div>"
    else:
        yield f'<div class="verdict"><strong>{_praise(report)}</strong></div>'
    yield "</header>"


def _praise(report: Report) -> str:
    if report.load is not None and report.load.reconciliation:
        return "Accounted for: what the harness knows is what the server says."
    return "Nothing speaks against these figures."


def _key_figures(report: Report) -> Iterator[str]:
    found: list[Key] = []
    if report.load is not None:
        found = list(_load_keys(report.load))
    elif report.capacity is not None:
        run = report.capacity
        found = [(units.figure(run.rate), "/s", CERTAINTY[run.certainty])]
        if run.certainty == "found":
            found += [
                (units.span(run.low, run.high), "/s", "its 90 % interval"),
                (units.figure(run.safe_rate), "/s", "held in nine of ten runs"),
            ]
        found += [
            (units.plain(run.bound_p99_ms), "ms", "the bound of p99"),
            (units.count(len(run.trials)), "", "trials"),
        ]
    elif report.peers is not None:
        found = list(_peer_keys(report.peers))
    if found:
        yield '<dl class="key-figures">'
        for figure, unit, what in found:
            told = f"{safe(figure)} <small>{safe(unit)}</small>"
            yield f"<div><dt>{safe(what)}</dt><dd>{told}</dd></div>"
        yield "</dl>"


def _load_keys(run: LoadRun) -> Iterator[Key]:
    yield units.figure(run.answered_a_second), "/s", "answered, with all sessions on"
    if run.latency:
        # Accepted batches; where there were none, of whatever there was most.
        most = max(run.latency, key=lambda name: run.latency[name].count)
        kind = "pose" if "pose" in run.latency else most
        latency = run.latency[kind]
        yield units.figure(latency.p50_ms), "ms", f"p50 of {kind}"
        yield units.figure(latency.p99_ms), "ms", f"p99 of {kind}"
    every = [item for found in run.outcomes.values() for item in found.items()]
    refused = sum(number for what, number in every if not units.accepted(what))
    total = max(1, sum(number for _, number in every))
    yield units.share(refused / total), "", "of the answers were no 2xx"
    yield units.figure(run.cpu_us_a_batch), "µs", "processor time a batch"
    yield units.mebibytes(run.rss_peak_bytes), "MiB", "memory at the peak"


def _peer_keys(run: PeersRun) -> Iterator[Key]:
    for one in run.peers:
        if one.name.startswith("penstock"):
            yield units.figure(one.rate), "/s", f"{one.name}, {one.form}"
            if one.ratio is not None:
                yield units.figure(one.ratio), "", f"times {run.base}, {one.form}"


def _pictures(report: Report) -> Iterator[Picture]:
    if report.load is not None:
        yield from load_pictures(report.load)
    if report.capacity is not None:
        yield from capacity_pictures(report.capacity)
    if report.peers is not None:
        yield from peers_pictures(report.peers)
    if report.scale is not None:
        yield from scale_pictures(report.scale.lines)
    if report.pressure is not None:
        yield from pressure_pictures(report.pressure)
    if report.neighbour is not None:
        yield from neighbour_pictures(report.neighbour)
    if report.policy_cost is not None:
        yield from cost_pictures(report.policy_cost)


def _figure(picture: Picture) -> str:
    legend = "".join(
        f"<li>{key(colour, form)}{safe(name)}</li>" for name, colour, form in picture.legend
    )
    data = _table(picture.head, picture.rows, words=())
    return "\n".join(
        (
            f'<figure class="{"half" if picture.half else "whole"}">',
            f"<figcaption><h2>{safe(picture.title)}</h2><p>{safe(picture.caption)}</p></figcaption>",
            f'<ul class="legend">{legend}</ul>' if legend else "",
            picture.svg,
            f"<details><summary>Data</summary>{data}</details>",
            "</figure>",
        )
    )


def _section(section: Section) -> str:
    return "\n".join(
        (
            f"<section>\n<h2>{safe(section.title)}</h2>",
            _table(section.head, section.rows, section.words) if section.rows else "",
            *(f'<p class="note">{safe(note)}</p>' for note in section.notes if note),
            "</section>",
        )
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int]) -> str:
    top = "".join(
        f'<th scope="col"{_word(at, words)}>{safe(name)}</th>' for at, name in enumerate(head)
    )
    lines = "\n".join(f"<tr>{''.join(_cells(row, words))}</tr>" for row in rows)
    caption = f"<thead><tr>{top}</tr></thead>" if head else ""
    # It may scroll to the side, so the keyboard must reach it.
    return f'<div class="table" tabindex="0"><table>{caption}<tbody>{lines}</tbody></table></div>'


def _cells(row: Sequence[str], words: Sequence[int]) -> Iterator[str]:
    for at, cell in enumerate(row):
        if at == 0:
            yield f'<th scope="row"{_word(at, words)}>{safe(cell)}</th>'
        elif at in words and cell in _CELL:
            yield f'<td class="{_CELL[cell]}">{safe(cell)}</td>'
        else:
            yield f"<td{_word(at, words)}>{safe(cell)}</td>"


def _word(at: int, words: Sequence[int]) -> str:
    return ' class="word"' if at in words else ""
