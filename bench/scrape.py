"""Penstock's own numbers, read from /metrics as a Prometheus server reads them."""

import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from math import isfinite
from typing import Protocol

from penstock.bench.servers import ServerFailedError

_TIMEOUT_SECONDS = 10.0
_LOOK_SECONDS = 0.1

PENDING = "penstock_frames_pending"
SEEN = "penstock_frames_seen_total"

Metrics = dict[str, float]


class Scraped(Protocol):
    """A server that can be asked, whoever started it."""

    @property
    def name(self) -> str:
        """Give what it is called in messages."""
        ...

    @property
    def address(self) -> tuple[str, int]:
        """Give where it listens."""
        ...

    def check(self) -> None:
        """Raise ServerFailedError when it is known to have ended."""
        ...


def scrape(server: Scraped) -> Metrics:
    """Give every sample by its name and labels, such as `penstock_sessions{state="live"}`."""
    status, text = _get_metrics(server)
    if status != 200:
        raise ServerFailedError(f"{server.name} answered {status} to GET /metrics")
    return parse_metrics(text)


def scrape_if_served(server: Scraped) -> Metrics | None:
    """Give the samples, or None when the server has no /metrics, or not those of Penstock."""
    status, text = _get_metrics(server)
    if status != 200:
        return None
    try:
        metrics = parse_metrics(text)
    except ValueError:  # JSON, or a page
        return None
    known = {name: value for name, value in metrics.items() if isfinite(value)}
    return known if {PENDING, SEEN} <= known.keys() else None


def parse_metrics(text: str) -> Metrics:
    """Read the text format: a name with its labels, then the value."""
    metrics: Metrics = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            metrics[name] = float(value)
    return metrics


def wait_until(
    server: Scraped,
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


def wait_settled(server: Scraped, *, seconds: float = 30.0) -> None:
    """Wait until no accepted frame is still on its way to disk."""
    wait_until(
        server,
        "all accepted frames on disk",
        lambda metrics: metrics[PENDING] == 0,
        seconds=seconds,
    )


def settle(server: Scraped, *, seconds: float = 30.0) -> Metrics | None:
    """Give the samples once no frame is pending, or as they are after that time.

    None when the server has no /metrics, or not those of Penstock.
    """
    deadline = time.monotonic() + seconds
    while True:
        metrics = scrape_if_served(server)
        if metrics is None or metrics[PENDING] == 0 or time.monotonic() > deadline:
            return metrics
        time.sleep(_LOOK_SECONDS)


def _get_metrics(server: Scraped) -> tuple[int, str]:
    connection = HTTPConnection(*server.address, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        server.check()
        raise ServerFailedError(f"{server.name} does not give its metrics: {error}") from None
    finally:
        connection.close()
