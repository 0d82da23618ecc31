"""The reconciliation: what the patients know against what the service says. Pure.

Theory of operation
-------------------
Both sides count the same frames, independently. The client's side is closed first::

    sent = accepted + thinned + refused{code} + unanswered

Then the service's counters, as far as they grew during the run, must say the same::

    seen                      = accepted + thinned + refused, as far as refusals count frames
    aggregated + shed + lost  = accepted         (nothing is pending any more; thinned ones apart)
    shed{policy_thinned}      = thinned
    refused{reason}                      = refused by the answers that stand for that reason
    seen = aggregated + refused + shed + lost + pending     (since the service's start)

Beside the law, the frames that clients withheld or gave up, and told of in a later request, must
have been counted as unsent, by the reason told. Those told of in a request that was refused, or had
no answer, may have been.

Frames that got no answer may have been taken, refused, or never read. Each line allows for as many
as went unanswered, to one side only; without any, the lines are equalities.

Frames of hostile requests count when the service knows their session and can read their number: a
batch whose timestamps fall has a number, one that is cut in the middle has none. What a refusal's
`code` says decides it here, for honest and hostile ones alike.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from penstock.bench.report.models import Check

_SEEN = "penstock_frames_seen_total"
_PENDING = "penstock_frames_pending"
_FRAMES = "penstock_frames_total"
_UNSENT = "unsent"
# The words of the header that the harness's clients use.
_TOLD_REASONS = ("refused", "network")
_THINNED = ("shed", "policy_thinned")
_NOT_COUNTED = "not checked: the server does not count what clients tell"
_NOT_CHECKED = "not checked: the server gives no /metrics of Penstock"

# Refusals for the session's or the service's reasons: the reason's label is the answer's code.
_OWN_REASON = frozenset(
    {
        "consent_required",
        "consent_unknown",
        "rate_session_exceeded",
        "rate_org_exceeded",
        "inbox_full",
        "policy_refused",
        "session_finalized",
        "frame_memory_full",
        "sessions_full",
        "recovery_failed",
        "draining",
    }
)
# What is wrong with a batch that can be read to its header's end, or was not looked into.
_MALFORMED_WITH_FRAMES = frozenset(
    {
        "timestamps_backwards",
        "unsupported_media_type",
        "sidecar_too_large",
        "sidecar_malformed",
        "sidecar_twice",
    }
)
# What leaves open whether the frames were counted: something failed at the server or on the way.
_OPEN = frozenset({"internal_error", "closed", "unreadable", "unanswered"})
_OPEN_STATUSES = ("500", "502", "504")
_MALFORMED = "malformed"


@dataclass(slots=True, frozen=True)
class ClientSide:
    """What all patients together know. Refused frames are by the answer's code.

    `hostile_frames` are those that hostile requests claimed to hold, by what became of them, such
    as `400 timestamps_backwards`.
    """

    frames_sent: int
    frames_accepted: int
    frames_refused: Mapping[str, int]
    frames_unanswered: int
    hostile_frames: Mapping[str, int] = field(default_factory=dict[str, int])
    mismatches: int = 0
    mismatch_examples: tuple[str, ...] = ()
    wrong_hostile: Mapping[str, int] = field(default_factory=dict[str, int])
    frames_thinned: int = 0
    frames_told: Mapping[str, int] = field(default_factory=dict[str, int])
    frames_told_perhaps: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True, frozen=True)
class _Expected:
    """What the service must say: at least this, and up to `unknown` more."""

    accepted: int
    thinned: int
    by_reason: Mapping[str, int]
    unknown: int

    @property
    def seen(self) -> int:
        return self.accepted + self.thinned + sum(self.by_reason.values())


def reconcile(
    client: ClientSide,
    before: Mapping[str, float] | None,
    after: Mapping[str, float] | None,
) -> list[Check]:
    """Compare both sides, line by line; None is a server whose metrics nobody can read."""
    return [*_client_lines(client), *_server_lines(client, before, after)]


def reason_of(outcome: str) -> str | None:
    """Give the reason under which the service counts frames that were answered so; None if none.

    An outcome is a code such as `inbox_full`, with its status before it or without.
    """
    code = outcome.rpartition(" ")[2]
    if code in _OWN_REASON:
        return code
    return _MALFORMED if code in _MALFORMED_WITH_FRAMES else None


def _client_lines(client: ClientSide) -> Iterator[Check]:
    refused = sum(client.frames_refused.values())
    yield _equal(
        "frames sent = accepted + thinned + refused + unanswered (client)",
        client.frames_sent,
        client.frames_accepted + client.frames_thinned + refused + client.frames_unanswered,
    )
    examples = f" ({'; '.join(client.mismatch_examples)})" if client.mismatch_examples else ""
    yield Check(
        name="answers whose frames or position are not the client's",
        expected="0",
        seen=f"{client.mismatches:,}{examples}",
        holds=client.mismatches == 0,
    )
    wrong = sum(client.wrong_hostile.values())
    which = ", ".join(f"{what}: {count:,}" for what, count in sorted(client.wrong_hostile.items()))
    yield Check(
        name="wrong answers to hostile requests",
        expected="0",
        seen=f"{wrong:,}" + (f" ({which})" if wrong else ""),
        holds=wrong == 0,
    )


def _server_lines(
    client: ClientSide,
    before: Mapping[str, float] | None,
    after: Mapping[str, float] | None,
) -> Iterator[Check]:
    expected = _expected(client)
    unknown = expected.unknown
    seen, settled = "frames seen (server)", "frames aggregated, shed or lost = accepted (server)"
    law = "frames seen = aggregated + refused + shed + lost + pending (server)"
    if before is None or after is None:
        yield _not_checked(seen, _told(expected.seen, unknown))
        yield _not_checked(settled, _told(expected.accepted, unknown))
        for reason, count in sorted(expected.by_reason.items()):
            yield _not_checked(f"frames refused, {reason} (server)", _told(count, unknown))
        yield _not_checked("frames pending (server)", "0")
        yield _not_checked(law, "equal")
        return
    grown = frames_grown(before, after)
    yield _within(seen, expected.seen, unknown, round(after[_SEEN] - before[_SEEN]))
    taken = sum(
        count for (outcome, _), count in grown.items() if outcome in {"aggregated", "shed", "lost"}
    )
    thinned = grown.get(_THINNED, 0)
    yield _within(settled, expected.accepted, unknown, taken - thinned)
    if thinned or expected.thinned:
        yield _within("frames thinned (server)", expected.thinned, unknown, thinned)
    refused = {reason: n for (outcome, reason), n in grown.items() if outcome == "refused" and n}
    for reason in sorted(expected.by_reason.keys() | refused.keys()):
        yield _within(
            f"frames refused, {reason} (server)",
            expected.by_reason.get(reason, 0),
            unknown,
            refused.get(reason, 0),
        )
    yield _equal("frames pending (server)", 0, round(after[_PENDING]))
    ended = sum(
        round(value)
        for name, value in after.items()
        if name.startswith(_FRAMES + "{") and _label(name, "outcome") != _UNSENT
    )
    yield _equal(law, round(after[_SEEN]), ended + round(after[_PENDING]))
    for reason in _TOLD_REASONS:
        yield from _unsent_line(reason, client, before, after)


def _unsent_line(
    reason: str, client: ClientSide, before: Mapping[str, float], after: Mapping[str, float]
) -> Iterator[Check]:
    told = client.frames_told.get(reason, 0)
    perhaps = client.frames_told_perhaps.get(reason, 0)
    name = f"frames never sent, {reason}, as clients told (server)"
    label = f'reason="{_UNSENT}_{reason}"'
    counted = [one for one in after if one.startswith("penstock_frames") and label in one]
    if counted:
        seen = sum(round(after[one] - before.get(one, 0.0)) for one in counted)
        if told or perhaps or seen:
            yield _within(name, told, perhaps, seen)
    elif told or perhaps:
        yield Check(name=name, expected=_told(told, perhaps), seen=_NOT_COUNTED, holds=True)


def _expected(client: ClientSide) -> _Expected:
    by_reason: Counter[str] = Counter()
    accepted, unknown = client.frames_accepted, client.frames_unanswered
    # An honest refusal and a hostile one of the same code count alike.
    for outcome, frames in [*client.frames_refused.items(), *client.hostile_frames.items()]:
        if (reason := reason_of(outcome)) is not None:
            by_reason[reason] += frames
        elif outcome in _OPEN or outcome.startswith(_OPEN_STATUSES):
            unknown += frames
    # What no service should do is told as a wrong answer; its frames count all the same.
    accepted += client.hostile_frames.get("202", 0)
    return _Expected(accepted, client.frames_thinned, by_reason, unknown)


def frames_grown(
    before: Mapping[str, float], after: Mapping[str, float]
) -> dict[tuple[str, str], int]:
    """Give how many frames ended during the run, by outcome and reason."""
    grown = {}
    for name, value in after.items():
        if name.startswith(_FRAMES + "{"):
            key = _label(name, "outcome"), _label(name, "reason")
            grown[key] = round(value - before.get(name, 0.0))
    return grown


def _label(sample: str, label: str) -> str:
    return sample.partition(f'{label}="')[2].partition('"')[0]


def _equal(name: str, expected: int, seen: int) -> Check:
    return _within(name, expected, 0, seen)


def _within(name: str, expected: int, unknown: int, seen: int) -> Check:
    holds = expected <= seen <= expected + unknown
    return Check(name=name, expected=_told(expected, unknown), seen=f"{seen:,}", holds=holds)


def _told(expected: int, unknown: int) -> str:
    return f"{expected:,} to {expected + unknown:,}" if unknown else f"{expected:,}"


def _not_checked(name: str, expected: str) -> Check:
    return Check(name=name, expected=expected, seen=_NOT_CHECKED, holds=True)
