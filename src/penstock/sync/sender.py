"""Batches to a service over HTTP: tried again where that may help, split where one is too large.

A batch keeps its id over its attempts, so that one whose answer was lost is not taken twice. Its
acknowledgement is checked before anything is taken for sent.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

import httpx
import orjson
from pydantic import ValidationError

from penstock.dev import is_loopback
from penstock.engine.sync.ack import Counts, SyncAck
from penstock.engine.sync.kinds import RecordKind
from penstock.errors import StartupError
from penstock.http.sync.ack_model import Ack
from penstock.sync.batches import Batch

BATCHES_PATH = "/api/sync/batches"
STATUS_PATH = "/api/sync/status"
ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# A service that says to wait longer is not waited for.
_MOST_PATIENCE_SECONDS = 300.0
_TIMEOUT_SECONDS = 60.0
_LONGEST_SHOWN = 200
_TOO_LARGE: Final = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class SendError(Exception):
    """Nothing more can be sent. The message is one line."""


@dataclass(slots=True, frozen=True)
class Sent:
    """A batch that was taken, and its acknowledgement."""

    batch: Batch
    ack: SyncAck


class Sender:
    """Sends to one service, with one token."""

    def __init__(
        self, base_url: str, token: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._sleep = sleep
        try:
            url = httpx.URL(base_url.rstrip("/").removesuffix(BATCHES_PATH))
        except httpx.InvalidURL:
            raise StartupError(f"--url: {base_url!r}: it is no URL") from None
        if url.scheme not in {"http", "https"} or not url.host or url.query:
            raise StartupError(f"--url: {base_url!r}; it must be such as https://sync.example")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise StartupError("the token is none: it has characters that no token has")
        self._client = httpx.Client(
            base_url=url,
            # A proxy of the environment is for what lies beyond this machine.
            trust_env=not is_loopback(url.host),
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, batch: Batch) -> list[Sent]:
        """Send a batch, in halves where it is too large; SendError when that fails."""
        answer = self._ask("POST", BATCHES_PATH, batch.body())
        if answer.status_code == _TOO_LARGE:
            if len(batch.records) < 2:
                named = ", ".join(f"{one.kind.value} {one.record_id}" for one in batch.records)
                raise SendError(f"{named}: too large for the service")
            return [sent for half in batch.halves() for sent in self.send(half)]
        if not answer.is_success:
            raise SendError(f"the service refuses {batch.batch_id}: {_told(answer)}")
        return [Sent(batch, _checked(batch, answer))]

    def remote_counts(self) -> Counts:
        """Ask how many records of each kind the service has of this device."""
        answer = self._ask("GET", f"{STATUS_PATH}?view=preflight", None)
        if not answer.is_success:
            raise SendError(f"the service does not tell its counts: {_told(answer)}")
        try:
            counts: dict[str, Any] = orjson.loads(answer.content)["mirrorCounts"]
            return {
                kind.plural: int(counts[kind.plural])
                for kind in RecordKind
                if kind.plural in counts
            }
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise SendError("the service's status has no mirrorCounts") from None

    def _ask(self, method: str, path: str, body: bytes | None) -> httpx.Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._client.request(
                    method, path, content=body, headers={"Content-Type": "application/json"}
                )
            except httpx.HTTPError as error:
                why, wait = type(error).__name__, None
            else:
                status = answer.status_code
                if status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS:
                    return answer
                why, wait = _told(answer), _retry_after(answer)
            if attempt == ATTEMPTS or (wait or 0) > _MOST_PATIENCE_SECONDS:
                raise SendError(
                    f"the service cannot be reached or used after {attempt} attempts: {why}"
                )
            self._sleep(_pause(attempt) if wait is None else wait)


def _checked(batch: Batch, answer: httpx.Response) -> SyncAck:
    try:
        ack = Ack.model_validate_json(answer.content).read()
    except ValidationError:
        raise SendError(f"the answer to {batch.batch_id} is no acknowledgement") from None
    if ack.batch_id != batch.batch_id:
        raise SendError(f"the answer to {batch.batch_id} is another batch's")
    for kind in RecordKind:
        rejected = sum(one.kind == kind.value for one in ack.rejected)
        told = ack.accepted[kind.plural] + ack.duplicates[kind.plural] + rejected
        if told != batch.counts[kind.plural]:
            raise SendError(
                f"the answer to {batch.batch_id} accounts for {told} {kind.plural}, "
                f"not {batch.counts[kind.plural]}"
            )
    return ack


def _pause(attempt: int) -> float:
    """Give a pause, longer each time, and not the same as everybody else's."""
    longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
    return float(longest * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _told(answer: httpx.Response) -> str:
    try:
        plain = orjson.loads(answer.content)
        words = [str(plain[name]) for name in ("error", "message") if name in plain]
    except (orjson.JSONDecodeError, TypeError):
        words = []
    said = ": ".join(words).replace("\n", " ")[:_LONGEST_SHOWN]
    return f"{answer.status_code} {said}".strip()
