"""One run as it is kept, and the statuses that it can have."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import NamedTuple

# The version of the record's layout that clients are told.
SCHEMA_VERSION = 7
# The widest whole number that both databases hold.
LARGEST_INTEGER = 2**63 - 1


class RunStatus(StrEnum):
    """How a run stands. These are stored; what clients also say for them is in ALIASES."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    PARTIAL = "partial"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


ALIASES: Mapping[str, RunStatus] = {
    "failed": RunStatus.FAILURE,
    "completed": RunStatus.SUCCESS,
    "succeeded": RunStatus.SUCCESS,
}
_BY_WORD: Mapping[str, RunStatus] = {status.value: status for status in RunStatus} | dict(ALIASES)
STATUS_WORDS = tuple(_BY_WORD)


class CommitSource(StrEnum):
    """Who made a commit."""

    MANUAL = "manual"
    LLM = "llm"
    CI = "ci"


def status_of(word: str) -> RunStatus | None:
    """Give the status that a word stands for; None for a word that stands for none."""
    return _BY_WORD.get(word)


@dataclass(slots=True, frozen=True)
class Run:
    """One run. Moments are as they were written, beside the two instants that are compared.

    `metrics_json` and `context_json` are JSON text.
    """

    event_id: str
    run_id: str
    agent_name: str
    job_type: str
    start_time: str
    start_unix_us: int
    created_at: str
    created_unix_us: int
    updated_at: str
    schema_version: int = SCHEMA_VERSION
    end_time: str | None = None
    agent_owner: str | None = None
    status: str = RunStatus.RUNNING.value
    product: str | None = None
    product_family: str | None = None
    platform: str | None = None
    subdomain: str | None = None
    website: str | None = None
    website_section: str | None = None
    item_name: str | None = None
    items_discovered: int = 0
    items_succeeded: int = 0
    items_failed: int = 0
    items_skipped: int = 0
    duration_ms: int = 0
    input_summary: str | None = None
    output_summary: str | None = None
    source_ref: str | None = None
    target_ref: str | None = None
    error_summary: str | None = None
    error_details: str | None = None
    git_repo: str | None = None
    git_branch: str | None = None
    git_commit_hash: str | None = None
    git_run_tag: str | None = None
    git_commit_source: str | None = None
    git_commit_author: str | None = None
    git_commit_timestamp: str | None = None
    host: str | None = None
    environment: str | None = None
    trigger_type: str | None = None
    metrics_json: str | None = None
    context_json: str | None = None
    api_posted: bool = False
    api_posted_at: str | None = None
    api_retry_count: int = 0
    insight_id: str | None = None
    parent_run_id: str | None = None


# In the order in which they are stored.
RUN_FIELDS = tuple(field.name for field in fields(Run))


class StoredRun(NamedTuple):
    """A run with the number that the store gave it. Later ones have higher numbers."""

    number: int
    run: Run
