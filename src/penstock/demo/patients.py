"""The demo's patients: each starts a session, sends what a camera would see of them, and ends it.

They are ordinary clients of an ordinary service: the session is begun at Core with the patient's
own token, frames go out once a second as they come, and what the service says is honoured.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import trio

from penstock.bench.errors import BenchError
from penstock.bench.patients import Exercise, Recording, draw_traits, record
from penstock.client import NotTakenError, RefusedError, SessionClient
from penstock.http.roles import Role
from penstock.jwts import mint_user_jwt
from penstock.setting_fields import Settings

FPS = 15
_RECORDINGS = 12
_TOKEN_SECONDS = 3600
# Of a patient whose end is not answered by then, the demo says so.
_PATIENCE_SECONDS = 20.0
# A machine that is busy with something else may keep one waiting.
_ATTEMPTS = 5
_CLINICS = tuple(str(uuid4()) for _ in range(3))


def recordings(seconds: float) -> list[Recording]:
    """Record what the patients do, long enough for the whole demo."""
    kinds = list(Exercise)
    return [
        record(draw_traits(seed, kinds[seed % len(kinds)]), seconds=seconds, fps=FPS, seed=seed)
        for seed in range(_RECORDINGS)
    ]


@dataclass(slots=True, frozen=True)
class Tokens:
    """Mints tokens that the demo's service takes."""

    secret: bytes
    issuer: str
    audience: str

    def mint(self, principal_id: str, org_id: str, role: Role) -> str:
        """Give a person's token, for an hour."""
        now = int(time.time())
        return mint_user_jwt(
            self.secret,
            principal_id=principal_id,
            org_id=org_id,
            role=role,
            consent_level=3,
            issuer=self.issuer,
            audience=self.audience,
            issued_unix=now,
            expires_unix=now + _TOKEN_SECONDS,
        )


def dev_tokens(secret: str) -> Tokens:
    """Mint with the secret of a service that was started with --dev."""
    fields = Settings.model_fields
    return Tokens(
        secret.encode(), str(fields["jwt_issuer"].default), str(fields["jwt_audience"].default)
    )


@dataclass(slots=True)
class Ward:
    """All patients of the demo: who is there, and what came of those who left."""

    here: dict[str, "Patient"] = field(default_factory=dict)
    ends_ms: list[float] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    ended: list["Patient"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Patient:
    """One patient. `leave` sends them home."""

    recording: Recording
    token: str
    session_id: str = ""
    leave: trio.Event = field(default_factory=trio.Event)

    async def begin(self, http: httpx.AsyncClient) -> str:
        """Begin a session at Core, and give the token for its telemetry."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await http.post("/v1/exercise-sessions", json={}, headers=headers)
        for _ in range(_ATTEMPTS - 1):
            if answer.status_code < 408:
                break
            await trio.sleep(1.0)
            answer = await http.post("/v1/exercise-sessions", json={}, headers=headers)
        if answer.status_code != 200:
            raise BenchError(f"no session could be begun: {answer.status_code} {answer.text}")
        begun = answer.json()
        self.session_id = begun["session_id"]
        return str(begun["telemetry_token"])

    async def exercise(self, url: str, http: httpx.AsyncClient, ward: Ward) -> None:
        """Exercise until `leave` or the recording's end, then end the session."""
        telemetry = await self.begin(http)
        width, height = self.recording.resolution
        meta = {"camera_resolution": f"{width}x{height}"}
        async with SessionClient(url, self.session_id, telemetry, fps=FPS, meta=meta) as client:
            ward.here[self.session_id] = self
            try:
                await self._send(client)
                began = time.perf_counter()
                await client.end("completed", patience_seconds=_PATIENCE_SECONDS)
                ward.ends_ms.append((time.perf_counter() - began) * 1000)
                ward.ended.append(self)
            except (NotTakenError, RefusedError) as error:
                ward.unanswered.append(f"{self.session_id}: {error}")
            finally:
                del ward.here[self.session_id]

    async def _send(self, client: SessionClient) -> None:
        times: Sequence[int] = self.recording.timestamps_ms.tolist()
        began, sent = trio.current_time(), 0
        while sent < len(times):
            with trio.move_on_after(1.0):
                await self.leave.wait()
            now_ms = (trio.current_time() - began) * 1000
            while sent < len(times) and times[sent] <= now_ms:
                client.add_frame(self.recording.landmarks[sent], times[sent])
                sent += 1
            if self.leave.is_set():
                return
            await client.send()


def new_patient(number: int, recorded: Sequence[Recording], tokens: Tokens) -> Patient:
    """Admit another patient to one of the clinics."""
    token = tokens.mint(str(uuid4()), _CLINICS[number % len(_CLINICS)], Role.PATIENT)
    return Patient(recorded[number % len(recorded)], token)
