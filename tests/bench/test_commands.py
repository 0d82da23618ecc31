import json
from pathlib import Path

import pytest

from penstock.bench import lane, sessions_memory
from penstock.bench.closed_loop import LoadResult
from penstock.bench.histogram import LatencyHistogram
from penstock.bench.lane_report import Round, faults, remarks, render, summarize
from penstock.bench.scrape import parse_metrics


@pytest.fixture(autouse=True)
def _signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (lane, sessions_memory):
        monkeypatch.setattr(command, "end_on_sigterm", lambda: None)


def _round(by_status: dict[int, int], *, closed: int = 0, busy: float = 0.5) -> Round:
    latencies = LatencyHistogram()
    latencies.record(0.002)
    load = LoadResult(sum(by_status.values()), 2.0, by_status, closed, 0, 0, 0, latencies, busy)
    return Round("plain", load, 1.0, 1 << 20, 0.01)


def test_the_lane_runs_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A short comparison gives one line a server, the machine's facts, and the same as JSON."""
    out = tmp_path / "lane.json"
    arguments = ["--rounds=1", "--seconds=0.3", "--sessions=500", "--connections=4"]
    arguments += [f"--json={out}", "--set=rate_batches_per_second=1000", "--set=rate_burst=1000"]
    assert lane.main(arguments) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "rate_batches_per_second = 1000" in shown
    assert "python" in shown
    plain = json.loads(out.read_text())
    assert [one["server"] for one in plain["rounds"]] == ["penstock", "plain"]
    assert all(one["load"]["by_status"].keys() == {"202"} for one in plain["rounds"])
    assert all(one["cpu_seconds"] > 0 for one in plain["rounds"])
    assert plain["faults"] == []


def test_refusals_spoil_the_lane(capsys: pytest.CaptureFixture[str]) -> None:
    """With too few sessions for the rate limit the command fails and says what to do."""
    arguments = ["--rounds=1", "--seconds=0.2", "--sessions=10", "--connections=4"]
    assert lane.main(arguments) == 1
    assert "take more sessions" in capsys.readouterr().err


def test_a_setting_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that refuses to start ends the command with that server's reason."""
    assert lane.main(["--rounds=1", "--sessions=10", "--set=no_such_thing=1"]) == 1
    assert "NO_SUCH_THING" in capsys.readouterr().err.upper()


def test_memory_is_measured_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each phase gives the memory a session, and resting sessions are waited for."""
    monkeypatch.setattr(sessions_memory, "_BATCHES_EACH", 1)
    monkeypatch.setattr(sessions_memory, "_REST_SECONDS", 1)
    out = tmp_path / "memory.json"
    arguments = ["--sessions=200", "--connections=4", f"--json={out}", "--own-connections"]
    arguments.append("--set=spool_flush_seconds=0.1")
    assert sessions_memory.main(arguments) == 0, capsys.readouterr().err
    phases = json.loads(out.read_text())["phases"]
    assert [one["phase"] for one in phases] == ["live", "live, a connection each", "resting"]
    assert all(one["all_bytes"] > 1 << 20 for one in phases)
    assert "KiB" in capsys.readouterr().out


def test_too_few_files_is_a_clear_refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit of open files that is too low is told before anything is started."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    assert sessions_memory.main(["--sessions=200"]) == 1
    assert "the hard limit is 64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (_round({202: 98, 429: 2}), "refused 2.0%"),
        (_round({202: 99, 500: 1}), "500: 1"),
        (_round({202: 99}, closed=3), "closed: 3"),
        (_round({}), "answered nothing"),
    ],
)
def test_bad_figures_are_named(one: Round, why: str) -> None:
    """Figures that cannot be used are called so, with the reason."""
    assert why in "; ".join(faults([summarize([one])]))


def test_a_few_refusals_are_shown_but_no_fault() -> None:
    """One refusal in a hundred is reported in the table and spoils nothing."""
    summary = summarize([_round({202: 99, 429: 1})])
    assert faults([summary]) == []
    assert "429: 1" in render([summary], {"pinning": "none"})


def test_a_busy_generator_is_remarked() -> None:
    """A generator that had no time left is named as the possible bottleneck."""
    assert "bottleneck" in remarks([summarize([_round({202: 9}, busy=0.97)])])[0]


def test_metrics_are_read() -> None:
    """Samples are found by their name and labels."""
    text = '# HELP a b\na{state="live"} 3.0\nb 1e3\n'
    assert parse_metrics(text) == {'a{state="live"}': 3.0, "b": 1000.0}
