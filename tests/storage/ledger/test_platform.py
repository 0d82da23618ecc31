"""What the platform surface keeps, in each ledger."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from penstock.engine.erasure_records import BeginErasure, RedactAudits
from penstock.engine.ledger_port import Entry, EntryOutcome, Ledger, Verdict
from penstock.engine.platform.audit_chain import Break, ChainReader
from penstock.engine.platform.records import (
    AnalyticsEntry,
    AnalyticsPage,
    AuditChainOf,
    AuditLinks,
    Circumstances,
    ErrorGroups,
    ErrorReportEntry,
    ErrorReports,
    ExpiryEntry,
    Kept,
)
from penstock.engine.records import AuditEntry, AuditPage
from penstock.engine.retention_records import PruneAudits

ORG, OTHER = str(UUID(int=8)), str(UUID(int=9))
AROUND = Circumstances("680-ab", "user", "RO", "mobile", "Chrome", "4g", "r-1")


def event(at: int, org_id: str = ORG, **changes: Any) -> AnalyticsEntry:
    made = AnalyticsEntry(
        str(uuid4()), org_id, at, at, "page.view", "navigation", "page", "library", "/library",
        None, 1.5, {"filter": ["neck"], "n": 12}, AROUND,
    )  # fmt: skip
    return replace(made, **changes)


def report(at: int, org_id: str = ORG, **changes: Any) -> ErrorReportEntry:
    made = ErrorReportEntry(
        str(uuid4()), org_id, "f" * 32, at, "video_error", "E1", "player", "it broke", "at x",
        {"cpu_usage_percent": 78.3}, AROUND,
    )  # fmt: skip
    return replace(made, **changes)


def audit(number: int) -> AuditEntry:
    return AuditEntry(number, "ada", "patient.view", f"patient:{number}", {"n": number})


async def commit(ledger: Ledger, *entries: Entry) -> list[EntryOutcome]:
    return await ledger.commit(list(entries))


async def verify(ledger: Ledger) -> Break | None:
    reader = ChainReader(await ledger.read(AuditChainOf()))
    while links := await ledger.read(AuditLinks(reader.link, 3)):
        if (found := reader.follow(links)) is not None:
            return found
    return reader.conclude()


async def test_events_come_back_as_they_were(site: Any) -> None:
    """Also those without anything that may be missing; each organisation sees its own."""
    bare = event(
        2, resource_type=None, resource_id=None, page_url=None, numeric_value=None, properties={},
        circumstances=Circumstances(None, "user", None, None, None, None, "r-2"),
    )  # fmt: skip
    entries = [event(1), bare, event(3, OTHER)]
    async with site.open() as ledger:
        told = await commit(ledger, *entries)
        assert [outcome.verdict for outcome in told] == [Verdict.STORED] * 3
        assert await ledger.read(AnalyticsPage(ORG, 10)) == [bare, entries[0]]
        assert await ledger.read(AnalyticsPage(ORG, 1)) == [bare]
        again, other = await commit(ledger, bare, replace(bare, name="other"))
        assert (again.verdict, other.verdict) == (Verdict.REPEATED, Verdict.CONFLICT)


async def test_reports_of_one_error_are_one_group(site: Any) -> None:
    """Counted once each, whatever their order; what is repeated is not counted again."""
    entries = [report(5), report(9, message="again"), report(2), report(4, OTHER)]
    another = report(6, fingerprint="e" * 32)
    async with site.open() as ledger:
        await commit(ledger, *entries, another)
        (told,) = await commit(ledger, entries[0])
        assert told.verdict is Verdict.REPEATED
        first, second = await ledger.read(ErrorGroups(ORG, 10))
        assert (first.reports, first.first_seen_unix_ms, first.last_seen_unix_ms) == (3, 2, 9)
        assert (first.message, first.error_code, first.feature) == ("it broke", "E1", "player")
        assert (second.fingerprint, second.reports) == ("e" * 32, 1)
        (theirs,) = await ledger.read(ErrorGroups(OTHER, 10))
        assert theirs.reports == 1
        newest = await ledger.read(ErrorReports(ORG, "f" * 32, 2))
        assert newest == [entries[1], entries[0]]


async def test_every_audit_entry_is_a_link(site: Any) -> None:
    """In one group or several, with a repetition and a conflict among them, the chain holds."""
    entries = [audit(number) for number in range(7)]
    async with site.open() as ledger:
        assert await verify(ledger) is None
        await commit(ledger, *entries[:4])
        wrong = replace(entries[0], actor="eve")
        told = await commit(ledger, entries[4], entries[0], wrong, *entries[5:])
        assert [outcome.verdict for outcome in told] == [
            Verdict.STORED, Verdict.REPEATED, Verdict.CONFLICT, Verdict.STORED, Verdict.STORED,
        ]  # fmt: skip
        chain = await ledger.read(AuditChainOf())
        assert (chain.links, chain.removed_links, chain.unlinked) == (7, 0, 0)
        assert [link.link for link in await ledger.read(AuditLinks(0, 99))] == [*range(1, 8)]
        assert await verify(ledger) is None
    async with site.open() as ledger:
        await commit(ledger, audit(8))
        assert await verify(ledger) is None


async def test_what_grew_too_old_goes_a_few_rows_at_a_time(site: Any) -> None:
    """Each class on its own; a step says how many it took; the newer ones stay."""
    async with site.open() as ledger:
        await commit(ledger, *[event(at) for at in range(5)])
        await commit(ledger, *[report(at, fingerprint=str(at)) for at in range(5)])
        for kept in (Kept.ANALYTICS, Kept.ERRORS):
            counts = []
            for _ in range(4):
                (told,) = await commit(ledger, ExpiryEntry(kept, 3, 2))
                counts.append(told.value)
            assert counts in ([2, 1, 0, 0], [4, 2, 0, 0]), kept
        assert [one.at_unix_ms for one in await ledger.read(AnalyticsPage(ORG, 9))] == [4, 3]
        groups = await ledger.read(ErrorGroups(ORG, 9))
        assert [group.fingerprint for group in groups] == ["4", "3"]
        (told,) = await commit(ledger, ExpiryEntry(Kept.MEDIA, 3, 2))
        assert told.value == 0


async def test_an_audit_that_grew_too_old_is_followed_from_what_is_left(site: Any) -> None:
    """The chain's beginning is removed with its hash noted, and holds from there on."""
    async with site.open() as ledger:
        await commit(ledger, *[audit(number) for number in range(6)])
        counts = [(await commit(ledger, PruneAudits(4, 3)))[0].value for _ in range(3)]
        assert counts == [3, 1, 0]
        chain = await ledger.read(AuditChainOf())
        assert (chain.links, chain.removed_links) == (6, 4)
        assert await verify(ledger) is None
        await commit(ledger, audit(7))
        assert await verify(ledger) is None
        assert [stored.entry.at_unix_ms for stored in await ledger.read(AuditPage(9))] == [7, 5, 4]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'eve' WHERE link = 2",
        "DELETE FROM audit_entries WHERE link = 2",
        "DELETE FROM audit_entries",
    ],
)
async def test_the_database_itself_keeps_entries(site: Any, statement: str) -> None:
    """Who writes past the service is refused; who goes round that as well is found out."""
    async with site.open() as ledger:
        await commit(ledger, *[audit(number) for number in range(3)])
    with pytest.raises(Exception, match="audit entries are"):
        _past_the_service(site, statement)
    _past_the_service(site, _WITHOUT_TRIGGERS[type(site).__name__], statement)
    async with site.open() as ledger:
        found = await verify(ledger)
        assert found is not None
        assert found.link in {1, 2}


async def test_entries_from_before_the_chain_become_part_of_it(site: Any) -> None:
    """An upgraded ledger links what was there with the first entry that is stored."""
    async with site.open():
        pass
    for number in (1, 2):
        _past_the_service(
            site,
            "INSERT INTO audit_entries (entry_id, at_unix_ms, actor, action, subject, detail)"
            f" VALUES ('old-{number}', {number}, 'ada', 'policy.edited', 'global', '{{}}')",
        )
    async with site.open() as ledger:
        found = await verify(ledger)
        assert found is not None
        assert "2 entries are not part" in found.why
        # One that is redacted before that is linked as it is then.
        order = BeginErasure("e-1", "ada", 5, "bob")
        (_, told) = await commit(ledger, order, RedactAudits("e-1", (1,), "ada", 6))
        assert told.value == 1
        await commit(ledger, audit(3))
        chain = await ledger.read(AuditChainOf())
        assert (chain.links, chain.unlinked) == (3, 0)
        assert await verify(ledger) is None


_WITHOUT_TRIGGERS = {
    "SqliteSite": "DROP TRIGGER audit_entries_unchanged; DROP TRIGGER audit_entries_kept",
    "PostgresSite": "ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_kept",
}


def _past_the_service(site: Any, *statements: str) -> None:
    if hasattr(site, "sql"):
        for statement in statements:
            site.sql(statement)
        return
    import sqlite3  # noqa: PLC0415 - of this site only
    from contextlib import closing  # noqa: PLC0415

    with closing(sqlite3.connect(site.path)) as db:
        for statement in statements:
            db.executescript(statement)
        db.commit()


async def test_a_person_is_taken_out_of_the_audit_and_the_chain_holds(site: Any) -> None:
    """An erasure may put a stand-in where entries name somebody, and nothing else."""
    ann = str(UUID(int=77))
    entries = [audit(1), replace(audit(2), actor=f"user:{ann}"), audit(3)]
    async with site.open() as ledger:
        await commit(ledger, *entries, BeginErasure("e-1", ann, 5, "ada"))
        positions = tuple(stored.position for stored in await ledger.read(AuditPage(9)))
        (told,) = await commit(ledger, RedactAudits("e-1", positions, ann, 6))
        assert told.value == 1
        assert ann not in str(await ledger.read(AuditPage(9)))
        assert await verify(ledger) is None
        await commit(ledger, audit(4))
        assert await verify(ledger) is None
    with pytest.raises(Exception, match="audit entries are"):
        _past_the_service(
            site, "UPDATE audit_entries SET redacted = 1, action = 'x' WHERE link = 1"
        )
    # Not even what an erasure has touched can be edited unseen, nor be said to be so.
    for link in (2, 1):
        edit = f"UPDATE audit_entries SET redacted = 1, actor = 'eve{link}' WHERE link = {link}"
        _past_the_service(site, edit)
        async with site.open() as ledger:
            found = await verify(ledger)
            assert found == Break(link, "it is redacted, and not what an erasure made of it")
