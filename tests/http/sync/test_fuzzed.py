"""Bodies that no client would send: an acknowledgement or a refusal, and nothing half stored."""

import copy
import random
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.sync.ack import no_counts
from penstock.engine.sync.kinds import RecordKind
from penstock.engine.sync.records import RecordBodies
from penstock.engine.sync.sums import Deltas, add_share, share_of
from penstock.http.plain_errors import PlainError
from penstock.http.sync.reading import ReadBatch, read_batch
from penstock.ledgers import open_ledger
from sync_rig import all_sums, batch, event, example, source, summary

_SCALARS: list[Any] = [
    None, True, 0, -1, 5.0, 1e300, 2**63, 2**64 - 1, "", "x", "\0", "é" * 300, [], {}, [[]],
    "2026-06-09T00:00:00Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", {"a": {}},
]  # fmt: skip
_JSON = st.recursive(
    st.sampled_from(_SCALARS) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
_NAMES = [*example("day"), *(name for name in summary()), "summary_id", "event_id", "usage"]


def spoil(chance: random.Random, value: Any) -> Any:
    """Change a few places of a document to something else."""
    made = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        inner = made
        while inner and isinstance(inner, dict | list):
            key = chance.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            if chance.random() < 0.3 or not isinstance(inner[key], dict | list):
                inner[key] = chance.choice(_SCALARS)
                break
            inner = inner[key]
    return made


async def test_whatever_is_sent_is_acknowledged_or_refused(collect: Any) -> None:
    """Never a 500; every record is accounted for, and the sums stay those of what is stored."""
    chance = random.Random(11)  # noqa: S311 - the same bodies in every run
    whole = batch(summaries=[summary(n) for n in range(3)], events=[event(1)], sources=[source()])
    statuses = set()
    async with collect() as collector:
        for number in range(250):
            document = spoil(chance, whole | {"batch_id": f"b{number // 2}"})
            body = orjson.dumps(document)
            if number % 10 == 0:
                cut = chance.randrange(len(body))
                body = body[:cut] + bytes([chance.randrange(256)]) + body[cut + 1 :]
            answer = await collector.client.post("/api/sync/batches", content=body)
            statuses.add(answer.status_code)
            if answer.status_code != 200:
                assert answer.status_code in {400, 403, 409}, answer.text
                assert len(answer.content) < 200
                continue
            ack, sent = answer.json(), orjson.loads(body)
            for kind in RecordKind:
                counted = ack["accepted"][kind.plural] + ack["duplicates"][kind.plural]
                counted += sum(one["kind"] == kind for one in ack["rejected"])
                assert counted == len(sent.get(kind.plural, []))
        assert statuses >= {200, 400, 409}
        status = await collector.get("status")
        settings = collector.service.settings
    async with open_ledger(settings) as ledger:
        user = "00000000-0000-0000-0000-000000000007"
        stored = no_counts()
        told: Deltas = {}
        for kind in RecordKind:
            bodies = await ledger.read(RecordBodies(user, kind, 10_000))
            stored[kind.plural] = len(bodies)
            for share in (share_of(kind, orjson.loads(body)) for body in bodies):
                if share is not None:
                    add_share(told, share)
        assert status["mirrorCounts"] == stored
        assert await all_sums(ledger, user) == told


@settings(max_examples=80)
@given(st.dictionaries(st.sampled_from(_NAMES), _JSON) | _JSON, st.data())
def test_reading_a_body_ends_in_a_batch_or_a_refusal(wild: Any, data: st.DataObject) -> None:
    """Any JSON, also around and inside of good records."""
    documents = [wild]
    if isinstance(wild, dict):
        kind = data.draw(st.sampled_from(list(RecordKind)))
        documents += [
            batch() | wild,
            batch() | {kind.plural: [example("day")[kind.plural][0] | wild]},
        ]
    for document in documents:
        ended = attempt(orjson.dumps(document))
        if isinstance(ended, PlainError):
            assert ended.status in {400, 413}
            assert len(ended.answer(199).body) < 200
        else:
            assert all(one.reason for one in ended.rejected)
            assert all(one.record_id and orjson.loads(one.body) for one in ended.submitted)


def attempt(body: bytes) -> ReadBatch | PlainError:
    """Read a body; anything but these two ends the test."""
    try:
        return read_batch(body, 100, 1000)
    except PlainError as error:
        return error
