"""Sending: tried again, split, and believed only when the answer adds up."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.engine.sync.ack import SyncAck, no_counts
from penstock.engine.sync.canonical import canonical, digest
from penstock.engine.sync.kinds import RecordKind
from penstock.errors import StartupError
from penstock.sync.batches import Batch, make_batches
from penstock.sync.collector import send_all
from penstock.sync.folder import LocalRecord
from penstock.sync.sender import ATTEMPTS, Sender, SendError
from penstock.sync.store import open_store
from sync_rig import summary

Reply = tuple[int, dict[str, str], bytes]


class FakeService:
    """A small real HTTP server whose answers the test gives."""

    def __init__(self, answer: Callable[[dict[str, Any]], Reply]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.pauses: list[float] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                status, headers, content = answer(body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def sender(self) -> Sender:
        url = f"http://127.0.0.1:{self.server.server_port}"
        return Sender(url, "pds_x", sleep=self.pauses.append)


@pytest.fixture
def serving() -> Iterator[Callable[..., FakeService]]:
    """Give the starter of servers; they are gone after the test."""
    started: list[FakeService] = []

    def start(answer: Callable[[dict[str, Any]], Reply]) -> FakeService:
        started.append(FakeService(answer))
        return started[-1]

    yield start
    for service in started:
        service.server.shutdown()
        service.server.server_close()


def ack(body: dict[str, Any], **changes: Any) -> Reply:
    accepted = {kind.plural: len(body.get(kind.plural, [])) for kind in RecordKind}
    plain = SyncAck(body["batch_id"], [], accepted=accepted).plain() | changes
    return 200, {}, orjson.dumps(plain)


def local(count: int) -> list[LocalRecord]:
    made = []
    for number in range(count):
        body = canonical(summary(number))
        name = summary(number)["summary_id"]
        made.append(LocalRecord(RecordKind.SUMMARY, name, digest(body), body))
    return made


def one_batch(count: int) -> Batch:
    return Batch("batch_1", "dev_1", "2026-06-09T00:00:00Z", tuple(local(count)))


def test_what_may_help_is_tried_again_under_the_same_id(serving: Any) -> None:
    """5xx and 429 after their Retry-After, or after growing pauses; then it is taken."""
    replies: list[Reply] = [
        (503, {"Retry-After": "7"}, b""),
        (429, {"Retry-After": "3"}, b'{"error":"rate"}'),
        (502, {}, b"<html>"),
        (500, {"Retry-After": "soon"}, b""),
    ]
    service = serving(lambda body: replies.pop(0) if replies else ack(body))
    with service.sender() as sender:
        (sent,) = sender.send(one_batch(2))
    assert sent.ack.accepted["summaries"] == 2
    assert [body["batch_id"] for body in service.bodies] == ["batch_1"] * 5
    assert service.pauses[:2] == [7.0, 3.0]
    assert 0 < service.pauses[2] < service.pauses[3] * 4


@pytest.mark.parametrize("told", [1, None, "another"])
def test_what_was_refused_is_not_taken_for_sent(serving: Any, tmp_path: Path, told: Any) -> None:
    """Of a refusal without an id nobody can say whose it is: then none of its kind was sent."""
    batch = one_batch(3)
    names = [record.record_id for record in batch.records]
    refused = names[told] if isinstance(told, int) else told
    rejected = [{"kind": "summary", "id": refused, "reason": "x"}]
    accepted = no_counts() | {"summaries": 2}
    service = serving(lambda body: ack(body, accepted=accepted, rejected=rejected))
    with open_store(tmp_path / "state") as store, service.sender() as sender:
        report = send_all([batch], sender, store, "http", "there")
        noted = {name for _, name in store.sent("http", "there")}
    assert len(report.rejected) == 1
    assert noted == ({names[0], names[2]} if told == 1 else set())


def test_trying_ends(serving: Any) -> None:
    """After some attempts, or at once where the service says to come back much later."""
    service = serving(lambda _: (503, {}, b'{"error":"down","message":"for now"}'))
    with service.sender() as sender, pytest.raises(SendError, match=r"503 down: for now"):
        sender.send(one_batch(1))
    assert len(service.bodies) == ATTEMPTS
    later = serving(lambda _: (503, {"Retry-After": "86400"}, b""))
    with later.sender() as sender, pytest.raises(SendError, match="after 1 attempts"):
        sender.send(one_batch(1))
    with (
        Sender("http://127.0.0.1:9", "pds_x", sleep=lambda _: None) as sender,
        pytest.raises(SendError, match="ConnectError"),
    ):
        sender.send(one_batch(1))


def test_a_batch_that_is_too_large_is_sent_in_halves(serving: Any) -> None:
    """Again and again, until each part is taken; every record is in exactly one."""

    def answer(body: dict[str, Any]) -> Reply:
        if len(body["summaries"]) > 2:
            return 413, {}, b'{"error":"sync_batch_too_large"}'
        return ack(body)

    service = serving(answer)
    with service.sender() as sender:
        sent = sender.send(one_batch(5))
    names = [record.record_id for part in sent for record in part.batch.records]
    assert names == [record.record_id for record in local(5)]
    assert [part.batch.batch_id for part in sent] == [
        "batch_1_part_1_of_2",
        "batch_1_part_2_of_2_part_1_of_2",
        "batch_1_part_2_of_2_part_2_of_2",
    ]
    assert service.pauses == []


def test_a_record_that_is_too_large_alone_is_named(serving: Any) -> None:
    """It cannot be split, and trying again would not help."""
    service = serving(lambda _: (413, {}, b""))
    with service.sender() as sender, pytest.raises(SendError, match=local(1)[0].record_id):
        sender.send(one_batch(2))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409])
def test_a_refusal_is_final_and_told(serving: Any, status: int) -> None:
    """In the service's words, and without following it elsewhere."""
    headers = {"Location": "http://127.0.0.1:9/"}
    service = serving(lambda _: (status, headers, b'{"error":"so","message":"it is"}'))
    with service.sender() as sender, pytest.raises(SendError, match=f"{status} so: it is"):
        sender.send(one_batch(1))
    assert len(service.bodies) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_id": "another"},
        {"schema_version": "sync_ack.v2"},
        {"rejected": None},
        {"accepted": no_counts()},
        {"accepted": no_counts() | {"summaries": -2}},
        {"duplicates": no_counts() | {"summaries": 1}},
        {"duplicates": {}},
    ],
    ids=str,
)
def test_an_answer_that_does_not_add_up_is_not_believed(
    serving: Any, changes: dict[str, Any]
) -> None:
    """Every submitted record must be accounted for, in this batch's acknowledgement."""
    service = serving(lambda body: ack(body, **changes))
    with service.sender() as sender, pytest.raises(SendError, match="batch_1"):
        sender.send(one_batch(2))


def test_batches_are_bounded_by_records_and_bytes() -> None:
    """No bound is passed but by a single record, and the order stays."""
    records = local(7)
    size = len(records[0].body) + 1
    bounds = {"device_id": "d", "unix_ms": 5, "created_at": "c"}
    by_count = make_batches(records, most_records=3, most_bytes=10**9, **bounds)  # type: ignore[arg-type]
    assert [len(part.records) for part in by_count] == [3, 3, 1]
    assert [part.batch_id for part in by_count] == [f"batch_5_part_{n}_of_3" for n in (1, 2, 3)]
    by_bytes = make_batches(records, most_records=99, most_bytes=512 + 2 * size, **bounds)  # type: ignore[arg-type]
    assert [len(part.records) for part in by_bytes] == [2, 2, 2, 1]
    assert all(len(part.body()) <= 512 + 2 * size for part in by_bytes)
    tiny = make_batches(records, most_records=99, most_bytes=1, **bounds)  # type: ignore[arg-type]
    assert [len(part.records) for part in tiny] == [1] * 7
    (whole,) = make_batches(records, most_records=99, most_bytes=10**9, **bounds)  # type: ignore[arg-type]
    assert whole.batch_id == "batch_5"


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://x:y", "http://x/?q=1"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(StartupError, match="--url"):
        Sender(url, "pds_x")


def test_a_token_with_a_line_break_is_told() -> None:
    """Nothing of it reaches a header."""
    with pytest.raises(StartupError, match="token"):
        Sender("http://127.0.0.1:9", "pds_x\r\nX: y")
