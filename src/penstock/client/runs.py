"""`RunClient`: reports runs, and never hurts the agent that reports them.

    client = RunClient()
    with client.run("my-agent", "data-processing") as run:
        run.update(items_succeeded=10)

A report is written to a local file and delivered from there by a thread (see `outbox` and
`delivery`): it takes well under a millisecond, whether the service is there, slow or gone. No
method raises, unless `raise_errors` asks for it, and none blocks for longer than `timeout`.
"""

import atexit
import contextlib
import logging
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4
from weakref import WeakSet

from penstock.client.delivery import RUNS_PATH, Delivery
from penstock.client.errors import ClientError, UnsuitableError
from penstock.client.exchange import Exchange
from penstock.client.git import git_facts
from penstock.client.outbox import Outbox
from penstock.client.pace import Pace
from penstock.client.reports import RUN_FIELDS, UPDATE_FIELDS, as_json, now, suitable

logger = logging.getLogger(__name__)

DEFAULT_URL = "http://localhost:8765"
_INHERITED = "this client is of the process before the fork: make one in the child"


@dataclass(slots=True, frozen=True)
class ClientStatistics:
    """What became of the records so far. `held` are in the buffer, also those of other processes.

    `refused` ones the service will never take, `dropped` ones had no room in the buffer; `trouble`
    says why the newest attempt failed, empty if none did.
    """

    held: int
    delivered: int
    refused: int
    dropped: int
    trouble: str


class RunClient:
    """Reports runs to one service. For any number of threads; for one process each."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        buffer: Path | str | None = None,
        timeout: float = 5.0,
        max_records: int = 10_000,
        max_buffer_bytes: int = 64 << 20,
        batch: int = 100,
        pace: Pace | None = None,
        raise_errors: bool = False,
    ) -> None:
        """Begin to deliver what the buffer holds from before.

        `url` and `token` default to TELEMETRY_API_URL and TELEMETRY_API_AUTH_TOKEN. `timeout`
        bounds, in seconds, one attempt to deliver and what any method may block. Each service, and
        each token, needs a `buffer` file of its own.
        """
        self._timeout = timeout
        self._raise_errors = raise_errors
        self._dropped = 0
        self._trouble = ""
        self._closed = False
        self._guard = Lock()
        exchange = Exchange(
            url or os.environ.get("TELEMETRY_API_URL") or DEFAULT_URL,
            token or os.environ.get("TELEMETRY_API_AUTH_TOKEN"),
            timeout,
        )
        self._outbox = Outbox(
            Path(buffer) if buffer is not None else default_buffer(),
            max_records=max_records,
            max_bytes=max_buffer_bytes,
            wait_seconds=timeout,
        )
        self._delivery = Delivery(self._outbox, exchange, pace or Pace(), batch)
        # A child after a fork has neither the thread nor the right to the file.
        self._inherited = False
        _open_clients.add(self)
        # An agent that just ends still has its last reports delivered, if the service is there.
        atexit.register(self.close)

    # Reporting.

    def start(
        self, agent_name: str, job_type: str, *, git: bool | Path | str = False, **fields: Any
    ) -> "ReportedRun":
        """Report that a run has begun. `git` adds the facts of this folder, or of the one given."""
        event_id = str(fields.pop("event_id", None) or uuid4())
        begun = now()
        run_id = str(fields.pop("run_id", None) or f"{begun}-{agent_name}-{event_id[:8]}")
        run = ReportedRun(self, event_id, run_id)
        facts: dict[str, Any] = {"start_time": begun, "created_at": begun, "status": "running"}
        if git is not False:
            folder = Path.cwd() if git is True else Path(git)
            facts |= git_facts(folder, self._timeout / 2)
        facts |= fields
        facts |= {"agent_name": agent_name, "job_type": job_type, "run_id": run_id}
        self._report("run", RUNS_PATH, facts | {"event_id": event_id}, RUN_FIELDS)
        return run

    @contextmanager
    def run(
        self, agent_name: str, job_type: str, *, git: bool | Path | str = False, **fields: Any
    ) -> Iterator["ReportedRun"]:
        """Report a run around the block: success at its end, failure where it raises."""
        run = self.start(agent_name, job_type, git=git, **fields)
        try:
            yield run
        except BaseException as error:
            run.fail(error)
            raise
        if not run.completed:
            run.complete()

    def report(self, agent_name: str, job_type: str, **fields: Any) -> str:
        """Report a run that is over already, in one record; give its event id."""
        return self.start(agent_name, job_type, **({"status": "success"} | fields)).event_id

    # What is on its way.

    @property
    def held(self) -> int:
        """Count the records that the service has not answered for; -1 where that is not known."""
        return self.statistics().held

    def statistics(self) -> ClientStatistics:
        """Say what became of the records."""
        held = -1
        with contextlib.suppress(ClientError):
            if not self._closed and not self._inherited:
                held = self._outbox.count()
        delivery = self._delivery
        trouble = self._trouble or delivery.trouble
        return ClientStatistics(held, delivery.delivered, delivery.refused, self._dropped, trouble)

    def flush(self, timeout: float | None = None) -> bool:
        """Try at once to deliver what is held; say whether nothing is left in time."""
        if self._inherited:
            return False
        self._delivery.stir()
        return self._delivery.wait_empty(self._timeout if timeout is None else timeout)

    def close(self, timeout: float | None = None) -> None:
        """Flush, and end. What is left stays in the buffer, for the next client."""
        if self._inherited:
            return
        with self._guard:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        self.flush(max(0.0, deadline - time.monotonic()))
        self._delivery.stop(max(0.01, deadline - time.monotonic()))
        if self._delivery.stopped:
            self._outbox.close()
        _open_clients.discard(self)

    def _before_fork(self) -> None:
        self._outbox.before_fork()

    def _after_fork(self, *, in_child: bool) -> None:
        if not in_child:
            self._outbox.after_fork()
            return
        self._inherited = True
        self._delivery.disown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # The one way in.

    def _report(self, kind: str, path: str, fields: dict[str, Any], known: frozenset[str]) -> bool:
        try:
            sent, wrong = suitable(fields, known)
            if wrong:
                self._complain(UnsuitableError("; ".join(wrong)))
            if sent:
                self._own_outbox().add(kind, path, as_json(sent))  # which fails once it is closed
                self._delivery.stir()
        except UnsuitableError:
            raise  # it was asked for
        except Exception as error:  # noqa: BLE001 - nothing may reach the agent
            self._dropped += 1
            cause = error if isinstance(error, ClientError) else ClientError(repr(error))
            self._complain(cause)
            return False
        return True

    def _own_outbox(self) -> Outbox:
        if self._inherited:
            raise ClientError(_INHERITED)
        return self._outbox

    def _complain(self, error: ClientError) -> None:
        self._trouble = str(error)
        if self._raise_errors:
            raise error
        logger.warning("run telemetry: %s", error)


class ReportedRun:
    """A run that has been reported, for what is to be said of it later."""

    __slots__ = ("_began", "_client", "_path", "completed", "event_id", "run_id")

    def __init__(self, client: RunClient, event_id: str, run_id: str) -> None:
        self._client = client
        self._path = f"{RUNS_PATH}/{quote(event_id, safe='')}"
        self._began = time.monotonic()
        self.event_id = event_id
        self.run_id = run_id
        self.completed = False

    def update(self, **fields: Any) -> bool:
        """Report new values; say whether they are on their way."""
        return self._client._report("update", self._path, fields, UPDATE_FIELDS)  # noqa: SLF001

    def complete(self, status: str = "success", **fields: Any) -> bool:
        """Report the end, with its time and how long the run took."""
        self.completed = True
        took = int((time.monotonic() - self._began) * 1000)
        return self.update(**{"status": status, "end_time": now(), "duration_ms": took} | fields)

    def fail(self, error: BaseException | str, **fields: Any) -> bool:
        """Report the end as a failure, with what went wrong."""
        if isinstance(error, str):
            facts: dict[str, Any] = {"error_summary": error}
        else:
            summary = f"{type(error).__name__}: {error}"
            facts = {"error_summary": summary, "error_details": _trace(error)}
        return self.complete("failure", **facts | fields)

    def associate_commit(
        self,
        commit_hash: str,
        source: str = "llm",
        *,
        author: str | None = None,
        timestamp: object = None,
    ) -> bool:
        """Report the commit that the run made."""
        fields = {
            "commit_hash": commit_hash,
            "commit_source": source,
            "commit_author": author,
            "commit_timestamp": timestamp,
        }
        path = f"{self._path}/associate-commit"
        return self._client._report("commit", path, fields, frozenset(fields))  # noqa: SLF001


_open_clients: WeakSet[RunClient] = WeakSet()


def _before_fork() -> None:
    for client in list(_open_clients):
        client._before_fork()  # noqa: SLF001


def _after_fork_in_parent() -> None:
    for client in list(_open_clients):
        client._after_fork(in_child=False)  # noqa: SLF001


def _after_fork_in_child() -> None:
    for client in list(_open_clients):
        client._after_fork(in_child=True)  # noqa: SLF001


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


def default_buffer() -> Path:
    """Give the file that is used where none is named: in this user's folder for state."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "penstock" / "runs.sqlite3"


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - an error that cannot even be printed
        return ""
