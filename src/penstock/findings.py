"""What keeps the service from being ready, each part asked for itself."""

import trio

from penstock.engine.ports import SpoolHealth
from penstock.engine.writer import Writer
from penstock.http.health import Finding

_STALLED_SECONDS = 5.0


def draining(stopping: trio.Event) -> Finding | None:
    """Tell that the service is about to stop."""
    if not stopping.is_set():
        return None
    return Finding("draining", "the service is shutting down")


def spool(health: SpoolHealth) -> Finding | None:
    """Tell why frames cannot be written."""
    if health.writable or health.reason is None:
        return None
    return Finding(health.reason.value, f"{health.reason.meaning} {health.detail}")


def lag(writer: Writer, flush_seconds: float) -> Finding | None:
    """Tell that frames wait for too long."""
    seconds = writer.statistics().oldest_age_seconds
    if seconds <= max(_STALLED_SECONDS, 5 * flush_seconds):
        return None
    return Finding("spool_stalled", f"the oldest unwritten frames have waited for {seconds:.0f} s")


def ledger(writer: Writer) -> Finding | None:
    """Tell why results cannot be written."""
    lanes = writer.statistics().ledger
    if lanes is None or lanes.unavailable is None:
        return None
    return Finding(
        lanes.unavailable.value, f"{lanes.unavailable.meaning} {lanes.unavailable_detail}"
    )


def grants(problem: str | None) -> Finding | None:
    """Tell that the grants' file cannot be read."""
    return None if problem is None else Finding("grants_file_invalid", problem)
