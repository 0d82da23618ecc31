from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import typer
from typer.testing import CliRunner

from penstock.bench.capacity import CapacityPlan, Judged, Trials, find_capacity, judge
from penstock.bench.load.plan import check_plan
from penstock.bench.load.target import Target
from penstock.bench.report.models import Check, Latency, LoadPlan, LoadRun, Report, Second, Trial
from penstock.commands.bench.capacity import capacity

_PLAN = CapacityPlan(
    bound_ms=50,
    precision=0.05,
    most_trials=16,
    seconds=6,
    start=1000,
    interval_seconds=1,
    frames=10,
    connections=32,
    processes=1,
    seed=1,
)
_TARGET = Target("fake", ("127.0.0.1", 9), b"secret", frozenset(), {})


def _run(
    plan: LoadPlan | None = None,
    *,
    p99: float = 10,
    outcomes: dict[str, int] | None = None,
    harness: float = 0.5,
    lag: float = 1,
    checks: tuple[Check, ...] = (),
    interrupted: bool = False,
) -> LoadRun:
    second = Second(
        at=1,
        planned=1000,
        sent=1000,
        answered=1000,
        outcomes={"202": 1000},
        p50_ms=1,
        p99_ms=p99,
        max_ms=p99,
        backlog=0,
        lag_ms=lag,
        server_cpu_share=0.5,
        server_rss_bytes=1,
        harness_cpu_share=harness,
    )
    latency = Latency(count=1000, p50_ms=1, p90_ms=1, p99_ms=p99, p999_ms=p99, max_ms=p99, hdr="")
    return LoadRun(
        plan=plan or _load_plan(),
        seconds=[second] * 6,
        latency={"pose": latency} if outcomes != {} else {},
        outcomes={"pose": {"202": 1000} if outcomes is None else outcomes},
        answered_a_second=1000,
        frames_sent=10_000,
        frames_accepted=10_000,
        batches_unanswered=0,
        cpu_us_a_batch=50,
        rss_first_bytes=1,
        rss_peak_bytes=1,
        rss_last_bytes=1,
        harness_cpu_share=harness,
        interrupted=interrupted,
        reconciliation=list(checks),
    )


def _load_plan() -> LoadPlan:
    return LoadPlan(
        sessions=1000,
        ramp_seconds=1,
        seconds=6,
        interval_seconds=1,
        jitter=0,
        frames_a_batch=10,
        connections=32,
        reconnect_share=0,
        offline_seconds=0,
        hostile_share=0,
        media=False,
        ends=False,
        processes=1,
        seed=1,
    )


class _FakeLoad:
    """A server that holds up to a rate, and a harness that gives out at another."""

    def __init__(self, capacity: float = 5000, harness: float = 1e9) -> None:
        self.capacity, self.harness = capacity, harness
        self.calls: list[tuple[LoadPlan, int, int]] = []

    def __call__(
        self,
        plan: LoadPlan,
        target: Target,
        *,
        watch: Callable[[Second], None],  # noqa: ARG002  nobody watches a fake
        stopped: Callable[[], bool],
        first_session: int = 0,
        first_batch: int = 0,
    ) -> LoadRun:
        assert target is _TARGET
        check_plan(plan)
        self.calls.append((plan, first_session, first_batch))
        rate = plan.sessions / plan.interval_seconds
        busy = rate > self.harness
        slow = busy or rate > self.capacity
        return _run(
            plan, p99=900 if slow else 10, harness=1.0 if busy else 0.5, interrupted=stopped()
        )

    @property
    def measured(self) -> list[tuple[LoadPlan, int, int]]:
        return [call for call in self.calls if call[0].seconds]


def _trials(load: _FakeLoad, clock: Callable[[], float] = lambda: 0.0) -> Trials:
    return Trials(_PLAN, _TARGET, lambda: False, load, clock)


def _ignore(_line: str) -> None:
    pass


def test_the_capacity_is_found_and_confirmed() -> None:
    """A server that holds 5,000/s is found near it, all trials told, and 80 % of it is tried."""
    load, lines = _FakeLoad(5000), list[str]()
    outcome = find_capacity(_PLAN, _trials(load).run, lines.append)
    assert outcome.run.low <= 5000 <= outcome.run.high
    assert outcome.run.safe_rate < outcome.run.rate
    assert outcome.run.at_80_percent is not None
    assert outcome.run.at_80_percent.passed
    assert outcome.run.at_80_percent.rate == pytest.approx(0.8 * outcome.run.rate, rel=0.01)
    assert outcome.faults == []
    assert len(lines) == len(outcome.run.trials) + 1
    assert "believed: at least 1,000/s" in lines[0]
    assert lines[-1].startswith("80 % of it: ")


def test_only_sessions_that_are_not_warm_are_warmed() -> None:
    """The first trial warms all of its sessions, a greater one the new ones, a smaller one none."""
    load = _FakeLoad()
    trials = _trials(load)
    for rate in (1000, 2000, 1500):
        trials.run(rate)
    warmed = [(first, plan.sessions) for plan, first, _ in load.calls if not plan.seconds]
    assert warmed == [(0, 1000), (1000, 1000)]
    assert [(first, plan.sessions) for plan, first, _ in load.measured] == [
        (0, 1000),
        (0, 2000),
        (0, 1500),
    ]


def test_idle_sessions_are_warmed_again() -> None:
    """Sessions that no trial has used for long are woken before they are measured."""
    load, now = _FakeLoad(), 0.0
    trials = _trials(load, lambda: now)
    trials.run(2000)
    for _ in range(5):
        now += 10
        trials.run(1000)
    now += 10
    trials.run(2000)
    warmed = [(first, plan.sessions) for plan, first, _ in load.calls if not plan.seconds]
    assert warmed == [(0, 2000), (1000, 1000)]


def test_a_warmed_session_sends_once() -> None:
    """The warming run is over before any of its sessions has a second batch due."""
    load = _FakeLoad()
    _trials(load).run(3000)
    plan = load.calls[0][0]
    assert plan.interval_seconds > plan.ramp_seconds + plan.seconds
    assert plan.sessions / plan.ramp_seconds <= 1000


def test_batches_go_forward_over_all_trials() -> None:
    """No trial begins with a batch that a session has sent in an earlier run."""
    load = _FakeLoad()
    trials = _trials(load)
    for rate in (1000, 500, 4000):
        trials.run(rate)
    sent = 0
    for plan, _, first_batch in load.calls:
        assert first_batch >= sent
        sent = first_batch + 1 + int((plan.ramp_seconds + plan.seconds) / plan.interval_seconds)


@pytest.mark.parametrize(
    ("run", "why", "refusals", "failures"),
    [
        (_run(p99=51), "p99 is 51 ms", 0, 0),
        (_run(outcomes={"202": 999, "429 inbox_full": 1}), "1 429 inbox_full", 1, 0),
        (_run(outcomes={"202": 999, "503 draining": 1}), "1 503 draining", 1, 0),
        (_run(outcomes={"202": 999, "unanswered": 2}), "2 unanswered", 0, 2),
        (_run(outcomes={"202": 999, "500": 3}), "3 500", 0, 3),
        (_run(outcomes={}), "nothing was answered", 0, 0),
    ],
)
def test_a_rate_is_held_only_without_a_blemish(
    run: LoadRun, why: str, refusals: int, failures: int
) -> None:
    """A p99 above the bound, one refusal or one failure: the rate was not held, and why is told."""
    judged = judge(run, 1000, 50)
    assert not judged.trial.passed
    assert not judged.void
    assert judged.trial.why == why
    assert (judged.trial.refusals, judged.trial.failures) == (refusals, failures)


def test_what_is_held_needs_no_reason() -> None:
    """With p99 at the bound and every batch accepted the rate is held, however busy the harness."""
    judged = judge(_run(p99=50, harness=0.99, lag=40), 1000, 50)
    assert (judged.trial.passed, judged.void, judged.trial.why) == (True, False, "")


@pytest.mark.parametrize(
    ("run", "who"),
    [
        (_run(p99=99, harness=0.95), "the harness used 95%"),
        (_run(p99=99, lag=40), "the harness itself was 40 ms late"),
    ],
)
def test_a_trial_that_the_harness_spoiled_is_void(run: LoadRun, who: str) -> None:
    """A harness without time left makes a trial void, and the trial says so."""
    judged = judge(run, 1000, 50)
    assert judged.void
    assert judged.trial.why.startswith(f"void, since {who}")


def test_a_harness_that_gives_out_first_is_told() -> None:
    """When only the harness gives out, the report says "at least" and where it gave out."""
    outcome = find_capacity(_PLAN, _trials(_FakeLoad(1e9, harness=9000)).run, _ignore)
    assert 8000 <= outcome.run.rate <= 9000
    assert "at least" in outcome.faults[0]
    assert "the harness itself gives out" in outcome.faults[0]
    assert any(trial.why.startswith("void") for trial in outcome.run.trials)


def test_a_server_that_holds_nothing_is_told() -> None:
    """A server that never holds gives "below", without a trial at 80 % of nothing."""
    outcome = find_capacity(_PLAN, _trials(_FakeLoad(0)).run, _ignore)
    assert "no trial was held" in outcome.faults[0]
    assert outcome.run.at_80_percent is None


def test_80_percent_that_are_not_held_are_a_fault() -> None:
    """A rate whose 80 % is not held is reported with that as a fault."""
    random, load = Random(1), _FakeLoad()  # noqa: S311  noise, not secrets
    trials = _trials(load)

    def attempt(rate: float) -> Judged:
        load.capacity = 5000 if len(load.measured) < 16 else 0
        return trials.run(rate * random.uniform(0.99, 1.01))

    plan = replace(_PLAN, precision=0.005)
    faults = find_capacity(plan, attempt, _ignore).faults
    assert faults == ["80 % of the rate was not held: p99 is 900 ms"]


def test_what_does_not_add_up_is_a_fault() -> None:
    """A reconciliation that fails in a trial is among the faults, with the trial's rate."""
    check = Check(name="frames seen", expected="10", seen="9", holds=False)
    judged = judge(_run(checks=(check,)), 1000, 50)
    outcome = find_capacity(
        _PLAN, lambda rate: _with_rate(judged, rate, passed=rate < 3000), _ignore
    )
    assert outcome.faults[0].startswith("at 1,000/s it does not add up: frames seen")


def test_an_interrupt_keeps_what_is_known() -> None:
    """An interrupted trial does not count, ends the search, and the report says so."""
    load, asked = _FakeLoad(), iter([False] * 4 + [True] * 99)
    trials = Trials(_PLAN, _TARGET, lambda: next(asked), load, lambda: 0.0)
    outcome = find_capacity(_PLAN, trials.run, _ignore)
    assert outcome.faults[0].startswith("interrupted")
    assert len(outcome.run.trials) == 2
    assert outcome.run.at_80_percent is None


def test_the_command_runs_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One short trial gives a report with the settings used, and says that one is too few."""
    monkeypatch.setattr("penstock.bench.servers.end_on_sigterm", lambda: None)
    app = typer.Typer()
    app.command()(capacity)
    out = tmp_path / "report.json"
    arguments = ["--trials=1", "--seconds=1", "--start=20", "--interval=0.5", "--quiet"]
    arguments += ["--set=rate_batches_per_second=100", "--set=rate_burst=100", f"--json={out}"]
    # A busy machine may take long; this is about the report.
    arguments.append("--bound-ms=60000")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    report = Report.model_validate_json(out.read_bytes())
    assert report.capacity is not None
    assert [trial.rate for trial in report.capacity.trials] == [20]
    assert report.capacity.trials[0].passed
    assert report.capacity.at_80_percent is not None
    assert report.server["limit rate_batches_per_second"] == "100"
    assert report.server["limit max_live_sessions"] == "20000"
    assert "give more --trials" in report.faults[0]


def _with_rate(judged: Judged, rate: float, *, passed: bool) -> Judged:
    trial: Trial = judged.trial.model_copy(update={"rate": rate, "passed": passed})
    return Judged(trial, void=False, faults=judged.faults, interrupted=False)
