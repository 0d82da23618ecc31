"""Every error that this service answers: one closed list, from which the reference is generated.

Bodies are `application/problem+json` (RFC 9457). `code` is stable, clients may branch on it; where
a limit was hit, `limit`, `seen` and the `setting`'s name are beside it.
"""

import math
from enum import Enum
from http import HTTPStatus

import orjson

from penstock.engine.blob_port import BlobReason
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.outcomes import Reason
from penstock.engine.wire import WireFault
from penstock.http.exchange import PROBLEM, Answer


class Problem(Enum):
    """An error's code, its status and what it means."""

    TOKEN_MISSING = ("token_missing", 401, "There is no `Authorization: Bearer` header.")
    TOKEN_MALFORMED = ("token_malformed", 401, "The bearer token is not a session token.")
    TOKEN_SIGNATURE = (
        "token_signature",
        401,
        "Neither the current nor the previous secret made the token's signature.",
    )
    TOKEN_EXPIRED = ("token_expired", 401, "The token's `exp` has passed.")
    TOKEN_NOT_YET_VALID = ("token_not_yet_valid", 401, "The token's `iat` lies in the future.")
    TOKEN_WRONG_SESSION = (
        "token_wrong_session",
        401,
        "The session belongs to another principal or organisation than the token's.",
    )
    USER_TOKEN_MISSING = (
        "user_token_missing",
        401,
        "There is no `Authorization: Bearer` header with a user token.",
    )
    USER_TOKEN_MALFORMED = (
        "user_token_malformed",
        401,
        "The bearer token is no user token of this service's issuer and audience.",
    )
    USER_TOKEN_SIGNATURE = (
        "user_token_signature",
        401,
        "The user token is not signed with the user secret or a key of the identity provider.",
    )
    USER_KEYS_UNAVAILABLE = (
        "user_keys_unavailable",
        503,
        "The identity provider's keys cannot be fetched now.",
    )
    USER_TOKEN_EXPIRED = ("user_token_expired", 401, "The user token's `exp` has passed.")
    USER_TOKEN_NOT_YET_VALID = (
        "user_token_not_yet_valid",
        401,
        "The user token's `iat` or `nbf` lies in the future.",
    )
    ROLE_REQUIRED = (
        "role_required",
        403,
        "The user token's role may not do this; `limit` is the role that may.",
    )
    SIGNED_OUT = (
        "signed_out",
        401,
        "There is no visit of the console, or it has ended; sign in at `/console/sign-in`.",
    )
    SIGN_INS_LIMITED = (
        "sign_ins_limited",
        429,
        "Too many tokens from this address did not hold at the console's sign-in.",
    )
    STREAMS_FULL = (
        "streams_full",
        503,
        "As many pages of the console listen to the flow as `console_streams` allows.",
    )
    FORM_FOREIGN = (
        "form_foreign",
        403,
        "The form was not sent by a page of this visit of the console; `detail` says how it shows.",
    )
    SERVICE_TOKEN_REFUSED = (
        "service_token_refused",
        401,
        "There is no service account's token that holds; `detail` says why.",
    )
    BODY_TOO_LARGE = (
        WireFault.MEMBER_TOO_LARGE.value,
        413,
        "The compressed body is over 65,536 bytes.",
    )
    INFLATED_TOO_LARGE = (
        WireFault.INFLATED_TOO_LARGE.value,
        413,
        "The batch inflates to more than 1 MiB.",
    )
    CONSENT_REQUIRED = (Reason.CONSENT_REQUIRED.value, 403, Reason.CONSENT_REQUIRED.meaning)
    CONSENT_UNKNOWN = (Reason.CONSENT_UNKNOWN.value, 503, Reason.CONSENT_UNKNOWN.meaning)
    RATE_SESSION = (Reason.RATE_SESSION.value, 429, Reason.RATE_SESSION.meaning)
    RATE_ORG = (Reason.RATE_ORG.value, 429, Reason.RATE_ORG.meaning)
    RATE_PRINCIPAL = (
        "rate_principal",
        429,
        "The person calls this route more often than `platform_requests_per_second`.",
    )
    HEADER_MALFORMED = (
        "header_malformed",
        400,
        "A header that a service account sent is not what it must be; `field` says which.",
    )
    MAXMIND_UNSET = (
        "maxmind_unset",
        409,
        "There is no account of MaxMind to ask with; `setting` names what is missing.",
    )
    MAXMIND_FAILED = (
        "maxmind_failed",
        502,
        "MaxMind did not give what was asked for; `reason` says why. What was there stays.",
    )
    UNSUPPORTED_TYPE = (
        "unsupported_media_type",
        415,
        "The Content-Type is not the one that the route takes; `detail` names it.",
    )
    BODY_EMPTY = (WireFault.BODY_EMPTY.value, 400, "The body is empty.")
    NOT_GZIP = (WireFault.NOT_GZIP.value, 400, "The body does not begin as gzip does.")
    GZIP_CORRUPT = (WireFault.GZIP_CORRUPT.value, 400, "The gzip member is damaged.")
    GZIP_TRUNCATED = (
        WireFault.GZIP_TRUNCATED.value,
        400,
        "The gzip member ends before its trailer.",
    )
    SEVERAL_MEMBERS = (
        WireFault.SEVERAL_MEMBERS.value,
        400,
        "More than one gzip member; a batch is exactly one.",
    )
    TRAILING_BYTES = (WireFault.TRAILING_BYTES.value, 400, "Bytes follow the gzip member.")
    HEADER_TRUNCATED = (
        WireFault.HEADER_TRUNCATED.value,
        400,
        "The inflated batch is shorter than its 9-byte header.",
    )
    VERSION_UNSUPPORTED = (
        WireFault.VERSION_UNSUPPORTED.value,
        400,
        "The version byte is not 1.",
    )
    FRAME_COUNT_ZERO = (WireFault.FRAME_COUNT_ZERO.value, 400, "`frame_count` is 0.")
    LENGTH_MISMATCH = (
        WireFault.LENGTH_MISMATCH.value,
        400,
        "The inflated length is not what `frame_count` needs.",
    )
    TIMESTAMPS_BACKWARDS = (
        WireFault.TIMESTAMPS_BACKWARDS.value,
        400,
        "A frame's timestamp lies before that of the frame ahead of it.",
    )
    SIDECAR_TOO_LARGE = ("sidecar_too_large", 400, "The sidecar is over 2,048 bytes.")
    SIDECAR_MALFORMED = (
        "sidecar_malformed",
        400,
        "The sidecar is not a JSON object, or a known key has a value that it may not have.",
    )
    CLIENT_DROPPED_MALFORMED = (
        "client_dropped_malformed",
        400,
        "`X-Client-Dropped` is not like `30;reason=network, 4;reason=cpu`.",
    )
    SIDECAR_TWICE = (
        "sidecar_twice",
        400,
        "The sidecar came both in `X-Batch-Meta` and in `?meta=`, or more than once.",
    )
    INBOX_FULL = (Reason.INBOX_FULL.value, 429, Reason.INBOX_FULL.meaning)
    POLICY_REFUSED = (Reason.POLICY_REFUSED.value, 429, Reason.POLICY_REFUSED.meaning)
    POLICY_INVALID = (
        "policy_invalid",
        422,
        "The change would put something into force that is no policy; `faults` says what and why.",
    )
    POLICY_REVISION_STALE = (
        "policy_revision_stale",
        409,
        "The policy was changed since the `revision` that the request names; read it again.",
    )
    POLICY_NOTHING_TO_REVERT = (
        "policy_nothing_to_revert",
        409,
        "The scope has no edit that could be undone.",
    )
    POLICY_FULL = (
        "policy_full",
        409,
        "The policy book holds as many editions or candidates as it may.",
    )
    CANDIDATE_UNKNOWN = ("candidate_unknown", 404, "There is no candidate of this name.")
    PARAMETER_MALFORMED = (
        "parameter_malformed",
        400,
        "A parameter of the path or the query is not what it must be; `field` says which.",
    )
    FRAME_MEMORY_FULL = (Reason.FRAME_MEMORY_FULL.value, 429, Reason.FRAME_MEMORY_FULL.meaning)
    SESSIONS_FULL = (Reason.SESSIONS_FULL.value, 429, Reason.SESSIONS_FULL.meaning)
    RECOVERY_FAILED = (Reason.RECOVERY_FAILED.value, 503, Reason.RECOVERY_FAILED.meaning)
    SESSION_FINALIZED = (Reason.SESSION_FINALIZED.value, 409, Reason.SESSION_FINALIZED.meaning)
    SESSION_UNKNOWN = (
        "session_unknown",
        404,
        "There is no such session: no frame and no media event of it ever came.",
    )
    END_CONFLICT = ("end_conflict", 409, "The session has ended before, with another status.")
    END_DELAYED = (
        "end_delayed",
        503,
        "The end is not on disk after `end_wait_seconds`. It is under way; send it again.",
    )
    LEDGER_DISK_FULL = (LedgerReason.DISK_FULL.value, 503, LedgerReason.DISK_FULL.meaning)
    LEDGER_IO_ERROR = (LedgerReason.IO_ERROR.value, 503, LedgerReason.IO_ERROR.meaning)
    LEDGER_LOCKED = (LedgerReason.LOCKED.value, 503, LedgerReason.LOCKED.meaning)
    LEDGER_UNWRITABLE = (LedgerReason.UNWRITABLE.value, 503, LedgerReason.UNWRITABLE.meaning)
    LEDGER_CORRUPT = (LedgerReason.CORRUPT.value, 503, LedgerReason.CORRUPT.meaning)
    LEDGER_UNREACHABLE = (
        LedgerReason.UNREACHABLE.value,
        503,
        LedgerReason.UNREACHABLE.meaning,
    )
    LEDGER_QUEUE_FULL = (LedgerReason.QUEUE_FULL.value, 503, LedgerReason.QUEUE_FULL.meaning)
    LEDGER_OVERDUE = (LedgerReason.OVERDUE.value, 503, LedgerReason.OVERDUE.meaning)
    LEDGER_DRAINING = (LedgerReason.DRAINING.value, 503, LedgerReason.DRAINING.meaning)
    # The contract answers 500 where a replay cannot be stored: the end is sent again as it was.
    BLOB_DISK_FULL = (BlobReason.DISK_FULL.value, 500, BlobReason.DISK_FULL.meaning)
    BLOB_UNREACHABLE = (BlobReason.UNREACHABLE.value, 500, BlobReason.UNREACHABLE.meaning)
    BLOB_TIMED_OUT = (BlobReason.TIMED_OUT.value, 500, BlobReason.TIMED_OUT.meaning)
    BLOB_DENIED = (BlobReason.DENIED.value, 500, BlobReason.DENIED.meaning)
    BLOB_BUCKET_MISSING = (
        BlobReason.BUCKET_MISSING.value,
        500,
        BlobReason.BUCKET_MISSING.meaning,
    )
    BLOB_BUSY = (BlobReason.BUSY.value, 500, BlobReason.BUSY.meaning)
    BLOB_CORRUPT = (BlobReason.CORRUPT.value, 500, BlobReason.CORRUPT.meaning)
    BLOB_CHANGED = (BlobReason.CHANGED.value, 500, BlobReason.CHANGED.meaning)
    BLOB_IO_ERROR = (BlobReason.IO_ERROR.value, 500, BlobReason.IO_ERROR.meaning)
    CMCD_MALFORMED = (
        "cmcd_malformed",
        400,
        "A CMCD header is not what CTA-5004 allows; `field` names the key.",
    )
    MEDIA_SESSION_FULL = (
        "media_session_full",
        409,
        "The session holds as many media events as it may.",
    )
    EXERCISE_SESSION_UNKNOWN = (
        "exercise_session_unknown",
        404,
        "There is no such exercise session, or none that the token may know of.",
    )
    EXERCISE_SESSION_ENDED = (
        "exercise_session_ended",
        409,
        "The exercise session has ended; it gets no new token.",
    )
    PATIENT_UNKNOWN = (
        "patient_unknown",
        404,
        "The token's organisation has no sessions of such a patient.",
    )
    AGGREGATE_CONFLICT = (
        "aggregate_conflict",
        409,
        "The session of the event is another principal's or organisation's.",
    )
    REPLAY_MISSING = ("replay_missing", 404, "There is no replay of this session.")
    REPLAY_UNAVAILABLE = (
        "replay_unavailable",
        503,
        "The store of the replays cannot be used now.",
    )
    REPLAY_LINK_REFUSED = (
        "replay_link_refused",
        403,
        "The link to the replay was not made by this service, or has expired.",
    )
    RANGE_UNSATISFIABLE = (
        "range_unsatisfiable",
        416,
        "The range lies outside of the replay; `Content-Range` has its size.",
    )
    RETENTION_RUNNING = ("retention_running", 409, "A run of retention is under way already.")
    ERASURE_SESSIONS_LIVE = (
        "erasure_sessions_live",
        409,
        "The person has sessions that have not ended; `force` erases them as they are.",
    )
    ERASURE_UNKNOWN = ("erasure_unknown", 404, "There is no erasure of this id.")
    BODY_MALFORMED = (
        "body_malformed",
        400,
        "The body is not the JSON object that it must be; `field` says where.",
    )
    BULK_REFUSED = (
        "bulk_refused",
        503,
        "The service is so pressed that bulk writes wait; send it again.",
    )
    RUN_UNKNOWN = ("run_unknown", 404, "There is no run of this event id.")
    RUN_UNFIT = ("run_unfit", 400, "The ledger cannot hold the run.")
    DRAINING = (Reason.DRAINING.value, 503, Reason.DRAINING.meaning)
    REQUEST_MALFORMED = ("request_malformed", 400, "The request is not valid HTTP.")
    AMBIGUOUS_FRAMING = (
        "ambiguous_framing",
        400,
        "Both Content-Length and Transfer-Encoding: proxies may disagree where the body ends.",
    )
    NOT_FOUND = ("not_found", 404, "There is nothing at this path.")
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405, "The path does not take this method.")
    REQUEST_TIMEOUT = (
        "request_timeout",
        408,
        "The request had not arrived whole within `request_timeout_seconds`.",
    )
    HEADERS_TOO_LARGE = (
        "headers_too_large",
        431,
        "The request's head is over `max_header_bytes` or has over `max_header_count` fields.",
    )
    INTERNAL = ("internal_error", 500, "A fault of this service; its log has the request's id.")
    CODING_UNSUPPORTED = (
        "transfer_coding_unsupported",
        501,
        "The Transfer-Encoding is another than `chunked`.",
    )
    TOO_MANY_CONNECTIONS = (
        "too_many_connections",
        503,
        "The process holds `max_connections` connections.",
    )
    TOO_MANY_WATCHES = (
        "too_many_watches",
        503,
        "As many look on at live sessions as may; close one of those pages.",
    )

    def __init__(self, code: str, status: int, meaning: str) -> None:
        self.code = code
        self.status = status
        self.meaning = meaning


BY_CODE = {problem.code: problem for problem in Problem}
_BY_STATUS = {
    400: Problem.REQUEST_MALFORMED,
    404: Problem.NOT_FOUND,
    405: Problem.METHOD_NOT_ALLOWED,
    408: Problem.REQUEST_TIMEOUT,
    413: Problem.BODY_TOO_LARGE,
    431: Problem.HEADERS_TOO_LARGE,
    501: Problem.CODING_UNSUPPORTED,
}


def problem_answer(
    problem: Problem,
    detail: str | None = None,
    *,
    retry_after: float | None = None,
    **facts: object,
) -> Answer:
    """Make the answer of an error. Facts that are None are left out."""
    document: dict[str, object] = {
        "type": f"urn:penstock:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": detail or problem.meaning,
    }
    document |= {name: fact for name, fact in facts.items() if fact is not None}
    seconds = None
    if retry_after is not None:
        # Rounded up: a client that waits as long as it was told must not come too early.
        document["retry_after_ms"] = math.ceil(retry_after * 1000)
        seconds = max(1, math.ceil(retry_after))
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if problem.status == 401:
        headers = ((b"www-authenticate", b"Bearer"),)
    return Answer(problem.status, orjson.dumps(document), problem.code, PROBLEM, seconds, headers)


def of_status(status: int) -> Problem:
    """Find the problem that stands for a bare HTTP status, such as a parser's."""
    return _BY_STATUS.get(status, Problem.INTERNAL if status >= 500 else Problem.REQUEST_MALFORMED)
