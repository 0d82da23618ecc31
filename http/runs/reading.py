"""What is asked about runs: pages, one run and its addresses, the names in use, the counts."""

from dataclasses import dataclass

from penstock.engine.ledger_port import Ledger
from penstock.engine.ports import Clock
from penstock.engine.runs import repositories
from penstock.engine.runs.records import Place, RunOf, TotalsOfRuns
from penstock.engine.runs.run import StoredRun
from penstock.http.cold_routes import Call
from penstock.http.exchange import Answer, json_answer
from penstock.http.runs.documents import run_document
from penstock.http.runs.filters import cursor_of, read_page
from penstock.http.runs.names import NamesCache
from penstock.http.runs.requests import event_id_of, no_run

# The contract's own version, which its clients ask for.
API_VERSION = "3.0.0"

_DAY_US = 86_400 * 1_000_000


@dataclass(slots=True, frozen=True)
class StoreFacts:
    """What `/health` tells of the ledger's store."""

    db_path: str
    journal_mode: str
    synchronous: str


@dataclass(slots=True, frozen=True)
class Reading:
    """The routes that read."""

    ledger: Ledger
    clock: Clock
    facts: StoreFacts
    names: NamesCache

    async def page(self, call: Call) -> Answer:
        """Give a page of the runs that pass the filters."""
        asked = read_page(call.query)
        page = await self.ledger.read(asked)
        answer = json_answer(200, [run_document(stored) for stored in page])
        if len(page) < asked.limit:
            return answer
        last = page[-1]
        cursor = cursor_of(Place(last.run.created_unix_us, last.number))
        return answer._replace(headers=((b"x-next-cursor", cursor.encode()),))

    async def one(self, call: Call) -> Answer:
        """Give one run."""
        stored = await self._run(call)
        return stored if isinstance(stored, Answer) else json_answer(200, run_document(stored))

    async def commit_url(self, call: Call) -> Answer:
        """Give the page of a run's commit, null where that cannot be said."""
        stored = await self._run(call)
        if isinstance(stored, Answer):
            return stored
        run = stored.run
        return json_answer(
            200, {"commit_url": repositories.commit_url(run.git_repo, run.git_commit_hash)}
        )

    async def repo_url(self, call: Call) -> Answer:
        """Give the page of a run's repository, null where that cannot be said."""
        stored = await self._run(call)
        if isinstance(stored, Answer):
            return stored
        return json_answer(200, {"repo_url": repositories.repository_url(stored.run.git_repo)})

    async def _run(self, call: Call) -> StoredRun | Answer:
        event_id = event_id_of(call)
        return await self.ledger.read(RunOf(event_id)) or no_run(event_id)

    async def metadata(self, _call: Call) -> Answer:
        """Give the names in use."""
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

    async def health(self, _call: Call) -> Answer:
        """Give the service's state, and that of its store."""
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

    async def totals(self) -> Answer:
        """Count the runs."""
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
