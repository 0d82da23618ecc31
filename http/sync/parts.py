"""The objects that sync records are made of, and the values that they may have.

Types are taken at their word: no number is read out of a text. Keys that are not named here are
allowed everywhere, and kept.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from penstock.engine.sync.instants import utc_day


def _whole(value: object) -> object:
    # To JSON Schema 5.0 is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _instant(text: str) -> str:
    utc_day(text)
    return text


Key = Annotated[str, Field(min_length=1)]
Whole = Annotated[int, BeforeValidator(_whole)]
# The bounds stand first, or they would be missing from the schema that is published.
Count = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
Byte = Annotated[int, Field(ge=0, le=255), BeforeValidator(_whole)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Instant = Annotated[str, AfterValidator(_instant), Field(json_schema_extra={"format": "date-time"})]

SourceKind = Literal[
    "local_adapter",
    "local_summary",
    "local_api",
    "provider_api",
    "cli_probe",
    "sdk_instrumented",
    "external_report",
    "manual",
]
LocationOrigin = Literal["default", "configured", "env", "discovered"]
Confidence = Literal["low", "medium", "high"]
IdentitySource = Literal[
    "provider_auth",
    "provider_api",
    "cli_probe",
    "source_config",
    "user_configured",
    "manual_hint",
    "local_auth",
    "cookie_oauth",
    "unresolved",
    "unknown",
]
BillingPeriod = Literal["monthly", "annual", "custom"]
SubscriptionStatus = Literal["active", "paused", "cancelled"]
PrivacyMode = Literal["metadata_only", "titles_labels", "enriched_summaries"]
SourceVerificationMode = Literal["auto", "manual_only", "disabled"]
LatencySource = Literal["explicit", "inferred"]
ReasoningLevel = Literal["low", "medium", "high", "xhigh", "max", "ultracode"]


class Part(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class EventSource(Part):
    """Where a record was read."""

    adapter_id: str
    adapter_version: str
    source_kind: SourceKind
    location_origin: LocationOrigin | None = None
    source_type: str
    source_path_hash: str | None = None
    source_record_id: str | None = None
    parse_confidence: Confidence


class SessionInfo(Part):
    """The session of an event."""

    session_id: str
    local_session_id_hash: str | None = None
    title: str | None = None
    started_at: Instant
    ended_at: Instant | None = None
    duration_seconds: Count | None = None


class ModelInfo(Part):
    """What a model is called."""

    name: str | None = None
    normalized_name: str | None = None
    provider_model_id: str | None = None
    reasoning_level: ReasoningLevel | None = None
    reasoning_level_raw: str | None = None
    speed: str | None = None


class UsageCounts(Part):
    """Counters. Without `total_tokens` the total is the sum of the token counters."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    total_tokens: Count | None = None
    requests: Count | None = None
    local_prompt_eval_tokens: Count | None = None
    local_eval_tokens: Count | None = None
    cache_creation_5m_tokens: Count | None = None
    cache_creation_1h_tokens: Count | None = None


class RuntimeInfo(Part):
    """How a request ran."""

    runtime_name: str | None = None
    host_id: str | None = None
    latency_ms: Count | None = None
    latency_source: LatencySource | None = None
    time_to_first_token_ms: Count | None = None
    prompt_eval_duration_ms: Count | None = None
    eval_duration_ms: Count | None = None
    total_messages: Count | None = None
    user_messages: Count | None = None
    assistant_messages: Count | None = None
    developer_messages: Count | None = None


class CostInfo(Part):
    """What it cost: `_usd` in cents, `_micro_usd` in millionths of a dollar."""

    currency: str
    estimated_api_equivalent_usd: Whole | None = None
    provider_reported_usd: Whole | None = None
    estimated_api_equivalent_micro_usd: Whole | None = None
    provider_reported_micro_usd: Whole | None = None
    pricing_source: str | None = None
    pricing_version: str | None = None
    confidence: Confidence


class ParseEvidence(Part):
    """How a record was parsed."""

    event_key_version: str
    source_file_path_hash: str | None = None
    source_line_number: Count | None = None
    source_record_id: str | None = None
    model_inferred: bool
    timestamp_inferred: bool
    account_identity_source: IdentitySource


class ProjectInfo(Part):
    """Which project it was for."""

    project_id: str
    project_label: str | None = None
    repo_remote_hash: str | None = None
    repo_label: str | None = None
    branch_hash: str | None = None
    branch_label: str | None = None
    path_hash: str | None = None
    path_label: str | None = None


class GitInfo(Part):
    """The commits near it."""

    nearby_commit_hashes: list[str]
    nearby_commit_messages: list[str]
    correlation_confidence: Confidence | None = None


class PrivacyInfo(Part):
    """What a record says that it may hold."""

    mode: PrivacyMode
    contains_prompt_text: bool
    contains_response_text: bool
    contains_file_paths: bool


class MetricStats(Part):
    """How one metric is distributed."""

    samples: Count
    avg: Number | None = None
    min: Number | None = None
    max: Number | None = None
    p50: Number | None = None
    p95: Number | None = None
    sum: Number | None = None


class SummaryMetrics(Part):
    """Figures worked out from many requests."""

    active_seconds: Number | None = None
    tracked_requests: Count | None = None
    tracked_output_tokens: Count | None = None
    tracked_reasoning_tokens: Count | None = None
    latency_ms: MetricStats | None = None
    time_to_first_token_ms: MetricStats | None = None
    generated_tps: MetricStats | None = None
    visible_tps: MetricStats | None = None
    overall_generated_tps: Number | None = None
    overall_visible_tps: Number | None = None
    cache_hit_ratio: MetricStats | None = None
    reasoning_share: MetricStats | None = None
    total_messages: Count | None = None
    user_messages: Count | None = None
    assistant_messages: Count | None = None
    developer_messages: Count | None = None


class SummaryModelUsage(Part):
    """One model's part of a summary."""

    model: ModelInfo
    usage: UsageCounts
    cost: CostInfo
    metrics: dict[str, Any] | None = None


class SummaryMetadata(Part):
    """What kind of summary it is: only `daily_rollup.v1` is summed as usage."""

    summary_format: str
    summary_version: str | None = None
    total_sessions: Count | None = None
    total_messages: Count | None = None
    last_computed_at: Instant | None = None
