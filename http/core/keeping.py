"""The ledger and the writer, as the routes use them: what is broken is a refusal."""

from dataclasses import dataclass
from typing import TypeVar

from penstock.engine.ledger_port import Entry, Ledger, LedgerReason, LedgerUnavailableError, Query
from penstock.engine.ports import Clock
from penstock.engine.receipts import Lane, Refused
from penstock.engine.writer import Writer
from penstock.http.cold_routes import RefusedError
from penstock.http.problems import BY_CODE, Problem

T = TypeVar("T")

RETRY_SECONDS = 5.0


@dataclass(slots=True, frozen=True)
class Keeping:
    """What Core knows and writes."""

    ledger: Ledger
    writer: Writer
    clock: Clock

    def now_ms(self) -> int:
        """Give the time, in milliseconds since 1970 UTC."""
        return int(self.clock.unix() * 1000)

    async def read(self, query: Query[T]) -> T:
        """Answer a question; RefusedError where that is not possible now."""
        try:
            return await self.ledger.read(query)
        except LedgerUnavailableError as error:
            raise unavailable(error) from error

    async def write(self, entry: Entry, conflict: Problem = Problem.INTERNAL) -> object:
        """Have an entry on disk on return, and give its value; RefusedError where it is not.

        `conflict` is what it means to the caller that the entry cannot be stored beside others.
        """
        answer = await self.writer.enter_nowait(entry, Lane.DURABLE).wait()
        if isinstance(answer, Refused):
            raise refusal(answer, conflict)
        return answer.value


def refusal(answer: Refused, conflict: Problem = Problem.INTERNAL) -> RefusedError:
    """Make the refusal of an entry that was not stored."""
    if answer.reason is LedgerReason.CONFLICT:
        return RefusedError(conflict)
    if answer.reason is LedgerReason.UNFIT:
        return RefusedError(Problem.BODY_MALFORMED, f"it cannot be stored: {answer.detail}")
    return RefusedError(
        BY_CODE.get(answer.reason.value, Problem.INTERNAL),
        retry_after=answer.retry_after or RETRY_SECONDS,
        setting=answer.setting,
        limit=answer.limit,
        seen=answer.seen,
    )


def unavailable(error: LedgerUnavailableError) -> RefusedError:
    """Make the refusal of a question that cannot be answered now."""
    problem = BY_CODE.get(error.reason.value, Problem.INTERNAL)
    return RefusedError(problem, retry_after=RETRY_SECONDS)
