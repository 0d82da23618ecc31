"""From the outbox to the service: in order, each record once in effect, however often it is sent.

Theory of operation
-------------------
One thread sends the oldest record and goes on only when the service has answered for it. Runs that
stand next to each other go as a batch. Everything can be sent again (a run is known by its event
id, an update says what shall be), so a request without an answer is simply repeated.

====================  =============================================================================
the service says      what becomes of the record
====================  =============================================================================
2xx, in JSON          delivered
400, 413, 422         refused for good: put aside, so that those behind it are not held up. Of a
                      batch nobody knows which was meant: its runs are sent one by one
404 to an update      the same: the service does not know the run
anything else         sent again later, at the pace of `pace`: 401 can be mended by an operator, a
or nothing            404 to a run means a wrong address, 2xx without JSON is somebody else's page
====================  =============================================================================
"""

import json
import logging
import time
from enum import Enum
from threading import Condition, Thread
from typing import Any

from penstock.client.errors import BufferFullError
from penstock.client.exchange import Exchange, Reply, UnreachableError
from penstock.client.outbox import Lease, Outbox, Record
from penstock.client.pace import Pace

logger = logging.getLogger(__name__)

RUNS_PATH = "/api/v1/runs"
_METHODS = {"run": "POST", "update": "PATCH", "commit": "POST"}
_FOR_GOOD = frozenset({400, 413, 422})
# How often a process looks whether another one, which delivers from the same file, has ended; and
# whether another one has put something in.
_LOOK_SECONDS = 1.0


class Verdict(Enum):
    """What an answer means for what was sent."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    SINGLY = "singly"
    LATER = "later"


def judge(records: list[Record], reply: Reply) -> Verdict:
    """Say what an answer means. Pure."""
    document = _document(reply.body)
    if 200 <= reply.status < 300 and document is not None:
        return Verdict.SINGLY if document.get("errors") else Verdict.DELIVERED
    if len(records) > 1:
        return Verdict.SINGLY if reply.status in {*_FOR_GOOD, 404, 405} else Verdict.LATER
    if reply.status in _FOR_GOOD:
        return Verdict.REFUSED
    unknown = reply.status == 404 and records[0].kind != "run" and document is not None
    return Verdict.REFUSED if unknown else Verdict.LATER


def next_sending(waiting: list[Record], *, singly: bool) -> list[Record]:
    """Choose what is sent together of what waits, oldest first. Pure."""
    if singly or waiting[0].kind != "run":
        return waiting[:1]
    together = 0
    while together < len(waiting) and waiting[together].kind == "run":
        together += 1
    return waiting[:together]


class Delivery:
    """The thread that sends, and what it has done."""

    def __init__(self, outbox: Outbox, exchange: Exchange, pace: Pace, batch: int) -> None:
        self._outbox = outbox
        self._exchange = exchange
        self._pace = pace
        self._batch = batch
        self._lease = Lease(outbox.path)
        self._news = Condition()
        self._stirred = False
        self._stopping = False
        # How many of the oldest records are to be sent one by one.
        self._singly = 0
        self.delivered = 0
        self.refused = 0
        self.trouble = ""
        self._thread = Thread(target=self._run, name="penstock-runs", daemon=True)
        self._thread.start()

    def stir(self) -> None:
        """Have it look now, whatever it waits for."""
        with self._news:
            self._stirred = True
            self._news.notify_all()

    def wait_empty(self, seconds: float) -> bool:
        """Wait until nothing waits in the outbox; false when that takes longer."""
        deadline = time.monotonic() + seconds
        with self._news:
            while self._count() != 0:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return False
                self._news.wait(min(left, 0.05))
        return True

    def stop(self, seconds: float) -> None:
        """End the thread, if it ends in time; it ends with the process in any case."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._thread.join(seconds)

    def disown(self) -> None:
        """Let go, in a child after a fork, of what is the parent's."""
        self._lease.release()

    @property
    def stopped(self) -> bool:
        """Say whether the thread has ended."""
        return not self._thread.is_alive()

    # The thread.

    def _run(self) -> None:
        while not self._stopping:
            try:
                pause = self._step()
            except BufferFullError as error:  # the file is in use, or its disk is in trouble
                self.trouble = str(error)
                pause = _LOOK_SECONDS
            except Exception:
                logger.exception("delivery failed; it goes on")
                pause = _LOOK_SECONDS
            self._rest(pause)
        self._exchange.close()
        self._lease.release()

    def _rest(self, seconds: float) -> None:
        with self._news:
            self._news.notify_all()
            if seconds > 0 and not self._stirred and not self._stopping:
                self._news.wait(seconds)
            self._stirred = False

    def _step(self) -> float:
        """Send what is due, and give the time until the next look."""
        if not self._lease.take():
            return _LOOK_SECONDS
        waiting = self._outbox.head(self._batch)
        if not waiting:
            return _LOOK_SECONDS
        sending = next_sending(waiting, singly=self._singly > 0)
        try:
            reply = self._send(sending)
        except UnreachableError as error:
            self.trouble = str(error)
            return self._pace.wait()
        verdict = judge(sending, reply)
        if verdict is Verdict.LATER:
            self.trouble = f"{reply.status}: {_shown(reply.body)}"
            return self._pace.wait(reply.retry_after)
        self._pace.calm()
        if verdict is Verdict.SINGLY:
            self._singly = len(sending)
            return 0.0
        self._singly = max(0, self._singly - len(sending))
        if verdict is Verdict.DELIVERED:
            self._outbox.settle(sending)
            self.delivered += len(sending)
        else:
            detail = _shown(reply.body)
            logger.warning("the service refused a record: %s %s", reply.status, detail)
            self._outbox.refuse(sending[0], reply.status, detail)
            self.refused += 1
            self.trouble = f"{reply.status}: {detail}"
        return 0.0

    def _send(self, sending: list[Record]) -> Reply:
        if len(sending) > 1:
            body = f"[{','.join(record.body for record in sending)}]"
            return self._exchange.ask("POST", f"{RUNS_PATH}/batch", body.encode())
        record = sending[0]
        return self._exchange.ask(_METHODS[record.kind], record.path, record.body.encode())

    def _count(self) -> int:
        try:
            return self._outbox.count()
        except BufferFullError:
            return -1


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _shown(body: bytes) -> str:
    return body[:500].decode(errors="replace")
