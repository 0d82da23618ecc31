"""What is told of a report, as titled tables and sentences, for the terminal and the page alike.

Everything here is a decision of what to show in which words; how it looks is theirs.
"""

from collections.abc import Iterator, Mapping
from statistics import fmean, median

from penstock.bench.report import units
from penstock.bench.report.models import (
    CapacityRun,
    LoadPlan,
    LoadRun,
    Peer,
    PeersRun,
    Report,
    ScaleRun,
    Second,
    Trial,
)
from penstock.bench.report.policy_sections import (
    cost_heading,
    cost_sections,
    neighbour_heading,
    neighbour_sections,
    pressure_heading,
    pressure_sections,
)
from penstock.bench.report.section import HELD, Row, Section

__all__ = ["CERTAINTY", "Section", "heading", "rates", "ratio", "sections", "steady"]

# What a capacity's rate is, in a few words.
CERTAINTY = {
    "found": "held in half of all runs",
    "at least": "held, and the capacity is at least that",
    "below": "not held, and the capacity is below it",
    "unknown": "nothing is known",
}
_FORMS = {
    "accept": "Peers, only accepting: verify, inflate, validate, answer",
    "full": "Peers, the full work: also append to the session's file, compute all joint angles",
}


def heading(report: Report) -> str:
    """Say in one line what was measured."""
    if report.load is not None:
        plan = report.load.plan
        return f"Load: {plan.sessions:,} sessions for {units.plain(plan.seconds)} s"
    if report.capacity is not None:
        bound = units.plain(report.capacity.bound_p99_ms)
        return f"Capacity: the rate with p99 within {bound} ms"
    if report.peers is not None:
        return f"Peers: {', '.join(dict.fromkeys(one.name for one in report.peers.peers))}"
    if report.pressure is not None:
        return pressure_heading(report.pressure)
    if report.neighbour is not None:
        return neighbour_heading(report.neighbour)
    if report.policy_cost is not None:
        return cost_heading(report.policy_cost)
    return "Scale: what growing costs"


def sections(report: Report) -> list[Section]:
    """Give all that is told, in order, the conditions of the measurement last."""
    told: list[Section] = []
    if report.load is not None:
        told += _load(report.load)
    if report.capacity is not None:
        told += _capacity(report.capacity)
    if report.peers is not None:
        told += _peers(report.peers)
    if report.scale is not None:
        told += _scale(report.scale)
    if report.pressure is not None:
        told += pressure_sections(report.pressure)
    if report.neighbour is not None:
        told += neighbour_sections(report.neighbour)
    if report.policy_cost is not None:
        told += cost_sections(report.policy_cost)
    told.append(_pairs("Server", report.server))
    told.append(_pairs("Machine", report.machine))
    told.append(_pairs("Report", {"made at": report.made_at, "command": report.command}))
    return told


def steady(run: LoadRun) -> list[Second]:
    """Give the whole seconds in which all sessions were on."""
    begin, end = run.plan.ramp_seconds, run.plan.ramp_seconds + run.plan.seconds - 1
    if run.interrupted and run.seconds:
        end = min(end, run.seconds[-1].at - 1)
    return [one for one in run.seconds if begin <= one.at <= end]


def _pairs(title: str, pairs: Mapping[str, str]) -> Section:
    return Section(title, rows=tuple(pairs.items()), words=(0, 1))


def _load(run: LoadRun) -> Iterator[Section]:
    yield _traffic(run)
    yield Section(
        "Latency in ms, from the intended moment",
        ("request", "answers", "p50", "p90", "p99", "p99.9", "max"),
        tuple(
            (
                kind,
                units.count(one.count),
                units.figure(one.p50_ms),
                units.figure(one.p90_ms),
                units.figure(one.p99_ms),
                units.figure(one.p999_ms),
                units.figure(one.max_ms),
            )
            for kind, one in run.latency.items()
        ),
    )
    yield Section(
        "Outcomes",
        ("request", "outcome", "count", "share"),
        tuple(
            (kind, what, units.count(number), units.share(number / max(1, sum(found.values()))))
            for kind, found in run.outcomes.items()
            for what, number in sorted(found.items(), key=lambda item: (-item[1], item[0]))
        ),
        words=(0, 1),
    )
    yield Section(
        "Reconciliation: what the harness knows against what the server says",
        ("check", "expected", "seen", ""),
        tuple((one.name, one.expected, one.seen, HELD[one.holds]) for one in run.reconciliation),
        words=(0, 3),
    )
    yield _resources(run)
    yield _pairs("Plan", dict(_plan(run.plan)))


def _traffic(run: LoadRun) -> Section:
    after = steady(run)
    planned, sent = ([one.planned for one in after], [one.sent for one in after])
    notes = [f"batches unanswered: {run.batches_unanswered:,}"]
    if run.interrupted:
        notes.insert(0, "The run was interrupted; the figures are of what had happened until then.")
    return Section(
        "Traffic",
        ("", "planned", "sent", "answered"),
        (
            (
                "requests",
                units.count(sum(one.planned for one in run.seconds)),
                units.count(sum(one.sent for one in run.seconds)),
                units.count(sum(one.answered for one in run.seconds)),
            ),
            (
                "requests a second, after the ramp",
                units.figure(fmean(planned)) if planned else units.NONE,
                units.figure(fmean(sent)) if sent else units.NONE,
                units.figure(run.answered_a_second),
            ),
            (
                "frames (answered: accepted)",
                units.NONE,
                units.count(run.frames_sent),
                units.count(run.frames_accepted),
            ),
        ),
        notes=(*notes, *_loss_told(run)),
    )


def _loss_told(run: LoadRun) -> Iterator[str]:
    found = run.losses
    if found is not None and found.frames_lost:
        yield (
            f"{units.share(found.frames_lost / found.frames_due)} of the frames that were due are "
            f"lost: {units.share(found.share_min)} to {units.share(found.share_max)} by session; "
            f"{units.share(found.unfair_share)} of the lost ones would have to be others' for all "
            f"to have lost the same share; the longest gap is {units.figure(found.gap_max_ms)} ms"
        )


def _resources(run: LoadRun) -> Section:
    memory = (run.rss_first_bytes, run.rss_peak_bytes, run.rss_last_bytes)
    first, peak, last = map(units.mebibytes, memory)
    lag = max((one.lag_ms for one in run.seconds), default=0.0)
    backlog = max((one.backlog for one in run.seconds), default=0)
    facts = {
        "server CPU a batch": f"{units.figure(run.cpu_us_a_batch)} µs",
        "server memory": f"{first} MiB first, {peak} MiB peak, {last} MiB last",
        "harness CPU": f"{units.share(run.harness_cpu_share)} of its cores",
        "harness lag": f"{units.figure(lag)} ms at most",
        "requests waiting for a connection": f"{units.count(backlog)} at most",
    }
    return _pairs("Resources", facts)


def _plan(plan: LoadPlan) -> Iterator[tuple[str, str]]:
    connections = "one a session" if plan.connections is None else f"{plan.connections:,}, shared"
    interval, jitter = units.plain(plan.interval_seconds), units.share(plan.jitter)
    offline = units.plain(plan.offline_seconds)
    yield "sessions", f"{plan.sessions:,}, joining over {units.plain(plan.ramp_seconds)} s"
    yield "time", f"{units.plain(plan.seconds)} s"
    yield "batches", f"{plan.frames_a_batch:,} frames every {interval} s, jitter {jitter}"
    yield "connections", connections
    yield "reconnects", f"{units.share(plan.reconnect_share)} of the sessions, offline {offline} s"
    yield "hostile clients", f"{units.share(plan.hostile_share)} of the sessions"
    yield "media events", "yes" if plan.media else "no"
    yield "session ends", "yes" if plan.ends else "no"
    yield "processes", f"{plan.processes:,}"
    yield "seed", str(plan.seed)


_TRIAL_HEAD = (
    "req/s",
    "verdict",
    "answered/s",
    "p99 ms",
    "refused",
    "failed",
    "CPU µs a batch",
    "seconds",
)


def _trial(one: Trial) -> Row:
    # A trial's reason may only repeat that it held.
    verdict = "held" if one.passed else "not held"
    return (
        units.figure(one.rate),
        f"{verdict}: {one.why}" if one.why else verdict,
        units.figure(one.answered_a_second),
        units.figure(one.p99_ms),
        units.count(one.refusals),
        units.count(one.failures),
        units.figure(one.cpu_us_a_batch),
        units.plain(one.seconds),
    )


def _capacity(run: CapacityRun) -> Iterator[Section]:
    yield Section("Capacity", notes=tuple(_capacity_told(run)))
    ordered = sorted(run.trials, key=lambda one: one.rate)
    yield Section("Trials", _TRIAL_HEAD, tuple(map(_trial, ordered)), words=(1,))
    if run.at_80_percent is not None:
        yield Section("At 80 % of it", _TRIAL_HEAD, (_trial(run.at_80_percent),), words=(1,))


def _capacity_told(run: CapacityRun) -> Iterator[str]:
    rate, within = units.figure(run.rate), f"p99 within {units.plain(run.bound_p99_ms)} ms"
    if run.certainty == "unknown":
        yield "Nothing is known of the capacity: no trial tells anything about the server."
    elif run.certainty == "below":
        yield f"The capacity is below {rate} requests a second: no trial was held with {within}."
    elif run.certainty == "at least":
        yield (
            f"The capacity is at least {rate} requests a second, which were held with {within}; "
            "how much more it is, is not known."
        )
    else:
        yield (
            f"{rate} requests a second are held in half of all runs with {within} (90 % interval "
            f"{units.span(run.low, run.high)}{_imprecise(run)})."
        )
        yield f"{units.figure(run.safe_rate)} requests a second are held in nine of ten runs."


def _imprecise(run: CapacityRun) -> str:
    """Say that the search came to its end before it was as sure as it was to be."""
    reached = (run.high - run.low) / max(run.high + run.low, 1e-9)
    if run.precision is None or reached <= run.precision:
        return ""
    return (
        f", which is ±{units.share(reached)} and wider than the ±{units.share(run.precision)} that "
        f"was asked for: {len(run.trials)} trials were too few"
    )


def rates(peer: Peer) -> tuple[float, float]:
    """Give the slowest and the fastest round of a peer."""
    found = [one.rate for one in peer.rounds] or [peer.rate]
    return min(found), max(found)


def ratio(peer: Peer) -> str:
    """Write a peer's ratio to the base with the rounds' range, or a dash where there is none."""
    if peer.ratio is None or peer.ratio_low is None or peer.ratio_high is None:
        return units.NONE
    return f"{units.figure(peer.ratio)} ({units.span(peer.ratio_low, peer.ratio_high)})"


def _peers(run: PeersRun) -> Iterator[Section]:
    for form, title in _FORMS.items():
        peers = [one for one in run.peers if one.form == form]
        if not peers:
            continue
        go = next((one for one in peers if one.name == "go"), None)
        head: Row = ("server", "req/s (min to max)", f"to {run.base} (range)")
        head += ("to go",) if go is not None else ()
        head += ("p50", "p99", "CPU", "MiB", "not 202")
        yield Section(
            title,
            head,
            tuple(_peer(one, go) for one in peers),
            notes=tuple(f"{one.name}: {one.told}" for one in peers if one.told),
        )
    generator = max((r.generator_cpu_share for p in run.peers for r in p.rounds), default=0.0)
    idle = max((r.idle_cpu_share for p in run.peers for r in p.rounds), default=0.0)
    yield Section(
        "How it was measured",
        notes=(
            f"load: {run.load}",
            "Rates and times are medians of the rounds, memory is the most. p50 and p99 are in ms, "
            "CPU is in µs a request.",
            f"The generator used at most {units.share(generator)} of its core; servers whose turn "
            f"it was not used at most {units.share(idle)} of theirs.",
        ),
    )
    if run.left_out:
        yield _pairs("Left out", run.left_out)


def _peer(peer: Peer, go: Peer | None) -> Row:
    others: dict[str, int] = {}
    for one in peer.rounds:
        for status, number in (*one.by_status.items(), ("failed", one.failures)):
            if status != "202":
                others[status] = others.get(status, 0) + number
    rounds = peer.rounds
    cells = [
        peer.name,
        f"{units.figure(peer.rate)} ({units.span(*rates(peer))})",
        ratio(peer),
    ]
    if go is not None:
        cells.append(units.figure(peer.rate / go.rate) if go.rate else units.NONE)
    if not rounds:
        return (*cells, *[units.NONE] * 5)
    return (
        *cells,
        units.figure(median(one.p50_ms for one in rounds)),
        units.figure(median(one.p99_ms for one in rounds)),
        units.figure(median(one.cpu_us_a_request for one in rounds)),
        units.mebibytes(max(one.resident_bytes for one in rounds)),
        units.counts(others),
    )


def _scale(run: ScaleRun) -> Iterator[Section]:
    for line in run.lines:
        fit = f"R² = {line.r_squared:.4f}"
        if line.straight:
            slope, intercept = units.figure(line.slope), units.figure(line.intercept)
            fit = f"{line.y_name} = {intercept} + {slope} * {line.x_name}; {fit}"
        else:
            fit = f"not a straight line; {fit}"
        yield Section(
            line.name,
            (line.x_name, line.y_name, "note"),
            tuple((units.plain(one.x), units.figure(one.y), one.note) for one in line.points),
            words=(2,),
            notes=(line.told, fit),
        )
