"""What speaks against a run's figures: they are the harness's, not the server's, or do not add up.

Refusals for overload (429) are no fault: a run may be meant to bring them about.
"""

from collections.abc import Iterator

from penstock.bench.report.models import LoadRun

# A core that is used beyond this has no room for the moments when more is due than usual.
_MOST_CPU_SHARE = 0.9
# The bound of the service's own latency target: a harness that is this late measures itself.
_MOST_LAG_MS = 50.0
# Of the time: with more of it, p99 (one in a hundred) may be the harness's.
_MOST_LATE_SHARE = 0.005
# More of the batches than this refused for one reason: the run is not about load any more.
_MOST_REFUSED_SHARE = 0.5
# Of the batches: with more unanswered, a p99 of the others is no p99 of what was asked.
_MOST_UNANSWERED_SHARE = 0.01
_POSE = "pose"
# What the client did not send was not to be answered.
_NOT_SENT = frozenset({"withheld", "given up"})


def load_faults(run: LoadRun) -> list[str]:
    """Give them in words, one line each; none is a run whose figures can be used."""
    return [*_of_harness(run), *_of_answers(run), *_of_reconciliation(run)]


def _of_harness(run: LoadRun) -> Iterator[str]:
    if run.harness_cpu_share > _MOST_CPU_SHARE:
        yield (
            f"the harness used {run.harness_cpu_share:.0%} of its core, so the figures may be its "
            "own; take a lower rate, or more --processes where there are cores"
        )
    late = [second.lag_ms for second in run.seconds if second.lag_ms > _MOST_LAG_MS]
    if sum(late) / 1000 > _MOST_LATE_SHARE * len(run.seconds):
        yield (
            f"the harness itself was late with requests in {len(late)} of {len(run.seconds)} "
            f"seconds, by up to {max(late):.0f} ms, so the latencies are partly its own"
        )


def _of_answers(run: LoadRun) -> Iterator[str]:
    outcomes = run.outcomes.get(_POSE, {})
    asked = sum(outcomes.values())
    if not any(outcome[:3].isdecimal() for outcome in outcomes):
        yield "no batch was answered"
        return
    silent = sum(
        n
        for outcome, n in outcomes.items()
        if not outcome[:3].isdecimal() and outcome not in _NOT_SENT
    )
    if silent > _MOST_UNANSWERED_SHARE * asked:
        yield (
            f"{silent:,} of {asked:,} batches were never answered, and the latencies know nothing "
            "of them: what was asked for took longer than they say"
        )
    if outcomes.get("403 consent_required", 0) > _MOST_REFUSED_SHARE * asked:
        yield (
            "most batches were refused for want of consent (403 consent_required): make a grants "
            f"file with `penstock bench grants --sessions {run.plan.sessions}` and let the service "
            "read it (its setting grants_file)"
        )
    unauthorised = sum(n for outcome, n in outcomes.items() if outcome.startswith("401"))
    if unauthorised > _MOST_REFUSED_SHARE * asked:
        yield (
            "most batches were refused for their token (401): the session secret of this command "
            "is not the service's"
        )
    for kind, counts in run.outcomes.items():
        for outcome, count in sorted(counts.items()):
            if outcome.startswith("500") or outcome == "unreadable":
                yield f"{kind}: {count:,} answers were `{outcome}`"


def _of_reconciliation(run: LoadRun) -> Iterator[str]:
    for check in run.reconciliation:
        if not check.holds:
            yield f"does not add up: {check.name}: expected {check.expected}, seen {check.seen}"
