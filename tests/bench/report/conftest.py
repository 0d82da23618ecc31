"""Reports of every kind, made of drawn numbers, as the commands would write them."""

from collections.abc import Callable
from math import exp

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from penstock.bench.neighbour import ratios
from penstock.bench.report.models import (
    CapacityRun,
    Check,
    Latency,
    LoadPlan,
    LoadRun,
    NeighbourRound,
    NeighbourRun,
    NeighbourSide,
    Peer,
    PeerRound,
    PeersRun,
    PolicyCost,
    PolicyCostRun,
    PressureRun,
    PressureStep,
    Report,
    ScaleLine,
    ScalePoint,
    ScaleRun,
    Second,
    SessionLosses,
    Trial,
)

Make = Callable[..., Report]

_MACHINE = {"cpu": "Some Processor 3000", "cores": "2, of which usable 2", "load average": "0.1"}
_SERVER = {"penstock": "0.1.0", "rate_batches_per_second": "1.25", "core": "1"}


def _about(**changes: object) -> dict[str, object]:
    about: dict[str, object] = {
        "made_at": "2026-05-04T03:02:01+00:00",
        "command": "penstock bench something --json a.json",
        "machine": _MACHINE,
        "server": _SERVER,
        "faults": [],
    }
    return about | changes


def _latency(rng: np.random.Generator, count: int, scale: float) -> Latency:
    held = HdrHistogram(1, 3_600_000_000, 3)
    for value in rng.lognormal(7.0, 0.8, size=count) * scale:
        held.record_value(int(value))

    def quantile(percent: float) -> float:
        return float(held.get_value_at_percentile(percent)) / 1000

    return Latency(
        count=count,
        p50_ms=quantile(50),
        p90_ms=quantile(90),
        p99_ms=quantile(99),
        p999_ms=quantile(99.9),
        max_ms=quantile(100),
        hdr=held.encode().decode(),
    )


def _noise(rng: np.random.Generator, count: int, spread: float) -> np.ndarray:
    """Give factors around one whose neighbours resemble each other, as real seconds do."""
    found = np.empty(count)
    state = rng.standard_normal() * spread
    for at in range(count):
        state = 0.5 * state + rng.standard_normal() * spread * 0.75**0.5
        found[at] = state
    return np.exp(found)


def _make_load(
    seed: int = 1,
    *,
    slower: float = 1.0,
    seconds: int = 60,
    count: int = 20_000,
    **changes: object,
) -> Report:
    # Each has its own, so that the number of latencies changes nothing else.
    rng, of_seconds = (np.random.default_rng([seed, part]) for part in (0, 1))
    ramp, rate = 10, 1000
    noise, cost = _noise(of_seconds, seconds, 0.1), _noise(of_seconds, seconds, 0.03)
    rows = []
    for at in range(seconds):
        planned = rate if at >= ramp else rate * (at + 1) // (ramp + 1)
        refused = int(of_seconds.poisson(6)) if at > 30 else 0
        p99 = 12.0 * float(noise[at]) * slower
        rows.append(
            Second(
                at=at,
                planned=planned,
                sent=planned - int(at == 20),
                answered=planned - int(at == 20),
                outcomes={"202": planned - refused, "429 inbox_full": refused},
                p50_ms=p99 / 4,
                p99_ms=p99,
                max_ms=p99 * 3,
                backlog=at % 3,
                lag_ms=0.4,
                server_cpu_share=planned * 160e-6 * float(cost[at]) * slower if at else None,
                server_rss_bytes=(180 << 20) + at * 50_000,
                harness_cpu_share=0.31,
            )
        )
    answered = sum(one.answered for one in rows)
    refused = sum(one.outcomes["429 inbox_full"] for one in rows)
    run = LoadRun(
        plan=LoadPlan(
            sessions=1000,
            ramp_seconds=ramp,
            seconds=seconds - ramp,
            interval_seconds=1,
            jitter=0.1,
            frames_a_batch=30,
            connections=None,
            reconnect_share=0.05,
            offline_seconds=3,
            hostile_share=0.01,
            media=True,
            ends=True,
            processes=1,
            seed=seed,
        ),
        seconds=rows,
        latency={
            "pose": _latency(rng, count, slower),
            "end": _latency(rng, count // 20 + 1, 3 * slower),
        },
        outcomes={
            "pose": {"202": answered - refused, "429 inbox_full": refused},
            "end": {"200": 9},
        },
        answered_a_second=float(rate),
        frames_sent=answered * 30,
        frames_accepted=(answered - refused) * 30,
        batches_unanswered=1,
        cpu_us_a_batch=160.0 * slower,
        rss_first_bytes=180 << 20,
        rss_peak_bytes=183 << 20,
        rss_last_bytes=182 << 20,
        harness_cpu_share=0.31,
        interrupted=False,
        reconciliation=[
            Check(name="batches answered 202", expected="54,321", seen="54,321", holds=True),
            Check(name="frames of sessions", expected="98,765", seen="98,764", holds=False),
        ],
    )
    return Report.model_validate(_about(kind="load", load=run, **changes))


def _make_capacity(seed: int = 1, *, rate: float = 9000.0, **changes: object) -> Report:
    rng = np.random.default_rng(seed)
    trials = []
    for offered in rng.uniform(0.7, 1.3, size=14) * rate:
        p99 = 9.0 * exp((offered / rate - 0.75) * 7)
        trials.append(
            Trial(
                rate=float(offered),
                seconds=8,
                answered_a_second=float(offered) * 0.999,
                p99_ms=p99,
                refusals=3,
                failures=0,
                cpu_us_a_batch=155.5,
                passed=p99 < 50,
                why="" if p99 < 50 else "p99 too high",
            )
        )
    run = CapacityRun(
        bound_p99_ms=50,
        trials=trials,
        rate=rate,
        low=rate * 0.97,
        high=rate * 1.03,
        safe_rate=rate * 0.91,
        at_80_percent=trials[0].model_copy(update={"rate": 0.8 * rate}),
    )
    return Report.model_validate(_about(kind="capacity", capacity=run, **changes))


def _make_peers(
    seed: int = 1, *, faster: float = 1.0, rounds: int = 5, **changes: object
) -> Report:
    rng = np.random.default_rng(seed)
    speeds = {
        ("penstock", "full"): 6500.0 * faster,
        ("plain", "full"): 1400.0,
        ("go", "full"): 16900.0,
        ("penstock", "accept"): 15_000.0 * faster,
        ("plain", "accept"): 3000.0,
    }
    # Every server has its turn in each round, and the machine's speed is the round's.
    speed = rng.lognormal(0, 0.02, size=rounds)
    peers = []
    for (name, form), mean in speeds.items():
        rates = mean * speed * rng.lognormal(0, 0.02, size=rounds)
        base = speeds["plain", form]
        turns = [
            PeerRound(
                rate=float(rate),
                p50_ms=32e3 / float(rate),
                p99_ms=90e3 / float(rate),
                max_ms=200e3 / float(rate),
                cpu_us_a_request=1e6 / float(rate),
                resident_bytes=90 << 20,
                generator_cpu_share=0.62,
                idle_cpu_share=0.013,
                by_status={"202": 5000, "429": 7 if name == "penstock" else 0},
                failures=0,
            )
            for rate in rates
        ]
        peers.append(
            Peer(
                name=name,
                form="full" if form == "full" else "accept",
                told=f"{name} as it comes",
                rate=float(np.median(rates)),
                ratio=mean / base,
                ratio_low=mean / base * 0.96,
                ratio_high=mean / base * 1.05,
                rounds=turns,
            )
        )
    run = PeersRun(
        base="plain",
        load="32 connections, 12,000 sessions",
        peers=peers,
        left_out={"fastapi": "uvicorn is not installed"},
    )
    return Report.model_validate(_about(kind="peers", peers=run, **changes))


def _make_scale(seed: int = 1, *, slope: float = 18.3, **changes: object) -> Report:
    rng = np.random.default_rng(seed)
    xs = [100, 1000, 2500, 5000, 7500, 10_000]
    ys = [90_000 + slope * x + float(rng.normal(0, 0.01 * slope * 10_000)) for x in xs]
    fit_slope, intercept = (float(value) for value in np.polyfit(xs, ys, 1))
    points = [ScalePoint(x=x, y=y, note="warm") for x, y in zip(xs, ys, strict=True)]
    bent = [ScalePoint(x=x, y=3.0 + (x / 10_000) ** 3) for x in xs]
    lines = [
        ScaleLine(
            name="Memory by sessions",
            x_name="sessions",
            y_name="KiB",
            points=points,
            slope=fit_slope,
            intercept=intercept,
            r_squared=0.9991,
            straight=True,
            told=f"{fit_slope:.1f} KiB a session",
        ),
        ScaleLine(
            name="End by length",
            x_name="minutes",
            y_name="ms",
            points=bent,
            slope=0.0001,
            intercept=3.0,
            r_squared=0.61,
            straight=False,
            told="no straight line: it grows faster",
        ),
    ]
    return Report.model_validate(_about(kind="scale", scale=ScaleRun(lines=lines), **changes))


def _losses(rng: np.random.Generator, times: float) -> SessionLosses:
    shares = sorted(float(share) for share in rng.beta(1 + times, 20, size=101))
    return SessionLosses(
        sessions=2000,
        frames_due=400_000,
        frames_lost=round(400_000 * float(np.mean(shares))),
        unfair_share=float(rng.uniform(0.01, 0.2)),
        share_min=shares[0],
        share_median=shares[50],
        share_p95=shares[95],
        share_max=shares[-1],
        gap_median_ms=0.0,
        gap_p95_ms=800.0,
        gap_max_ms=1100.0 * times,
        shares=shares,
    )


def _make_pressure(seed: int = 1, *, slower: float = 1.0, **changes: object) -> Report:
    rng = np.random.default_rng(seed)
    steps = []
    for times in (0.5, 1.0, 5.0):
        load = _make_load(seed, slower=slower * times, seconds=20, count=500).load
        assert load is not None
        update = {
            "losses": _losses(rng, times),
            "frames_thinned": int(rng.integers(1, 1000)),
            "frames_withheld": int(rng.integers(1, 1000)),
            "frames_given_up": int(rng.integers(1, 1000)),
            "server_frames": {
                "aggregated used": 300_000,
                "refused policy_refused": int(rng.integers(1, 9000)),
                "shed policy_thinned": int(rng.integers(1, 9000)),
            },
            "retry_after": {"1": 40, "2": 7, "11": 2},
            "scheduler_delay_peak_ms": 40.0,
            "latency": load.latency
            | {"end": _latency(rng, 400, 1.0), "closing end": _latency(rng, 2000, 1.0)},
            "outcomes": load.outcomes
            | {"end": {"200": 399, "unanswered": 1}, "closing end": {"200": 1990, "closed": 7}},
        }
        run = load.model_copy(update=update)
        steps.append(PressureStep(times=times, batches_a_second=times * 4000, run=run))
    run_ = PressureRun(capacity=4000.0, capacity_found=True, steps=steps)
    return Report.model_validate(_about(**changes) | {"kind": "pressure", "pressure": run_})


def _make_neighbour(seed: int = 1, *, slower: float = 1.0, **changes: object) -> Report:
    rng = np.random.default_rng(seed)

    def side(due: float) -> NeighbourSide:
        p99 = 4.0 * slower * float(rng.uniform(0.9, 1.1))
        return NeighbourSide(
            p50_ms=p99 / 5,
            p99_ms=p99,
            loss_share=0.0,
            frames_due=90_000,
            first_due_a_second=due,
            first_taken_a_second=40.0,
        )

    rounds = [NeighbourRound(quiet=side(40), noisy=side(2000)) for _ in range(4)]
    run = NeighbourRun(orgs=20, quota=40, times=50, rounds=rounds, ratios=ratios(rounds))
    return Report.model_validate(_about(**changes) | {"kind": "neighbour", "neighbour": run})


def _make_cost(seed: int = 1, *, slower: float = 1.0, **changes: object) -> Report:
    rng = np.random.default_rng(seed)
    costs = []
    for state, us in (("calm", 1.0), ("thinning", 4.0)):
        repeats = [us * slower * float(factor) for factor in rng.uniform(0.95, 1.05, size=7)]
        costs.append(
            PolicyCost.model_validate(
                {
                    "state": state,
                    "candidates": 3,
                    "us_a_batch": float(np.median(repeats)),
                    "repeats_us": repeats,
                    "outcomes": {"admit": 10, "thin": 90},
                }
            )
        )
    run = PolicyCostRun(batches=20_000, sessions=2000, empty_loop_us=0.06, costs=costs)
    return Report.model_validate(_about(**changes) | {"kind": "policy-cost", "policy_cost": run})


@pytest.fixture
def make_pressure() -> Make:
    """Give the maker of pressure reports."""
    return _make_pressure


@pytest.fixture
def make_neighbour() -> Make:
    """Give the maker of neighbour reports."""
    return _make_neighbour


@pytest.fixture
def make_cost() -> Make:
    """Give the maker of reports of the policy's cost."""
    return _make_cost


@pytest.fixture
def make_load() -> Make:
    """Give the maker of load reports."""
    return _make_load


@pytest.fixture
def make_capacity() -> Make:
    """Give the maker of capacity reports."""
    return _make_capacity


@pytest.fixture
def make_peers() -> Make:
    """Give the maker of peers reports."""
    return _make_peers


@pytest.fixture
def make_scale() -> Make:
    """Give the maker of scale reports."""
    return _make_scale


@pytest.fixture(
    params=["load", "capacity", "peers", "scale", "pressure", "neighbour", "policy-cost"]
)
def make(request: pytest.FixtureRequest) -> Make:
    """Give the maker of each kind in turn."""
    makers: dict[str, Make] = {
        "load": _make_load,
        "capacity": _make_capacity,
        "peers": _make_peers,
        "scale": _make_scale,
        "pressure": _make_pressure,
        "neighbour": _make_neighbour,
        "policy-cost": _make_cost,
    }
    return makers[request.param]
