"""Clients of Penstock for programs that report to it."""

from penstock.client.errors import BufferFullError, ClientError, UnsuitableError
from penstock.client.pace import Pace
from penstock.client.runs import ClientStatistics, ReportedRun, RunClient
from penstock.client.trio_runs import TrioReportedRun, TrioRunClient

__all__ = [
    "BufferFullError",
    "ClientError",
    "ClientStatistics",
    "Pace",
    "ReportedRun",
    "RunClient",
    "TrioReportedRun",
    "TrioRunClient",
    "UnsuitableError",
]
