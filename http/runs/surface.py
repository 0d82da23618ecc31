"""`/api/v1/…`: runs as agents report, update and query them.

Theory of operation
-------------------
A request passes the gate (token, rate), then its body is read and checked, then what it says is
entered into the writer's durable lane; the answer waits for the commit. Reads ask the ledger.

`POST /api/v1/runs` is on the express lane, too, unless addresses are limited: the lane does not
know them. A batch goes in as entries of a few runs each, one batch after another, so that a final
never waits for more than one of them; every record of it is new, known, or wrong by itself.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import trio

from penstock.engine.ledger_port import Entry, Ledger, LedgerUnavailableError
from penstock.engine.ports import Clock
from penstock.engine.receipts import Committed, Lane
from penstock.engine.runs.moments import written
from penstock.engine.runs.records import (
    MAX_RUNS_TOGETHER,
    CommitOfRun,
    Place,
    RunOf,
    RunsEntry,
    RunUpdate,
    TotalsOfRuns,
)
from penstock.engine.runs.repositories import commit_url, repository_url
from penstock.engine.runs.run import Run, StoredRun
from penstock.engine.writer import Writer
from penstock.http.cold_routes import Call, ColdRoute, ColdSurface, RefusedError
from penstock.http.exchange import Answer, Head, json_answer
from penstock.http.hot_routes import Route
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
from penstock.http.runs.documents import Document, run_document
from penstock.http.runs.filters import FilterError, cursor_of, read_page
from penstock.http.runs.gate import Gate
from penstock.http.runs.names import NamesCache
from penstock.http.runs.words import InvalidError, Misfit, bad_request, misfit, refuse, shown

PATH = "/api/v1/runs"
HOT = Route(PATH, 64 * 1024)
# The contract's own version, which its clients ask for.
API_VERSION = "3.0.0"

_DAY_US = 86_400 * 1_000_000
_RETRY_SECONDS = 5.0
_BULK_RETRY_SECONDS = 5.0

Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(slots=True, frozen=True)
class RunsLimits:
    """How much a request may be, by their settings' names."""

    runs_body_bytes: int = 1 << 20
    runs_batch_body_bytes: int = 4 << 20
    runs_batch_length: int = 1000
    runs_text_length: int = 1 << 18


@dataclass(slots=True, frozen=True)
class StoreFacts:
    """What `/health` tells of the ledger's store."""

    db_path: str
    journal_mode: str
    synchronous: str


@dataclass(slots=True)
class Runs:
    """The surface."""

    ledger: Ledger
    writer: Writer
    clock: Clock
    facts: StoreFacts
    gate: Gate
    limits: RunsLimits
    refuses_bulk: Callable[[], bool]
    names: NamesCache = field(init=False)
    _reader: BodyReader = field(init=False)
    _one_batch: trio.Lock = field(init=False)

    def __post_init__(self) -> None:
        self.names = NamesCache(self.ledger, self.clock)
        self._reader = BodyReader(self.limits.runs_text_length)
        self._one_batch = trio.Lock()

    # The express lane's half.

    @property
    def hot(self) -> bool:
        """Say whether the express lane may answer: it does not know where a request came from."""
        return self.gate.limit is None

    def check_head(self, _parameter: str, head: Head) -> Answer | None:
        """Refuse what the head alone is enough to refuse."""
        refused = self._pass(head.authorization, "", by_token=True)
        if refused is not None:
            return refused
        try:
            expect_json(head.content_type)
        except InvalidError as invalid:
            return invalid.answer()
        return None

    async def answer(self, parameter: str, head: Head, body: bytes) -> Answer:
        """Take in one run."""
        refused = self.check_head(parameter, head)
        return refused or await _worded(self._create(body))

    # The application's half.

    def surface(self) -> ColdSurface:
        """Give the routes as the application serves them."""
        one = f"{PATH}/<event_id>"
        routes: tuple[tuple[str, str, Handler, bool], ...] = (
            ("GET", "/api/v1/metadata", self._metadata, False),
            ("POST", PATH, self._post, True),
            ("POST", f"{PATH}/batch", self._post_batch, True),
            ("GET", PATH, self._query, False),
            ("GET", one, self._show, False),
            ("PATCH", one, self._patch, True),
            ("POST", f"{one}/associate-commit", self._associate, True),
            ("GET", f"{one}/commit-url", self._commit_url, True),
            ("GET", f"{one}/repo-url", self._repo_url, True),
        )
        guarded = tuple(
            ColdRoute(method, rule, partial(self._serve, handler, by_token=by_token))
            for method, rule, handler, by_token in routes
        )
        health = ColdRoute("GET", "/health", self._health)
        return ColdSurface((*guarded, health), refuse, ("/api/v1", "/health"))

    async def totals(self) -> Answer:
        """Answer `/metrics` for those who want JSON."""
        return await _worded(self._totals())

    async def _serve(self, handler: Handler, call: Call, *, by_token: bool) -> Answer:
        refused = self._pass(call.authorization, call.peer, by_token=by_token)
        return refused or await _worded(handler(call))

    def _pass(self, authorization: bytes, peer: str, *, by_token: bool) -> Answer | None:
        now = self.clock.monotonic()
        return self.gate.refusal(authorization, peer, now, by_token=by_token)

    # Writing.

    async def _post(self, call: Call) -> Answer:
        return await self._create(await self._body(call))

    async def _create(self, body: bytes) -> Answer:
        run = run_of(self._reader.read(RunBody, body), self.clock.unix())
        if isinstance(run, UnknownStatus):
            return bad_request(unknown_status(run.status))
        (new,) = await self._enter_runs((run,))
        known: Document = {"status": "created" if new else "duplicate", "event_id": run.event_id}
        if new:
            return json_answer(201, known | {"run_id": run.run_id}, code="created")
        again = {"message": "Event already exists (idempotent)"}
        return json_answer(201, known | again, code="duplicate")

    async def _post_batch(self, call: Call) -> Answer:
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

    async def _patch(self, call: Call) -> Answer:
        event_id = _event_id(call)
        changes = changes_of(self._reader.read(UpdateBody, await self._body(call)))
        if not changes:
            return bad_request("No valid fields to update: give at least one that is not null")
        if not await self._enter(RunUpdate(event_id, changes)):
            return _no_run(event_id)
        self.names.forget()
        updated = [name for name, _ in changes]
        return json_answer(
            200, {"event_id": event_id, "updated": True, "fields_updated": updated}, code="updated"
        )

    async def _associate(self, call: Call) -> Answer:
        event_id = _event_id(call)
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
            return _no_run(event_id)
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

    # Reading.

    async def _query(self, call: Call) -> Answer:
        asked = read_page(call.query)
        page = await self.ledger.read(asked)
        answer = json_answer(200, [run_document(stored) for stored in page])
        if len(page) < asked.limit:
            return answer
        last = page[-1]
        cursor = cursor_of(Place(last.run.created_unix_us, last.number))
        return answer._replace(headers=((b"x-next-cursor", cursor.encode()),))

    async def _show(self, call: Call) -> Answer:
        stored = await self._run(call)
        return stored if isinstance(stored, Answer) else json_answer(200, run_document(stored))

    async def _commit_url(self, call: Call) -> Answer:
        stored = await self._run(call)
        if isinstance(stored, Answer):
            return stored
        run = stored.run
        return json_answer(200, {"commit_url": commit_url(run.git_repo, run.git_commit_hash)})

    async def _repo_url(self, call: Call) -> Answer:
        stored = await self._run(call)
        if isinstance(stored, Answer):
            return stored
        return json_answer(200, {"repo_url": repository_url(stored.run.git_repo)})

    async def _run(self, call: Call) -> StoredRun | Answer:
        event_id = _event_id(call)
        return await self.ledger.read(RunOf(event_id)) or _no_run(event_id)

    async def _metadata(self, _call: Call) -> Answer:
        names, remembered = await self.names.read()
        return json_answer(
            200,
            {
                "agent_names": names.agent_names,
                "job_types": names.job_types,
                "counts": {
                    "agent_names": len(names.agent_names),
                    "job_types": len(names.job_types),
                },
                "cache_hit": remembered,
            },
        )

    async def _health(self, _call: Call) -> Answer:
        facts = self.facts
        return json_answer(
            200,
            {
                "status": "ok",
                "version": API_VERSION,
                "db_path": facts.db_path,
                "journal_mode": facts.journal_mode,
                "synchronous": facts.synchronous,
            },
        )

    async def _totals(self) -> Answer:
        since_us = int(self.clock.unix() * 1_000_000) - _DAY_US
        totals = await self.ledger.read(TotalsOfRuns(since_us))
        performance = {"db_path": self.facts.db_path, "journal_mode": self.facts.journal_mode}
        return json_answer(
            200,
            {
                "total_runs": totals.total,
                "agents": totals.by_agent,
                "recent_24h": totals.recent,
                "performance": performance,
            },
        )


async def _worded(answering: Awaitable[Answer]) -> Answer:
    """Put what went wrong into this surface's words."""
    try:
        return await answering
    except InvalidError as invalid:
        return invalid.answer()
    except FilterError as error:
        return bad_request(str(error))
    except RefusedError as refused:
        return refused.answer(refuse)
    except LedgerUnavailableError as error:
        return refuse(BY_CODE[error.reason], error.detail, retry_after=_RETRY_SECONDS)


def _content_type(call: Call) -> bytes:
    return call.headers.get("Content-Type", "").encode("latin1")


def _event_id(call: Call) -> str:
    event_id = call.parameters["event_id"]
    if "\0" in event_id:  # which no database would even look for
        raise RefusedError(Problem.RUN_UNKNOWN, _unknown(event_id))
    return event_id


def _no_run(event_id: str) -> Answer:
    return refuse(Problem.RUN_UNKNOWN, _unknown(event_id))


def _unknown(event_id: str) -> str:
    return f"Run not found: {shown(event_id)}"
