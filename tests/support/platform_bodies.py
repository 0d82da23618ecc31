"""What clients and services send to the platform surface, as the contract shows it."""

from datetime import UTC, datetime
from typing import Any


def analytics(**changes: Any) -> dict[str, Any]:
    """Give an event of analytics."""
    return {
        "event_name": "page.view",
        "event_category": "navigation",
        "timestamp": datetime.now(UTC).isoformat(),
        "resource_type": "page",
        "resource_id": "treatment-plan-library",
        "page_url": "/library",
        "referrer_url": "/dashboard",
        "numeric_value": None,
        "properties": {"filter_condition": "neck_pain", "results_count": 12},
        **changes,
    }


def error(**changes: Any) -> dict[str, Any]:
    """Give a report of an error."""
    return {
        "error_type": "video_error",
        "error_code": "MEDIA_ERR_NETWORK",
        "error_message": "Failed to load video segment",
        "feature_name": "video_player",
        "media_id": "exercise-uuid-hashed",
        "media_position_seconds": 23.5,
        "stack_trace": "Error: fetch failed\n    at load (https://a.example/app.js:1:2)",
        "response_time_ms": 30000,
        "memory_usage_mb": 245.6,
        "cpu_usage_percent": 78.3,
        **changes,
    }


def audit(**changes: Any) -> dict[str, Any]:
    """Give an entry of another service's audit."""
    return {
        "action": "patient.view",
        "resource_type": "patient",
        "resource_id": "patient-123",
        "status": "success",
        "status_code": 200,
        "metadata": {"fields_accessed": ["name", "treatment_plans"]},
        **changes,
    }
