"""Penstock's own numbers, read from /metrics as a Prometheus server reads them."""

import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

from penstock.bench.servers import RunningServer, ServerFailedError

_TIMEOUT_SECONDS = 10.0
_LOOK_SECONDS = 0.1

Metrics = dict[str, float]


def scrape(server: RunningServer) -> Metrics:
    """Give every sample by its name and labels, such as `penstock_sessions{state="live"}`."""
    connection = HTTPConnection(*server.address, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, HTTPException) as error:
        server.check()
        raise ServerFailedError(f"{server.name} does not give its metrics: {error}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise ServerFailedError(f"{server.name} answered {response.status} to GET /metrics")
    return parse_metrics(text)


def parse_metrics(text: str) -> Metrics:
    """Read the text format: a name with its labels, then the value."""
    metrics: Metrics = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            metrics[name] = float(value)
    return metrics


def wait_until(
    server: RunningServer,
    what: str,
    holds: Callable[[Metrics], bool],
    *,
    seconds: float,
) -> Metrics:
    """Scrape until something holds and give that scrape; raise ServerFailedError if never."""
    deadline = time.monotonic() + seconds
    while not holds(metrics := scrape(server)):
        if time.monotonic() > deadline:
            raise ServerFailedError(f"{server.name}: not within {seconds:g} s: {what}")
        time.sleep(_LOOK_SECONDS)
    return metrics


def wait_settled(server: RunningServer, *, seconds: float = 30.0) -> None:
    """Wait until no accepted frame is still on its way to disk."""
    wait_until(
        server,
        "all accepted frames on disk",
        lambda metrics: metrics["penstock_frames_pending"] == 0,
        seconds=seconds,
    )
