"""The demo itself: a service of its own, patients who come and go, and now and then a line of it.

The service is an ordinary one but for two settings: its folder is a temporary one, and its memory
for frames is the smallest there is, so that two hundred patients fill it on any machine. All the
rest (thresholds, budgets, ends) is as it comes.
"""

import re
import signal
import sys
import tempfile
import webbrowser
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import trio

from penstock.bench.patients import Recording
from penstock.bench.scrape import SEEN, parse_metrics
from penstock.bench.servers import RunningServer, ServerSpec, run_server
from penstock.demo.patients import Patient, Tokens, Ward, dev_tokens, new_patient, recordings
from penstock.demo.plan import Phase, Plan
from penstock.dev import read_dev_secrets
from penstock.http.roles import Role

FRAME_MEMORY_BYTES = 4 * 1024 * 1024
_STEP_SECONDS = 0.25
_TELL_SECONDS = 5.0
_FINALS_SECONDS = 30.0
_READING_AT_ONCE = 16
# One of the steady patients, who is shown.
_SHOWN_AFTER_SECONDS = 2.0
# Ctrl-C, a kill, and a terminal that is closed.
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FRAMES = re.compile(r'penstock_frames_total\{.*outcome="(\w+)"')

Tell = Callable[[str], None]


@dataclass(slots=True, frozen=True)
class Summary:
    """What the demo came to. It went well when every end was answered and every final is there."""

    sessions: int
    frames: dict[str, int]
    ends_answered: int
    ends_ms_median: float
    ends_ms_most: float
    finals_found: int
    repetitions: int
    most_stress: float
    unanswered: tuple[str, ...]

    @property
    def well(self) -> bool:
        """Say whether no result was lost."""
        return not self.unanswered and self.finals_found == self.sessions


def run_demo(plan: Plan, *, port: int, open_browser: bool, tell: Tell) -> Summary | None:
    """Run it from beginning to end; None when somebody stopped it. Nothing is left behind."""
    for number in _STOPPING:
        # A signal that was to be ignored, as by nohup, still is.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        return _run(plan, port=port, open_browser=open_browser, tell=tell)
    except KeyboardInterrupt:
        return None


def _run(plan: Plan, *, port: int, open_browser: bool, tell: Tell) -> Summary | None:
    tell("Recording the patients…")
    recorded = recordings(plan.seconds + 5)
    with tempfile.TemporaryDirectory(prefix="penstock-demo-") as folder:
        data_dir = Path(folder) / "data"
        command = [
            sys.executable, "-m", "penstock", "serve", "--dev", "--log-format", "json",
            "--port", str(port), "--data-dir", str(data_dir),
        ]  # fmt: skip
        environ = {
            "PENSTOCK_FRAME_MEMORY_BYTES": str(FRAME_MEMORY_BYTES),
            "PENSTOCK_SHUTDOWN_NOTICE_SECONDS": "0",
        }
        tell("Starting a service of the demo's own…")
        with run_server(ServerSpec("the demo's service", command, environ), None) as server:
            tokens = dev_tokens(read_dev_secrets(data_dir)["user_jwt_secret"])
            show = Show(plan, server, tokens, recorded, tell)
            return trio.run(show.run, open_browser)


class Show:
    """One demo, under way."""

    def __init__(
        self,
        plan: Plan,
        server: RunningServer,
        tokens: Tokens,
        recorded: Sequence[Recording],
        tell: Tell,
    ) -> None:
        host, port = server.address
        self.url = f"http://{host}:{port}"
        self.ward = Ward()
        self._plan = plan
        self._server = server
        self._recorded = recorded
        self._tokens = tokens
        self._tell = tell
        self._admin = tokens.mint(str(uuid4()), str(uuid4()), Role.PLATFORM_ADMIN)
        self._admitted: list[Patient] = []
        self._most_stress = 0.0

    async def run(self, open_browser: bool) -> Summary | None:  # noqa: FBT001  trio passes it so
        """Play it; None when a signal stopped it."""
        heard = [one for one in _STOPPING if signal.getsignal(one) is not signal.SIG_IGN]
        with trio.open_signal_receiver(*heard) as signals:
            async with (
                httpx.AsyncClient(base_url=self.url, timeout=30) as http,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_until_stopped, signals, nursery.cancel_scope)
                summary = await self._play(http, open_browser=open_browser)
                nursery.cancel_scope.cancel()
                return summary
        return None

    async def _play(self, http: httpx.AsyncClient, *, open_browser: bool) -> Summary:
        began = trio.current_time()
        async with trio.open_nursery() as patients:
            told: float | None = None
            phase: Phase | None = None
            while (at := trio.current_time() - began) < self._plan.seconds:
                self._server.check()
                self._admit_or_send_home(self._plan.wanted(at), patients, http)
                if told is None and at >= _SHOWN_AFTER_SECONDS:
                    self._invite(open_browser=open_browser)
                if at >= _SHOWN_AFTER_SECONDS and (told is None or at - told >= _TELL_SECONDS):
                    told = at
                    if self._plan.phase(at) is not phase:
                        phase = self._plan.phase(at)
                        self._tell(f"\n{phase.capitalize()}: {phase.look_at}.")
                    await self._report(at, http)
                await trio.sleep(_STEP_SECONDS)
            self._tell("\nEverybody goes home.")
            for patient in self._admitted:
                patient.leave.set()
        return await self._sum_up(http)

    def _admit_or_send_home(
        self, wanted: int, patients: trio.Nursery, http: httpx.AsyncClient
    ) -> None:
        staying = [one for one in self._admitted if not one.leave.is_set()]
        for _ in range(wanted - len(staying)):
            patient = new_patient(len(self._admitted), self._recorded, self._tokens)
            self._admitted.append(patient)
            patients.start_soon(patient.exercise, self.url, http, self.ward)
        # Who came with the rush goes first; the steady ones came before.
        for patient in staying[: self._plan.patients - 1 : -1][: max(0, len(staying) - wanted)]:
            patient.leave.set()

    def _invite(self, *, open_browser: bool) -> None:
        shown = next(iter(self.ward.here), None)
        console = self._link("/console")
        self._tell(
            f"\nThe operator's console (the link fills in its sign-in, for an hour):\n{console}"
        )
        if shown is not None:
            self._tell(f"\nOne patient, live:\n{self._link(f'/console/live/{shown}')}")
        if open_browser and not webbrowser.open(console):
            self._tell("No browser could be opened here; open the link by hand.")

    def _link(self, path: str) -> str:
        # What is behind the # stays in the browser: the page fills its form with it.
        return f"{self.url}/console/sign-in?{urlencode({'next': path})}#token={self._admin}"

    async def _report(self, at: float, http: httpx.AsyncClient) -> None:
        state = await self._policy(http)
        level = state["stress"]["level"]
        self._most_stress = max(self._most_stress, level)
        frames = await self._frames(http)
        seen = max(1, frames["seen"])
        ends = self.ward.ends_ms
        self._tell(
            f"{at:4.0f} s  {len(self.ward.here):4} patients  "
            f"stress {level:3.0f} ({state['rung']})  "
            f"frames: {frames['seen']:,} came, {100 * frames['shed'] / seen:.1f} % shed, "
            f"{100 * frames['refused'] / seen:.1f} % refused  "
            f"ends: {len(ends)} answered" + (f", slowest {max(ends):.0f} ms" if ends else "")
        )

    async def _policy(self, http: httpx.AsyncClient) -> dict[str, Any]:
        answer = await http.get(
            "/v1/admin/policy", headers={"Authorization": f"Bearer {self._admin}"}
        )
        state: dict[str, Any] = answer.raise_for_status().json()
        return state

    async def _frames(self, http: httpx.AsyncClient) -> dict[str, int]:
        answer = await http.get("/metrics", headers={"Accept": "text/plain"})
        metrics = parse_metrics(answer.raise_for_status().text)
        frames = Counter({"seen": round(metrics[SEEN])})
        for sample, count in metrics.items():
            outcome = _FRAMES.match(sample)
            if outcome:
                frames[outcome[1]] += round(count)
        return frames

    async def _sum_up(self, http: httpx.AsyncClient) -> Summary:
        self._tell("Reading every patient's result back…")
        frames = await self._frames(http)
        found: list[int] = []
        limiter = trio.CapacityLimiter(_READING_AT_ONCE)
        with trio.move_on_after(_FINALS_SECONDS):
            async with trio.open_nursery() as nursery:
                for patient in self.ward.ended:
                    nursery.start_soon(_read_final, http, patient, limiter, found)
        ends = sorted(self.ward.ends_ms)
        return Summary(
            len(self._admitted),
            frames,
            len(ends),
            ends[len(ends) // 2] if ends else 0.0,
            ends[-1] if ends else 0.0,
            len(found),
            sum(found),
            self._most_stress,
            tuple(self.ward.unanswered),
        )


async def _read_final(
    http: httpx.AsyncClient, patient: Patient, limiter: trio.CapacityLimiter, found: list[int]
) -> None:
    headers = {"Authorization": f"Bearer {patient.token}"}
    while True:
        async with limiter:
            answer = await http.get(f"/v1/exercise-sessions/{patient.session_id}", headers=headers)
        session = answer.json()
        if answer.status_code == 200 and session["revision"] and session["status"] == "completed":
            found.append(session["session_metrics"].get("rep_count") or 0)
            return
        # Core takes it from the outbox, a moment after the end was answered.
        await trio.sleep(_STEP_SECONDS)


async def _until_stopped(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
