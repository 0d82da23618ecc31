from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from penstock.bench.policy_cost import CANDIDATES, STATES, measure_policy_cost
from penstock.bench.report.models import PolicyCostRun, Report
from penstock.commands.bench.policy_cost import policy_cost


@pytest.fixture(scope="module")
def run() -> PolicyCostRun:
    """Measure a little of everything, once."""
    return measure_policy_cost(sessions=40, seconds=3, repeats=3, tell=lambda _: None)


def test_each_state_is_what_it_is_called(run: PolicyCostRun) -> None:
    """The figures are of batches that were admitted, thinned and refused, as they say."""
    assert [(one.state, one.candidates) for one in run.costs] == [
        (state, candidates) for state in STATES for candidates in CANDIDATES
    ]
    most = {"calm": "admit", "thinning": "thin", "refusing": "refuse"}
    for one in run.costs:
        assert sum(one.outcomes.values()) == 3 * run.batches == 3 * 3 * 40
        assert one.outcomes[most[one.state]] > 0.75 * sum(one.outcomes.values())
    assert all(set(one.outcomes) == {"admit"} for one in run.costs if one.state == "calm")


def test_every_repeat_is_kept(run: PolicyCostRun) -> None:
    """The median lies among its repeats, each of which was above the empty loop."""
    for one in run.costs:
        assert len(one.repeats_us) == 3
        assert 0 < min(one.repeats_us) <= one.us_a_batch <= max(one.repeats_us)
    assert run.empty_loop_us > 0


def test_the_command_runs_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gives a report of its kind, as text and as JSON."""
    monkeypatch.setattr("penstock.bench.servers.end_on_sigterm", lambda: None)
    app = typer.Typer()
    app.command()(policy_cost)
    out = tmp_path / "r.json"
    ran = CliRunner().invoke(
        app, ["--sessions=20", "--seconds=1", "--repeats=2", "--quiet", f"--json={out}"]
    )
    assert ran.exit_code == 0, ran.output
    assert "thinning" in ran.stdout
    report = Report.model_validate_json(out.read_bytes())
    assert report.kind == "policy-cost"
    assert report.policy_cost is not None
    assert report.policy_cost.sessions == 20
