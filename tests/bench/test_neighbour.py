from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.bench.load.plan import Kind, org_of
from penstock.bench.load.target import Target
from penstock.bench.neighbour import NeighbourPlan, ratios, run_neighbour, side
from penstock.bench.report.models import (
    Latency,
    LoadPlan,
    LoadRun,
    NeighbourRound,
    NeighbourSide,
    Report,
    SessionLosses,
)
from penstock.bench.traffic import org_id, principal_id
from penstock.commands.bench.neighbour import neighbour
from penstock.engine.ports import Purpose
from penstock.service import SystemClock
from penstock.storage.grants import FileGrants

_PLAN = NeighbourPlan(
    orgs=4,
    quota=3,
    times=10.0,
    rounds=3,
    ramp_seconds=1.0,
    seconds=4.0,
    frames=10,
    connections=8,
    processes=1,
    seed=1,
    settings={},
)


def _side(p99: float, loss: float = 0.0) -> NeighbourSide:
    return NeighbourSide(
        p50_ms=1.0,
        p99_ms=p99,
        loss_share=loss,
        frames_due=1000,
        first_due_a_second=3,
        first_taken_a_second=3,
    )


def _losses(due: int, lost: int) -> SessionLosses:
    return SessionLosses(
        sessions=1, frames_due=due, frames_lost=lost, unfair_share=0, share_min=0, share_median=0,
        share_p95=0, share_max=0, gap_median_ms=0, gap_p95_ms=0, gap_max_ms=0, shares=[0.0],
    )  # fmt: skip


def _run(plan: LoadPlan, *, interrupted: bool = False) -> LoadRun:
    latency = Latency(count=9, p50_ms=1, p90_ms=1, p99_ms=5, p999_ms=6, max_ms=7, hdr="")
    return LoadRun(
        plan=plan, seconds=[], latency={"pose of the others": latency},
        outcomes={"pose": {"202": 100}}, answered_a_second=1, frames_sent=0, frames_accepted=0,
        batches_unanswered=0, cpu_us_a_batch=None, rss_first_bytes=None, rss_peak_bytes=None,
        rss_last_bytes=None, harness_cpu_share=0, interrupted=interrupted, reconciliation=[],
        losses=_losses(3000, 1000), losses_of_others=_losses(1000, 10),
    )  # fmt: skip


def test_the_neighbour_sends_so_many_times_its_quota() -> None:
    """With it there are more sessions of the first organisation, and those of the others remain."""
    quiet, noisy = _PLAN.load(noisy=False), _PLAN.load(noisy=True)
    for load, first in ((quiet, 3), (noisy, 30)):
        orgs = [org_of(load, session) for session in range(load.sessions)]
        assert [orgs.count(org) for org in range(4)] == [first, 3, 3, 3]
    assert [org_of(quiet, n) for n in range(12)] == [org_of(noisy, n) for n in range(12)]
    assert quiet.interval_seconds == noisy.interval_seconds == 1


async def test_every_session_is_granted_in_its_organisation(tmp_path: Path) -> None:
    """The grants file of a run has each session's consent, and each organisation's quota."""
    load = _PLAN.load(noisy=True)
    _PLAN.grant(load)(tmp_path / "grants.json", load.sessions)
    grants = FileGrants(tmp_path / "grants.json", SystemClock())
    for session in range(load.sessions):
        org = org_id(org_of(load, session))
        assert await grants.granted(principal_id(session), org, Purpose.BIOMETRIC)
        assert (await grants.of_org(org)).batches_per_second == 3


def test_runs_take_turns() -> None:
    """Each round has a quiet run and then a noisy one, each with a service of its own."""
    plans: list[LoadPlan] = []
    outcome = _go(plans)
    assert [plan.noisy_sessions for plan in plans] == [0, 27] * 3
    assert len(outcome.run.rounds) == 3
    assert outcome.faults == []
    assert [one.name for one in outcome.run.ratios] == ["p50, ms", "p99, ms", "loss"]


def test_a_stop_keeps_the_whole_rounds() -> None:
    """What counts are the rounds of which both runs are there."""
    plans: list[LoadPlan] = []
    outcome = _go(plans, stopped=lambda: len(plans) >= 3)
    assert len(outcome.run.rounds) == 1
    assert outcome.faults == ["interrupted in round 2 of 3"]


def test_the_sides_are_told_apart() -> None:
    """The others' loss is theirs alone; what the first sent and got is what is left."""
    found = side(_run(_PLAN.load(noisy=True)))
    assert (found.p99_ms, found.loss_share, found.frames_due) == (5, 0.01, 1000)
    assert found.first_due_a_second == pytest.approx(2000 / 50)
    assert found.first_taken_a_second == pytest.approx(1010 / 50)


@pytest.mark.parametrize(("noisy", "within"), [(5.0, True), (6.0, True), (6.1, False)])
def test_measurable_is_more_than_the_quiet_runs_differ(noisy: float, *, within: bool) -> None:
    """A median within what the quiet runs differ by is no evidence of harm; one beyond it is."""
    rounds = [NeighbourRound(quiet=_side(p99), noisy=_side(noisy)) for p99 in (4.0, 6.0, 5.0)]
    p99 = ratios(rounds)[1]
    assert (p99.quiet, p99.quiet_low, p99.quiet_high) == (5, 4, 6)
    assert p99.ratio == noisy / 5
    assert p99.within_spread is within


def test_no_loss_has_no_ratio() -> None:
    """Nothing lost without the neighbour: any loss with it is measurable, and has no ratio."""
    for loss in (0.0, 0.001):
        rounds = [NeighbourRound(quiet=_side(4), noisy=_side(4, loss))]
        found = ratios(rounds)[2]
        assert found.ratio is None
        assert found.within_spread is (loss == 0)


def test_the_command_runs_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The neighbour gets little more than its quota, and the others lose nothing."""
    monkeypatch.setattr("penstock.bench.servers.end_on_sigterm", lambda: None)
    for bound in ("_MOST_LAG_MS", "_MOST_CPU_SHARE"):
        monkeypatch.setattr(f"penstock.bench.load.faults.{bound}", float("inf"))
    out = tmp_path / "r.json"
    app = typer.Typer()
    app.command()(neighbour)
    ran = CliRunner().invoke(
        app,
        ["--orgs=3", "--quota=5", "--times=6", "--rounds=1", "--ramp=1", "--duration=3", "--quiet",
         "--set=spool_flush_seconds=0.05", f"--json={out}"],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    made = Report.model_validate_json(out.read_bytes()).neighbour
    assert made is not None
    (both,) = made.rounds
    assert both.quiet.loss_share == both.noisy.loss_share == 0
    assert both.noisy.first_due_a_second == pytest.approx(30, rel=0.2)
    # Its quota, and the burst of one second at the begin.
    assert both.noisy.first_taken_a_second < 12
    assert both.quiet.first_due_a_second == both.quiet.first_taken_a_second


def _go(plans: list[LoadPlan], stopped: Callable[[], bool] = lambda: False) -> Any:
    @contextmanager
    def start(
        *,
        sessions: int,
        connections: int,
        settings: Mapping[str, object],
        grant: Callable[[Path, int], None],
    ) -> Iterator[Target]:
        assert sessions >= 12
        assert connections >= 8
        assert settings == {}
        assert callable(grant)
        yield Target("fake", ("127.0.0.1", 9), b"", frozenset({Kind.POSE}), {})

    def load(plan: LoadPlan, target: Target, **_: object) -> LoadRun:
        assert target.name == "fake"
        plans.append(plan)
        return _run(plan, interrupted=stopped())

    return run_neighbour(
        _PLAN,
        start=start,
        show=lambda _: nullcontext(lambda _: None),
        stopped=stopped,
        tell=lambda _: None,
        load=load,
    )
