"""`/api/v1/…`: runs as agents report, update and query them.

Theory of operation
-------------------
A request passes the gate (token, rate), then its body is read and checked, then what it says is
entered into the writer's durable lane; the answer waits for the commit (`writing`). Reads ask the
ledger (`reading`).

`POST /api/v1/runs` is on the express lane, too, unless addresses are limited: the lane does not
know them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from penstock.engine.ledger_port import Ledger, LedgerUnavailableError
from penstock.engine.ports import Clock
from penstock.engine.writer import Writer
from penstock.http.cold_routes import Call, ColdRoute, ColdSurface, RefusedError
from penstock.http.exchange import Answer, Head
from penstock.http.hot_routes import Route
from penstock.http.problems import BY_CODE
from penstock.http.runs.bodies import expect_json
from penstock.http.runs.filters import FilterError
from penstock.http.runs.gate import Gate
from penstock.http.runs.names import NamesCache
from penstock.http.runs.reading import Reading, StoreFacts
from penstock.http.runs.words import InvalidError, bad_request, refuse
from penstock.http.runs.writing import RunsLimits, Writing

PATH = "/api/v1/runs"
HOT = Route(PATH, 64 * 1024)

_RETRY_SECONDS = 5.0

Handler = Callable[[Call], Awaitable[Answer]]


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
    _writing: Writing = field(init=False)
    _reading: Reading = field(init=False)

    def __post_init__(self) -> None:
        names = NamesCache(self.ledger, self.clock)
        self._writing = Writing(self.writer, self.clock, self.limits, names, self.refuses_bulk)
        self._reading = Reading(self.ledger, self.clock, self.facts, names)

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
        return refused or await _worded(self._writing.create(body))

    # The application's half.

    def surface(self) -> ColdSurface:
        """Give the routes as the application serves them."""
        # An event id is whatever an agent made it, slashes included.
        one, reading, writing = f"{PATH}/<path:event_id>", self._reading, self._writing
        routes: tuple[tuple[str, str, Handler, bool], ...] = (
            ("GET", "/api/v1/metadata", reading.metadata, False),
            ("POST", PATH, writing.take, True),
            ("POST", f"{PATH}/batch", writing.take_batch, True),
            ("GET", PATH, reading.page, False),
            ("GET", one, reading.one, False),
            ("PATCH", one, writing.update, True),
            ("POST", f"{one}/associate-commit", writing.tie_to_commit, True),
            ("GET", f"{one}/commit-url", reading.commit_url, True),
            ("GET", f"{one}/repo-url", reading.repo_url, True),
        )
        guarded = tuple(
            ColdRoute(method, rule, partial(self._serve, handler, by_token=by_token))
            for method, rule, handler, by_token in routes
        )
        health = ColdRoute("GET", "/health", reading.health)
        return ColdSurface((*guarded, health), refuse, ("/api/v1", "/health"))

    async def totals(self) -> Answer:
        """Answer `/metrics` for those who want JSON."""
        return await _worded(self._reading.totals())

    async def _serve(self, handler: Handler, call: Call, *, by_token: bool) -> Answer:
        refused = self._pass(call.authorization, call.peer, by_token=by_token)
        return refused or await _worded(handler(call))

    def _pass(self, authorization: bytes, peer: str, *, by_token: bool) -> Answer | None:
        now = self.clock.monotonic()
        return self.gate.refusal(authorization, peer, now, by_token=by_token)


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
