"""The bodies that the platform surface takes, with the bounds of every field.

What a client may write freely is scrubbed where the body becomes an entry of the ledger, so that
nobody can store it otherwise. Keys that are not known are left alone, and not stored.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from penstock.engine.media.events import ConnectionType
from penstock.engine.platform.context import RequestContext
from penstock.engine.platform.fingerprint import fingerprint
from penstock.engine.platform.records import AnalyticsEntry, Circumstances, ErrorReportEntry
from penstock.engine.platform.scrub import scrubbed, scrubbed_id, scrubbed_json
from penstock.engine.records import AuditEntry
from penstock.http.instants import Instant

MAX_ANALYTICS_BYTES = 16 * 1024
MAX_ERROR_BYTES = 64 * 1024
MAX_AUDIT_BYTES = 32 * 1024
MOST_PROPERTIES = 64

_Word = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$")
]
# What no store can hold as a text is refused.
_PLAIN = r"^[^\x00]*$"
_Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)]
_Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN)]
_Url = Annotated[str, StringConstraints(max_length=2048, pattern=_PLAIN)]
_Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]


def _few(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > MOST_PROPERTIES:
        raise ValueError(f"must have at most {MOST_PROPERTIES} keys, not {len(value)}")
    return value


_Properties = Annotated[dict[str, Any], AfterValidator(_few)]


def _measure(highest: float) -> Any:  # noqa: ANN401 - stands for a type
    return Annotated[float, Field(ge=0, le=highest, allow_inf_nan=False)]


class AnalyticsBody(BaseModel):
    """`POST /v1/analytics/track`."""

    event_name: _Word
    event_category: _Word
    timestamp: Instant
    resource_type: _Name | None = None
    resource_id: _Id | None = None
    page_url: _Url | None = None
    referrer_url: _Url | None = None
    numeric_value: _Number | None = None
    properties: _Properties | None = None
    connection_type: ConnectionType | None = None

    def entry(
        self, event_id: str, org_id: str, at_unix_ms: int, now_ms: int, context: RequestContext
    ) -> AnalyticsEntry:
        """Give what the ledger keeps."""
        return AnalyticsEntry(
            event_id,
            org_id,
            at_unix_ms,
            now_ms,
            scrubbed(self.event_name),
            scrubbed(self.event_category),
            _scrubbed(self.resource_type),
            _scrubbed_id(self.resource_id),
            _scrubbed(self.page_url),
            _scrubbed(self.referrer_url),
            self.numeric_value,
            scrubbed_json(self.properties or {}),
            circumstances(context),
        )


class ErrorBody(BaseModel):
    """`POST /v1/errors/report`."""

    error_type: _Name
    error_code: _Name | None = None
    error_message: Annotated[str, StringConstraints(max_length=4000, pattern=_PLAIN)]
    feature_name: _Name | None = None
    media_id: _Id | None = None
    media_position_seconds: _measure(86_400) | None = None  # type: ignore[valid-type]
    stack_trace: Annotated[str, StringConstraints(max_length=32_768, pattern=_PLAIN)] | None = None
    response_time_ms: _measure(86_400_000) | None = None  # type: ignore[valid-type]
    memory_usage_mb: _measure(10_000_000) | None = None  # type: ignore[valid-type]
    # Of all cores together.
    cpu_usage_percent: _measure(100_000) | None = None  # type: ignore[valid-type]
    connection_type: ConnectionType | None = None

    def entry(
        self, report_id: str, org_id: str, now_ms: int, context: RequestContext
    ) -> ErrorReportEntry:
        """Give what the ledger keeps."""
        error_type, code = scrubbed(self.error_type), _scrubbed(self.error_code)
        feature, stack = _scrubbed(self.feature_name), scrubbed(self.stack_trace or "")
        detail = {
            "media_id": _scrubbed_id(self.media_id),
            "media_position_seconds": self.media_position_seconds,
            "response_time_ms": self.response_time_ms,
            "memory_usage_mb": self.memory_usage_mb,
            "cpu_usage_percent": self.cpu_usage_percent,
        }
        return ErrorReportEntry(
            report_id,
            org_id,
            fingerprint(error_type, code, feature, stack),
            now_ms,
            error_type,
            code,
            feature,
            scrubbed(self.error_message),
            stack,
            {name: value for name, value in detail.items() if value is not None},
            circumstances(context),
        )


class AuditBody(BaseModel):
    """`POST /v1/audit/ingest`."""

    action: _Word
    resource_type: _Name
    resource_id: _Id | None = None
    status: _Word
    status_code: Annotated[int, Field(ge=100, le=599)] | None = None
    metadata: _Properties | None = None

    def entry(self, reporter: str, now_ms: int, context: RequestContext) -> AuditEntry:
        """Give what the ledger keeps."""
        kind, name = scrubbed(self.resource_type), _scrubbed_id(self.resource_id)
        detail = {
            "status": scrubbed(self.status),
            "status_code": self.status_code,
            "metadata": scrubbed_json(self.metadata or {}),
            "reporter": scrubbed(reporter),
            **context_detail(context),
        }
        return AuditEntry(
            now_ms,
            context.actor or ("withheld" if context.excluded else "unknown"),
            scrubbed(self.action),
            kind if name is None else f"{kind}:{name}",
            detail,
        )


def circumstances(context: RequestContext) -> Circumstances:
    """Give what is stored of a context."""
    return Circumstances(
        context.actor,
        context.actor_type.value,
        context.country_code,
        context.device_type,
        context.browser_family,
        context.connection_type,
        scrubbed(context.request_id),
    )


def context_detail(context: RequestContext) -> dict[str, object]:
    """Give what the audit keeps of a context beside its actor."""
    return {
        "request_id": scrubbed(context.request_id),
        "actor_type": context.actor_type.value,
        "org_id": context.org_id,
        "consent_level": context.consent_level,
        "network": context.network,
        "country_code": context.country_code,
        "device_type": context.device_type,
        "browser_family": context.browser_family,
    }


def _scrubbed(text: str | None) -> str | None:
    return None if text is None else scrubbed(text)


def _scrubbed_id(text: str | None) -> str | None:
    return None if text is None else scrubbed_id(text)
