"""The client over real sockets: for Trio programs, and for those that block.

Both keep to the same plan, which is `talk`'s. Nothing is sent behind the caller's back: the Trio
form has `run` for a program that wants a batch sent each second.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
import numpy.typing as npt
import trio

from penstock.client.talk import (
    Ask,
    BatchSent,
    Pause,
    Reply,
    SessionEnd,
    SessionTalk,
    Steps,
    Told,
    reply_of,
)

T = TypeVar("T")

_TIMEOUT_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0


class _Frames:
    """What both forms do without waiting."""

    _talk: SessionTalk

    def add_frame(self, landmarks: npt.ArrayLike, timestamp_ms: int) -> None:
        """Take a frame: 33 landmarks of x, y, z, visibility, and the time since the session began.

        It is copied. ValueError for another shape, or a time before the last frame's.
        """
        frames = self._talk.frames
        frames.add(landmarks, timestamp_ms, full_because=self._talk.full_because)

    def drop_frames(self, frames: int, reason: str) -> None:
        """Say that frames could not be made: `cpu`, `camera`, `hidden` or `other`."""
        self._talk.frames.never_made(frames, reason)

    @property
    def waiting(self) -> int:
        """Count the frames that are not the service's yet."""
        return len(self._talk.frames)


class SessionClient(_Frames):
    """One session's client, for Trio. A context manager: leaving it closes its connections."""

    def __init__(
        self,
        url: str,
        session_id: str,
        token: str,
        *,
        renew_token: Callable[[], Awaitable[str]] | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        **told: Unpack[Told],
    ) -> None:
        """Speak for a session. `renew_token` is asked for a token before this one expires."""
        renews = renew_token is not None
        self._talk = SessionTalk(session_id, token, now=trio.current_time, renews=renews, **told)
        self._renew = renew_token
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_seconds)
        # Batches must come in their order.
        self._sending = trio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def send(self) -> BatchSent:
        """Send the oldest frames, unless the service said to wait; RefusedError when refused."""
        async with self._sending:
            return await self._play(self._talk.send())

    async def run(self, batch_seconds: float = 1.0) -> None:
        """Send what there is each second, until cancelled; RefusedError when it is refused."""
        while True:
            await trio.sleep(batch_seconds)
            await self.send()

    async def tell(
        self,
        event: str,
        media_id: str,
        data: Mapping[str, Any] | None = None,
        *,
        media_type: str = "video",
        at_unix: float | None = None,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> str:
        """Tell of a media event until it is stored, and give its id; at the latest NotTakenError.

        The time on the frames' clock is added to its data.
        """
        return await self._play(
            self._talk.tell(
                event,
                media_id,
                data or {},
                media_type=media_type,
                at_unix=at_unix,
                patience=patience_seconds,
            )
        )

    async def end(
        self,
        status: str,
        *,
        exercise_id: str | None = None,
        ended_unix: float | None = None,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> SessionEnd:
        """Send what is left, then the end, until it is answered; at the latest NotTakenError.

        Asking again with the same status is always right.
        """
        async with self._sending:
            return await self._play(
                self._talk.end(
                    status,
                    exercise_id=exercise_id,
                    ended_unix=ended_unix,
                    patience=patience_seconds,
                )
            )

    async def _play(self, steps: Steps[T]) -> T:
        answer: Reply | str | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Ask):
                answer = await self._ask(step)
            elif isinstance(step, Pause):
                await trio.sleep(step.seconds)
                answer = None
            else:
                assert self._renew is not None  # noqa: S101 - for the type checkers
                answer = await self._renew()

    async def _ask(self, ask: Ask) -> Reply | None:
        try:
            got = await self._http.post(ask.path, headers=ask.headers, content=ask.body)
        except httpx.TransportError:
            return None
        return reply_of(got.status_code, got.headers, got.content)


class BlockingSessionClient(_Frames):
    """One session's client for programs without Trio. For one thread at a time."""

    def __init__(
        self,
        url: str,
        session_id: str,
        token: str,
        *,
        renew_token: Callable[[], str] | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        **told: Unpack[Told],
    ) -> None:
        """Speak for a session. `renew_token` is asked for a token before this one expires."""
        renews = renew_token is not None
        self._talk = SessionTalk(session_id, token, now=time.monotonic, renews=renews, **told)
        self._renew = renew_token
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def send(self) -> BatchSent:
        """As `SessionClient.send`."""
        return self._play(self._talk.send())

    def tell(
        self,
        event: str,
        media_id: str,
        data: Mapping[str, Any] | None = None,
        *,
        media_type: str = "video",
        at_unix: float | None = None,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> str:
        """As `SessionClient.tell`."""
        return self._play(
            self._talk.tell(
                event,
                media_id,
                data or {},
                media_type=media_type,
                at_unix=at_unix,
                patience=patience_seconds,
            )
        )

    def end(
        self,
        status: str,
        *,
        exercise_id: str | None = None,
        ended_unix: float | None = None,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> SessionEnd:
        """As `SessionClient.end`."""
        return self._play(
            self._talk.end(
                status,
                exercise_id=exercise_id,
                ended_unix=ended_unix,
                patience=patience_seconds,
            )
        )

    def _play(self, steps: Steps[T]) -> T:
        answer: Reply | str | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Ask):
                answer = self._ask(step)
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
                answer = None
            else:
                assert self._renew is not None  # noqa: S101 - for the type checkers
                answer = self._renew()

    def _ask(self, ask: Ask) -> Reply | None:
        try:
            got = self._http.post(ask.path, headers=ask.headers, content=ask.body)
        except httpx.TransportError:
            return None
        return reply_of(got.status_code, got.headers, got.content)
