"""Bodies about runs: read, checked, and turned into what the engine keeps.

Types are read as the service's existing clients send them: a whole number may come as "5" or 5.0.
Unknown fields are ignored. JSON is what RFC 8259 says, so no NaN, and numbers are what both
databases hold.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import from_json

from penstock.engine.runs.moments import unix_us, written
from penstock.engine.runs.run import (
    LARGEST_INTEGER,
    RUN_FIELDS,
    STATUS_WORDS,
    CommitSource,
    Run,
    RunStatus,
    status_of,
)
from penstock.http.exchange import JSON
from penstock.http.runs.words import InvalidError, Misfit, misfit, misfits_of, shown

# What the databases' indexes hold.
LONGEST_NAME = 255
_NUMBER_OF_NOTE = re.compile(rb"\d{19}")
_JSON_FIELDS = ("metrics_json", "context_json")


def _moment(text: str) -> str:
    unix_us(text)
    return text


Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Moment = Annotated[
    str, AfterValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
StatusWord = Annotated[str, WithJsonSchema({"type": "string", "enum": list(STATUS_WORDS)})]


class RunBody(BaseModel):
    """A run as it is reported. The fields of a commit but its hash are taken and not kept."""

    model_config = ConfigDict(extra="ignore", title="TelemetryRun")

    event_id: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    run_id: str
    agent_name: Name
    job_type: Name
    start_time: Moment
    created_at: Moment | None = None
    end_time: Moment | None = None
    status: StatusWord = RunStatus.RUNNING.value
    product: str | None = None
    product_family: str | None = None
    platform: str | None = None
    subdomain: str | None = None
    website: str | None = None
    website_section: str | None = None
    item_name: str | None = None
    items_discovered: Count = 0
    items_succeeded: Count = 0
    items_failed: Count = 0
    items_skipped: Count = 0
    duration_ms: Count | None = 0
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
    git_commit_source: CommitSource | None = None
    git_commit_author: str | None = None
    git_commit_timestamp: Moment | None = None
    host: str | None = None
    environment: str | None = None
    trigger_type: str | None = None
    metrics_json: Any = None
    context_json: Any = None
    api_posted: bool = False
    api_posted_at: Moment | None = None
    api_retry_count: Count = 0
    insight_id: str | None = None
    parent_run_id: str | None = None


class UpdateBody(BaseModel):
    """What may be said of a run later. null says nothing."""

    model_config = ConfigDict(extra="ignore", title="RunUpdate")

    status: RunStatus | None = None
    end_time: Moment | None = None
    duration_ms: Count | None = None
    error_summary: str | None = None
    error_details: str | None = None
    output_summary: str | None = None
    items_succeeded: Count | None = None
    items_failed: Count | None = None
    items_skipped: Count | None = None
    metrics_json: Any = None
    context_json: Any = None
    git_commit_source: CommitSource | None = None
    git_commit_author: str | None = None
    git_commit_timestamp: Moment | None = None


class CommitBody(BaseModel):
    """The commit that a run belongs to."""

    model_config = ConfigDict(extra="ignore", title="CommitAssociation")

    commit_hash: Annotated[str, Field(min_length=7, max_length=40)]
    commit_source: CommitSource
    commit_author: str | None = None
    commit_timestamp: Moment | None = None


Body = TypeVar("Body", RunBody, UpdateBody, CommitBody)

_NOT_KEPT = {"git_commit_source", "git_commit_author", "git_commit_timestamp"}
_COMPUTED = {"created_at", "status", "duration_ms", *_JSON_FIELDS}
_AS_SENT = tuple(set(RunBody.model_fields) & set(RUN_FIELDS) - _NOT_KEPT - _COMPUTED)


@dataclass(slots=True, frozen=True)
class UnknownStatus:
    """A run whose status is no word that is known."""

    event_id: str
    status: str


@dataclass(slots=True, frozen=True)
class BodyReader:
    """Reads bodies within the bound of a text's length."""

    runs_text_length: int

    def read(self, model: type[Body], body: bytes) -> Body:
        """Read one object; InvalidError says where it is not what it must be."""
        return self._checked(model, parse(body), body, "body")

    def read_some(self, rows: Sequence[Any], first: int, body: bytes) -> list[RunBody]:
        """Read some runs of a batch, of which the first has this number; InvalidError."""
        reads = []
        misfits: list[Misfit] = []
        for number, row in enumerate(rows, first):
            try:
                reads.append(self._checked(RunBody, row, body, "body", number))
            except InvalidError as invalid:
                misfits += invalid.misfits
        if misfits:
            raise InvalidError(misfits)
        return reads

    def _checked(self, model: type[Body], plain: object, body: bytes, *place: str | int) -> Body:
        try:
            read = model.model_validate(plain)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            raise InvalidError(misfits_of(found, *place)) from None
        # Hardly ever is there a reason to look at each text.
        if len(body) > self.runs_text_length or b"\\u0000" in body:
            misfits = [
                misfit([*place, name], *fault)
                for name, value in read
                if isinstance(value, str) and (fault := self._fault(value))
            ]
            if misfits:
                raise InvalidError(misfits)
        return read

    def _fault(self, text: str) -> tuple[str, str] | None:
        if len(text) > self.runs_text_length:
            limit = f"at most {self.runs_text_length} characters, not {len(text)}"
            return f"String should have {limit} (setting runs_text_length)", "string_too_long"
        if "\0" in text:
            return "String should have no NUL character", "string_nul"
        return None


def expect_json(content_type: bytes) -> None:
    """Raise InvalidError for another type than JSON: a page of another origin cannot send that."""
    if content_type.partition(b";")[0].strip().lower() != JSON:
        message = "Content-Type should be application/json"
        seen = content_type.decode("latin1")
        raise InvalidError([misfit(["header", "content-type"], message, "content_type", seen)])


def parse(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Read JSON as it is written, also whole numbers that are too large; InvalidError."""
    try:
        plain = orjson.loads(body)
        if _NUMBER_OF_NOTE.search(body):  # it would have become a float
            plain = from_json(body, allow_inf_nan=False)
    except orjson.JSONDecodeError as error:
        found = misfit(["body", error.pos], f"JSON decode error: {error.msg}", "json_invalid")
        raise InvalidError([found]) from None
    except ValueError as error:
        found = misfit(["body"], f"JSON decode error: {error}", "json_invalid")
        raise InvalidError([found]) from None
    return plain


def run_of(body: RunBody, now_unix: float, *place: str | int) -> Run | UnknownStatus:
    """Make the run that is kept; InvalidError where its JSON fields cannot be."""
    status = status_of(body.status)
    if status is None:
        return UnknownStatus(body.event_id, body.status)
    now = written(now_unix)
    created_at = now if body.created_at is None else body.created_at
    sent = body.__dict__  # a third of the time of getting each by its name
    values: Mapping[str, Any] = {name: sent[name] for name in _AS_SENT}
    return Run(
        start_unix_us=unix_us(body.start_time),
        created_at=created_at,
        created_unix_us=unix_us(created_at),
        updated_at=now,
        status=status.value,
        duration_ms=body.duration_ms or 0,
        metrics_json=_json_text("metrics_json", body.metrics_json, place),
        context_json=_json_text("context_json", body.context_json, place),
        **values,
    )


def unknown_status(word: str) -> str:
    """Say that a status is none."""
    return f"status: {shown(word)}; it must be one of {', '.join(STATUS_WORDS)}"


def changes_of(body: UpdateBody) -> tuple[tuple[str, str | int], ...]:
    """Give the fields that an update says something of, and what is stored; InvalidError."""
    return tuple(_changes(body))


def _changes(body: UpdateBody) -> Iterator[tuple[str, str | int]]:
    for name, value in body:
        if value is None:
            continue
        if name in _JSON_FIELDS:
            yield name, _json_text(name, value, ()) or "null"
        else:
            yield name, value.value if isinstance(value, Enum) else value


def _json_text(name: str, value: object, place: tuple[str | int, ...]) -> str | None:
    if value is None:
        return None
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:  # a number beyond 64 bits, or nested too deeply
        found = misfit(["body", *place, name], str(error), "json_unfit")
        raise InvalidError([found]) from None
