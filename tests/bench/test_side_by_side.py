import json
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from penstock.bench import side_by_side
from penstock.bench.closed_loop import LoadResult
from penstock.bench.errors import BenchError
from penstock.bench.latencies import Latencies
from penstock.bench.peer_figures import Turns, choose_base, compare, faults, round_of
from penstock.bench.peers import catalogue
from penstock.bench.peers.catalogue import Form
from penstock.bench.report.models import PeerRound, Report
from penstock.bench.side_by_side import Plan, run_side_by_side
from penstock.commands.bench.peers import peers

_RUN = CliRunner()


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(peers)
    return app


def _round(
    by_status: dict[int, int] | None = None,
    *,
    seconds: float = 2.0,
    closed: int = 0,
    busy: float = 0.5,
    idle: float = 0.01,
) -> PeerRound:
    latencies = Latencies()
    latencies.record(2000)
    counts = {202: 100} if by_status is None else by_status
    load = LoadResult(sum(counts.values()), seconds, counts, closed, 0, 0, 0, latencies, busy)
    return round_of(load, cpu_seconds=0.01, resident_bytes=1 << 20, idle_cpu_share=idle)


def _turns(name: str, form: Form, *rates: int) -> Turns:
    return Turns(name, form, "told", [_round({202: rate}, seconds=1.0) for rate in rates])


def test_a_turn_is_told_in_the_reports_units() -> None:
    """Latencies are in milliseconds, processor time in microseconds a request."""
    one = _round({202: 98, 429: 2})
    assert one.rate == 50.0
    assert one.max_ms == pytest.approx(2.0)
    assert one.p50_ms == pytest.approx(2.0, rel=0.01)
    assert one.cpu_us_a_request == pytest.approx(100.0)
    assert one.by_status == {"202": 98, "429": 2}


def test_ratios_are_of_medians_and_intervals_of_rounds() -> None:
    """The ratio is between medians; its ends are the rounds' own ratios, round by round."""
    turns = [_turns("plain", "full", 100, 200, 400), _turns("go", "full", 300, 200, 2000)]
    base, go = compare(turns, "plain")
    assert (base.rate, base.ratio, base.ratio_low, base.ratio_high) == (200, 1, 1, 1)
    assert (go.rate, go.ratio, go.ratio_low, go.ratio_high) == (300, 1.5, 1, 5)


def test_a_form_is_compared_with_itself_only() -> None:
    """The base's other form is no base; where it has none, there is no ratio."""
    turns = [_turns("plain", "accept", 100), _turns("go", "accept", 200), _turns("go", "full", 50)]
    assert [one.ratio for one in compare(turns, "plain")] == [1, 2, None]


def test_a_base_that_answered_nothing_gives_no_ratio() -> None:
    """Nothing is divided by a rate of zero."""
    turns = [_turns("plain", "full", 0, 100, 0), _turns("go", "full", 10, 300, 30)]
    go = compare(turns, "plain")[1]
    assert (go.ratio, go.ratio_low, go.ratio_high) == (None, None, None)


def test_versions_of_peers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report names what each peer that took part is made of, and nothing of the others."""
    told = catalogue.versions_of({"fastapi", "plain"})
    assert told.keys() == {"versions of fastapi"}
    for package in ("fastapi", "uvicorn", "uvloop"):
        assert f"{package} {version(package)}" in told["versions of fastapi"]
    ran = subprocess.CompletedProcess([], 0, stdout=b"go version go1.99 plan9/mips\n")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: ran)
    assert catalogue.versions_of({"go"}) == {"versions of go": "go version go1.99 plan9/mips"}


@pytest.mark.parametrize(
    ("forms", "base"),
    [
        ({"penstock": {"full"}, "plain": {"full"}, "go": {"accept", "full"}}, "plain"),
        ({"penstock": {"full"}, "go": {"accept", "full"}}, "go"),
        ({"penstock": {"full"}}, "penstock"),
    ],
)
def test_the_base_is_plain_or_the_most_comparable(forms: dict[str, set[Form]], base: str) -> None:
    """Without the usual base, the server that can be compared in most forms takes its place."""
    assert choose_base({name: frozenset(its) for name, its in forms.items()}) == base


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (_round({202: 98, 429: 2}), "refused 2.0%"),
        (_round({202: 99, 500: 1}), "500: 1"),
        (_round({202: 99}, closed=3), "left 3 requests"),
        (_round({}), "answered nothing"),
        (_round(busy=0.97), "generator busy for 97%"),
        (_round(idle=0.2), "used 20.0%"),
    ],
)
def test_bad_figures_are_named(one: PeerRound, why: str) -> None:
    """Figures that cannot be used are called so, with the server and the reason."""
    found = faults(compare([Turns("go", "full", "", [one])], "go"))
    assert len(found) == 1
    assert found[0].startswith("go full ")
    assert why in found[0]


def test_a_few_refusals_are_no_fault() -> None:
    """One refusal in a hundred spoils nothing."""
    assert faults(compare([Turns("go", "full", "", [_round({202: 99, 429: 1})])], "go")) == []


def test_sessions_would_rest_in_a_long_round() -> None:
    """A plan in which waiting sessions go to rest is refused before anything is started."""
    with pytest.raises(BenchError, match="shorter turns"):
        run_side_by_side(Plan(1, 10.0, 1, 10), lambda _: None)


def test_a_run_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all that was asked for is left out, the reasons are the error."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(BenchError, match="go is not on the path"):
        run_side_by_side(Plan(1, 0.1, 1, 10, ("go",)), lambda _: None)


def _end_to_end(tmp_path: Path, *more: str) -> tuple[int, str, Report]:
    out = tmp_path / "report.json"
    before = signal.getsignal(signal.SIGTERM)
    try:
        result = _RUN.invoke(_app(), [*more, f"--json={out}", "--connections=4", "--quiet"])
    finally:
        signal.signal(signal.SIGTERM, before)
    if not out.exists():
        raise AssertionError(result.output)
    return result.exit_code, result.output, Report.model_validate_json(out.read_bytes())


def test_penstock_and_plain_run_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short run measures every turn, with answers of 202 only, and reports what it was."""
    monkeypatch.setitem(side_by_side._WARM_UP_SECONDS, "full", 0.1)
    code, shown, report = _end_to_end(
        tmp_path,
        "--rounds=2",
        "--seconds=0.2",
        "--sessions=60",
        "--only=plain",
        "--only=penstock",
        "--form=full",
        "--set=rate_batches_per_second=1000",
        "--set=rate_burst=1000",
        "--set=spool_flush_seconds=0.05",
    )
    run = report.peers
    assert run is not None
    # A busy machine may let a bound of the harness be passed; no other fault may be there.
    assert all("busy" in fault or "core" in fault for fault in report.faults), report.faults
    assert code == bool(report.faults)
    assert [(one.name, one.form, len(one.rounds)) for one in run.peers] == [
        ("penstock", "full", 2),
        ("plain", "full", 2),
    ]
    turns = [turn for one in run.peers for turn in one.rounds]
    assert all(turn.by_status.keys() == {"202"} for turn in turns)
    assert all(turn.cpu_us_a_request > 0 for turn in turns)
    assert run.base == "plain"
    low, ratio, high = (getattr(run.peers[0], f"ratio{end}") for end in ("_low", "", "_high"))
    assert low <= ratio <= high
    assert "rate_batches_per_second = 1000" in report.server["settings of penstock"]
    assert "penstock" in shown


def test_refusals_spoil_the_figures(tmp_path: Path) -> None:
    """With too few sessions for the rate limit the command fails and says what to do."""
    code, shown, report = _end_to_end(
        tmp_path, "--rounds=1", "--seconds=0.2", "--sessions=10", "--only=penstock"
    )
    assert code == 1
    assert "take more sessions" in shown
    assert json.loads(report.model_dump_json())["faults"]


def test_whoever_waits_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one server has its turn, the others use nothing of the core."""
    monkeypatch.setitem(side_by_side._FIRST_WARM_UP_SECONDS, "accept", 0.1)
    plan = Plan(1, 0.2, 2, 50, ("express", "plain"), ("accept",))
    found = run_side_by_side(plan, lambda _: None)
    assert [turn.idle_cpu_share for one in found.run.peers for turn in one.rounds] == [0, 0]


def test_a_slow_servers_sessions_are_those_it_has_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot greet every session in time is measured with fewer, and it is told."""
    monkeypatch.setitem(side_by_side._FIRST_WARM_UP_SECONDS, "accept", 0.1)
    found = run_side_by_side(Plan(1, 0.1, 2, 5000, ("plain",), ("accept",)), lambda _: None)
    (plain,) = found.run.peers
    assert "of the sessions" in plain.told
    assert plain.rounds[0].by_status.keys() == {"202"}


def test_a_setting_that_is_none_is_told() -> None:
    """A server that refuses to start ends the run with that server's reason."""
    plan = Plan(1, 0.1, 1, 10, (catalogue.PENSTOCK,), settings={"no_such_thing": 1})
    with pytest.raises(BenchError, match=r"(?i)no_such_thing"):
        run_side_by_side(plan, lambda _: None)


def test_an_unknown_peer_is_refused() -> None:
    """A name that is no server is refused with the names that are."""
    result = _RUN.invoke(_app(), ["--only=rust"])
    assert result.exit_code == 2
    assert "express" in result.output
