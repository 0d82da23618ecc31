"""What the PostgreSQL ledger promises beyond the contract."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError, Verdict
from penstock.engine.records import AuditPage, FinalOf
from penstock.storage.ledger.postgres_link import Patience
from penstock.storage.ledger.postgres_steps import numbered
from penstock.storage.ledger.sql import LedgerFaultError

MakeFinal = Callable[..., Any]
MakeAudit = Callable[..., Any]
PATIENT = Patience(lock_seconds=20, statement_seconds=20, answer_seconds=20)


@pytest.mark.parametrize(
    ("sql", "numbers"),
    [
        ("SELECT 1", "SELECT 1"),
        ("a = ? AND b = ?", "a = $1 AND b = $2"),
        ("a = '?' AND b = ? AND \"c?\" = ?", "a = '?' AND b = $1 AND \"c?\" = $2"),
        ("a = 'it''s ?' AND b = ?", "a = 'it''s ?' AND b = $1"),
    ],
)
def test_question_marks_become_numbers(sql: str, numbers: str) -> None:
    """A mark within quotes is text."""
    assert numbered(sql) == numbers


async def test_a_group_is_one_transaction(postgres_site: Any, make_final: MakeFinal) -> None:
    """However many entries a group has, one commit is synced, also with a bad one among them."""
    async with postgres_site.open() as ledger:
        await ledger.commit([make_final(number) for number in range(50)])
        assert postgres_site.sql("SELECT count(DISTINCT xmin::text) FROM session_finals") == "1"
        assert ledger.statistics().commits == 1
        mixed = [make_final(60), make_final(61, status=None), make_final(62)]
        outcomes = await ledger.commit(mixed)
        assert [outcome.verdict for outcome in outcomes] == [
            Verdict.STORED,
            Verdict.UNFIT,
            Verdict.STORED,
        ]
        assert ledger.statistics().commits == 2


async def test_what_is_told_of_a_bad_entry_holds_nothing_of_it(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """The rule that it broke is named; PostgreSQL's own words would quote the row."""
    async with postgres_site.open() as ledger:
        for bad, words in (
            (make_final(1, 0, secret="rosebud"), "CheckViolationError (23514) by session_finals_"),
            (
                make_final(1, status=None, secret="rosebud"),
                "NotNullViolationError (23502) by status",
            ),
            (make_final(1, 2**70, secret="rosebud"), "a number or a text"),
        ):
            (outcome,) = await ledger.commit([bad])
            assert outcome.verdict is Verdict.UNFIT
            assert outcome.detail.startswith(words)
            assert "rosebud" not in outcome.detail


async def test_a_commit_is_on_disk_also_where_the_server_would_not_wait(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """A database that is set to acknowledge early is told not to; one that waits longer may."""
    async with postgres_site.open():
        pass
    postgres_site.sql(
        "CREATE TABLE seen (way TEXT); GRANT INSERT ON seen TO penstock;"
        " CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO seen SELECT current_setting('synchronous_commit'); RETURN NEW; END $$;"
        " CREATE TRIGGER see BEFORE INSERT ON session_finals EXECUTE FUNCTION see()"
    )
    for number, way in enumerate(("off", "remote_apply")):
        postgres_site.sql(f"ALTER DATABASE {postgres_site.database} SET synchronous_commit = {way}")
        async with postgres_site.open() as ledger:
            await ledger.commit([make_final(number)])
    assert postgres_site.sql("SELECT way FROM seen").split() == ["on", "remote_apply"]


async def test_a_key_that_another_process_takes_meanwhile_is_seen(
    postgres_site: Any, make_audit: MakeAudit
) -> None:
    """Between question and insert somebody else wrote: it is a conflict, no entry unfit to keep."""
    async with postgres_site.open(patience=PATIENT) as ledger:
        told: list[Any] = []

        async def commit() -> None:
            told.extend(await ledger.commit([make_audit(1, "one"), make_audit(2, "two")]))

        other = postgres_site.server.session(postgres_site.database)
        other.ask(
            "BEGIN; INSERT INTO audit_entries"
            " (entry_id, at_unix_ms, actor, action, subject, detail)"
            " VALUES ('one', 0, 'eve', 'x', 'x', '{}')"
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit)
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            with trio.fail_after(10):
                while postgres_site.sql(waits) == "0":  # noqa: ASYNC110 - a server sets no event
                    await trio.sleep(0.01)
            other.ask("COMMIT")
        other.close()
        assert [outcome.verdict for outcome in told] == [Verdict.CONFLICT, Verdict.STORED]
        assert [row.entry.actor for row in await ledger.read(AuditPage(10))] == ["ada", "eve"]


async def test_a_right_that_is_taken_away_is_unwritable(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """It is told as what it is, and once it is given back the ledger is as before."""
    async with postgres_site.open() as ledger:
        postgres_site.sql("REVOKE INSERT ON session_finals FROM penstock")
        with pytest.raises(LedgerUnavailableError) as refused:
            await ledger.commit([make_final(1)])
        assert refused.value.reason is LedgerReason.UNWRITABLE
        postgres_site.sql("GRANT INSERT ON session_finals TO penstock")
        (outcome,) = await ledger.commit([make_final(1)])
        assert outcome.verdict is Verdict.STORED


async def test_a_mistake_of_this_software_is_not_taken_for_the_database_s(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """What no retry can mend is another exception, which stops the process."""
    async with postgres_site.open() as ledger:
        postgres_site.sql("DROP TABLE session_finals CASCADE")
        with pytest.raises(LedgerFaultError):
            await ledger.commit([make_final(1)])
        with pytest.raises(LedgerFaultError):
            await ledger.read(FinalOf("any"))
        await ledger.probe()


async def test_reads_are_bounded_in_time_and_number(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """A read behind a lock is told so; one that finds all connections busy does not wait long."""
    patience = Patience(lock_seconds=0.3, answer_seconds=0.1)
    async with postgres_site.open(patience=patience, readers=1, size_seconds=100) as ledger:
        await ledger.commit([make_final(1)])
        with trio.fail_after(10):
            while not ledger.statistics().file_bytes:  # noqa: ASYNC110 - it has used the reader
                await trio.sleep(0.01)
        holder = postgres_site.server.session(postgres_site.database)
        holder.ask("BEGIN; LOCK session_finals IN ACCESS EXCLUSIVE MODE")
        reasons = []

        async def read() -> None:
            try:
                await ledger.read(FinalOf("any"))
            except LedgerUnavailableError as error:
                reasons.append(error.reason)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(read)
        assert set(reasons) == {LedgerReason.UNREACHABLE, LedgerReason.OVERDUE}
        assert len(reasons) == 3
        holder.close()
        assert await ledger.read(FinalOf(make_final(1).session_id)) == make_final(1)
    async with postgres_site.open() as ledger:
        holder = postgres_site.server.session(postgres_site.database)
        holder.ask("BEGIN; LOCK session_finals IN ACCESS EXCLUSIVE MODE")
        reasons.clear()
        await read()
        assert reasons == [LedgerReason.LOCKED]
        holder.close()


async def test_a_group_may_take_long_as_long_as_it_gets_on(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """Far from its database a large group is slow, and is stored: only silence is given up."""
    async with postgres_site.open(patience=Patience(answer_seconds=0.3)) as ledger:
        postgres_site.sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM pg_sleep(0.05); RETURN NEW; END $$;"
            " CREATE TRIGGER slow BEFORE INSERT ON session_finals EXECUTE FUNCTION slow()"
        )
        began = trio.current_time()
        outcomes = await ledger.commit([make_final(number) for number in range(16)])
        assert {outcome.verdict for outcome in outcomes} == {Verdict.STORED}
        assert trio.current_time() - began > 2 * 0.3
        postgres_site.sql("ALTER TABLE session_finals DISABLE TRIGGER slow")


async def test_a_cancelled_read_leaves_nothing_behind(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """Whoever asked is gone at once, and its connection is free for the next one."""
    async with postgres_site.open(patience=PATIENT, readers=1) as ledger:
        await ledger.commit([make_final(1)])
        holder = postgres_site.server.session(postgres_site.database)
        holder.ask("BEGIN; LOCK session_finals IN ACCESS EXCLUSIVE MODE")
        with trio.move_on_after(0.05) as scope, trio.fail_after(5):
            await ledger.read(FinalOf("any"))
        assert scope.cancelled_caught
        holder.close()
        assert await ledger.read(FinalOf(make_final(1).session_id)) == make_final(1)


async def test_it_can_be_used_from_tasks_that_began_outside_of_it(
    postgres_site: Any, make_final: MakeFinal
) -> None:
    """A task need not be a child of the ledger's block to reach it."""
    send, receive = trio.open_memory_channel[Any](1)
    told: list[Any] = []

    async def outside() -> None:
        ledger = await receive.receive()
        told.extend(await ledger.commit([make_final(1)]))
        told.append(await ledger.read(FinalOf(make_final(1).session_id)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outside)
        await trio.testing.wait_all_tasks_blocked()
        async with postgres_site.open() as ledger:
            await send.send(ledger)
            with trio.fail_after(10):
                while len(told) < 2:  # noqa: ASYNC110 - what is waited for is the other task's end
                    await trio.sleep(0.01)
    send.close()
    receive.close()
    assert (told[0].verdict, told[1]) == (Verdict.STORED, make_final(1))
