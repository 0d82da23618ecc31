"""Errors as `usage` and `sync` word them: `{"error": <code>, "message": …}`, and short."""

import math
from collections.abc import Awaitable, Callable
from functools import wraps

import orjson

from penstock.engine.ledger_port import LedgerUnavailableError
from penstock.engine.receipts import Committed, Receipt, Refused
from penstock.http.cold_routes import Call
from penstock.http.exchange import JSON, Answer
from penstock.http.problems import Problem
from penstock.http.user_tokens import UserTokenRefusedError

# Collectors show an error's body to their user, and cut it off at 200 characters.
SHORT_BYTES = 199
_MOST_BYTES = 1000
BUSY_RETRY_SECONDS = 5.0

PlainHandler = Callable[[Call], Awaitable[Answer]]


class PlainError(Exception):
    """A request that gets no more than an error."""

    def __init__(
        self, status: int, error: str, message: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.message = message
        self.retry_after = retry_after

    def answer(self, most_bytes: int = _MOST_BYTES) -> Answer:
        """Give the answer, its message cut so that the body has at most so many bytes."""
        message = self.message
        document: dict[str, str] = {"error": self.error}
        if message:
            document["message"] = message
        while len(body := orjson.dumps(document)) > most_bytes:
            # An escape is up to six bytes of one character, so it takes a few rounds at most.
            message = message[: -max(1, (len(body) - most_bytes) // 6)]
            document["message"] = f"{message}…"
        seconds = None if self.retry_after is None else max(1, math.ceil(self.retry_after))
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if self.status == 401:
            headers = ((b"www-authenticate", b"Bearer"),)
        return Answer(self.status, body, self.error, JSON, seconds, headers)


def plain_refuse(
    problem: Problem,
    detail: str | None = None,
    *,
    retry_after: float | None = None,
    **facts: object,
) -> Answer:
    """Word what the application itself refuses. Of the facts a limit's setting is told."""
    message = detail or problem.meaning
    if setting := facts.get("setting"):
        message = f"{message} ({setting})"
    return PlainError(problem.status, problem.code, message, retry_after=retry_after).answer(
        SHORT_BYTES
    )


def answering(handler: PlainHandler, most_bytes: int = _MOST_BYTES) -> PlainHandler:
    """Turn what a handler raises into its answer, of at most so many bytes."""

    @wraps(handler)
    async def serve(call: Call) -> Answer:
        try:
            return await handler(call)
        except PlainError as error:
            return error.answer(most_bytes)
        except UserTokenRefusedError as refused:
            problem = refused.problem
            message = refused.detail or problem.meaning
            wait = BUSY_RETRY_SECONDS if problem.status == 503 else None
            named = PlainError(problem.status, problem.code, message, retry_after=wait)
            return named.answer(most_bytes)
        except LedgerUnavailableError as broken:
            reason = broken.reason
            named = PlainError(503, reason, reason.meaning, retry_after=BUSY_RETRY_SECONDS)
            return named.answer(most_bytes)

    return serve


async def committed(receipt: Receipt) -> Committed | Refused:
    """Wait for an entry; give what is the entry's own outcome, and raise what is the ledger's."""
    answer = await receipt.wait()
    if isinstance(answer, Refused) and answer.retry_after is not None:
        raise PlainError(503, answer.reason, answer.reason.meaning, retry_after=answer.retry_after)
    return answer


def object_of(body: bytes, error: str) -> dict[str, object]:
    """Read a JSON object, or raise the error that the surface calls it by."""
    try:
        plain = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise PlainError(400, error, "the body is no JSON") from None
    if not isinstance(plain, dict):
        raise PlainError(400, error, "the body is no JSON object")
    return plain
