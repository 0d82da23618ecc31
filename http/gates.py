"""The gates of a pose batch, cheapest first: small functions, facts in, a refusal or None out.

The order, which `pose.PoseFrames` walks through and which the answers' codes rely on:

1. token      (401)  who sends this, and for which session
2. size       (413)  from Content-Length, before a byte of the body is read
3. consent    (403)  may this kind of data be taken at all
4. rate       (429)  the session's and the organisation's
5. decode     (400, 413, 415)  type, sidecar, batch
6. admission  (429, 503)  is there room; asked of the session itself
"""

from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs

import orjson

from penstock.engine.outcomes import Reason
from penstock.engine.ports import Quota
from penstock.engine.rate import TokenBuckets
from penstock.engine.sidecar import MAX_SIDECAR_BYTES, BatchMeta, SidecarError
from penstock.engine.unsent import Unsent, UnsentFault, parse_unsent
from penstock.engine.wire import MAX_MEMBER_BYTES, WireError
from penstock.http.exchange import JSON, Answer, Head
from penstock.http.problems import BY_CODE, Problem, problem_answer

OCTET_STREAM = b"application/octet-stream"
_LARGEST_JSON_INTEGER = (1 << 64) - 1  # that orjson writes; a Content-Length may be larger


@dataclass(slots=True, frozen=True)
class RateLimits:
    """A session's sustained rate and burst, by their settings' names."""

    rate_batches_per_second: float
    rate_burst: float


class RateGate:
    """Session first, then organisation."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._sessions = TokenBuckets()
        self._orgs = TokenBuckets()

    def refuse(
        self, session_id: str, org_id: str, quota: Quota, now: float, what: str = "batches"
    ) -> tuple[Reason, Answer] | None:
        """Take a token from each bucket; say which one had none.

        A session has a bucket for each `what`; all of an organisation's sessions share one.
        """
        limits = self._limits
        rate = limits.rate_batches_per_second
        key = f"{what} {session_id}"
        wait = self._sessions.take_nowait(key, now, rate, limits.rate_burst)
        if wait:
            return Reason.RATE_SESSION, problem_answer(
                Problem.RATE_SESSION,
                f"more than {rate:g} {what} a second, after a burst of {limits.rate_burst:g}",
                retry_after=wait,
                setting="rate_batches_per_second",
                limit=rate,
            )
        if quota.batches_per_second is None:
            return None
        # An organisation's burst is its second: its sessions are not in step with one another.
        rate = quota.batches_per_second
        wait = self._orgs.take_nowait(org_id, now, rate, max(1.0, rate))
        if wait:
            return Reason.RATE_ORG, problem_answer(
                Problem.RATE_ORG,
                f"the organisation's sessions together send more than {rate:g} batches and media "
                "events a second",
                retry_after=wait,
                setting="batches_per_second of the organisation's quota",
                limit=rate,
            )
        return None


def refuse_size(content_length: int | None) -> Answer | None:
    """Refuse a body by what it announces."""
    if content_length is None or content_length <= MAX_MEMBER_BYTES:
        return None
    return problem_answer(
        Problem.BODY_TOO_LARGE,
        f"the body has {content_length} bytes; the limit is {MAX_MEMBER_BYTES}",
        limit=MAX_MEMBER_BYTES,
        seen=min(content_length, _LARGEST_JSON_INTEGER),
    )


def refuse_type(content_type: bytes) -> Answer | None:
    """Refuse another type than the binary batch's. Parameters are ignored, as RFC 9110 allows."""
    if content_type == OCTET_STREAM:
        return None
    if content_type.partition(b";")[0].strip().lower() == OCTET_STREAM:
        return None
    return problem_answer(
        Problem.UNSUPPORTED_TYPE,
        "Content-Type must be application/octet-stream, not "
        f"{content_type[:80].decode('latin1') or 'absent'}",
        seen=content_type[:80].decode("latin1"),
    )


def refuse_json_type(content_type: bytes) -> Answer | None:
    """Refuse another type than JSON, with or without parameters."""
    if content_type.partition(b";")[0].strip().lower() == JSON:
        return None
    seen = content_type[:80].decode("latin1")
    return problem_answer(
        Problem.UNSUPPORTED_TYPE,
        f"Content-Type must be application/json, not {seen or 'absent'}",
        seen=seen,
    )


def read_unsent(head: Head) -> tuple[Unsent, ...] | Answer:
    """Read what the client says it never sent, or refuse what says nothing."""
    if not head.client_dropped:
        return ()
    unsent = parse_unsent(head.client_dropped.decode("latin1"))
    if isinstance(unsent, UnsentFault):
        return problem_answer(
            Problem.CLIENT_DROPPED_MALFORMED,
            f"X-Client-Dropped: {unsent.detail}",
            field=f"X-Client-Dropped {unsent.field.value}",
            seen=unsent.seen,
        )
    return unsent


def read_sidecar(head: Head) -> tuple[bytes, BatchMeta] | Answer | None:
    """Find and check the sidecar: as it came and as read, None without one, or the refusal."""
    text = head.sidecar
    if head.query:
        values = parse_qs(
            head.query.decode("latin1"), keep_blank_values=True, encoding="utf-8"
        ).get("meta", [])
        if len(values) > 1 or (values and text):
            return problem_answer(Problem.SIDECAR_TWICE)
        if values:
            text = values[0].encode("utf-8", "surrogateescape")
    if not text:
        return None
    if len(text) > MAX_SIDECAR_BYTES:
        return problem_answer(
            Problem.SIDECAR_TOO_LARGE,
            f"the sidecar has {len(text)} bytes; the limit is {MAX_SIDECAR_BYTES}",
            limit=MAX_SIDECAR_BYTES,
            seen=len(text),
        )
    try:
        plain: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return problem_answer(Problem.SIDECAR_MALFORMED, f"the sidecar is not JSON: {error}")
    if not isinstance(plain, dict):
        return problem_answer(Problem.SIDECAR_MALFORMED, "the sidecar is not a JSON object")
    try:
        meta = BatchMeta.from_plain(plain)
    except SidecarError as error:
        return problem_answer(Problem.SIDECAR_MALFORMED, str(error), field=error.key)
    try:
        orjson.dumps(plain)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        return problem_answer(Problem.SIDECAR_MALFORMED, "the sidecar is nested too deeply")
    # As it came: written anew it could be longer (1e15 is 1000000000000000.0), and its length is
    # what the spool's records count on.
    return text, meta


def refuse_wire(error: WireError) -> Answer:
    """Answer a body that is not a batch."""
    return problem_answer(
        BY_CODE[error.fault.value], error.detail, **cast("dict[str, Any]", error.facts)
    )
