"""How a load run looks while it runs: a panel on a terminal, lines elsewhere, or nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from penstock.bench.report import units
from penstock.bench.report.models import LoadPlan, Second

Watch = Callable[[Second], None]

# Of the lines: a log that somebody reads afterwards needs no line a second.
_LINE_SECONDS = 5
_HINT = "Ctrl-C ends it early, with a report"


@contextmanager
def show_progress(
    plan: LoadPlan, *, quiet: bool, console: Console | None = None
) -> Iterator[Watch]:
    """Give what to call each second. Nothing goes to standard output, where the report is."""
    console = console or Console(stderr=True, highlight=False)
    if quiet:
        yield _watch_nothing
    elif console.is_terminal:
        # Drawn only when a second is there: no thread, which a fork would not survive.
        with Live(_waiting(plan), console=console, auto_refresh=False, transient=True) as live:
            yield lambda second: live.update(panel(plan, second), refresh=True)
    else:

        def tell(second: Second) -> None:
            if (second.at + 1) % _LINE_SECONDS == 0:
                console.print(Text(line(plan, second)), soft_wrap=True)

        yield tell


def seconds_left(plan: LoadPlan, second: Second) -> float:
    """Give how long the run goes on after this second, answers still due not counted."""
    return max(0.0, plan.ramp_seconds + plan.seconds - second.at - 1)


def line(plan: LoadPlan, second: Second) -> str:
    """Put a second into one line."""
    parts = [
        f"{second.at + 1} s",
        f"planned {second.planned:,}/s",
        f"sent {second.sent:,}/s",
        f"answered {second.answered:,}/s",
        f"p50 {_ms(second.p50_ms)}",
        f"p99 {_ms(second.p99_ms)}",
        _refusals(second),
        f"backlog {second.backlog:,}",
        f"server {_server(second)}",
        f"{seconds_left(plan, second):.0f} s left",
    ]
    return ", ".join(parts)


def panel(plan: LoadPlan, second: Second) -> RenderableType:
    """Lay a second out for the terminal."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_column(justify="right")
    rows = [
        ("planned", f"{second.planned:,}/s", "p50", _ms(second.p50_ms)),
        ("sent", f"{second.sent:,}/s", "p99", _ms(second.p99_ms)),
        ("answered", f"{second.answered:,}/s", "slowest", _ms(second.max_ms)),
        ("backlog", f"{second.backlog:,}", "harness late", _ms(second.lag_ms)),
        ("server CPU", _share(second.server_cpu_share), "memory", _bytes(second.server_rss_bytes)),
        ("harness CPU", _share(second.harness_cpu_share), "left", _left(plan, second)),
    ]
    for row in rows:
        table.add_row(*row)
    outer = Table.grid()
    outer.add_row(table)
    outer.add_row(Text(_refusals(second), "yellow" if _refused(second) else "dim"))
    outer.add_row(Text(_HINT, "dim"))
    return Panel(outer, title=_title(plan), expand=False)


def _watch_nothing(_second: Second) -> None:
    pass


def _waiting(plan: LoadPlan) -> RenderableType:
    return Panel(
        Text("encoding batches, connecting"), title=_title(plan), subtitle=_HINT, expand=False
    )


def _title(plan: LoadPlan) -> str:
    return f"{plan.sessions:,} sessions, a batch each {plan.interval_seconds:g} s"


def _left(plan: LoadPlan, second: Second) -> str:
    return f"{seconds_left(plan, second):.0f} s"


def _refused(second: Second) -> dict[str, int]:
    return {
        outcome: count
        for outcome, count in second.outcomes.items()
        if count and not units.accepted(outcome)
    }


def _refusals(second: Second) -> str:
    refused = _refused(second)
    if not refused:
        return "none refused"
    return "not accepted " + " ".join(f"[{what}: {n:,}]" for what, n in refused.items())


def _server(second: Second) -> str:
    if second.server_cpu_share is None and second.server_rss_bytes is None:
        return "not looked at"
    return f"{_share(second.server_cpu_share)} CPU {_bytes(second.server_rss_bytes)}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _bytes(value: int | None) -> str:
    return "-" if value is None else f"{value / (1 << 20):.0f} MiB"
