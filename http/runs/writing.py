"""Reports of runs: read, checked, entered into the durable lane, and answered once on disk.

A batch goes in as entries of a few runs each, one batch after another, so that a final never waits
for more than one of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import trio

from penstock.engine.ledger_port import Entry
from penstock.engine.ports import Clock
from penstock.engine.receipts import Committed, Lane
from penstock.engine.runs.moments import written
from penstock.engine.runs.records import MAX_RUNS_TOGETHER, CommitOfRun, RunsEntry, RunUpdate
from penstock.engine.runs.run import Run
from penstock.engine.writer import Writer
from penstock.http.cold_routes import Call, RefusedError
from penstock.http.exchange import Answer, json_answer
from penstock.http.problems import BY_CODE, Problem
from penstock.http.runs.bodies import (
    BodyReader,
    CommitBody,
    RunBody,
    UnknownStatus,
    UpdateBody,
    changes_of,
    expect_json,
    parse,
    run_of,
    unknown_status,
)
from penstock.http.runs.names import NamesCache
from penstock.http.runs.requests import event_id_of, no_run
from penstock.http.runs.words import InvalidError, Misfit, bad_request, misfit

_BULK_RETRY_SECONDS = 5.0


@dataclass(slots=True, frozen=True)
class RunsLimits:
    """How much a request may be, by their settings' names."""

    runs_body_bytes: int = 1 << 20
    runs_batch_body_bytes: int = 4 << 20
    runs_batch_length: int = 1000
    runs_text_length: int = 1 << 18


@dataclass(slots=True)
class Writing:
    """The routes that write. `names` is told of every run that was written."""

    writer: Writer
    clock: Clock
    limits: RunsLimits
    names: NamesCache
    refuses_bulk: Callable[[], bool]
    _reader: BodyReader = field(init=False)
    _one_batch: trio.Lock = field(init=False, default_factory=trio.Lock)

    def __post_init__(self) -> None:
        self._reader = BodyReader(self.limits.runs_text_length)

    async def take(self, call: Call) -> Answer:
        """Take in one run: `POST /api/v1/runs`."""
        return await self.create(await self._body(call))

    async def create(self, body: bytes) -> Answer:
        """Take in one run, of whose request this is the body."""
        run = run_of(self._reader.read(RunBody, body), self.clock.unix())
        if isinstance(run, UnknownStatus):
            return bad_request(unknown_status(run.status))
        (new,) = await self._enter_runs((run,))
        known = {"status": "created" if new else "duplicate", "event_id": run.event_id}
        if new:
            return json_answer(201, known | {"run_id": run.run_id}, code="created")
        again = {"message": "Event already exists (idempotent)"}
        return json_answer(201, known | again, code="duplicate")

    async def take_batch(self, call: Call) -> Answer:
        """Take in many runs, each new, known, or wrong by itself."""
        if self.refuses_bulk():
            raise RefusedError(Problem.BULK_REFUSED, retry_after=_BULK_RETRY_SECONDS)
        expect_json(_content_type(call))
        limit = self.limits.runs_batch_body_bytes
        body = await call.read(limit, "runs_batch_body_bytes")
        rows = self._rows(body)
        good: list[Run] = []
        errors: list[str] = []
        invalid: list[Misfit] = []
        now = self.clock.unix()
        for first in range(0, len(rows), MAX_RUNS_TOGETHER):
            some = rows[first : first + MAX_RUNS_TOGETHER]
            try:
                bodies = self._reader.read_some(some, first, body)
                runs = [run_of(one, now, first + at) for at, one in enumerate(bodies)]
            except InvalidError as error:
                invalid += error.misfits
                continue
            good += [run for run in runs if isinstance(run, Run)]
            errors += [
                f"{run.event_id}: {unknown_status(run.status)}"
                for run in runs
                if isinstance(run, UnknownStatus)
            ]
            await trio.lowlevel.checkpoint()  # batches of others, and frames, go on meanwhile
        if invalid:
            raise InvalidError(invalid)
        inserted = 0
        # The next batch waits, so that the ledger never has more than one before a final.
        async with self._one_batch:
            for first in range(0, len(good), MAX_RUNS_TOGETHER):
                inserted += sum(
                    await self._enter_runs(tuple(good[first : first + MAX_RUNS_TOGETHER]))
                )
        return json_answer(
            200,
            {
                "inserted": inserted,
                "duplicates": len(good) - inserted,
                "errors": errors,
                "total": len(rows),
            },
            code="batch",
        )

    def _rows(self, body: bytes) -> list[Any]:
        rows = parse(body)
        if not isinstance(rows, list):
            raise InvalidError([misfit(["body"], "Input should be a valid list", "list_type")])
        limit = self.limits.runs_batch_length
        if len(rows) > limit:
            message = f"List should have at most {limit} items, not {len(rows)}"
            raise InvalidError(
                [misfit(["body"], f"{message} (setting runs_batch_length)", "too_long")]
            )
        return rows

    async def update(self, call: Call) -> Answer:
        """Write the fields that an update says something of."""
        event_id = event_id_of(call)
        changes = changes_of(self._reader.read(UpdateBody, await self._body(call)))
        if not changes:
            return bad_request("No valid fields to update: give at least one that is not null")
        if not await self._enter(RunUpdate(event_id, changes)):
            return no_run(event_id)
        self.names.forget()
        updated = [name for name, _ in changes]
        return json_answer(
            200, {"event_id": event_id, "updated": True, "fields_updated": updated}, code="updated"
        )

    async def tie_to_commit(self, call: Call) -> Answer:
        """Write which commit a run belongs to."""
        event_id = event_id_of(call)
        body = self._reader.read(CommitBody, await self._body(call))
        run_id = await self._enter(
            CommitOfRun(
                event_id,
                body.commit_hash,
                body.commit_source.value,
                body.commit_author,
                body.commit_timestamp,
                written(self.clock.unix()),
            )
        )
        if run_id is None:
            return no_run(event_id)
        return json_answer(
            200,
            {
                "status": "success",
                "event_id": event_id,
                "run_id": run_id,
                "commit_hash": body.commit_hash,
            },
            code="associated",
        )

    async def _body(self, call: Call) -> bytes:
        expect_json(_content_type(call))
        return await call.read(self.limits.runs_body_bytes, "runs_body_bytes")

    async def _enter_runs(self, runs: tuple[Run, ...]) -> Sequence[bool]:
        flags = await self._enter(RunsEntry(runs))
        self.names.forget()
        return cast("Sequence[bool]", flags)

    async def _enter(self, entry: Entry) -> object:
        """Have an entry committed and give its value, or raise RefusedError."""
        answer = await self.writer.enter_nowait(entry, Lane.DURABLE).wait()
        if isinstance(answer, Committed):
            return answer.value
        problem = BY_CODE.get(answer.reason, Problem.RUN_UNFIT)
        raise RefusedError(
            problem,
            answer.detail,
            retry_after=answer.retry_after,
            setting=answer.setting,
            limit=answer.limit,
            seen=answer.seen,
        )


def _content_type(call: Call) -> bytes:
    return call.headers.get("Content-Type", "").encode("latin1")
