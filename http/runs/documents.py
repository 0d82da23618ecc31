"""A run as clients read it."""

from typing import Any

import orjson

from penstock.engine.runs.repositories import commit_url, repository_url
from penstock.engine.runs.run import StoredRun

Document = dict[str, Any]

# In the order of the contract's example.
_ORDER = """
    event_id run_id schema_version created_at updated_at start_time end_time agent_name agent_owner
    job_type status product product_family platform subdomain website website_section item_name
    items_discovered items_succeeded items_failed items_skipped duration_ms input_summary
    output_summary source_ref target_ref error_summary error_details git_repo git_branch
    git_commit_hash git_run_tag git_commit_source git_commit_author git_commit_timestamp host
    environment trigger_type
"""
_BEFORE_JSON = tuple(_ORDER.split())
_JSON = ("metrics_json", "context_json")
_AFTER_JSON = ("api_posted", "api_posted_at", "api_retry_count", "insight_id", "parent_run_id")


def run_document(stored: StoredRun) -> Document:
    """Give every field that is kept, and the two addresses that follow from them."""
    run = stored.run
    document: Document = {"id": stored.number}
    for name in _BEFORE_JSON:
        document[name] = getattr(run, name)
    for name in _JSON:
        text = getattr(run, name)
        try:
            document[name] = None if text is None else orjson.loads(text)
        except orjson.JSONDecodeError as error:  # written by another program, and imported
            document[name] = text
            document[f"{name}_parse_error"] = str(error)
    for name in _AFTER_JSON:
        document[name] = getattr(run, name)
    document["commit_url"] = commit_url(run.git_repo, run.git_commit_hash)
    document["repo_url"] = repository_url(run.git_repo)
    return document
