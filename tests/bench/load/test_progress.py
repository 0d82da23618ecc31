"""What a run shows while it runs: on a terminal, in a log, and when it is told to be quiet."""

import io

import pytest
from rich.console import Console

from penstock.bench.load.progress import line, panel, seconds_left, show_progress
from penstock.bench.report.models import LoadPlan, Second

PLAN = LoadPlan(
    sessions=1000,
    ramp_seconds=5,
    seconds=30,
    interval_seconds=1,
    jitter=0.1,
    frames_a_batch=10,
    connections=256,
    reconnect_share=0,
    offline_seconds=5,
    hostile_share=0,
    media=False,
    ends=False,
    processes=1,
    seed=1,
)


def second(at: int = 0, *, outcomes: dict[str, int] | None = None) -> Second:
    return Second(
        at=at,
        planned=1001,
        sent=1002,
        answered=1003,
        outcomes={"202": 900, "429 inbox_full": 103} if outcomes is None else outcomes,
        p50_ms=1.25,
        p99_ms=9.5,
        max_ms=20,
        backlog=17,
        lag_ms=0.25,
        server_cpu_share=0.42,
        server_rss_bytes=123 << 20,
        harness_cpu_share=0.31,
    )


def _shown(*seconds: Second, terminal: bool, quiet: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, highlight=False)
    with show_progress(PLAN, quiet=quiet, console=console) as watch:
        for one in seconds:
            watch(one)
    return out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(*, terminal: bool) -> None:
    """With --quiet not one byte is written."""
    assert _shown(second(4), second(9), terminal=terminal, quiet=True) == ""


def test_a_log_gets_a_line_every_five_seconds() -> None:
    """What is no terminal gets plain lines, one every five seconds."""
    lines = _shown(*map(second, range(12)), terminal=False).splitlines()
    assert [one.partition(",")[0] for one in lines] == ["5 s", "10 s"]
    assert "\x1b" not in lines[0]


@pytest.mark.parametrize(
    "what",
    ["1,001/s", "1,002/s", "1,003/s", "1.2 ms", "9.5 ms", "429 inbox_full: 103", "17", "42%",
     "123 MiB", "34 s"],
)  # fmt: skip
def test_both_forms_tell_the_same(what: str) -> None:
    """Rates, percentiles, refusals, backlog, the server's state and the time left are all shown."""
    assert what in _shown(second(), terminal=True)
    assert what in line(PLAN, second())


def test_a_server_that_cannot_be_looked_at_is_said() -> None:
    """Without a process to read, the figures are left out and nothing fails."""
    blind = second(outcomes={"202": 3}).model_copy(
        update={"server_cpu_share": None, "server_rss_bytes": None, "p50_ms": None}
    )
    assert "server not looked at" in line(PLAN, blind)
    assert "none refused" in line(PLAN, blind)
    console = Console(file=io.StringIO(), width=100)
    console.print(panel(PLAN, blind))


def test_the_time_left_never_is_negative() -> None:
    """While the last answers are waited for, no time is left."""
    assert seconds_left(PLAN, second(0)) == 34
    assert seconds_left(PLAN, second(40)) == 0


def test_an_outcome_is_never_markup() -> None:
    """What a server answers as its code is shown as it is."""
    assert "[bold]" in _shown(second(outcomes={"429 [bold]": 1}), terminal=True)
