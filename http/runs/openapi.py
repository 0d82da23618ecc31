"""The OpenAPI document of the routes about runs, made from what reads and writes them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from penstock.engine.runs.run import STATUS_WORDS, CommitSource, RunStatus
from penstock.http.runs.bodies import LONGEST_NAME, CommitBody, RunBody, UpdateBody
from penstock.http.runs.filters import MOST_RUNS, USUAL_RUNS
from penstock.http.runs.reading import API_VERSION
from penstock.http.runs.writing import RunsLimits

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_COMPONENT = "#/components/schemas/"
# Every route may meet these.
_ALWAYS = {
    408: "the request did not arrive in time",
    500: "a fault of the service",
    503: "the ledger cannot be used now; send it again after Retry-After",
}


def runs_document(limits: RunsLimits) -> Schema:
    """Give the document. The bounds that are settings are those in force."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock: runs",
            "version": API_VERSION,
            "description": "Runs as agents report, update and query them.",
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(limits),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> Schema:
    one = "/api/v1/runs/{event_id}"
    event = [_parameter("path", "event_id", _TEXT, required=True)]
    written = {401: "no valid token", 429: "too many requests from this address"}
    sent = written | {413: "the body is too large", 422: "the request is not what it must be"}
    read = {429: "too many requests from this address"}
    unknown = {404: "there is no such run"}
    return {
        "/health": {"get": _operation("Say that the service is up", "Health", guarded=False)},
        "/metrics": {
            "get": _operation(
                "Count runs; Prometheus' text for those who ask for text/plain",
                "Metrics",
                guarded=False,
            )
        },
        "/api/v1/metadata": {
            "get": _operation("Name every agent and type of job", "Metadata", read, guarded=False)
        },
        "/api/v1/runs": {
            "get": _operation(
                "Query runs, newest first",
                {"type": "array", "items": _ref("RunRecord")},
                read | {400: "a filter means nothing", 422: "limit or offset is out of bounds"},
                parameters=_filters(),
                headers={
                    "X-Next-Cursor": {
                        "description": "Where a full page ended: `cursor` for the next one.",
                        "schema": _TEXT,
                    }
                },
                guarded=False,
            ),
            "post": _operation(
                "Report a run",
                "RunCreated",
                sent | {400: "the status is unknown"},
                body=_ref("TelemetryRun"),
                success=201,
            ),
        },
        "/api/v1/runs/batch": {
            "post": _operation(
                "Report many runs", "BatchResponse", sent, body=_ref("TelemetryRuns")
            )
        },
        one: {
            "get": _operation(
                "Give one run", "RunRecord", read | unknown, parameters=event, guarded=False
            ),
            "patch": _operation(
                "Update a run",
                "RunUpdated",
                sent | unknown | {400: "nothing to update"},
                parameters=event,
                body=_ref("RunUpdate"),
            ),
        },
        f"{one}/associate-commit": {
            "post": _operation(
                "Say which commit a run belongs to",
                "CommitAssociated",
                sent | unknown,
                parameters=event,
                body=_ref("CommitAssociation"),
            )
        },
        f"{one}/commit-url": {
            "get": _operation(
                "Give the address of a run's commit",
                "CommitUrl",
                written | unknown,
                parameters=event,
            )
        },
        f"{one}/repo-url": {
            "get": _operation(
                "Give the address of a run's repository",
                "RepoUrl",
                written | unknown,
                parameters=event,
            )
        },
    }


def _filters() -> list[Schema]:
    exact = {name: {"type": "string"} for name in ("agent_name", "job_type")}
    moments = ("created_before", "created_after", "start_time_from", "start_time_to")
    schemas: dict[str, Schema] = {
        **exact,
        "status": {"type": "string", "enum": list(STATUS_WORDS)},
        **dict.fromkeys(moments, _MOMENT),
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST_RUNS, "default": USUAL_RUNS},
        "offset": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
    }
    return [_parameter("query", name, schema) for name, schema in schemas.items()] + [
        _parameter(
            "query",
            "cursor",
            {"type": "string", "pattern": r"^-?[0-9]{1,18}\.[0-9]{1,18}$"},
            description="The X-Next-Cursor of the page before; offset then counts from there.",
        )
    ]


def _schemas(limits: RunsLimits) -> Schema:
    created: Schema = {
        "status": {"enum": ["created", "duplicate"]},
        "event_id": _TEXT,
    }
    again = {"run_id": _TEXT, "message": _TEXT}
    return {
        "TelemetryRun": _of_model(RunBody, limits),
        "TelemetryRuns": {
            "type": "array",
            "items": _ref("TelemetryRun"),
            "maxItems": limits.runs_batch_length,
        },
        "RunUpdate": _update(limits),
        "CommitAssociation": _of_model(CommitBody, limits),
        "RunRecord": _record(),
        "RunCreated": _object(created, more=again),
        "BatchResponse": _object(
            {
                "inserted": _COUNT,
                "duplicates": _COUNT,
                "errors": {"type": "array", "items": _TEXT},
                "total": _COUNT,
            }
        ),
        "RunUpdated": _object(
            {
                "event_id": _TEXT,
                "updated": {"type": "boolean"},
                "fields_updated": {"type": "array", "items": _TEXT},
            }
        ),
        "CommitAssociated": _object(
            {
                "status": {"const": "success"},
                "event_id": _TEXT,
                "run_id": _TEXT,
                "commit_hash": _TEXT,
            }
        ),
        "CommitUrl": _object({"commit_url": _MAYBE_TEXT}),
        "RepoUrl": _object({"repo_url": _MAYBE_TEXT}),
        "Metadata": _object(
            {
                "agent_names": {"type": "array", "items": _TEXT},
                "job_types": {"type": "array", "items": _TEXT},
                "counts": _object({"agent_names": _COUNT, "job_types": _COUNT}),
                "cache_hit": {"type": "boolean"},
            }
        ),
        "Health": _object(
            dict.fromkeys(("status", "version", "db_path", "journal_mode"), _TEXT)
            | {"synchronous": _TEXT}
        ),
        "Metrics": _object(
            {
                "total_runs": _COUNT,
                "agents": {"type": "object", "additionalProperties": _COUNT},
                "recent_24h": _COUNT,
                "performance": _object({"db_path": _TEXT, "journal_mode": _TEXT}),
            }
        ),
        "Refusal": _object({"detail": _TEXT}),
        "Misfits": _object(
            {
                "detail": {
                    "type": "array",
                    "items": _object(
                        {
                            "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                            "msg": _TEXT,
                            "type": _TEXT,
                        },
                        more={"input": {}},
                    ),
                }
            }
        ),
    }


def _update(limits: RunsLimits) -> Schema:
    """Describe an update. null is taken and says nothing, so it is not among what may be said."""
    schema = _of_model(UpdateBody, limits)
    anything: Schema = {"type": ["object", "array", "string", "number", "boolean"]}
    schema["properties"] = {
        name: part["anyOf"][0] if "anyOf" in part else anything
        for name, part in schema["properties"].items()
    }
    schema["anyOf"] = [{"required": [name]} for name in schema["properties"]]
    return schema


def _record() -> Schema:
    """Describe a run as it is read: what was reported, and what the service adds."""
    reported: Schema = _of_model(RunBody, RunsLimits())["properties"]
    server = {
        "id": _COUNT,
        "schema_version": _COUNT,
        "updated_at": _TEXT,
        "agent_owner": _MAYBE_TEXT,
        "commit_url": _MAYBE_TEXT,
        "repo_url": _MAYBE_TEXT,
    }
    # Runs that were imported may have texts in these that are no moments, or longer ones.
    open_texts = {
        name: _TEXT
        if name in RunBody.model_fields and RunBody.model_fields[name].is_required()
        else _MAYBE_TEXT
        for name, schema in reported.items()
        if "string" in str(schema)
    }
    fixed = {
        "created_at": _TEXT,
        "status": {"type": "string", "examples": [status.value for status in RunStatus]},
        "duration_ms": _COUNT,
        "git_commit_source": {
            "type": ["string", "null"],
            "examples": [source.value for source in CommitSource],
        },
    }
    errors = {"metrics_json_parse_error": _TEXT, "context_json_parse_error": _TEXT}
    return _object(dict(reported) | open_texts | fixed | server, more=errors)


def _of_model(model: type[BaseModel], limits: RunsLimits) -> Schema:
    schema = model.model_json_schema(ref_template=_COMPONENT + "{model}")
    definitions = schema.pop("$defs", {})
    schema["properties"] = {
        name: _bounded(_inlined(part, definitions), limits)
        for name, part in schema["properties"].items()
    }
    return schema


def _inlined(schema: Any, definitions: Mapping[str, Schema]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return definitions[schema["$ref"].removeprefix(_COMPONENT)]
    return {key: _inlined(part, definitions) for key, part in schema.items()}


def _bounded(schema: Schema, limits: RunsLimits) -> Schema:
    """Say of texts how long they may be, and that they hold no NUL."""
    if "anyOf" in schema:
        return schema | {"anyOf": [_bounded(part, limits) for part in schema["anyOf"]]}
    if schema.get("type") != "string" or "enum" in schema or "format" in schema:
        return schema
    return {"maxLength": limits.runs_text_length, "pattern": "^[^\\u0000]*$"} | schema


def _operation(
    summary: str,
    answer: str | Schema,
    refusals: Mapping[int, str] | None = None,
    *,
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
    headers: Schema | None = None,
    success: int = 200,
    guarded: bool = True,
) -> Schema:
    schema = _ref(answer) if isinstance(answer, str) else answer
    done: Schema = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    if headers is not None:
        done["headers"] = headers
    responses: Schema = {str(success): done}
    for status, meaning in sorted({**(refusals or {}), **_ALWAYS}.items()):
        kind = "Misfits" if status == 422 else "Refusal"
        responses[str(status)] = {
            "description": f"{meaning[0].upper()}{meaning[1:]}.",
            "content": {"application/json": {"schema": _ref(kind)}},
        }
    operation: Schema = {"summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        content = {"application/json": {"schema": body}}
        operation["requestBody"] = {"required": True, "content": content}
    if guarded:  # or without, where no token is set
        operation["security"] = [{"token": []}, {}]
    return operation


def _parameter(place: str, name: str, schema: Schema, **more: object) -> Schema:
    if name in {"event_id", "agent_name", "job_type"}:
        schema = schema | {"maxLength": LONGEST_NAME, "pattern": "^[^\\u0000]*$"}
    if place == "path":
        schema = schema | {"minLength": 1, "pattern": "^[^\\u0000/]+$"}
    return {"in": place, "name": name, "schema": schema, **more}


def _object(properties: Schema, more: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": properties | (more or {}),
        "required": list(properties),
    }


def _ref(name: str) -> Schema:
    return {"$ref": _COMPONENT + name}
