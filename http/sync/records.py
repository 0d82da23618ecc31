"""The six kinds of records, and the batch that carries them: `sync_batch.v1` as it is published.

A batch is not read by `SyncBatch` as a whole: one bad record must not spoil the others. The
envelope is read first, then each record by its own model.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from penstock.engine.sync.kinds import RecordKind
from penstock.http.sync.parts import (
    BillingPeriod,
    Byte,
    Confidence,
    CostInfo,
    EventSource,
    GitInfo,
    IdentitySource,
    Instant,
    Key,
    LocationOrigin,
    ModelInfo,
    ParseEvidence,
    Part,
    PrivacyInfo,
    ProjectInfo,
    RuntimeInfo,
    SessionInfo,
    SourceKind,
    SourceVerificationMode,
    SubscriptionStatus,
    SummaryMetadata,
    SummaryMetrics,
    SummaryModelUsage,
    UsageCounts,
    Whole,
)


class SourceLocation(Part):
    """One place that a collector reads from."""

    schema_version: Literal["source_location.v1"]
    source_id: Key
    provider: Key
    source_kind: SourceKind
    location_origin: LocationOrigin
    adapter_id: str | None = None
    adapter_version: str | None = None
    path_hash: str | None = None
    path_label: str | None = None
    enabled: bool
    verification_mode: SourceVerificationMode = "auto"
    verified_state_hash: str | None = None
    created_at: Instant
    updated_at: Instant


class ProviderAccount(Part):
    """An account at a provider."""

    schema_version: Literal["provider_account.v1"]
    provider_account_id: Key
    provider: Key
    identity_source: IdentitySource
    provider_user_id: str | None = None
    email: str | None = None
    provider_user_id_hash: str | None = None
    email_hash: str | None = None
    org_id_hash: str | None = None
    account_label: str | None = None
    plan_name: str | None = None
    confidence: Confidence
    verified_at: Instant | None = None
    created_at: Instant
    updated_at: Instant


class SourceAccountAssignment(Part):
    """Whose usage a source told of, from when to when."""

    schema_version: Literal["source_account_assignment.v1"]
    assignment_id: Key
    source_id: Key
    provider: Key
    provider_account_id: Key
    started_at: Instant
    ended_at: Instant | None = None
    record_source: IdentitySource = "unknown"
    verified_at: Instant | None = None
    created_at: Instant
    updated_at: Instant


class Subscription(Part):
    """A paid plan. A change shows only in its content."""

    schema_version: Literal["subscription.v1"]
    subscription_id: Key
    provider: Key
    provider_account_id: Key
    plan_name: str
    price: Whole
    currency: str
    billing_period: BillingPeriod
    paid_at: Instant | None = None
    renewal_day: Byte | None = None
    started_at: Instant
    ended_at: Instant | None = None
    current_period_ends_at: Instant | None = None
    status: SubscriptionStatus
    record_source: IdentitySource = "unknown"
    verified_at: Instant | None = None
    notes: str | None = None


class UsageEvent(Part):
    """One request or turn. It never changes."""

    schema_version: Literal["usage_event.v1"]
    event_id: Key
    device_id: Key
    provider: Key
    source_id: Key
    provider_account_id: Key | None = None
    subscription_id: Key | None = None
    source: EventSource
    session: SessionInfo
    model: ModelInfo | None = None
    usage: UsageCounts
    runtime: RuntimeInfo | None = None
    cost: CostInfo
    parse_evidence: ParseEvidence | None = None
    project: ProjectInfo | None = None
    git: GitInfo | None = None
    privacy: PrivacyInfo
    created_at: Instant
    imported_at: Instant


class UsageSummary(Part):
    """Usage of a period. New numbers under the same id replace the old ones."""

    schema_version: Literal["usage_summary.v1"]
    summary_id: Key
    device_id: Key
    provider: Key
    source_id: Key
    provider_account_id: Key | None = None
    source: EventSource
    model: ModelInfo | None = None
    models: list[SummaryModelUsage] = Field(default=[])
    usage: UsageCounts
    cost: CostInfo
    parse_evidence: ParseEvidence | None = None
    project: ProjectInfo | None = None
    privacy: PrivacyInfo
    metrics: SummaryMetrics | None = None
    period_start: Instant | None = None
    period_end: Instant | None = None
    observed_at: Instant
    metadata: SummaryMetadata
    imported_at: Instant


class Envelope(Part):
    """A batch around its records, which may be anything yet."""

    schema_version: Literal["sync_batch.v1"]
    batch_id: Key
    device_id: Key
    created_at: Instant
    sources: list[Any] = Field(default=[])
    accounts: list[Any] = Field(default=[])
    source_account_assignments: list[Any] = Field(default=[])
    subscriptions: list[Any] = Field(default=[])
    events: list[Any] = Field(default=[])
    summaries: list[Any] = Field(default=[])


class SyncBatch(Part):
    """A batch as it is published."""

    schema_version: Literal["sync_batch.v1"]
    batch_id: Key
    device_id: Key
    created_at: Instant
    sources: list[SourceLocation] = Field(default=[])
    accounts: list[ProviderAccount] = Field(default=[])
    source_account_assignments: list[SourceAccountAssignment] = Field(default=[])
    subscriptions: list[Subscription] = Field(default=[])
    events: list[UsageEvent] = Field(default=[])
    summaries: list[UsageSummary] = Field(default=[])


MODELS: dict[RecordKind, type[BaseModel]] = {
    RecordKind.SOURCE: SourceLocation,
    RecordKind.ACCOUNT: ProviderAccount,
    RecordKind.ASSIGNMENT: SourceAccountAssignment,
    RecordKind.SUBSCRIPTION: Subscription,
    RecordKind.EVENT: UsageEvent,
    RecordKind.SUMMARY: UsageSummary,
}
