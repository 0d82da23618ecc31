"""A report in the terminal: plain tables, the conditions of the measurement last."""

import textwrap
from collections.abc import Sequence

from penstock.bench import tables
from penstock.bench.report.models import Report
from penstock.bench.report.sections import Section, heading, sections

WIDTH = 100


def render_text(report: Report) -> str:
    """Lay a report out for people. What speaks against its use is left to the caller to say."""
    parts = [_underlined(heading(report), "=")]
    parts += [_section(one) for one in sections(report) if one.rows or one.notes]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int]) -> str:
    """Lay out a table whose columns of words stay to the left and whose figures go to the right."""
    lines = [tuple(map(one_line, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        tuple(
            cell.ljust(width) if at in words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return tables.table(padded[0], padded[1:])


def wrapped(text: str, *, indent: str = "") -> str:
    """Break a sentence at the terminal's width."""
    return textwrap.fill(
        one_line(text),
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _section(section: Section) -> str:
    lines = [section.title]
    if section.head and section.rows:
        lines.append(table(section.head, section.rows, section.words))
    elif section.rows:
        width = max(len(row[0]) for row in section.rows) + 2
        lines += [
            wrapped(name.ljust(width) + value, indent=" " * width) for name, value in section.rows
        ]
    lines += [wrapped(note, indent="  ") for note in section.notes]
    return "\n".join(lines)


def _underlined(text: str, rule: str) -> str:
    return f"{text}\n{rule * len(text)}"


def one_line(text: str) -> str:
    """Leave out what is not to be shown: a control character would move the terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in text)
