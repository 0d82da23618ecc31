"""What a request about the drop policy says, read and checked; a misfit is named by its field."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from penstock.engine.policy_book import LONGEST_EXPIRY_SECONDS, Signed
from penstock.engine.policy_editions import ScopeError, hidden_in, read_scope
from penstock.http.bodies import read_body
from penstock.http.exchange import JSON, Answer
from penstock.http.policy_documents import shown
from penstock.http.problems import Problem, problem_answer
from penstock.http.user_tokens import UserClaims
from penstock.http.uuids import is_uuid

LONGEST_REASON = 500
# More than there are: a few mistyped ones are to be told by their names.
MOST_KNOBS = 64
LONGEST_KNOB = 40
_LONGEST_FIELD = 80
_MOMENT = TypeAdapter[datetime](AwareDatetime)

Knobs = TypeVar("Knobs", dict[str, Any], list[str])


def _plain(reason: str) -> str:
    if found := hidden_in(reason):
        raise ValueError(f"it must not hold hidden characters, as {found} is")
    return reason


def _few(names: Knobs) -> Knobs:
    if len(names) > MOST_KNOBS:
        raise ValueError(f"it has {len(names)} names; at most {MOST_KNOBS}")
    if any(len(name) > LONGEST_KNOB for name in names):
        raise ValueError(f"it has a name of more than {LONGEST_KNOB} characters")
    return names


def _spelled(moment: object) -> datetime:
    # A number in a string would be read as seconds since 1970.
    if isinstance(moment, str) and "T" in moment.upper():
        with suppress(ValidationError):
            return _MOMENT.validate_python(moment)
    raise ValueError("it must be an RFC 3339 time, such as 2030-01-31T12:00:00Z")


Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_REASON),
    AfterValidator(_plain),
]
Put = Annotated[dict[str, Any], AfterValidator(_few)]
Moment = Annotated[AwareDatetime, BeforeValidator(_spelled)]
Revision = Annotated[int, Field(ge=0, le=2**53)]


class ChangeBody(BaseModel):
    """What every change says. A key that is not known is a mistake, not a wish to be ignored."""

    model_config = ConfigDict(extra="forbid")

    revision: Revision
    reason: Reason


class EditBody(ChangeBody):
    """Knobs to set and to give up in one scope, for a while or without an end."""

    scope: str
    put: Put = Field(default_factory=dict, alias="set")
    clear: Annotated[list[str], AfterValidator(_few)] = Field(default_factory=list)
    expires_at: Moment | None = None
    expires_in_seconds: float | None = Field(default=None, gt=0, le=LONGEST_EXPIRY_SECONDS)

    @model_validator(mode="after")
    def _one_end(self) -> "EditBody":
        if self.expires_at is not None and self.expires_in_seconds is not None:
            raise ValueError("expires_at and expires_in_seconds are both given")
        return self

    def expires_unix(self, now_unix: float) -> float | None:
        """Give the end in seconds since 1970 UTC; None without one."""
        if self.expires_at is not None:
            return self.expires_at.timestamp()
        return None if self.expires_in_seconds is None else now_unix + self.expires_in_seconds


class RevertBody(ChangeBody):
    """The scope whose last edit is to be undone."""

    scope: str


class CandidateBody(ChangeBody):
    """The knobs that the global scope might be given."""

    put: Put = Field(alias="set")


Body = TypeVar("Body", bound=ChangeBody)


class RequestRefusedError(Exception):
    """The request is not what it must be; the answer says where."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.code)
        self.answer = answer


class AdminCall(NamedTuple):
    """One request of a platform admin. `name` is the path's variable part.

    What cannot be read out of it raises RequestRefusedError.
    """

    claims: UserClaims
    query: Mapping[str, str]
    content_type: bytes = b""
    body: bytes = b""
    name: str = ""

    def read(self, model: type[Body]) -> Body:
        """Read the body."""
        if self.content_type.partition(b";")[0].strip().lower() != JSON:
            seen = self.content_type[:_LONGEST_FIELD].decode("latin1")
            detail = f"Content-Type must be application/json, not {seen or 'absent'}"
            raise RequestRefusedError(problem_answer(Problem.UNSUPPORTED_TYPE, detail, seen=seen))
        read = read_body(model, self.body)
        if isinstance(read, Answer):
            raise RequestRefusedError(read)
        return read

    def signed(self, body: ChangeBody) -> Signed:
        """Give who makes the change, why, and on which revision."""
        return Signed(self.claims.principal_id, body.reason, body.revision)

    def signed_in_query(self) -> Signed:
        """Give the same for a DELETE, whose body would mean nothing (RFC 9110, section 9.3.5)."""
        self.expect("revision", "reason")
        revision, reason = self.query.get("revision", ""), self.query.get("reason", "").strip()
        if not _is_number(revision):
            raise misfit("revision", "it must be the revision that was read", revision)
        if not 1 <= len(reason) <= LONGEST_REASON:
            raise misfit("reason", f"it must have 1 to {LONGEST_REASON} characters", reason)
        if found := hidden_in(reason):
            raise misfit("reason", f"it must not hold hidden characters, as {found} is", reason)
        return Signed(self.claims.principal_id, reason, int(revision))

    def expect(self, *known: str) -> None:
        """Refuse parameters that nobody reads: they are mistakes."""
        for name, value in self.query.items():
            if name not in known:
                detail = f"there is no such parameter; there are {', '.join(known)}"
                raise misfit(name, detail, value)

    def limit(self, usual: int, most: int) -> int:
        """Give how many entries are wanted."""
        text = self.query.get("limit", str(usual))
        if not _is_number(text) or not 1 <= int(text) <= most:
            raise misfit("limit", f"it must be a whole number from 1 to {most}", text)
        return int(text)

    def uuid(self, name: str) -> str | None:
        """Give an id of the query; None when it is not there."""
        text = self.query.get(name)
        return None if text is None else uuid_of(name, text)

    def scope(self) -> str | None:
        """Give the scope of the query; None when it is not there."""
        text = self.query.get("scope")
        try:
            return None if text is None else read_scope(text)
        except ScopeError as error:
            raise misfit("scope", str(error), text or "") from None


def scope_of(body: EditBody | RevertBody) -> str:
    """Give the scope that a body names."""
    try:
        return read_scope(body.scope)
    except ScopeError as error:
        detail, seen = f"scope: {error}", shown(body.scope)
        raise RequestRefusedError(
            problem_answer(Problem.BODY_MALFORMED, detail, field="scope", seen=seen)
        ) from None


def uuid_of(name: str, text: str) -> str:
    """Give an id in its one spelling."""
    if not is_uuid(text):
        raise misfit(name, "it must be a UUID", text)
    return text.lower()


def misfit(field: str, detail: str, seen: str) -> RequestRefusedError:
    """Make the refusal of a parameter."""
    field = field[:_LONGEST_FIELD]
    return RequestRefusedError(
        problem_answer(
            Problem.PARAMETER_MALFORMED, f"{field}: {detail}", field=field, seen=shown(seen)
        )
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15
