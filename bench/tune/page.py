"""The page: plain HTML with a plot beside it.

It has no script and no style of its own, so that it can be shown under the strictest
Content-Security-Policy, and in whatever style the reader has.
"""

from collections.abc import Iterator

from penstock.bench.report.svg import safe
from penstock.bench.tune import words
from penstock.bench.tune.result import TuningResult

PLOT = "plot.png"


def render(result: TuningResult) -> str:
    """Give the whole page."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: TuningResult) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<title>A tuning of the drop policy</title>\n</head>\n<body>\n<main>"
    yield "<h1>A tuning of the drop policy</h1>"
    yield f"<p>{safe(result.made_at)}, Penstock {safe(result.version)}</p>"
    yield f"<p><code>{safe(result.command)}</code></p>"
    for line in words.told(result):
        yield f"<p>{safe(line)}</p>"
    if result.choice is not None and result.choice.line is not None:
        yield f"<pre><code>{safe(result.choice.line)}</code></pre>"
    what = "Frames lost against the errors of range of motion, repetitions and tempo"
    yield f'<figure><img src="{PLOT}" alt="{what}; the table below has its figures">'
    yield f"<figcaption>{what}.</figcaption></figure>"
    yield "<h2>Policies and loads</h2>"
    yield from _table(words.HEAD, words.rows(result))
    yield "<h2>Sessions, with all of their frames</h2>"
    yield from _table(
        ("session", "frames", "seconds", "repetitions", "range, degrees", "tempo, ms"),
        (
            (
                one.name,
                str(one.frames),
                f"{one.seconds:.1f}",
                str(one.repetitions),
                "-" if one.range_degrees is None else f"{one.range_degrees:.1f}",
                "-" if one.tempo_ms is None else f"{one.tempo_ms:.0f}",
            )
            for one in result.sessions
        ),
    )
    yield "</main>\n</body>\n</html>"


def _table(head: tuple[str, ...], lines: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "<table>\n<thead><tr>"
    yield "".join(f'<th scope="col">{safe(cell)}</th>' for cell in head)
    yield "</tr></thead>\n<tbody>"
    for first, *others in lines:
        cells = "".join(f"<td>{safe(cell)}</td>" for cell in others)
        yield f'<tr><th scope="row">{safe(first)}</th>{cells}</tr>'
    yield "</tbody>\n</table>"
