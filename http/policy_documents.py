"""The JSON documents in which the drop policy is shown to operators."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.engine.decision_log import Entry
from penstock.engine.ladder import Rung
from penstock.engine.loss import LossAccount
from penstock.engine.policy import DEFAULT_POLICY, KNOBS, Policy
from penstock.engine.policy_book import PolicyBook
from penstock.engine.policy_editions import (
    BookFault,
    Candidate,
    Edition,
    PolicyChange,
)
from penstock.engine.stress import Stress
from penstock.engine.weir import WeirStatistics
from penstock.engine.works import WorksStatistics

DEFAULT = "default"
_LONGEST_SHOWN = 80
_LARGEST_EXACT = 2**53
_FIRST_UNIX = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST_UNIX = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()

Document = dict[str, Any]


def moment(unix: float | None) -> str | None:
    """Write a time as RFC 3339 has it, in UTC; beyond the calendar, its first or last second."""
    if unix is None:
        return None
    held = max(_FIRST_UNIX, min(_LAST_UNIX, unix))
    return datetime.fromtimestamp(held, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def knobs_reference() -> Document:
    """Describe every knob: meaning, unit, what is allowed, default."""
    found: Document = {}
    for name, knob in KNOBS.items():
        bounds = {"words": knob.words} if knob.words else {"low": knob.low, "high": knob.high}
        found[name] = {
            "meaning": knob.meaning,
            "unit": knob.unit,
            "allowed": knob.allowed,
            **bounds,
            "whole": knob.whole,
            "default": getattr(DEFAULT_POLICY, name),
        }
    return found


def in_force(book: PolicyBook, org_id: str | None, session_id: str | None) -> Document:
    """Give a whole policy, each knob's value with the scope that it comes from."""
    found = book.in_force(org_id, session_id)
    sources = book.sources(org_id, session_id)
    return {
        "scopes": found.scopes,
        "knobs": {name: _knob(found.policy, name, sources[name]) for name in KNOBS},
    }


def _knob(policy: Policy, name: str, source: Edition | None) -> Document:
    document = {"value": getattr(policy, name), "from": source.scope if source else DEFAULT}
    if source is not None and source.expires_unix is not None:
        document["expires_at"] = moment(source.expires_unix)
    return document


def turned(book: PolicyBook, scope: str, before: Policy, after: Policy) -> list[Document]:
    """Give the knobs that have another value after a change, and who keeps a value of its own.

    Narrower scopes that set such a knob themselves are not reached by the change.
    """
    narrower = [other for other in book.scopes() if _is_narrower(other, scope)]
    found = []
    for name, knob in KNOBS.items():
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            keepers = [
                other
                for other in narrower
                if any(
                    name in held.knobs and not book.has_ended(held) for held in book.editions(other)
                )
            ]
            found.append(
                {"knob": name, "before": old, "after": new, "unit": knob.unit, "kept_by": keepers}
            )
    return found


def _is_narrower(scope: str, than: str) -> bool:
    ranks = ("global", "org", "session")
    return ranks.index(scope.partition(":")[0]) > ranks.index(than.partition(":")[0])


def edition(found: Edition, *, ended: bool) -> Document:
    """Give one edition of a scope; one that has ended is here until its end is saved."""
    return {
        "set": found.knobs,
        "author": found.author,
        "reason": found.reason,
        "made_at": moment(found.made_unix),
        "expires_at": moment(found.expires_unix),
        "ended": ended,
        "revision": found.revision,
    }


def candidate(
    found: Candidate, counts: WeirStatistics | None, why: Iterable[BookFault]
) -> Document:
    """Give one candidate, what it would have decided, and why it rests, if it does."""
    return {
        "set": found.knobs,
        "author": found.author,
        "reason": found.reason,
        "made_at": moment(found.made_unix),
        "revision": found.revision,
        "rests": [fault(entry) for entry in why],
        "decided": None if counts is None else decided(counts),
    }


def change(made: PolicyChange) -> Document:
    """Give one change of the book."""
    return {
        "revision": made.revision,
        "action": made.action,
        "scope": made.scope,
        "candidate": made.candidate,
        "before": made.before,
        "after": made.after,
        "author": made.author,
        "reason": made.reason,
        "made_at": moment(made.made_unix),
        "expires_at": moment(made.expires_unix),
    }


def fault(found: BookFault) -> Document:
    """Give one thing that is wrong with a change."""
    return {
        "scope": found.scope,
        "knob": found.knob[:_LONGEST_SHOWN],
        "other": found.other,
        "detail": found.detail,
        "seen": shown(found.seen),
        "limit": found.limit,
    }


def shown(value: object) -> object:
    """Give what a client sent, short enough and such that JSON can hold it."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) <= _LARGEST_EXACT:
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def pressure(stress: Stress, rung: Rung) -> Document:
    """Give how hard the service is pressed, and how far the global policy goes."""
    parts = {name: round(part, 1) for name, part in stress._asdict().items()}
    return {"stress": parts, "rung": rung.name.lower()}


def decided(counts: WeirStatistics) -> Document:
    """Count what was decided, by cause, and say where each policy stands."""
    return {
        "batches": counts.batches,
        "frames": counts.frames,
        "frames_lost": counts.frames_lost,
        "by_cause": {
            cause.value: {
                "verdict": cause.verdict,
                "batches": count.batches,
                "frames_lost": count.frames_lost,
            }
            for cause, count in counts.by_cause.items()
            if count.batches
        },
        "works": [works(standing) for standing in counts.works],
    }


def works(standing: WorksStatistics) -> Document:
    """Say where one policy stands: its rung, and the share of loss at which its sessions float."""
    return {
        "scopes": standing.scopes,
        "rung": standing.rung.name.lower(),
        "waterline_percent": round(100 * standing.waterline, 3),
        "overdraft": standing.overdraft,
        "sessions": standing.sessions,
    }


def budget(loss: LossAccount, policy: Policy) -> Document:
    """Give a session's loss beside what it may lose."""
    return {
        "frames_due": loss.due,
        "frames_lost": loss.lost,
        "lost_percent": round(100 * loss.share, 3),
        "loss_percent": policy.loss_percent,
        "stretch_ms": loss.stretch_ms,
        "gap_seconds": policy.gap_seconds,
        "over_budget": loss.over(policy),
    }


def decision(entry: Entry) -> Document:
    """Give one decision with all that it was made upon."""
    inputs = entry.inputs
    stress: Mapping[str, float] = inputs.stress._asdict()
    return {
        "at": moment(entry.unix),
        "session_id": entry.session_id,
        "verdict": entry.verdict,
        "cause": entry.cause,
        "words": entry.words,
        "frames_lost": entry.frames_lost,
        "retry_after_seconds": entry.retry_after,
        "offer": entry.offer._asdict(),
        "inputs": {
            **inputs._asdict(),
            "rung": inputs.rung.name.lower(),
            "stress": {name: round(part, 1) for name, part in stress.items()},
        },
    }
