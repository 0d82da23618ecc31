"""Plain-text tables, progress and the output file, the same for every command."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table: the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        aligned = [cells[0].ljust(widths[0])]
        aligned += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "  ".join(aligned).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join((line(head), rule, *map(line, rows)))


def facts(pairs: Mapping[str, str]) -> str:
    """Lay out names and what they stand for, one a line."""
    width = max(map(len, pairs))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in pairs.items())


def progress(text: str) -> None:
    """Tell whoever watches how far it is; nothing when nobody does."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)  # noqa: T201


def end_progress() -> None:
    """Clear the progress line, so that the report begins on a clean one."""
    progress("")


def say(text: str) -> None:
    """Print a part of the report."""
    print(text, flush=True)  # noqa: T201  it is what the commands are for


def complain(command: str, text: str) -> None:
    """Print one line about what went wrong."""
    print(f"{command}: {text}", file=sys.stderr, flush=True)  # noqa: T201


def write_json(path: Path, plain: object) -> None:
    """Write what was measured, for other programs."""
    path.write_text(json.dumps(plain, indent=2) + "\n")


def milliseconds(seconds: float) -> str:
    """Show a latency."""
    return f"{seconds * 1e3:.2f} ms"


def mebibytes(count: float) -> str:
    """Show an amount of memory."""
    return f"{count / (1 << 20):.1f} MiB"
