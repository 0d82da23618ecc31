"""A whole service erases a person: everywhere, for good, and whatever interrupts it."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import trio
from pydantic import SecretStr

from penstock.engine import wire
from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.core.grant_records import ConsentEntry
from penstock.engine.core.records import ExerciseSessionEntry
from penstock.engine.endings import Ended, SessionUnknown
from penstock.engine.erasure_records import Erasure, ErasureOf, Holdings, HoldingsOf, OpenErasures
from penstock.engine.erasures import SessionsLiveError
from penstock.engine.finals import ClientStatus, EndRequest
from penstock.engine.inbox import Arrival
from penstock.engine.ports import Purpose
from penstock.engine.receipts import Lane
from penstock.engine.records import AuditEntry, AuditPage
from penstock.engine.session import Admitted, Refusal
from penstock.service import Service, open_service
from penstock.settings import Settings

ORG, ADA = (str(UUID(int=n)) for n in (8, 9))
ANN, BOB = "aaaaaaaa-0000-4000-8000-00000000000a", "bbbbbbbb-0000-4000-8000-00000000000b"
NOTHING = Holdings(0, 0, 0)
SECRET = SecretStr("s" * 40)


def settings(data_dir: Path, **changes: Any) -> Settings:
    plain: dict[str, Any] = {
        "data_dir": data_dir,
        "port": 0,
        "session_secret": SECRET,
        "user_jwt_secret": SecretStr("u" * 40),
        "service_jwt_secret": SecretStr("v" * 40),
        "spool_flush_seconds": 0.02,
    }
    return Settings(**(plain | changes))


def identity(session: int, person: str = ANN) -> SessionIdentity:
    return SessionIdentity(str(UUID(int=session)), person, ORG)


def arrival(start_ms: int = 0) -> Arrival:
    """Make what a batch of ten frames is once it has been read."""
    shape = (10, wire.LANDMARKS, wire.LANDMARK_VALUES)
    member = wire.encode(np.full(shape, 0.5), list(range(start_ms, start_ms + 1000, 100)), level=1)
    return Arrival(wire.decode(member), int(time.time() * 1000))


END = EndRequest(ClientStatus.COMPLETED, 1_750_000_000_000)


async def stream(service: Service, session: int, person: str = ANN) -> None:
    assert isinstance(await service.sessions.offer(identity(session, person), arrival()), Admitted)


async def end(service: Service, session: int, person: str = ANN) -> None:
    await stream(service, session, person)
    assert isinstance(await service.sessions.end(identity(session, person), END), Ended)


async def enter(service: Service, *entries: Any) -> None:
    for entry in entries:
        answer: Any = await service.writer.enter_nowait(entry, Lane.DURABLE).wait()
        assert answer.repeated is False


def consent(person: str) -> ConsentEntry:
    return ConsentEntry(ORG, person, frozenset(Purpose), 1, person)


async def live(service: Service) -> None:
    """Have two people with sessions that ended, and one of each that only began."""
    for person, numbers in ((ANN, (1, 2)), (BOB, (11, 12))):
        for number in numbers:
            await end(service, number, person)
        begun = ExerciseSessionEntry(str(UUID(int=numbers[0] + 5)), ORG, person, "squat", 1)
        audit = AuditEntry(1, person, "consent.set", f"principal:{person}", {"of": person})
        await enter(service, consent(person), begun, audit)


async def finished(service: Service, erasure: Erasure | None) -> Erasure:
    """Wait until an erasure is done and the ledger has been scrubbed after it."""
    assert erasure is not None
    erasures = service.operations.erasures
    with trio.fail_after(30):
        while True:
            found = await erasures._ledger.read(ErasureOf(erasure.erasure_id))
            assert found is not None
            if found.done_unix_ms is not None and erasures.statistics().under_way == 0:
                return found
            await trio.sleep(0.01)


def where(folder: Path, *names: str) -> list[str]:
    """Give the files that have one of the names in them, or are called so."""
    wanted = [name.encode() for name in names]
    return [
        str(path)
        for path in folder.rglob("*")
        if any(name in str(path) for name in names)
        or (path.is_file() and any(one in path.read_bytes() for one in wanted))
    ]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Give the settings of each kind of ledger."""
    if request.param == "sqlite":
        yield {}
        return
    server = request.getfixturevalue("postgres_server")
    with server.database() as name:
        yield {"database_url": SecretStr(server.url(name))}


async def test_everything_of_a_person_goes_and_nothing_of_anybody_else(
    tmp_path: Path, database: dict[str, Any]
) -> None:
    """Rows, replays, spool files, sessions that live; late frames and ends find nothing."""
    folder = tmp_path / "data"
    async with open_service(settings(folder, **database), dev=True) as service:
        erasures = service.operations.erasures
        ledger = erasures._ledger
        await live(service)
        await stream(service, 3)
        await stream(service, 13, BOB)
        await trio.sleep(0.1)  # their frames are in files
        found = await erasures.look(ANN)
        assert found.live == 1
        assert found.ledger.sessions == 3
        with pytest.raises(SessionsLiveError):
            await erasures.begin(ANN, ADA, force=False)
        assert await ledger.read(OpenErasures()) == []

        done = await finished(service, await erasures.begin(ANN, ADA, force=True))
        assert (done.sessions, done.blobs, done.files) == (4, 2, 1)
        assert (done.principal_id, done.audits) == (None, 1)
        assert await ledger.read(HoldingsOf(ANN)) == NOTHING
        bob = await ledger.read(HoldingsOf(BOB))
        assert (bob.sessions, bob.consents) == (3, 1)

        for session in (1, 3):
            late = await service.sessions.offer(identity(session), arrival(5000))
            assert isinstance(late, Refusal)
            assert late.reason.value == "session_finalized"
            assert isinstance(await service.sessions.end(identity(session), END), SessionUnknown)
        assert isinstance(await service.sessions.end(identity(13, BOB), END), Ended)
        told = [row.entry for row in await ledger.read(AuditPage(20))]
        assert {entry.action for entry in told} >= {"erasure.asked", "erasure.done"}
        assert not any(ANN in str(entry) for entry in told)

        sessions = [str(UUID(int=n)) for n in (1, 2, 3)]
        assert where(folder, ANN) == []
        assert [path for path in where(folder, *sessions) if "ledger" not in path] == []
        blobs = where(folder / "blobs", str(UUID(int=11)), str(UUID(int=12)))
        assert len(blobs) == 2
    async with open_service(settings(folder, **database), dev=True) as service:
        # It is the ledger that knows, not this process's memory.
        late = await service.sessions.offer(identity(2), arrival(9000))
        assert isinstance(late, Refusal)
        assert isinstance(await service.sessions.end(identity(2), END), SessionUnknown)
        assert where(folder, ANN) == []


class CrashError(Exception):
    """The process dies here."""


@dataclass(slots=True, eq=False)
class Mine:
    """Goes off at the so manieth step of an erasure, before it or after it."""

    step: int
    after: bool
    steps: list[str] = field(default_factory=list)

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        self.steps.append(name)
        due = len(self.steps) == self.step
        if due and not self.after:
            raise CrashError
        yield
        if due:
            raise CrashError


class Mined:
    """A part of the service that steps on a mine with each call of some of its methods."""

    def __init__(self, part: Any, mine: Mine, *names: str) -> None:
        self._part, self._mine, self._names = part, mine, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name not in self._names:
            return found

        async def stepped(*given: Any, **named: Any) -> Any:
            with self._mine.around(name):
                return await found(*given, **named)

        return stepped


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_step_loses_nothing_of_it(tmp_path: Path, *, after: bool) -> None:
    """Before or after each commit, deletion and removal: the next process brings it to its end."""
    for step in count(1):
        folder = tmp_path / str(step)
        mine = Mine(step, after)
        crashed = False
        try:
            async with mined_service(folder, mine) as service:
                erasures = service.operations.erasures
                await finished(service, await erasures.begin(ANN, ADA, force=True))
        except* CrashError:
            crashed = True
        if not crashed:
            assert len(mine.steps) < step
            assert {"enter", "delete", "files", "scrub"} <= set(mine.steps)
            break
        async with open_service(settings(folder), dev=True) as service:
            ledger = service.operations.erasures._ledger
            with trio.fail_after(30):
                while await ledger.read(OpenErasures()):  # noqa: ASYNC110 - a task
                    await trio.sleep(0.01)
                while where(folder, ANN):  # noqa: ASYNC110 - and the disk
                    await trio.sleep(0.01)
            assert await ledger.read(HoldingsOf(ANN)) == NOTHING
            assert (await ledger.read(HoldingsOf(BOB))).sessions == 1
            assert len(where(folder / "blobs", str(UUID(int=11)))) == 1
            assert where(folder / "blobs", str(UUID(int=1))) == []


@asynccontextmanager
async def mined_service(folder: Path, mine: Mine) -> AsyncIterator[Service]:
    """Open a service with something to erase, whose erasures step on a mine."""
    async with open_service(settings(folder), dev=True) as service:
        await end(service, 1)
        await end(service, 11, BOB)
        await stream(service, 3)
        audit = AuditEntry(1, ANN, "consent.set", f"principal:{ANN}", {})
        await enter(service, consent(ANN), audit)
        erasures = service.operations.erasures
        removed, entered = erasures._run_blocking, erasures._enter

        async def enter_step(entry: Any) -> Any:
            with mine.around("enter"):
                return await entered(entry)

        async def files_step(work: Callable[..., Any], *given: Any) -> Any:
            with mine.around("files"):
                return await removed(work, *given)

        erasures._enter = enter_step  # type: ignore[method-assign]
        erasures._run_blocking = files_step
        erasures._blobs = Mined(erasures._blobs, mine, "delete")  # type: ignore[assignment]
        erasures._ledger = Mined(erasures._ledger, mine, "scrub")  # type: ignore[assignment]
        yield service
