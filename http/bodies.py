"""JSON bodies: read into a model, or refused by the name of the field that is wrong."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from penstock.http.exchange import Answer
from penstock.http.problems import Problem, problem_answer

Model = TypeVar("Model", bound=BaseModel)

_LONGEST_SHOWN = 80


def read_body(model: type[Model], body: bytes) -> Model | Answer:
    """Read one JSON object. Types are taken at their word: no number is read out of a string."""
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not field:
        return problem_answer(Problem.BODY_MALFORMED, f"the body is not what it must be: {message}")
    seen = None
    if first["type"] != "missing":
        text = repr(first["input"])
        seen = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    return problem_answer(Problem.BODY_MALFORMED, f"{field}: {message}", field=field, seen=seen)
