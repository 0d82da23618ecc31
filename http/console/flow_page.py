"""`/console`: the flow as it is now and was in the last minutes, kept up by server-sent events.

Each listener waits for the sampler's next sample and is given its bytes: one a second, which is the
stream's heartbeat as well. A stream ends with its visit, and at once when the service begins to
stop, so that it holds up no shutdown; its page comes back, or says that it is signed out. Only so
many may listen: each holds a connection.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from penstock.engine.outcomes import Outcome, Reason
from penstock.http.cold_routes import Call, ColdRoute, RefusedError, StreamAnswer
from penstock.http.console.door import PREFIX
from penstock.http.console.flow_sampler import LATENCY_SECONDS, FlowSampler
from penstock.http.console.frame import Frame
from penstock.http.console.visits import Visit
from penstock.http.exchange import Answer
from penstock.http.problems import Problem

LIVE = f"{PREFIX}/flow/live"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
_RETRY = b"retry: 1000\n\n"
_RETRY_LATER = b"retry: 5000\n\n"
SIGNED_OUT = b"event: signed-out\ndata: {}\n\n"
# What proxies that collect answers before they pass them on are asked not to do.
UNBUFFERED = (b"x-accel-buffering", b"no")


@dataclass(slots=True)
class FlowPage:
    """The page, and the stream that keeps it up. `console_streams` is the setting's value."""

    frame: Frame
    sampler: FlowSampler
    console_streams: int
    listeners: int = 0

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (
            self.frame.page(PREFIX, self._show),
            self.frame.page(f"{PREFIX}/flow", self._show),
            self.frame.stream(LIVE, self._listen),
        )

    async def _show(self, visit: Visit, _call: Call) -> Answer:
        return self.frame.pages.render(
            visit,
            "flow.html",
            "Flow",
            PREFIX,
            latency_seconds=LATENCY_SECONDS,
            live=LIVE,
            reasons=[reason for reason in Reason if reason.outcome is not Outcome.UNSENT],
        )

    async def _listen(self, _visit: Visit, call: Call) -> StreamAnswer:
        if self.sampler.stopping.is_set():
            raise RefusedError(Problem.DRAINING, retry_after=5.0)
        if self.listeners >= self.console_streams:
            raise RefusedError(
                Problem.STREAMS_FULL,
                "as many pages listen to the flow as may; close one, or raise the setting",
                retry_after=5.0,
                setting="console_streams",
                limit=self.console_streams,
                seen=self.listeners + 1,
            )
        visit_id = self.frame.door.visit_id(call)
        last = call.headers.get("Last-Event-ID") or call.query.get("after", "")
        return StreamAnswer(200, self._tell(visit_id, last), "ok", EVENT_STREAM, (UNBUFFERED,))

    async def _tell(self, visit_id: str, last: str) -> AsyncIterator[bytes]:
        if self.listeners >= self.console_streams:
            # Others came between the look and the stream; the browser asks again.
            yield _RETRY_LATER
            return
        self.listeners += 1
        try:
            log = self.sampler.log
            yield _RETRY + (log.since(last) if last else log.everything())
            told = log.number
            while not self.sampler.stopping.is_set():
                if not self.frame.door.visits.goes_on(visit_id):
                    yield SIGNED_OUT
                    return
                await self.sampler.sampled.wait()
                if log.number != told:
                    # Whoever was slow gets what it missed; usually that is the newest alone.
                    yield log.newest() if log.number == told + 1 else log.everything()
                    told = log.number
        finally:
            self.listeners -= 1
