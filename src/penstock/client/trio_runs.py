"""`TrioRunClient`: the same client for programs on Trio; its waits are worker threads' waits."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from penstock.client.runs import ClientStatistics, ReportedRun, RunClient

T = TypeVar("T")


class TrioRunClient:
    """Reports runs to one service; made as `RunClient` is, and used with `async with`."""

    def __init__(self, url: str | None = None, **options: Any) -> None:
        self._client = RunClient(url, **options)

    async def start(self, agent_name: str, job_type: str, **fields: Any) -> "TrioReportedRun":
        """Report that a run has begun, as `RunClient.start` does."""
        return TrioReportedRun(
            await _aside(partial(self._client.start, agent_name, job_type, **fields))
        )

    @asynccontextmanager
    async def run(
        self, agent_name: str, job_type: str, **fields: Any
    ) -> AsyncIterator["TrioReportedRun"]:
        """Report a run around the block: success at its end, failure where it raises."""
        run = await self.start(agent_name, job_type, **fields)
        try:
            yield run
        except trio.Cancelled:
            # The report must still get out, and takes no longer than the client's timeout.
            with trio.CancelScope(shield=True):
                await run.complete("cancelled")
            raise
        except BaseException as error:
            await run.fail(error)
            raise
        if not run.completed:
            await run.complete()

    async def report(self, agent_name: str, job_type: str, **fields: Any) -> str:
        """Report a run that is over already, in one record; give its event id."""
        return await _aside(partial(self._client.report, agent_name, job_type, **fields))

    async def statistics(self) -> ClientStatistics:
        """Say what became of the records."""
        return await _aside(self._client.statistics)

    async def flush(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - the client's own
        """Try at once to deliver what is held; say whether nothing is left in time."""
        return await _aside(partial(self._client.flush, timeout))

    async def aclose(self) -> None:
        """Flush, and end. What is left stays in the buffer, for the next client."""
        with trio.CancelScope(shield=True):  # it ends within the client's timeout
            await _aside(self._client.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class TrioReportedRun:
    """A run that has been reported, for what is to be said of it later."""

    __slots__ = ("_run",)

    def __init__(self, run: ReportedRun) -> None:
        self._run = run

    @property
    def event_id(self) -> str:
        """Give the id that the service knows the run by."""
        return self._run.event_id

    @property
    def run_id(self) -> str:
        """Give the agent's own id of the run."""
        return self._run.run_id

    @property
    def completed(self) -> bool:
        """Say whether its end has been reported."""
        return self._run.completed

    async def update(self, **fields: Any) -> bool:
        """Report new values; say whether they are on their way."""
        return await _aside(partial(self._run.update, **fields))

    async def complete(self, status: str = "success", **fields: Any) -> bool:
        """Report the end, with its time and how long the run took."""
        return await _aside(partial(self._run.complete, status, **fields))

    async def fail(self, error: BaseException | str, **fields: Any) -> bool:
        """Report the end as a failure, with what went wrong."""
        return await _aside(partial(self._run.fail, error, **fields))

    async def associate_commit(self, commit_hash: str, source: str = "llm", **more: Any) -> bool:
        """Report the commit that the run made."""
        return await _aside(partial(self._run.associate_commit, commit_hash, source, **more))


async def _aside(work: Callable[[], T]) -> T:
    """Do it in a thread. Cancelled meanwhile, it is not waited for and still takes place."""
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
