from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.bench.load.plan import Kind, numbers_used
from penstock.bench.load.target import Target, start_penstock
from penstock.bench.pressure import PressurePlan, run_pressure, told
from penstock.bench.report.models import LoadPlan, LoadRun, Report, Second
from penstock.commands.bench.policied import with_policy
from penstock.commands.bench.pressure import pressure
from penstock.commands.policy import read_knobs
from penstock.errors import StartupError

_PLAN = PressurePlan(
    capacity=1000.0,
    capacity_found=False,
    times=(0.5, 2.0),
    sessions=100,
    ramp_seconds=1.0,
    seconds=2.0,
    frames=10,
    ends_per_second=5.0,
    honour_retry_after=True,
    processes=1,
    seed=1,
    settings={"rate_burst": 7},
)

Watch = Callable[[Second], None]


def _run(plan: LoadPlan, **changes: Any) -> LoadRun:
    usual: dict[str, Any] = {
        "plan": plan, "seconds": [], "latency": {}, "outcomes": {"pose": {"202": 100}},
        "answered_a_second": 1.0, "frames_sent": 1000, "frames_accepted": 1000,
        "batches_unanswered": 0, "cpu_us_a_batch": None, "rss_first_bytes": None,
        "rss_peak_bytes": None, "rss_last_bytes": None, "harness_cpu_share": 0.1,
        "interrupted": False, "reconciliation": [],
    }  # fmt: skip
    return LoadRun(**(usual | changes))


@dataclass
class World:
    """Services that are started in name only, and runs that are made up."""

    routes: frozenset[Kind] = frozenset({Kind.POSE, Kind.END})
    changes: Mapping[str, Any] = field(default_factory=dict)
    started: list[tuple[int, int, Mapping[str, object]]] = field(default_factory=list)
    running: int = 0
    plans: list[LoadPlan] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @contextmanager
    def start(
        self, *, sessions: int, connections: int, settings: Mapping[str, object]
    ) -> Iterator[Target]:
        assert not self.running
        self.started.append((sessions, connections, settings))
        self.running += 1
        yield Target("fake", ("127.0.0.1", 9), b"", self.routes, {"address": "x", "a": "b"})
        self.running -= 1

    def load(
        self,
        plan: LoadPlan,
        target: Target,
        *,
        watch: Watch,  # noqa: ARG002  nobody watches a fake
        stopped: Callable[[], bool],  # noqa: ARG002
    ) -> LoadRun:
        assert target.name == "fake"
        assert self.running
        self.plans.append(plan)
        return _run(plan, **self.changes)

    def go(self, plan: PressurePlan = _PLAN, stopped: Callable[[], bool] = lambda: False) -> Any:
        def show(_plan: LoadPlan) -> AbstractContextManager[Watch]:
            return nullcontext(lambda _: None)

        return run_pressure(
            plan,
            start=self.start,
            show=show,
            stopped=stopped,
            tell=self.told.append,
            load=self.load,
        )


def test_each_load_has_a_service_of_its_own() -> None:
    """Sessions times rate is the load, in a fresh service that permits each session its rate."""
    world = World()
    outcome = world.go()
    assert [step.times for step in outcome.run.steps] == [0.5, 2.0]
    for plan, step in zip(world.plans, outcome.run.steps, strict=True):
        assert plan.sessions / plan.interval_seconds == step.batches_a_second
        assert plan.ends
        assert plan.honour_retry_after
        assert plan.real_time
        assert plan.live_clients
        assert plan.connections is None
    for (sessions, connections, settings), plan in zip(world.started, world.plans, strict=True):
        assert sessions == numbers_used(plan) > plan.sessions
        assert connections > plan.sessions
        assert float(str(settings["rate_batches_per_second"])) * plan.interval_seconds > 2
        # What was chosen is what holds.
        assert settings["rate_burst"] == 7
    assert outcome.server == {"a": "b"}
    assert outcome.faults == []
    assert len(world.told) == 2


def test_a_service_without_ends_is_told() -> None:
    """Where no end is served none is sent, and the report says that it is left out."""
    world = World(routes=frozenset({Kind.POSE}))
    outcome = world.go()
    assert not any(plan.ends or plan.ends_per_second for plan in world.plans)
    assert "session ends" in outcome.server["left out"]


def test_what_speaks_against_a_load_names_it() -> None:
    """An end that nobody answered is a fault of that load, and what any run's faults are is one."""
    world = World(
        changes={"outcomes": {"pose": {"202": 10, "withheld": 90}, "end": {"200": 4, "unsent": 1}}}
    )
    faults = world.go(replace(_PLAN, times=(2.0,))).faults
    assert faults == ["at 2 times the capacity: 1 session ends had no 2xx"]
    closing = {"outcomes": {"pose": {"202": 10, "given up": 90}, "closing end": {"closed": 2}}}
    faults = World(changes=closing).go(replace(_PLAN, times=(2.0,))).faults
    assert faults == ["at 2 times the capacity: 2 session ends had no 2xx"]
    shed = {"server_frames": {"shed disk_full": 30, "shed policy_thinned": 5, "lost shutdown": 2}}
    assert World(changes=shed).go(replace(_PLAN, times=(2.0,))).faults == [
        "at 2 times the capacity: 2 accepted frames were lost, not by the policy: shutdown",
        "at 2 times the capacity: 30 accepted frames were shed, not by the policy: disk_full",
    ]
    faults = World(changes={"outcomes": {}}).go(replace(_PLAN, times=(2.0,))).faults
    assert faults == ["at 2 times the capacity: no batch was answered"]


def test_a_stop_keeps_what_was_measured() -> None:
    """After the first wish to stop no further load begins, and the report says so."""
    asked = iter([False, True])
    outcome = World().go(stopped=lambda: next(asked))
    assert len(outcome.run.steps) == 1
    assert outcome.faults == ["interrupted before the load of 2 times the capacity"]


def test_a_load_is_told_in_a_line() -> None:
    """Progress names the load even where nothing came back."""
    world = World()
    assert told(world.go().run.steps[0]).startswith("0.5 times the capacity (500/s)")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--at=1,1"], "--at"), (["--at=0"], "--at"), (["--at=x"], "--at"), (["--at=nan"], "--at"),
        (["--sessions=0"], "--sessions"), (["--capacity=0"], "--capacity"),
        (["--set=port=1"], "--set"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_before_anything_starts(
    arguments: list[str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that cannot be is told with its option, and nothing is measured."""
    monkeypatch.setattr("penstock.bench.servers.end_on_sigterm", lambda: None)
    ran = _invoke(*arguments)
    assert ran.exit_code == 2
    assert what in ran.output


def test_too_many_batches_a_session_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that would have to send every few milliseconds are told in one line."""
    monkeypatch.setattr("penstock.bench.servers.end_on_sigterm", lambda: None)
    ran = _invoke("--capacity=1000", "--sessions=10", "--at=50", "--quiet")
    assert ran.exit_code == 1
    assert "take more --sessions" in ran.output


def test_the_command_runs_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two short loads against a service give a report whose accounts add up."""
    monkeypatch.setattr("penstock.bench.servers.end_on_sigterm", lambda: None)
    # The machine may be busy with other tests; that is no matter here.
    for bound in ("_MOST_LAG_MS", "_MOST_CPU_SHARE"):
        monkeypatch.setattr(f"penstock.bench.load.faults.{bound}", float("inf"))
    out = tmp_path / "r.json"
    ran = _invoke(
        "--capacity=100", "--at=0.5,1", "--sessions=20", "--ramp=0.2", "--duration=2", "--quiet",
        "--ends-per-second=4", "--set=spool_flush_seconds=0.05", "--policy=keep_every=3",
        f"--json={out}",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    report = Report.model_validate_json(out.read_bytes())
    # The service took the knob, or its refusal would have ended the run.
    assert report.server["policy keep_every"] == "3"
    made = report.pressure
    assert made is not None
    assert [step.batches_a_second for step in made.steps] == [50, 100]
    for step in made.steps:
        assert all(check.holds for check in step.run.reconciliation)
        assert step.run.losses is not None
        assert step.run.losses.frames_due >= step.run.frames_sent > 0
        assert step.run.server_frames["aggregated used"] > 0
        assert step.run.scheduler_delay_peak_ms is not None


def _invoke(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(pressure)
    return CliRunner().invoke(app, list(arguments))


def test_a_policy_that_the_service_refuses_ends_the_run() -> None:
    """A knob's value that is none is told as the service tells it, before any load."""
    start = with_policy(start_penstock, read_knobs(["keep_every=99"]))
    with (
        pytest.raises(StartupError, match="keep_every"),
        start(sessions=1, connections=1, settings={}),
    ):
        pass
