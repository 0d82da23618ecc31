"""The bodies that Core takes. Types are taken at their word; a misfit is named by its field."""

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from penstock.engine.core.records import AggregateEntry
from penstock.engine.core_port import CoreRefusedError
from penstock.engine.finals import ClientStatus
from penstock.engine.policy_editions import hidden_in
from penstock.engine.ports import Purpose, Quota
from penstock.http.uuids import is_uuid

LONGEST_EXERCISE = 200
MOST_REPS = 20_000
_LATEST_MS = 253_402_300_799_999  # the last moment of the year 9999
_LARGEST = (1 << 53) - 1


def _uuid(text: str) -> str:
    if not is_uuid(text):
        raise ValueError("it must be a UUID")
    return text.lower()


def _plain(text: str) -> str:
    if found := hidden_in(text):
        raise ValueError(f"it must not hold hidden characters, as {found} is")
    return text


Uuid = Annotated[str, AfterValidator(_uuid)]
Exercise = Annotated[str, Field(min_length=1, max_length=LONGEST_EXERCISE), AfterValidator(_plain)]
Millis = Annotated[int, Field(ge=0, le=_LATEST_MS)]
# By their texts: JSON has no other way to say them.
Purposes = Annotated[list[str], Field(max_length=len(Purpose))]


class StartBody(BaseModel):
    """An exercise session that a patient begins."""

    model_config = ConfigDict(extra="forbid")

    exercise_id: Exercise | None = None


class ConsentBody(BaseModel):
    """All that a principal consents to from now on; an empty list withdraws everything."""

    model_config = ConfigDict(extra="forbid")

    purposes: Purposes

    @field_validator("purposes")
    @classmethod
    def _known(cls, purposes: list[str]) -> list[str]:
        for purpose in purposes:
            if purpose not in tuple(Purpose):
                raise ValueError(f"each must be one of {', '.join(Purpose)}")
        return purposes

    def granted(self) -> frozenset[Purpose]:
        """Give the purposes."""
        return frozenset(Purpose(purpose) for purpose in self.purposes)


class QuotaBody(BaseModel):
    """What an organisation may send; null is no limit."""

    model_config = ConfigDict(extra="forbid")

    batches_per_second: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None

    def quota(self) -> Quota:
        """Give it as the engine has it."""
        return Quota(self.batches_per_second)


class InvalidateBody(BaseModel):
    """What has changed in Core: one principal's consents, or all of an organisation's grants."""

    model_config = ConfigDict(extra="forbid")

    org_id: Uuid
    principal_id: Uuid | None = None


class SessionMetrics(BaseModel):
    """A session's figures. Those that are looked at here are checked; all are kept."""

    model_config = ConfigDict(extra="allow")

    rep_count: Annotated[int, Field(ge=0, le=_LARGEST)] | None = None
    duration_s: Annotated[float, Field(ge=0, le=1e8, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _counted(self) -> Self:
        # A session without any figures is one of which only the end is known.
        if self.model_fields_set and "rep_count" not in self.model_fields_set:
            raise ValueError("rep_count is missing; it may be null")
        return self


class RepMetrics(BaseModel):
    """A repetition's figures."""

    model_config = ConfigDict(extra="allow")

    rep_number: Annotated[int, Field(ge=1, le=_LARGEST)]


class AggregatedBody(BaseModel):
    """The aggregation event. What is not known here is left to later versions."""

    session_id: Uuid
    principal_id: Uuid
    org_id: Uuid
    revision: Annotated[int, Field(ge=1, le=_LARGEST)] = 1
    status: str = ClientStatus.COMPLETED.value
    provisional: bool = False
    # As the client named it when it ended the session, whose own rules were others.
    exercise_id: Annotated[str, Field(max_length=LONGEST_EXERCISE)] | None = None
    started_unix_ms: Millis | None = None
    ended_unix_ms: Millis | None = None
    completeness: Annotated[float, Field(ge=0, le=1)] | None = None
    session_metrics: SessionMetrics
    rep_metrics: Annotated[list[RepMetrics], Field(max_length=MOST_REPS)]
    media_metrics: dict[str, Any] | None = None

    @field_validator("status")
    @classmethod
    def _known(cls, status: str) -> str:
        if status not in tuple(ClientStatus):
            raise ValueError(f"it must be one of {', '.join(ClientStatus)}")
        return status

    @field_validator("rep_metrics")
    @classmethod
    def _distinct(cls, reps: list[RepMetrics]) -> list[RepMetrics]:
        if len({rep.rep_number for rep in reps}) != len(reps):
            raise ValueError("a rep_number comes twice")
        return reps

    def entry(self, now_ms: int) -> AggregateEntry:
        """Give what the ledger keeps; without its end, the session ended `now_ms`."""
        return AggregateEntry(
            session_id=self.session_id,
            org_id=self.org_id,
            principal_id=self.principal_id,
            revision=self.revision,
            status=self.status,
            provisional=self.provisional,
            # The one character that a text in PostgreSQL cannot hold.
            exercise_id=(self.exercise_id or "").replace("\x00", "\ufffd"),
            started_unix_ms=self.started_unix_ms,
            ended_unix_ms=now_ms if self.ended_unix_ms is None else self.ended_unix_ms,
            completeness=self.completeness,
            session_metrics=self.session_metrics.model_dump(exclude_unset=True),
            rep_metrics=tuple(rep.model_dump(exclude_unset=True) for rep in self.rep_metrics),
            media_metrics=self.media_metrics,
        )


def read_event(event: dict[str, Any], now_ms: int) -> AggregateEntry:
    """Check an event of this process as one from elsewhere; CoreRefusedError names the field."""
    try:
        return AggregatedBody.model_validate(event, strict=True).entry(now_ms)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    raise CoreRefusedError(f"{field or 'the event'}: {first['msg']}")
