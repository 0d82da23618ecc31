"""A session's figures as rows of tables: names, values and units for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.delivery_records import Progress
from penstock.engine.policy import KNOBS
from penstock.engine.policy_book import PolicyBook
from penstock.http.console.session_timeline import meaning_of

# What a figure's name ends with, and what that means.
_UNITS = (
    ("_deg_per_s", "°/s"),
    ("_pct", "%"),
    ("_deg", "°"),
    ("_ms", "ms"),
    ("_s", "s"),
    ("_fps", "frames/s"),
)
# What tables of their own tell, or another part of the page.
_ELSEWHERE = frozenset({"gaps", "range_deg", "confidence_reasons", "client_reported"})


class MetricRow(NamedTuple):
    """A figure by its name; "" where it is not known."""

    name: str
    value: str
    unit: str


class GapRow(NamedTuple):
    """A time without frames."""

    start_ms: int
    end_ms: int
    reason: str
    words: str


class AngleRow(NamedTuple):
    """How far a joint went."""

    joint: str
    side: str
    least: float
    greatest: float
    range: float


class StallRow(NamedTuple):
    """A time at which the video stood still."""

    start_ms: int
    end_ms: int
    inferred: bool


class KnobRow(NamedTuple):
    """A knob of the policy: what it is set to, and by which kind of scope."""

    name: str
    meaning: str
    value: str
    unit: str
    scope: str
    changed: bool


class Delivery(NamedTuple):
    """How far a final is on its way. `state` is a row's of the outbox."""

    state: str
    words: str
    published_unix: float | None
    attempts: int
    error: str
    replay_url: str
    replay_bytes: int | None


def metric_rows(metrics: Mapping[str, Any]) -> list[MetricRow]:
    """Give the figures that are single values, also those that the client reports itself."""
    found = [_metric(name, value) for name, value in metrics.items() if name not in _ELSEWHERE]
    reported = metrics.get("client_reported") or {}
    return found + [_metric(f"client_says_{name}", value) for name, value in reported.items()]


def _metric(name: str, value: object) -> MetricRow:
    for ending, unit in _UNITS:
        if name.endswith(ending) and name != "effective_fps":
            return MetricRow(name.removesuffix(ending).replace("_", " "), _plain(value), unit)
    unit = "frames/s" if name == "effective_fps" else ""
    return MetricRow(name.replace("_", " "), _plain(value), unit)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("_", " ") if isinstance(value, str) else f"{value}"


def angle_rows(metrics: Mapping[str, Any]) -> list[AngleRow]:
    """Give how far each joint went, side by side."""
    return list(_angles(metrics.get("range_deg") or {}))


def _angles(joints: Mapping[str, Any]) -> Iterator[AngleRow]:
    for joint, found in joints.items():
        # The trunk has no sides; what was never seen has no reach.
        sides = {"": found} if found is None or "least" in found else found
        for side, reach in sides.items():
            if reach is not None:
                figures = (reach["least"], reach["greatest"], reach["range"])
                yield AngleRow(joint.replace("_", " "), side, *figures)


def gap_rows(metrics: Mapping[str, Any]) -> list[GapRow]:
    """Give the gaps, and what is known of each."""
    gaps: Sequence[Mapping[str, Any]] = metrics.get("gaps") or []
    return [
        GapRow(gap["start_ms"], gap["end_ms"], gap["reason"], meaning_of(gap["reason"]))
        for gap in gaps
    ]


def stall_rows(media: Mapping[str, Any] | None) -> list[StallRow]:
    """Give the times at which the video stood still."""
    stalls = [] if media is None else media.get("stalls", [])
    return [StallRow(one["start_ms"], one["end_ms"], one["inferred"]) for one in stalls]


def knob_rows(book: PolicyBook, identity: SessionIdentity) -> list[KnobRow]:
    """Give the policy that holds for a session, knob by knob, those that somebody set first."""
    policy = book.in_force(identity.org_id, identity.session_id).policy
    sources = book.sources(identity.org_id, identity.session_id)
    rows = []
    for name, knob in KNOBS.items():
        source = sources[name]
        scope = "default" if source is None else source.scope.partition(":")[0]
        value = getattr(policy, name)
        value = f"{value:g}" if isinstance(value, float) else _plain(value)
        rows.append(KnobRow(name, knob.meaning, value, knob.unit, scope, source is not None))
    return sorted(rows, key=lambda row: not row.changed)


def delivery_words(progress: Progress | None) -> Delivery | None:
    """Say how far the newest final is on its way; None without one."""
    if progress is None:
        return None
    published = progress.published_unix_ms
    if progress.superseded:
        state, words = "superseded", "A newer final took its place."
    elif progress.done:
        state, words = "done", "The replay is stored and the aggregates are published."
    elif progress.dead:
        state, words = "dead", "Given up after as many attempts as outbox_max_attempts allows."
    elif progress.stored:
        state, words = "pending", "It waits for Core to take the aggregates."
    else:
        state, words = "pending", "It waits for the blob store to take the replay."
    replay = progress.replay
    return Delivery(
        state,
        words,
        None if published is None else published / 1000,
        progress.attempts,
        progress.error,
        "" if replay is None else replay.url,
        None if replay is None else replay.size,
    )
