"""Clients of Penstock: for programs that report runs to it, or send a session's frames."""

from penstock.client.errors import BufferFullError, ClientError, UnsuitableError
from penstock.client.pace import Pace
from penstock.client.runs import ClientStatistics, ReportedRun, RunClient
from penstock.client.sessions import BlockingSessionClient, SessionClient
from penstock.client.talk import BatchSent, NotTakenError, RefusedError, SessionEnd
from penstock.client.trio_runs import TrioReportedRun, TrioRunClient

__all__ = [
    "BatchSent",
    "BlockingSessionClient",
    "BufferFullError",
    "ClientError",
    "ClientStatistics",
    "NotTakenError",
    "Pace",
    "RefusedError",
    "ReportedRun",
    "RunClient",
    "SessionClient",
    "SessionEnd",
    "TrioReportedRun",
    "TrioRunClient",
    "UnsuitableError",
]
