"""How this surface says what is wrong: `{"detail": …}`, a text or, for 422, a list of misfits.

Existing clients know these shapes, so nothing stands beside `detail`; a limit that was hit is named
in it, with the value seen and the setting.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from penstock.engine.runs.run import LARGEST_INTEGER
from penstock.http.exchange import Answer, json_answer
from penstock.http.problems import Problem

_MOST_MISFITS = 20
_LONGEST_INPUT = 80
# In whose own words is the name of a class of ours.
_NO_OBJECT = "model_type"
# What these say of a request they say as every other service of this kind does.
_PLAIN = {Problem.NOT_FOUND: "Not Found", Problem.METHOD_NOT_ALLOWED: "Method Not Allowed"}

Misfit = dict[str, Any]


class InvalidError(Exception):
    """A request that is not what it must be: 422, naming each place."""

    def __init__(self, misfits: Sequence[Misfit]) -> None:
        super().__init__("invalid")
        self.misfits = misfits

    def answer(self) -> Answer:
        """Make the answer."""
        detail = self.misfits[:_MOST_MISFITS]
        return json_answer(422, {"detail": detail}, code="invalid")


def misfit(place: Sequence[str | int], message: str, kind: str, seen: object = None) -> Misfit:
    """Say what is wrong at a place. What was there is shown if it is short."""
    found: Misfit = {"loc": list(place), "msg": message, "type": kind}
    if isinstance(seen, str | int | float) and len(repr(seen)) <= _LONGEST_INPUT:
        large = isinstance(seen, int) and abs(seen) > LARGEST_INTEGER
        found["input"] = str(seen) if large else seen
    return found


def misfits_of(errors: Iterable[ErrorDetails], *place: str | int) -> list[Misfit]:
    """Put what a model found into words, at a place of the request."""
    return [
        misfit(
            [*place, *error["loc"]],
            "Input should be a valid object"
            if error["type"] == _NO_OBJECT
            else error["msg"].removeprefix("Value error, "),
            error["type"],
            None if error["type"] == "missing" else error["input"],
        )
        for error in errors
    ]


def refuse(
    problem: Problem,
    detail: str | None = None,
    *,
    retry_after: float | None = None,
    **facts: object,
) -> Answer:
    """Word an error."""
    text = _PLAIN.get(problem) or detail or problem.meaning
    told = [f"{name} {facts[name]}" for name in ("setting", "limit", "seen") if facts.get(name)]
    if told:
        text = f"{text} ({', '.join(told)})"
    answer = json_answer(problem.status, {"detail": text}, code=problem.code)
    if retry_after is not None:
        answer = answer._replace(retry_after=max(1, math.ceil(retry_after)))
    return answer


def bad_request(detail: str) -> Answer:
    """Answer 400."""
    return json_answer(400, {"detail": detail}, code="bad_request")


def shown(value: str) -> str:
    """Quote what a client sent, cut to a length that a message can hold."""
    text = repr(value)
    return text if len(text) <= _LONGEST_INPUT else text[:_LONGEST_INPUT] + "…"
