"""What a submitter gets for an entry that it gave to the writer, and what it is told in the end."""

from dataclasses import dataclass
from enum import StrEnum

import trio

from penstock.engine.ledger_port import EntryOutcome, LedgerReason, Verdict


class Lane(StrEnum):
    """The lanes, in their order."""

    FINAL = "final"
    DURABLE = "durable"


@dataclass(slots=True, frozen=True)
class Committed:
    """The entry is on disk. `repeated` when it was there already.

    Some kinds of entry have a `value`: what the ledger made of it.
    """

    repeated: bool = False
    value: object = None


@dataclass(slots=True, frozen=True)
class Refused:
    """The entry was not stored. `retry_after` is None where another attempt would end the same.

    A bound that was hit names its setting, its limit and the value seen.
    """

    reason: LedgerReason
    detail: str
    retry_after: float | None = None
    setting: str | None = None
    limit: float | None = None
    seen: float | None = None


Answer = Committed | Refused


class Receipt:
    """What a submitter holds for its entry. Any number of tasks may wait, or none."""

    __slots__ = ("_answer", "_settled")

    def __init__(self, answer: Answer | None = None) -> None:
        self._answer = answer
        self._settled = trio.Event()
        if answer is not None:
            self._settled.set()

    @property
    def answer(self) -> Answer | None:
        """Give what became of the entry; None while that is open."""
        return self._answer

    async def wait(self) -> Answer:
        """Wait until it is known what became of the entry. Cancelling this undoes nothing."""
        await self._settled.wait()
        assert self._answer is not None  # noqa: S101 - for the type checkers
        return self._answer

    def settle_nowait(self, answer: Answer) -> None:
        """Say what became of the entry, once."""
        self._answer = answer
        self._settled.set()


def answer_of(outcome: EntryOutcome) -> Answer:
    """Turn the ledger's outcome into the submitter's answer."""
    match outcome.verdict:
        case Verdict.STORED:
            return Committed(value=outcome.value)
        case Verdict.REPEATED:
            return Committed(repeated=True, value=outcome.value)
        case Verdict.CONFLICT:
            return Refused(LedgerReason.CONFLICT, outcome.detail)
        case Verdict.UNFIT:
            return Refused(LedgerReason.UNFIT, outcome.detail)
        case Verdict.FULL:
            return Refused(LedgerReason.FULL, outcome.detail)
