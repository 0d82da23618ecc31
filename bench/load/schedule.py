"""What each patient does, and when: made from the plan and its seed alone. Pure.

Theory of operation
-------------------
A session begins at its place in the ramp. From then on it has a batch due every interval, with a
jitter that does not add up, so the rate is exact::

    begins + n * interval + jitter * interval * u,   u in [-1, 1]

Whatever would be due while a session is offline is due when it comes back, all at that moment.
The end is due when the next batch would have been, had the run gone on: thus ends come spread over
one interval, right after the run.

A session that reconnects does so once, at any time that leaves an interval on both sides (after
it, one with the jitter of both its ends).

With ends a second, that many sessions end each second once all have begun, every one in its turn,
and a new session goes on in the place of each, at its moments. These ends are due at once, not when
the next batch would have been.

Live clients' ends at the end of the run come at most `CLOSING_ENDS_PER_SECOND` a second, after the
last batch was due, and are of a kind of their own.

Media events come every 1/0.11 seconds, beginning anywhere in the first such period, because a run
that is short against the period would otherwise have too many.

Every session's moments are an iterator, in order of time; the worker merges them. All times are
seconds since second 0.
"""

import random
from collections.abc import Iterator
from itertools import count
from math import inf
from typing import NamedTuple

from penstock.bench.load.plan import (
    CLOSING_ENDS_PER_SECOND,
    HOSTILE,
    Kind,
    check_plan,
    hostile_clients,
)
from penstock.bench.report.models import LoadPlan

# The contract: "~110 events/sec at 1000 concurrent".
MEDIA_PERIOD_SECONDS = 1 / 0.11
HOSTILE_PERIOD_SECONDS = 1.0

# A prime, so that sessions that begin at different places of the table never fall in step.
_JITTERS = 16_381


class Due(NamedTuple):
    """One moment: when the request is due, and from when its data is, earlier in a flush.

    A kind of None is the moment at which the session goes offline. `number` counts the session's
    requests of that kind from 0; for an end it is the number of batches before it. `last` marks
    the last media event, and an end after which a new session takes the place. Hostile clients have
    negative sessions, so that no two moments of one time ever compare further than to their
    session.
    """

    at: float
    session: int
    number: int
    kind: Kind | None
    made_at: float
    last: bool = False


class Schedule:
    """The moments of every session and of every hostile client, both numbered from 0."""

    def __init__(self, plan: LoadPlan, routes: frozenset[Kind]) -> None:
        check_plan(plan)
        self._plan = plan
        self._media = plan.media and Kind.MEDIA in routes
        self._ends = plan.ends and Kind.END in routes
        self.stop = plan.ramp_seconds + plan.seconds
        self.hostile_clients = hostile_clients(plan)
        places = list(range(plan.sessions))
        self._chance("places").shuffle(places)
        self._closing_places = places
        self._begins = [plan.ramp_seconds * place / plan.sessions for place in places]
        reconnecting = round(plan.reconnect_share * plan.sessions)
        self._reconnects = frozenset(
            self._chance("reconnects").sample(range(plan.sessions), reconnecting)
        )
        self._offline_places = self._uniform("offline", plan.sessions)
        self._ending_places = self._ends_in_turn()
        self._phases = self._uniform("phases", plan.sessions)
        self._jitters_from = [int(u * _JITTERS) for u in self._uniform("from", plan.sessions)]
        reach = plan.jitter * plan.interval_seconds
        self._jitters = [reach * (2 * u - 1) for u in self._uniform("jitters", _JITTERS)]

    def moments(self, session: int) -> Iterator[Due]:
        """Give what a session does, in order of time."""
        away, back = self.offline(session) or (inf, inf)
        poses, events = self._pose_times(session), self._media_times(session)
        ends = self._end_times(session)
        pose, event, end = next(poses), next(events, inf), next(ends, inf)
        batches = played = 0
        left = False
        while pose < self.stop or event < self.stop:
            made_at = min(pose, event)
            if end <= made_at:
                if batches:
                    yield Due(end, session, batches, Kind.END, end, last=True)
                    batches = played = 0
                end = next(ends, inf)
                continue
            if made_at >= away and not left:
                left = True
                yield Due(away, session, 0, None, away)
            at = back if away <= made_at < back else made_at
            if pose <= event:
                yield Due(at, session, batches, Kind.POSE, made_at)
                batches += 1
                pose = next(poses)
            else:
                event = next(events, inf)
                yield Due(at, session, played, Kind.MEDIA, made_at, last=event == inf)
                played += 1
        if self._ends and batches and self._plan.live_clients:
            at = self.stop + (self._closing_places[session] + 0.5) / CLOSING_ENDS_PER_SECOND
            yield Due(at, session, batches, Kind.CLOSING, at)
        elif self._ends and batches:
            yield Due(pose, session, batches, Kind.END, pose)

    def hostile(self, client: int) -> Iterator[Due]:
        """Give what a hostile client does: one thing a second, each kind in turn."""
        first = HOSTILE_PERIOD_SECONDS * (client + 0.5) / self.hostile_clients
        for number in count():
            at = first + number * HOSTILE_PERIOD_SECONDS
            if at >= self.stop:
                return
            kind = HOSTILE[(client + number) % len(HOSTILE)]
            yield Due(at, -1 - client, number, kind, at)

    def offline(self, session: int) -> tuple[float, float] | None:
        """Tell from when to when a session is offline; None when it never is."""
        if session not in self._reconnects:
            return None
        plan = self._plan
        earliest = self._begins[session] + plan.interval_seconds
        # No two batches are further apart, so that one at least is due after it left.
        latest = self.stop - plan.offline_seconds - plan.interval_seconds * (1 + 2 * plan.jitter)
        if latest < earliest:
            return None
        away = earliest + (latest - earliest) * self._offline_places[session]
        return away, away + plan.offline_seconds

    def _pose_times(self, session: int) -> Iterator[float]:
        begins, interval = self._begins[session], self._plan.interval_seconds
        jitters, jitters_from = self._jitters, self._jitters_from[session]
        yield begins
        for number in count(1):
            yield begins + number * interval + jitters[(jitters_from + number) % _JITTERS]

    def _ends_in_turn(self) -> list[int]:
        if not (self._ends and self._plan.ends_per_second):
            return []
        places = list(range(self._plan.sessions))
        self._chance("ends").shuffle(places)
        return places

    def _end_times(self, session: int) -> Iterator[float]:
        if not self._ending_places:
            return
        plan = self._plan
        for turn in count(self._ending_places[session], plan.sessions):
            at = plan.ramp_seconds + (turn + 0.5) / plan.ends_per_second
            if at >= self.stop:
                return
            yield at

    def _media_times(self, session: int) -> Iterator[float]:
        if not self._media:
            return
        first = self._begins[session] + self._phases[session] * MEDIA_PERIOD_SECONDS
        for number in count():
            at = first + number * MEDIA_PERIOD_SECONDS
            if at >= self.stop:
                return
            yield at

    def _uniform(self, name: str, number: int) -> list[float]:
        chance = self._chance(name)
        return [chance.random() for _ in range(number)]

    def _chance(self, name: str) -> random.Random:
        # One source for each use: another share of reconnects leaves all else as it was.
        return random.Random(f"{self._plan.seed} {name}")  # noqa: S311  it is to be repeatable
