"""Sync in both ledgers: records once, sums exact, whatever comes in whatever order."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.engine.ledger_port import Ledger, Verdict
from penstock.engine.sync.ack import SyncAck, no_counts
from penstock.engine.sync.records import (
    RecordBodies,
    Rollups,
    StandingOf,
    SyncResetEntry,
)
from penstock.engine.sync.settle import IMMUTABLE
from penstock.engine.sync.sums import Granularity, Grouping
from sync_rig import (
    DEVICE,
    all_sums,
    batch,
    entry_of,
    event,
    example,
    put,
    recount,
    source,
    summary,
)

DAY, EXPECTED = example("day"), example("expected")
RECORDS = [*DAY["summaries"], *DAY["events"]]


def counts(**given: int) -> dict[str, int]:
    return no_counts() | given


async def reset(ledger: Ledger, device: str = DEVICE, records: int = 2) -> dict[str, int]:
    """Reset a device in small steps, and give what was cleared."""
    cleared, more = no_counts(), True
    while more:
        (outcome,) = await ledger.commit([SyncResetEntry("ada", device, records)])
        more = outcome.value.more
        for plural, count in outcome.value.cleared.items():
            cleared[plural] += count
    return cleared


async def shown(ledger: Ledger, grouping: Grouping) -> dict[str, int]:
    """Read one day's tokens by key."""
    rows = await ledger.read(Rollups("ada", Granularity.DAILY, grouping, 100))
    return {row.key: row.sums.total_tokens for row in rows if row.period == "2026-06-09"}


async def check_example(ledger: Ledger) -> None:
    """Compare the sums with the contract's worked example, and with a recount."""
    day = EXPECTED["daily"]["2026-06-09"]
    (total,) = await ledger.read(Rollups("ada", Granularity.DAILY, Grouping.TOTAL, 10))
    assert total.period == "2026-06-09"
    assert total.sums.requests == day["requests"]
    assert total.sums.total_tokens == day["total_tokens"]
    assert total.sums.cost_micro_usd == day["cost_cents"] * 10_000
    for grouping in (Grouping.PROVIDER, Grouping.MODEL, Grouping.ACCOUNT):
        assert await shown(ledger, grouping) == day[f"by_{grouping}"]
    apart = await shown(ledger, Grouping.APART)
    assert apart["events"] == EXPECTED["sum_of_events_must_equal_sum_of_daily_rollups"]
    assert await all_sums(ledger) == recount(RECORDS)


async def test_the_worked_example_gives_its_expected_sums_and_acks(site: Any) -> None:
    """The contract's day, sent twice, is answered and summed as the contract says."""
    async with site.open() as ledger:
        first = (await put(ledger, DAY)).value
        assert first.plain()["accepted"] == EXPECTED["ack_first"]["accepted"]
        assert first.duplicates == first.updated == no_counts()
        assert first.rejected == []
        await check_example(ledger)
        again = await put(ledger, DAY)
        assert again.verdict is Verdict.REPEATED
        assert again.value.accepted == no_counts()
        assert again.value.duplicates == EXPECTED["ack_resend"]["duplicates"]
        await check_example(ledger)
        other = await put(ledger, {**DAY, "batch_id": "batch_other"})
        assert other.verdict is Verdict.STORED
        assert other.value.duplicates == EXPECTED["ack_resend"]["duplicates"]
        await check_example(ledger)


async def test_pieces_in_any_order_from_two_devices_at_once_give_the_same_sums(site: Any) -> None:
    """Neither how records are divided, nor their order, nor who sends them changes a sum."""
    arrays = [(kind, record) for kind in DAY if isinstance(DAY[kind], list) for record in DAY[kind]]
    random.Random(7).shuffle(arrays)  # noqa: S311 - an order, not a secret
    async with site.open() as ledger:

        async def send(device: str) -> None:
            for kind, record in arrays:
                document = batch(device=device) | {kind: [record]}
                await put(ledger, document)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, DEVICE)
            nursery.start_soon(send, "dev_other")
        await check_example(ledger)
        for device in (DEVICE, "dev_other"):
            standing = await ledger.read(StandingOf("ada", device))
            assert standing.counts == EXPECTED["ack_first"]["accepted"]


async def test_two_processes_at_once_lose_no_sum(site: Any) -> None:
    """Two ledgers on one store add to the same sums, and both count."""

    async def send(ledger: Ledger, first: int) -> None:
        for number in range(first, first + 12):
            for _ in range(100):
                try:
                    await put(ledger, batch(summaries=[summary(number)]))
                    break
                except Exception:  # noqa: BLE001 - a lock: written again, as the writer does
                    await trio.sleep(0.01)

    async with site.open() as one, site.open() as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, one, 1)
            nursery.start_soon(send, two, 7)
        assert await all_sums(one) == recount([summary(number) for number in range(1, 19)])


async def test_a_batch_that_was_told_late_has_its_own_answer(site: Any) -> None:
    """The same request committed twice is no repetition to the one who asked."""
    entry = entry_of(batch(summaries=[summary()]), "ada")
    async with site.open() as ledger:
        outcomes = await ledger.commit([entry, entry])
        assert [outcome.verdict for outcome in outcomes] == [Verdict.STORED, Verdict.REPEATED]
        assert outcomes[1].value == outcomes[0].value
        assert outcomes[1].value.accepted == counts(summaries=1)


async def test_a_batch_id_with_other_content_is_a_conflict(site: Any) -> None:
    """Nothing of the second batch is stored, and another device may use the id."""
    async with site.open() as ledger:
        await put(ledger, batch(batch_id="b", summaries=[summary(1)]))
        other = batch(batch_id="b", summaries=[summary(2)])
        outcome = await put(ledger, other)
        assert outcome.verdict is Verdict.CONFLICT
        assert outcome.detail == "batch_id_payload_conflict"
        assert await all_sums(ledger) == recount([summary(1)])
        assert (await put(ledger, {**other, "device_id": "dev_other"})).verdict is Verdict.STORED


async def test_new_numbers_replace_the_old_ones(site: Any) -> None:
    """A record that moves to another day, model and project leaves nothing behind."""
    old = summary(1, tokens=70, models={"a": 50, "b": 30}, project="p1")
    new = summary(1, tokens=90, models={"b": 90}, project="p2", day="2026-07-01", extra={"x": 1})
    async with site.open() as ledger:
        await put(ledger, batch(summaries=[old, summary(2)]))
        ack = (await put(ledger, batch(summaries=[new, summary(2)]))).value
        assert ack.accepted == ack.updated == ack.duplicates == counts(summaries=1)
        assert await all_sums(ledger) == recount([new, summary(2)])


async def test_an_event_never_changes(site: Any) -> None:
    """The first one stays, and the change is told as a rejection."""
    async with site.open() as ledger:
        await put(ledger, batch(events=[event(1)]))
        changed = event(1, imported_at="2027-01-01T00:00:00Z")
        ack = (await put(ledger, batch(events=[event(1), changed, event(2)]))).value
        assert ack.duplicates == ack.accepted == counts(events=1)
        assert ack.rejected == [("event", event(1)["event_id"], IMMUTABLE)]
        assert await all_sums(ledger) == recount([event(1), event(2)])


async def test_a_record_twice_in_a_batch_is_settled_in_order(site: Any) -> None:
    """The second is a duplicate or replaces the first, as if it had come in a batch of its own."""
    both = [summary(1, tokens=1), summary(1, tokens=1), summary(1, tokens=5)]
    async with site.open() as ledger:
        ack = (await put(ledger, batch(summaries=both))).value
        assert (ack.accepted, ack.updated) == (counts(summaries=2), counts(summaries=1))
        assert ack.duplicates == counts(summaries=1)
        assert await all_sums(ledger) == recount(both[-1:])
        assert (await ledger.read(StandingOf("ada", DEVICE))).counts == counts(summaries=1)


async def test_a_reset_clears_what_only_this_device_has_sent(site: Any) -> None:
    """What another device has sent as well stays, and a batch of before can be sent again."""
    own, shared = [summary(number) for number in range(1, 6)], summary(9)
    document = batch(summaries=[*own, shared], sources=[source()])
    async with site.open() as ledger:
        await put(ledger, document)
        await put(ledger, batch(device="dev_other", summaries=[shared, summary(10)]))
        assert await reset(ledger) == counts(summaries=6, sources=1)
        assert await all_sums(ledger) == recount([shared, summary(10)])
        assert (await ledger.read(StandingOf("ada", DEVICE))).counts == no_counts()
        assert (await ledger.read(StandingOf("ada", DEVICE))).last_batch_id is None
        assert (await put(ledger, document)).value.accepted == counts(summaries=5, sources=1)
        assert await all_sums(ledger) == recount([*own, shared, summary(10)])
        assert await reset(ledger, "dev_nobody") == no_counts()


async def test_users_are_apart(site: Any) -> None:
    """The same ids of another user are other records, in other sums."""
    async with site.open() as ledger:
        await put(ledger, DAY, "ada")
        assert (await put(ledger, DAY, "eve")).value.accepted == EXPECTED["ack_first"]["accepted"]
        await put(ledger, batch(summaries=[summary(3)]), "eve")
        await check_example(ledger)
        assert len(await ledger.read(RecordBodies("ada", "summary", 10))) == 3
        assert len(await ledger.read(RecordBodies("eve", "summary", 10))) == 4


async def test_sums_that_grow_too_large_leave_nothing(site: Any) -> None:
    """A batch whose sums the ledger cannot hold is refused whole."""
    most = 2**53 - 1
    async with site.open() as ledger:
        await put(ledger, batch(summaries=[summary(0, tokens=5)]))
        large = [summary(number, tokens=most) for number in range(1, 1026)]
        outcome = await put(ledger, batch(summaries=large))
        assert outcome.verdict is Verdict.UNFIT
        assert await all_sums(ledger) == recount([summary(0, tokens=5)])


async def test_sums_are_read_in_pages_and_between_days(site: Any) -> None:
    """A page goes on where the one before ended, in order of period and key."""
    records = [
        summary(number, day=f"2026-06-{number:02}", models={"a": 1, "Z": 2, "ä": 3}, tokens=6)
        for number in range(1, 5)
    ]
    async with site.open() as ledger:
        await put(ledger, batch(summaries=records))
        seen, after = [], None
        while True:
            query = Rollups("ada", Granularity.DAILY, Grouping.MODEL, 5, after=after)
            page = await ledger.read(query)
            seen += [(row.period, row.key) for row in page]
            if len(page) < 5:
                break
            after = seen[-1]
        days = [f"2026-06-{number:02}" for number in range(1, 5)]
        keys = ("Z", "a", "unattributed", "ä")
        assert seen == [(day, key) for day in days for key in keys]
        query = Rollups("ada", Granularity.DAILY, Grouping.TOTAL, 9, "2026-06-02", "2026-06-03")
        assert [row.period for row in await ledger.read(query)] == days[1:3]


_SUMMARIES = st.builds(
    summary,
    st.integers(1, 4),
    day=st.sampled_from(["2026-06-09", "2026-06-10", "2026-07-01"]),
    tokens=st.integers(0, 50),
    models=st.dictionaries(st.sampled_from("abc"), st.integers(0, 30), min_size=1),
    project=st.sampled_from([None, "p1", "p2"]),
    provider=st.sampled_from(["codex", "claude_code"]),
    metadata=st.sampled_from([{"summary_format": "daily_rollup.v1"}, {"summary_format": "other"}]),
)
_EVENTS = st.builds(event, st.integers(1, 3), provider=st.sampled_from(["codex", "x"]))
_DEVICES = st.sampled_from([DEVICE, "dev_other"])
_STEPS = st.lists(
    st.one_of(
        st.tuples(_DEVICES, st.lists(_SUMMARIES, max_size=5), st.lists(_EVENTS, max_size=3)),
        st.tuples(_DEVICES, st.none(), st.none()),
    ),
    max_size=8,
)


@pytest.mark.parametrize("place", ["sqlite_site", "postgres_site"])
def test_the_sums_are_always_those_of_a_recount(request: pytest.FixtureRequest, place: str) -> None:
    """Whatever is sent, replaced and reset by two devices, no sum is ever off by one."""
    site = request.getfixturevalue(place)
    examples = 40 if place == "sqlite_site" else 15

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(_STEPS)
    def check(steps: list[Any]) -> None:
        trio.run(_follow, site.open, steps)

    check()


async def _follow(open_ledger: Callable[[], Any], steps: list[Any]) -> None:
    """Do the steps in a ledger and in a dictionary, and compare."""
    known: dict[str, tuple[dict[str, Any], set[str]]] = {}
    async with open_ledger() as ledger:
        for device in (DEVICE, "dev_other"):
            await reset(ledger, device)
        for device, summaries, events in steps:
            if summaries is None:
                await reset(ledger, device)
                for name, (record, holders) in list(known.items()):
                    if holders == {device}:
                        del known[name]
                    else:
                        known[name] = (record, holders - {device})
                continue
            ack: SyncAck = (
                await put(ledger, batch(device=device, summaries=summaries, events=events))
            ).value
            for kind, given_records in (("summaries", summaries), ("events", events)):
                refused = sum(one.kind == "event" for one in ack.rejected)
                told = ack.accepted[kind] + ack.duplicates[kind]
                assert told + (refused if kind == "events" else 0) == len(given_records)
            for record in (*summaries, *events):
                name = record.get("summary_id") or record["event_id"]
                before, holders = known.get(name, (record, set()))
                if name.startswith("evt") and before != record:
                    continue
                known[name] = (record, holders | {device})
        expected = recount([record for record, _ in known.values()])
        assert await all_sums(ledger) == expected
        for device in (DEVICE, "dev_other"):
            standing = await ledger.read(StandingOf("ada", device))
            held = [name for name, (_, holders) in known.items() if device in holders]
            assert standing.counts["summaries"] == sum(name.startswith("sum") for name in held)
            assert standing.counts["events"] == sum(name.startswith("evt") for name in held)
