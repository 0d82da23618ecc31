"""What the drop policy tells Prometheus: how hard it is pressed, and what it decides."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.engine.policy_book import PolicyBook
from penstock.engine.ports import Clock
from penstock.engine.sluice import Sluice
from penstock.engine.weir import WeirStatistics

# A session's or an organisation's own policy is told of by its kind only, never by its id.
_KINDS = ("global", "org", "session")


@dataclass(slots=True, frozen=True)
class PolicySources:
    """Where the numbers are read."""

    sluice: Sluice
    book: PolicyBook
    clock: Clock


def policy_metrics(sources: PolicySources) -> Iterable[Metric]:
    """Read everything once."""
    sluice, book = sources.sluice, sources.book
    stress = sluice.stress
    yield GaugeMetricFamily(
        "penstock_stress", "How hard the service is pressed, 0 to 100.", stress.level
    )
    parts = GaugeMetricFamily(
        "penstock_stress_part", "The parts of stress; it is the largest of them.", labels=["part"]
    )
    for part in ("memory", "backlog", "writer", "delay"):
        parts.add_metric([part], getattr(stress, part))
    yield parts
    yield from _standing(sluice)
    editions = GaugeMetricFamily(
        "penstock_policy_editions", "Editions of the policy in force, by scope.", labels=["scope"]
    )
    scopes = book.scopes()
    for kind in _KINDS:
        held = [book.editions(scope) for scope in scopes if _kind(scope) == kind]
        editions.add_metric([kind], sum(len(stack) for stack in held))
    yield editions
    changed = book.changed_unix
    yield GaugeMetricFamily(
        "penstock_policy_seconds_since_change",
        "Time since the policy book was last changed; infinite before the first change.",
        float("inf") if changed is None else max(0.0, sources.clock.unix() - changed),
    )
    yield from _decisions(
        "penstock_policy", "Batches decided by the policies in force", {"": sluice.statistics()}
    )
    yield from _decisions(
        "penstock_policy_shadow",
        "Batches that a candidate would have decided",
        sluice.candidates(),
        labels=["candidate"],
    )
    yield GaugeMetricFamily(
        "penstock_sessions_over_budget",
        "Live sessions that have lost more than their loss budget, not counting what clients say "
        "that they never sent.",
        sluice.sessions_over_budget(),
    )


def _standing(sluice: Sluice) -> Iterable[Metric]:
    rung = GaugeMetricFamily(
        "penstock_policy_rung",
        "The highest rung of a policy's ladder: 0 calm, 1 thin, 2 refuse, 3 refuse bulk.",
        labels=["scope"],
    )
    waterline = GaugeMetricFamily(
        "penstock_policy_waterline_ratio",
        "The highest share of loss up to which sessions give.",
        labels=["scope"],
    )
    overdraft = GaugeMetricFamily(
        "penstock_policy_overdrafts",
        "Policies whose waterline may be above the loss budget.",
        labels=["scope"],
    )
    works = sluice.in_force()
    for kind in _KINDS:
        mine = [each for each in works if _kind(each.scopes[-1]) == kind]
        rung.add_metric([kind], max((each.rung.value for each in mine), default=0))
        waterline.add_metric([kind], max((each.waterline for each in mine), default=0.0))
        overdraft.add_metric([kind], sum(each.overdraft for each in mine))
    yield from (rung, waterline, overdraft)
    yield CounterMetricFamily(
        "penstock_policy_rung_changes",
        "Steps of the global policy's ladder, up and down.",
        sluice.rung_changes,
    )


def _decisions(
    name: str, meaning: str, found: dict[str, WeirStatistics], labels: list[str] | None = None
) -> Iterable[Metric]:
    labels = labels or []
    batches = CounterMetricFamily(
        f"{name}_decisions",
        f"{meaning}, by verdict and cause.",
        labels=[*labels, "verdict", "cause"],
    )
    frames = CounterMetricFamily(
        f"{name}_frames_given",
        f"{meaning}: the frames that this costs, by verdict and cause.",
        labels=[*labels, "verdict", "cause"],
    )
    for key, statistics in found.items():
        first = [key] if labels else []
        for cause, count in statistics.by_cause.items():
            named = [*first, cause.verdict.value, cause.value]
            batches.add_metric(named, count.batches)
            frames.add_metric(named, count.frames_lost)
    yield from (batches, frames)


def _kind(scope: str) -> str:
    return scope.partition(":")[0]
