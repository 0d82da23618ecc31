"""`/console/live/<session>`: a patient's skeleton as the service receives it, repetitions counted.

The page gets an event for each chunk of frames that comes to the disk, which is about one a second,
and plays them at the pace at which they were taken. What the motion counts to is worked out for the
event, in a thread. Several may look on; each of them can only slow down themselves.
"""

from collections.abc import AsyncIterator
from math import isnan
from typing import Any, Final

import numpy as np
import orjson
import trio

from penstock.engine.inbox import Arrival
from penstock.engine.motion.metrics import session_metrics
from penstock.engine.motion.motion import conclude
from penstock.engine.motion.signals import SIGNALS, Floats
from penstock.engine.outcomes import Outcome
from penstock.engine.turbine import measured
from penstock.engine.watches import MOST_WATCHES, Seen, TooManyWatchesError, Watches
from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS
from penstock.http.cold_routes import Call, ColdRoute, RefusedError, StreamAnswer
from penstock.http.console.flow_page import EVENT_STREAM, SIGNED_OUT, UNBUFFERED
from penstock.http.console.frame import Frame
from penstock.http.console.sessions import PATH as SESSIONS
from penstock.http.console.visits import Visit
from penstock.http.exchange import Answer
from penstock.http.problems import Problem
from penstock.http.uuids import is_uuid

PATH: Final = "/console/live/<session_id>"
EVENTS: Final = "/console/live/<session_id>/frames"
# More frames than that in a second add nothing to what one sees.
_APART_MS: Final = 66
# Of a backlog, the newest seconds.
_MOST_FRAMES: Final = 60
# In widths of the picture, or metres.
_FARTHEST: Final = 1000.0
_RETRY_SECONDS: Final = 5.0
# So that a connection that is gone is noticed, a visit's end is, and the service's is.
_BREATH_SECONDS: Final = 1.0
_QUIET: Final = b": nothing new\n\n"


class LivePage:
    """The page and its events."""

    def __init__(self, frame: Frame, watches: Watches, stopping: trio.Event) -> None:
        self._frame = frame
        self._watches = watches
        self._stopping = stopping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give its routes."""
        return (self._frame.page(PATH, self._show), self._frame.stream(EVENTS, self._watch))

    async def _show(self, visit: Visit, call: Call) -> Answer:
        session_id = _session_in(call)
        return self._frame.pages.render(visit, "live.html", "Live", SESSIONS, session_id=session_id)

    async def _watch(self, _visit: Visit, call: Call) -> StreamAnswer:
        session_id = _session_in(call)
        if self._watches.number >= MOST_WATCHES:
            raise _too_many()
        visit_id = self._frame.door.visit_id(call)
        events = self._events(session_id, visit_id)
        return StreamAnswer(200, events, "ok", EVENT_STREAM, (UNBUFFERED,))

    async def _events(self, session_id: str, visit_id: str) -> AsyncIterator[bytes]:
        visits = self._frame.door.visits
        try:
            with self._watches.watch(session_id) as watch:
                yield b"retry: 2000\n\n"
                while not self._stopping.is_set():
                    if not visits.goes_on(visit_id):
                        yield SIGNED_OUT
                        return
                    seen = None
                    with trio.move_on_after(_BREATH_SECONDS):
                        seen = await watch.take()
                    if seen is None:
                        yield _QUIET
                        continue
                    told = await trio.to_thread.run_sync(_told, seen)
                    yield b"data: " + told + b"\n\n"
        except TooManyWatchesError:
            # Others came between the look and the stream; the browser asks again.
            yield b"retry: 5000\n\n"


def _session_in(call: Call) -> str:
    session_id = call.parameters["session_id"].lower()
    if not is_uuid(session_id):
        raise RefusedError(Problem.NOT_FOUND, "a session's id is a UUID", seen=session_id[:80])
    return session_id


def _too_many() -> RefusedError:
    return RefusedError(
        Problem.TOO_MANY_WATCHES,
        f"{MOST_WATCHES} look on already, which is as many as may",
        retry_after=_RETRY_SECONDS,
        limit=MOST_WATCHES,
    )


def _told(seen: Seen) -> bytes:
    """Write the event of some frames, and of what the session comes to with them."""
    found = conclude(seen.motion)
    figures = session_metrics(found)
    counted = found.counted
    arrivals = seen.arrivals
    times = [at for arrival in arrivals for at in arrival.batch.timestamps_ms]
    shown = _apart(times)[-_MOST_FRAMES:]
    values = measured(arrivals)[shown]
    joint = None if counted is None else _column(counted.angle, counted.side)
    told: dict[str, Any] = {
        "times": [times[n] for n in shown],
        "points": _points(arrivals)[shown].round(3).tolist(),
        "aspect": arrivals[-1].meta.aspect,
        "coords": arrivals[-1].meta.coords.value,
        "reps": figures["rep_count"],
        "joint": None if joint is None else SIGNALS[joint],
        "angle": None if joint is None else _rounded(values[:, joint]),
        "frames": {
            "seen": seen.tally.seen,
            **{outcome.value: seen.tally.count(outcome) for outcome in Outcome},
        },
    }
    return orjson.dumps(told)


def _apart(times: list[int]) -> list[int]:
    kept: list[int] = []
    newest = -_APART_MS
    for place, at in enumerate(times):
        if at - newest >= _APART_MS:
            kept.append(place)
            newest = at
    return kept


def _points(arrivals: tuple[Arrival, ...]) -> Floats:
    joined = b"".join([arrival.batch.landmark_block for arrival in arrivals])
    points = np.frombuffer(joined, "<f4").reshape(-1, LANDMARKS, LANDMARK_VALUES)
    # What is no number cannot be drawn; JSON has no word for it either. What is far out is as good
    # at the bound, where rounding does not overflow.
    numbers = np.nan_to_num(points[:, :, [0, 1, 3]], nan=0.0, posinf=0.0, neginf=0.0)
    drawn: Floats = numbers.clip(-_FARTHEST, _FARTHEST)
    return drawn


def _column(angle: str, side: str) -> int:
    for name in (f"{angle}_{side}", f"{angle}_left", angle):
        if name in SIGNALS:
            return SIGNALS.index(name)
    raise ValueError(angle)


def _rounded(values: Floats) -> list[float | None]:
    return [None if isnan(value) else round(value, 1) for value in values.tolist()]
