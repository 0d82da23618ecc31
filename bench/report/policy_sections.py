"""What is told of the reports about the drop policy: pressure, neighbour, policy cost."""

from collections import Counter
from collections.abc import Iterator, Mapping

from penstock.bench.report import units
from penstock.bench.report.models import (
    Latency,
    LoadRun,
    NeighbourRun,
    PolicyCostRun,
    PressureRun,
    PressureStep,
)
from penstock.bench.report.section import HELD, Row, Section

_FATES = ("accepted", "thinned", "refused", "withheld", "given up", "unanswered")
_GONE = ("refused", "shed", "lost")


def times(step: PressureStep) -> str:
    """Name a load."""
    return f"{units.plain(step.times)} x"


def pressure_heading(run: PressureRun) -> str:
    """Say in one line what was measured."""
    loads = ", ".join(units.plain(step.times) for step in run.steps) or "no"
    return f"Pressure: {loads} times the capacity of {units.figure(run.capacity)} batches a second"


def pressure_sections(run: PressureRun) -> Iterator[Section]:
    """Tell of every load in one row a table."""
    steps = run.steps
    how = "searched for first" if run.capacity_found else "as given"
    sessions = units.count(steps[0].run.plan.sessions) if steps else units.NONE
    yield Section(
        "Frames",
        ("load", "due/s", "due", *_FATES),
        tuple(map(_frames, steps)),
        notes=(
            f"The capacity is {units.figure(run.capacity)} batches a second, {how}; {sessions} "
            "sessions in every run, each with a connection of its own.",
            "Withheld: due while the client had been told to wait. Given up: it had to wait in its "
            "client, which keeps two batches and no older ones. Unanswered: sent without an "
            "answer, or never sent.",
        ),
    )
    yield Section(
        "Lost frames by session, as its client knows them",
        ("load", "lost", "unfair", "least", "median", "p95", "most", "gap median", "p95", "most"),
        tuple(map(_losses, steps)),
        notes=(
            "Unfair: of the lost frames, those that would have to be other sessions' for all to "
            "have lost the same share; 0 % is the fairest there is. Gaps are in ms of session "
            "time, around each session's longest run of lost frames.",
        ),
    )
    yield Section(
        "Frames that were not used, by reason, as the server says",
        ("load", "outcome and reason", "frames", "share of seen"),
        tuple(row for step in steps for row in _reasons(step)),
        words=(0, 1),
    )
    yield Section(
        "Latency in ms, from the intended moment, and session ends during the load",
        ("load", "accepted p50", "p99", "ends", "no 2xx", "end p50", "p99", "max"),
        tuple(map(_latencies, steps)),
    )
    yield Section(
        "Session ends that close the run, the load having stopped",
        ("load", "ends", "no 2xx", "max ms"),
        tuple(map(_closing, steps)),
    )
    yield Section(
        "Retry-After that was told, in seconds",
        ("load", "refusals with it", "seconds: refusals"),
        tuple(map(_retry_after, steps)),
        words=(0, 2),
    )
    yield Section(
        "Resources",
        ("load", "MiB first", "peak", "last", "CPU", "scheduler delay", "harness CPU", "late"),
        tuple(map(_resources, steps)),
        notes=(
            "CPU is the server's, in µs for each batch that it accepted. The scheduler's delay is "
            "its worst, and late is the latest that the harness was with a request, both in ms.",
        ),
    )
    yield Section(
        "Reconciliation",
        ("load", "lines", ""),
        tuple(
            (times(step), units.count(len(step.run.reconciliation)), HELD[_adds_up(step.run)])
            for step in steps
        ),
        words=(0, 2),
    )
    if steps:
        plan = steps[0].run.plan
        ends = f"{units.plain(plan.ends_per_second)} a second, each replaced, and all at the end"
        waits = "send nothing until the time told" if plan.honour_retry_after else "go on sending"
        yield Section(
            "Plan",
            rows=(
                ("time", f"{units.plain(plan.seconds)} s after {units.plain(plan.ramp_seconds)} s"),
                ("batches", f"{plan.frames_a_batch} frames, which fill the interval"),
                ("refused clients", waits),
                ("batches that wait in a client", "2 at most" if plan.live_clients else "all"),
                ("session ends", ends if plan.ends else "none: they are not served"),
                ("processes", str(plan.processes)),
                ("seed", str(plan.seed)),
            ),
            words=(0, 1),
        )


def frames_of(run: LoadRun) -> dict[str, int]:
    """Sort the frames that were due by what became of them, as the clients know it."""
    due = run.losses.frames_due if run.losses is not None else 0
    refused = sum(
        count * run.plan.frames_a_batch
        for outcome, count in run.outcomes.get("pose", {}).items()
        if outcome[:1] in "45" and outcome[:3].isdecimal()
    )
    known = {
        "accepted": run.frames_accepted,
        "thinned": run.frames_thinned,
        "refused": refused,
        "withheld": run.frames_withheld,
        "given up": run.frames_given_up,
    }
    return {"due": due, **known, "unanswered": max(0, due - sum(known.values()))}


def _frames(step: PressureStep) -> Row:
    found = frames_of(step.run)
    shares = [units.share(found[name] / max(1, found["due"])) for name in list(found)[1:]]
    due = units.figure(step.batches_a_second * step.run.plan.frames_a_batch)
    return (times(step), due, units.count(found["due"]), *shares)


def _losses(step: PressureStep) -> Row:
    found = step.run.losses
    if found is None:
        return (times(step), *[units.NONE] * 9)
    return (
        times(step),
        units.share(found.frames_lost / max(1, found.frames_due)),
        units.share(found.unfair_share),
        units.share(found.share_min),
        units.share(found.share_median),
        units.share(found.share_p95),
        units.share(found.share_max),
        units.figure(found.gap_median_ms),
        units.figure(found.gap_p95_ms),
        units.figure(found.gap_max_ms),
    )


def not_used(run: LoadRun) -> Mapping[str, int]:
    """Give the frames that ended other than on disk, by outcome and reason."""
    found = run.server_frames.items()
    return Counter({name: count for name, count in found if name.partition(" ")[0] in _GONE})


def _reasons(step: PressureStep) -> Iterator[Row]:
    found = not_used(step.run)
    seen = sum(n for name, n in step.run.server_frames.items() if not name.startswith("unsent"))
    for name, count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        yield times(step), name, units.count(count), units.share(count / max(1, seen))
    if not found:
        yield times(step), "none", units.count(0), units.share(0)


def _latencies(step: PressureStep) -> Row:
    pose, end = step.run.latency.get("pose"), step.run.latency.get("end")
    outcomes = step.run.outcomes.get("end", {})
    silent = sum(count for outcome, count in outcomes.items() if not units.accepted(outcome))
    return (
        times(step),
        *_of(pose, "p50_ms", "p99_ms"),
        units.count(sum(outcomes.values())),
        units.count(silent),
        *_of(end, "p50_ms", "p99_ms", "max_ms"),
    )


def _closing(step: PressureStep) -> Row:
    outcomes = step.run.outcomes.get("closing end", {})
    silent = sum(count for outcome, count in outcomes.items() if not units.accepted(outcome))
    return (
        times(step),
        units.count(sum(outcomes.values())),
        units.count(silent),
        *_of(step.run.latency.get("closing end"), "max_ms"),
    )


def _of(latency: Latency | None, *fields: str) -> tuple[str, ...]:
    return tuple(
        units.figure(None if latency is None else getattr(latency, field)) for field in fields
    )


def _retry_after(step: PressureStep) -> Row:
    found = sorted(step.run.retry_after.items(), key=lambda item: int(item[0]))
    told = ", ".join(f"{seconds}: {count:,}" for seconds, count in found) or "none"
    return times(step), units.count(sum(count for _, count in found)), told


def _resources(step: PressureStep) -> Row:
    run = step.run
    return (
        times(step),
        units.mebibytes(run.rss_first_bytes),
        units.mebibytes(run.rss_peak_bytes),
        units.mebibytes(run.rss_last_bytes),
        units.figure(run.cpu_us_a_batch),
        units.figure(run.scheduler_delay_peak_ms),
        units.share(run.harness_cpu_share),
        units.figure(max((one.lag_ms for one in run.seconds), default=0.0)),
    )


def _adds_up(run: LoadRun) -> bool:
    return all(check.holds for check in run.reconciliation)


def neighbour_heading(run: NeighbourRun) -> str:
    """Say in one line what was measured."""
    return f"Neighbour: one of {run.orgs} organisations at {units.plain(run.times)} times its quota"


def neighbour_sections(run: NeighbourRun) -> Iterator[Section]:
    """Tell what the neighbour costs the others, and then the rounds."""
    yield Section(
        f"The other {run.orgs - 1} organisations, each at its quota of "
        f"{units.plain(run.quota)} batches a second",
        ("figure", "without it (min to max)", "with it", "ratio", "measurably more"),
        tuple(
            (
                one.name,
                f"{_figure(one.name, one.quiet)} ({_figure(one.name, one.quiet_low)} to "
                f"{_figure(one.name, one.quiet_high)})",
                _figure(one.name, one.noisy),
                units.figure(one.ratio),
                "no" if one.within_spread else "yes",
            )
            for one in run.ratios
        ),
        notes=(
            "Medians of the rounds. Not measurably more: no more than in the highest of the runs "
            "without the neighbour.",
        ),
    )
    yield Section(
        "Rounds",
        ("run", "others' p50 ms", "p99 ms", "loss", "frames due", "first org due/s", "taken/s"),
        tuple(
            (
                f"{number}, {name}",
                units.figure(one.p50_ms),
                units.figure(one.p99_ms),
                _figure("loss", one.loss_share),
                units.count(one.frames_due),
                units.figure(one.first_due_a_second),
                units.figure(one.first_taken_a_second),
            )
            for number, both in enumerate(run.rounds, 1)
            for name, one in (("quiet", both.quiet), ("noisy", both.noisy))
        ),
    )


def _figure(name: str, value: float) -> str:
    return f"{value:.3%}" if name == "loss" else units.figure(value)


def cost_heading(run: PolicyCostRun) -> str:
    """Say in one line what was measured."""
    return f"Policy cost: microseconds a batch, {run.sessions:,} sessions"


def cost_sections(run: PolicyCostRun) -> Iterator[Section]:
    """Tell the cost by state, and what was decided."""
    yield Section(
        "The drop policy, µs a batch",
        ("state", "candidates", "µs (min to max)", "admitted", "thinned", "refused"),
        tuple(
            (
                one.state,
                str(one.candidates),
                f"{units.figure(one.us_a_batch)} "
                f"({units.span(min(one.repeats_us), max(one.repeats_us))})",
                *(
                    units.share(one.outcomes.get(what, 0) / max(1, sum(one.outcomes.values())))
                    for what in ("admit", "thin", "refuse")
                ),
            )
            for one in run.costs
        ),
        notes=(
            f"Processor time of deciding and counting, {run.batches:,} batches a repeat; the empty "
            f"loop, {units.figure(run.empty_loop_us)} µs, is taken off.",
        ),
    )
