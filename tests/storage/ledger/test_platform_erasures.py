"""What every ledger promises of an erasure's way to rows that have no id of the person."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from penstock.engine.erasure_records import (
    AuditsThatName,
    BeginErasure,
    ErasureOf,
    RedactAudits,
    stand_in,
)
from penstock.engine.ledger_port import Entry, Ledger
from penstock.engine.platform.actors import ActorNames
from penstock.engine.platform.audit_chain import ChainReader
from penstock.engine.platform.erasure_records import (
    EraseNamed,
    NamesHeld,
    RedactTexts,
    RowsNamed,
    TextsThatName,
    Told,
)
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
from penstock.storage.ledger.migrate import load_migrations

ORG, OTHER = str(UUID(int=8)), str(UUID(int=9))
ANN, BOB = "aaaaaaaa-0000-4000-8000-00000000000a", "bbbbbbbb-0000-4000-8000-00000000000b"
DAY = 24 * 3600
NOW = 1_700_000_000
NAMES = ActorNames(b"n" * 32, 30 * DAY, (b"o" * 32,))
FORMER = ActorNames(b"o" * 32, 7 * DAY)
ORDER = BeginErasure("e-1", ANN, NOW, "ada")


def around(actor: str | None) -> Circumstances:
    return Circumstances(actor, "user", "RO", "mobile", "Chrome", "4g", "r-1")


def event(actor: str | None, **changes: Any) -> AnalyticsEntry:
    made = AnalyticsEntry(
        str(uuid4()), ORG, NOW, NOW, "page.view", "navigation", None, None, None, None, None, {},
        around(actor),
    )  # fmt: skip
    return replace(made, **changes)


def report(actor: str | None, at: int = NOW, **changes: Any) -> ErrorReportEntry:
    made = ErrorReportEntry(
        str(uuid4()), ORG, "f" * 32, at, "video_error", "E1", "player", "it broke", "at x", {},
        around(actor),
    )  # fmt: skip
    return replace(made, **changes)


async def commit(ledger: Ledger, *entries: Entry) -> list[Any]:
    return [outcome.value for outcome in await ledger.commit(list(entries))]


async def erase_rows(ledger: Ledger, limit: int = 2) -> list[int]:
    """Remove Ann's rows as an erasure does; give what each step removed."""
    held = await ledger.read(NamesHeld(NAMES.every_name(ANN, NOW)))
    steps = []
    while not steps or steps[-1]:
        steps += await commit(ledger, EraseNamed("e-1", held, limit))
    return steps


async def redact_texts(ledger: Ledger) -> int:
    """Take Ann out of texts, two rows at a look; give how many rows had her in them."""
    redacted = 0
    for told in Told:
        behind: tuple[str, ...] | None = ()
        while behind is not None:
            found = await ledger.read(TextsThatName(told, ANN, 2, behind))
            (count,) = await commit(ledger, RedactTexts("e-1", told, found.keys, ANN))
            redacted += count
            behind = found.after
    return redacted


def ann_names() -> list[str]:
    """Give names of three periods, one of them of another length and by a secret from before."""
    return [
        NAMES.name(ANN, NOW), NAMES.name(ANN, NOW - 400 * DAY), FORMER.name(ANN, NOW - 9 * DAY),
    ]  # fmt: skip


async def test_rows_are_found_by_the_names_of_all_periods(site: Any) -> None:
    """Whatever the periods were, and by former secrets; nobody else's, and nobody's without one."""
    names = ann_names()
    others = [NAMES.name(BOB, NOW), NAMES.name(BOB, NOW - 400 * DAY), None]
    async with site.open() as ledger:
        await commit(ledger, ORDER, *[event(name) for name in (*names, *names, *others)])
        await commit(ledger, *[report(name, org_id=OTHER) for name in (names[0], *others)])
        held = await ledger.read(NamesHeld(NAMES.every_name(ANN, NOW)))
        assert sorted(held) == sorted(names)
        assert await ledger.read(RowsNamed(held)) == 7
        assert await ledger.read(RowsNamed(())) == 0
        assert await erase_rows(ledger) == [2, 2, 2, 1, 0]
        kept = await ledger.read(AnalyticsPage(ORG, 99))
        assert {one.circumstances.actor for one in kept} == set(others)
        reports = await ledger.read(ErrorReports(OTHER, "f" * 32, 99))
        assert {one.circumstances.actor for one in reports} == set(others)
        assert await ledger.read(NamesHeld(NAMES.every_name(ANN, NOW))) == ()
        found = await ledger.read(ErasureOf("e-1"))
        assert found is not None
        assert found.rows == 7


async def test_a_group_shows_nothing_of_who_was_erased(site: Any) -> None:
    """Its text is that of the oldest report there is; a group that was theirs alone is gone."""
    mine, his = NAMES.name(ANN, NOW), NAMES.name(BOB, NOW)
    first = report(mine, NOW - 9, message="Ann's own words", stack="at ann.js")
    alone = report(mine, fingerprint="a" * 32)
    async with site.open() as ledger:
        await commit(ledger, ORDER, first, alone, report(his, NOW - 5, message="his"))
        groups = {one.fingerprint: one for one in await ledger.read(ErrorGroups(ORG, 9))}
        assert groups["f" * 32].message == "Ann's own words"
        await erase_rows(ledger)
        (left,) = await ledger.read(ErrorGroups(ORG, 9))
        assert (left.message, left.stack, left.reports) == ("his", "at x", 2)
        # So it is with what is removed for its age.
        await commit(ledger, report(his, NOW, message="newer"), ExpiryEntry(Kept.ERRORS, NOW, 9))
        (left,) = await ledger.read(ErrorGroups(ORG, 9))
        assert (left.message, left.first_seen_unix_ms) == ("newer", NOW - 9)


async def test_texts_of_others_do_not_name_the_person(site: Any) -> None:
    """In whichever field and case; what names nobody, or somebody else, is left as it was."""
    his = NAMES.name(BOB, NOW)
    url = f"/patients/{ANN.upper()}/plan"
    naming = [
        event(his, page_url=url, properties={"of": [ANN], ANN: 1}),
        event(his, resource_id=ANN, circumstances=around(his)._replace(request_id=ANN)),
        report(his, message=f"no plan of {ANN}", stack=f"at {url}", detail={"media_id": ANN}),
        report(his, error_type=ANN, fingerprint="a" * 32),
    ]
    silent = [event(his, page_url=f"/patients/{BOB}"), event(None), report(his)]
    async with site.open() as ledger:
        await commit(ledger, ORDER, *naming, *silent)
        assert await redact_texts(ledger) == 5  # one of the groups as well
        assert await redact_texts(ledger) == 0
        events = {one.event_id: one for one in await ledger.read(AnalyticsPage(ORG, 9))}
        reports = {
            one.report_id: one
            for group in await ledger.read(ErrorGroups(ORG, 9))
            for one in await ledger.read(ErrorReports(ORG, group.fingerprint, 9))
        }
        told = str([events, reports, await ledger.read(ErrorGroups(ORG, 9))]).lower()
        assert ANN not in told
        instead = stand_in(ANN)
        found = events[naming[0].event_id]  # type: ignore[attr-defined]
        assert found.page_url == f"/patients/{instead}/plan"
        assert found.properties == {"of": [instead], instead: 1}
        assert found.circumstances.actor == his
        for one in silent:
            kept = events | reports
            assert kept[getattr(one, "event_id", None) or one.report_id] == one  # type: ignore[attr-defined]
        erasure = await ledger.read(ErasureOf("e-1"))
        assert erasure is not None
        assert erasure.texts == 5


async def test_the_audit_keeps_its_chain_without_the_names(site: Any) -> None:
    """Entries that services sent under a name of the person are blinded, and the chain holds."""
    names = NAMES.every_name(ANN, NOW)
    his = NAMES.name(BOB, NOW)
    actors = [*ann_names(), his, "withheld"]
    entries = [AuditEntry(1, actor, "patient.view", "patient:x", {}) for actor in actors]
    entries.append(AuditEntry(2, his, "patient.view", f"patient:{ANN.upper()}", {"of": ANN}))
    async with site.open() as ledger:
        await commit(ledger, ORDER, *entries)
        found = await ledger.read(AuditsThatName(ANN, 99, 0, names))
        assert len(found.positions) == 4
        redact = RedactAudits("e-1", found.positions, ANN, NOW, names)
        assert await commit(ledger, redact, redact) == [4, 0]
        *kept, record = [row.entry for row in reversed(await ledger.read(AuditPage(9)))]
        assert (record.action, record.subject) == ("audit.redacted", "erasure:e-1")
        assert [link for link, _ in record.detail["blinded"]] == [1, 2, 3, 6]
        assert [one.actor for one in kept] == [stand_in(ANN)] * 3 + [his, "withheld", his]
        assert (kept[5].subject, kept[5].detail["of"]) == (
            f"patient:{stand_in(ANN)}",
            stand_in(ANN),
        )
        reader = ChainReader(await ledger.read(AuditChainOf()))
        assert reader.follow(await ledger.read(AuditLinks(0, 99))) is None
        assert reader.conclude() is None
        assert reader.redacted == 4


async def test_rows_from_before_get_their_names(site: Any) -> None:
    """The migration fills the column by which rows are found from what they have of the actor."""
    his, hers = NAMES.name(BOB, NOW), NAMES.name(ANN, NOW)
    async with site.open() as ledger:
        await commit(ledger, ORDER, event(his), event(hers), event(None), report(hers))
    dialect = "postgres" if hasattr(site, "sql") else "sqlite"
    step = next(step for step in load_migrations(dialect) if step.name == "platform_erasure")
    filling = [line for line in step.sql.splitlines() if line.startswith("UPDATE ")]
    assert len(filling) == 2
    for statement in (
        "UPDATE analytics_events SET actor = NULL", "UPDATE error_reports SET actor = NULL",
    ):  # fmt: skip
        past_the_service(site, statement)
    async with site.open() as ledger:
        assert await ledger.read(NamesHeld(NAMES.every_name(ANN, NOW))) == ()
    for statement in filling:
        past_the_service(site, statement)
    async with site.open() as ledger:
        assert await ledger.read(NamesHeld(NAMES.every_name(ANN, NOW))) == (hers,)
        assert await erase_rows(ledger) == [1, 1, 0]


def past_the_service(site: Any, statement: str) -> None:
    if hasattr(site, "sql"):
        site.sql(statement)
        return
    with closing(sqlite3.connect(site.path)) as db, db:
        db.execute(statement)
