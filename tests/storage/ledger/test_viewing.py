"""What operators look for, in each ledger."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from penstock.engine.ledger_port import Entry, Ledger, Verdict
from penstock.engine.media.events import EndReason, MediaData, MediaEvent, MediaKind, MediaType
from penstock.engine.media.metrics import media_metrics
from penstock.engine.media.records import MediaEventEntry, MediaFoldEntry
from penstock.engine.media.rollup import Standing, Surroundings, standing_of
from penstock.engine.platform.audit_chain import digest_of
from penstock.engine.platform.records import AnalyticsEntry, Circumstances, ErrorReportEntry
from penstock.engine.platform.security import SecurityKind, kind_of
from penstock.engine.platform.viewing import (
    AnalyticsOf,
    AuditOf,
    CountsSince,
    ErrorReportOf,
    Look,
    LookAtAnalytics,
    LookAtAudit,
    LookAtErrors,
    LookAtMedia,
    Mark,
    MediaSessionOf,
)
from penstock.engine.records import AuditEntry
from penstock.storage.ledger.kinds import steps_of
from penstock.storage.ledger.migrate import load_migrations
from penstock.storage.ledger.sql import encode
from penstock.storage.ledger.sqlite import _run
from postgres_server import ROLE

ORG, OTHER = str(UUID(int=8)), str(UUID(int=9))


def around(actor: str | None = "680-ab") -> Circumstances:
    return Circumstances(actor, "user", "RO", "mobile", "Chrome", "4g", "r-1")


def event(at: int, **changes: Any) -> AnalyticsEntry:
    made = AnalyticsEntry(
        str(uuid4()), ORG, at, at, "page.view", "navigation", None, None, None, None, None, {},
        around(),
    )  # fmt: skip
    return replace(made, **changes)


def report(at: int, **changes: Any) -> ErrorReportEntry:
    made = ErrorReportEntry(
        str(uuid4()), ORG, "f" * 32, at, "video_error", "E1", "player", "it broke", "", {},
        around(),
    )  # fmt: skip
    return replace(made, **changes)


def audit(at: int, action: str = "patient.view", **detail: Any) -> AuditEntry:
    return AuditEntry(at, "ada", action, f"patient:{at}", detail)


def media(session: int, at: int, **changes: Any) -> MediaEventEntry:
    name = str(UUID(int=session))
    told = MediaEvent(name, "m-1", MediaType.VIDEO, MediaKind.PLAY, at, at)
    return replace(MediaEventEntry(told, ORG, str(UUID(int=7))), **changes)


async def store(ledger: Ledger, *entries: Entry) -> None:
    told = await ledger.commit(list(entries))
    assert {outcome.verdict for outcome in told} == {Verdict.STORED}, told


async def walk(ledger: Ledger, look: Look[Any]) -> tuple[list[Any], int]:
    """Look on until the end; give all rows, and how many looks it took."""
    rows: list[Any] = []
    for looks in range(1, 1000):
        found = await ledger.read(look)
        assert len(found.rows) <= look.limit
        rows += found.rows
        if found.after is None:
            return rows, looks
        look = replace(look, after=found.after)
    raise AssertionError("the looks do not come to an end")


async def test_pages_are_whole_while_rows_come_in(site: Any) -> None:
    """Each row that was there is given once, newest first, also where moments are alike."""
    there = [event(at // 3) for at in range(20)]
    async with site.open() as ledger:
        await store(ledger, *there)
        look, rows = LookAtAnalytics(3), list[AnalyticsEntry]()
        for arrival in range(50):
            found = await ledger.read(look)
            rows += found.rows
            # Newer than all, and as old as what is on its way.
            await store(ledger, event(1000 + arrival), event(6, name="late"))
            if found.after is None:
                break
            look = replace(look, after=found.after)
        ids = [row.event_id for row in rows]
        assert len(set(ids)) == len(ids)
        assert {row.event_id for row in there} <= set(ids)
        assert [row.received_unix_ms for row in rows] == sorted(
            (row.received_unix_ms for row in rows), reverse=True
        )
        assert max(row.received_unix_ms for row in rows) < 1000


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_a_look_is_bounded_and_says_where_it_stopped(site: Any, limit: int) -> None:
    """What is rare is found by looking on; no look is longer than it may be."""
    rare = [event(at, name="rare") for at in (3, 4, 17, 29)]
    async with site.open() as ledger:
        await store(ledger, *(event(at) for at in range(30)), *rare)
        rows, looks = await walk(ledger, LookAtAnalytics(limit, most=5, name="rare"))
        assert [row.event_id for row in rows] == [row.event_id for row in reversed(rare)]
        assert looks >= 34 // 5
        first = await ledger.read(LookAtAnalytics(5, most=5, name="missing"))
        assert first.rows == ()
        assert first.after is not None


async def test_analytics_are_found_by_what_they_are(site: Any) -> None:
    """By time, organisation, actor, name and category; half a name is not a name."""
    one = event(1, name="a.b", category="x", circumstances=around('q"uo,te'))
    two = event(2, org_id=OTHER, circumstances=around(None))
    three = event(3, circumstances=around("680-abc"))
    async with site.open() as ledger:
        await store(ledger, one, two, three)

        async def ids(**filters: Any) -> list[int]:
            rows, _ = await walk(ledger, LookAtAnalytics(10, **filters))
            return [row.received_unix_ms for row in rows]

        assert await ids() == [3, 2, 1]
        assert await ids(from_unix_ms=2) == [3, 2]
        assert await ids(to_unix_ms=2) == [1]
        assert await ids(org_id=OTHER) == [2]
        assert await ids(actor="680-abc") == [3]
        assert await ids(actor="680-ab") == []
        assert await ids(actor='q"uo,te') == [1]
        assert await ids(name="a.b", category="x") == [1]
        assert await ids(name="A.b") == []
        assert await ledger.read(AnalyticsOf(one.event_id)) == one
        assert await ledger.read(AnalyticsOf("' OR 1=1 --")) is None


async def test_a_page_far_back_costs_no_more_than_the_first(sqlite_site: Any) -> None:
    """A look begins where the last one ended; nothing newer is read again on the way there."""
    async with sqlite_site.open():
        pass
    rows = 5000
    with closing(sqlite3.connect(sqlite_site.path)) as db:
        db.executemany(
            "INSERT INTO analytics_events (event_id, org_id, at_unix_ms, received_unix_ms, name,"
            " category, properties, circumstances) VALUES (?, 'o', ?, ?, 'a', 'b', '{}', ?)",
            ((f"{at:08}", at, at, encode(list(around()))) for at in range(rows)),
        )
        steps: list[int] = []
        # Called once each ten steps of SQLite's machine.
        db.set_progress_handler(lambda: steps.append(1), 10)

        def cost(query: LookAtAnalytics) -> int:
            steps.clear()
            assert len(_run(db, steps_of(query)).rows) == query.limit
            return len(steps)

        first = cost(LookAtAnalytics(50))
        far = Mark(60, "00000060")
        # To read what is newer would be some fifty times as much.
        assert cost(LookAtAnalytics(50, far)) <= 10 * first
        assert cost(LookAtAnalytics(50, far, name="a")) <= 10 * first
        assert cost(LookAtAnalytics(50, far, org_id="o")) <= 10 * first


async def test_errors_are_found_by_what_they_are(site: Any) -> None:
    """By organisation, actor, type, feature and fingerprint."""
    one = report(1, feature=None, error_type="crash")
    two, three = report(2, org_id=OTHER), report(3, fingerprint="e" * 32)
    async with site.open() as ledger:
        await store(ledger, one, two, three)

        async def ids(**filters: Any) -> list[int]:
            rows, _ = await walk(ledger, LookAtErrors(10, **filters))
            return [row.received_unix_ms for row in rows]

        assert await ids() == [3, 2, 1]
        assert await ids(org_id=OTHER) == [2]
        assert await ids(error_type="crash") == [1]
        assert await ids(feature="player") == [3, 2]
        assert await ids(fingerprint="e" * 32) == [3]
        assert await ids(actor="nobody") == []
        assert await ledger.read(ErrorReportOf(two.report_id)) == two


async def test_audit_entries_are_found_by_what_is_told_of_them_itself(site: Any) -> None:
    """A status or an organisation within what an entry holds of others is not the entry's."""
    mine = audit(1, status="success", org_id=ORG, metadata={})
    deep = audit(2, status="failure", metadata={"status": "success", "org_id": ORG})
    other = audit(3, "patient.edit", status="Success", org_id=OTHER)
    async with site.open() as ledger:
        await store(ledger, mine, deep, other)

        async def at(**filters: Any) -> list[int]:
            rows, _ = await walk(ledger, LookAtAudit(10, **filters))
            return [row.entry.at_unix_ms for row in rows]

        assert await at() == [3, 2, 1]
        assert await at(status="success") == [1]
        assert await at(org_id=ORG) == [1]
        assert await at(status="success", org_id=OTHER) == []
        assert await at(action="patient.edit") == [3]
        assert await at(actor="ada", subject="patient:2") == [2]
        assert await at(security=True) == []
        found = await ledger.read(AuditOf(mine.entry_id))
        assert found is not None
        assert found.stored.entry == mine
        assert found.link is not None
        assert found.link.content is not None
        assert (found.link.link, found.link.digest) == (1, digest_of(found.link.content))


SECURE = [
    (audit(1, "console.sign_in_failed", status="denied"), SecurityKind.SIGN_IN_FAILED),
    (audit(2, "patient.view", status="failure", status_code=403), SecurityKind.DENIED),
    (audit(3, "admin.geo.status", status="denied"), SecurityKind.DENIED),
    (audit(4, "admin.geo.status", status="allowed"), None),
    (audit(5, "admin.geo.update", status="begun"), SecurityKind.ADMIN),
    (audit(6, "policy.edited"), SecurityKind.POLICY),
    (audit(7, "console.sign_in"), SecurityKind.SIGN_IN),
    (audit(8, "device_token.minted"), SecurityKind.ADMIN),
    (audit(9, "replay.linked"), SecurityKind.ADMIN),
    (audit(10, "patient.view", status="success", status_code=200), None),
    (audit(11, "policymaker.view"), None),
    (audit(12, "quota.set"), SecurityKind.ADMIN),
    (audit(13, "outbox.retried"), SecurityKind.ADMIN),
    (audit(14, "retention.run"), SecurityKind.ADMIN),
    (audit(15, "erasure.asked", status=None), SecurityKind.ADMIN),
]


async def test_what_is_about_security_is_found_by_its_kind(site: Any) -> None:
    """Sign-ins, refusals, and changes of policy or by admins; counted by kind."""
    async with site.open() as ledger:
        await store(ledger, *(entry for entry, _ in SECURE))
        await _see_the_kinds(ledger)
        counts = await ledger.read(CountsSince(2))
        assert (counts.audit, counts.analytics, counts.errors, counts.media) == (14, 0, 0, 0)
        assert counts.security == {"denied": 2, "sign_in": 1, "policy": 1, "admin": 7}


async def _see_the_kinds(ledger: Ledger) -> None:
    rows, _ = await walk(ledger, LookAtAudit(4, security=True))
    kinds = {row.entry.at_unix_ms: kind_of(row.entry.action, row.entry.detail) for row in rows}
    assert kinds == {entry.at_unix_ms: kind for entry, kind in SECURE if kind is not None}
    for kind in SecurityKind:
        rows, _ = await walk(ledger, LookAtAudit(2, security=True, kind=kind))
        assert {row.entry.at_unix_ms for row in rows} == {
            entry.at_unix_ms for entry, own in SECURE if own is kind
        }


async def test_media_sessions_keep_their_place(site: Any) -> None:
    """They are in the order of their first event, however many follow; found by what they are."""
    place = Surroundings("RO", "mobile", "Chrome")
    async with site.open() as ledger:
        await store(
            ledger, media(1, 10, surroundings=place), media(2, 20), media(3, 30, org_id=OTHER)
        )
        await store(ledger, media(1, 99))
        rows, _ = await walk(ledger, LookAtMedia(2))
        assert [row.first_received_unix_ms for row in rows] == [30, 20, 10]
        assert (rows[2].events, rows[2].last_received_unix_ms) == (2, 99)
        assert rows[2].surroundings == place
        (theirs,), _ = await walk(ledger, LookAtMedia(2, org_id=OTHER))
        assert theirs.session_id == str(UUID(int=3))
        (theirs,), _ = await walk(ledger, LookAtMedia(2, country_code="RO", device_type="mobile"))
        assert theirs == rows[2]
        assert await ledger.read(MediaSessionOf(rows[2].session_id)) == rows[2]
        await store(
            ledger,
            MediaFoldEntry(rows[1].session_id, 1, _standing(20), closed=False, at_unix_ms=100),
        )
        active, _ = await walk(ledger, LookAtMedia(9, status="active"))
        assert [row.first_received_unix_ms for row in active] == [30, 10]
        (done,), _ = await walk(ledger, LookAtMedia(9, status="completed"))
        assert done.standing == _standing(20)


def _standing(at: int) -> Standing:
    end = MediaEvent(
        str(UUID(int=2)), 'm","status":"active', MediaType.VIDEO, MediaKind.SESSION_END, at, at,
        MediaData(reason=EndReason.COMPLETED),
    )  # fmt: skip
    metrics = media_metrics([end])
    assert metrics is not None
    return standing_of(metrics, Surroundings())


async def test_an_older_ledger_s_rows_are_found_as_well(site: Any) -> None:
    """What was stored before gets its kind and its place when the ledger is brought up to date."""
    rows = [
        "INSERT INTO audit_entries (entry_id, at_unix_ms, actor, action, subject, detail, link)"
        f" VALUES ('{entry.entry_id}', {entry.at_unix_ms}, 'ada', '{entry.action}', 's',"
        f" '{encode(entry.detail)}', {entry.at_unix_ms})"
        for entry, _ in SECURE
    ]
    rows += [
        "INSERT INTO audit_entries (entry_id, at_unix_ms, actor, action, subject, detail)"
        r""" VALUES ('nul', 99, 'ada', 'patient.view', 's', '{"metadata":"\u0000"}')""",
        "INSERT INTO media_sessions VALUES ('s-1', 'o-1', 'p-1', 90, 2, 0, 0, 90, NULL, NULL, NULL,"
        " NULL)",
        "INSERT INTO media_events VALUES ('s-1', 'o-1', 'play', 5, 70, 'm-1', 'video', '{}')",
        "INSERT INTO media_events VALUES ('s-1', 'o-1', 'play', 6, 90, 'm-1', 'video', '{}')",
    ]
    _make_older(site, rows)
    async with site.open() as ledger:
        await _see_the_kinds(ledger)
        (session,), _ = await walk(ledger, LookAtMedia(9))
        assert session.first_received_unix_ms == 70


def _make_older(site: Any, rows: Sequence[str]) -> None:
    """Make a ledger of before the migration that this is about, with rows in it."""
    postgres = hasattr(site, "sql")
    steps = load_migrations("postgres" if postgres else "sqlite")
    (ours,) = (step.number for step in steps if step.name == "viewing")
    number = "BIGINT" if postgres else "INTEGER"
    script = [
        f"CREATE TABLE schema_migrations (number {number} NOT NULL PRIMARY KEY, name TEXT NOT NULL,"
        f" checksum TEXT NOT NULL, applied_unix_ms {number} NOT NULL);"
    ]
    for step in steps[: ours - 1]:
        taken = f"({step.number}, '{step.name}', '{step.checksum}', 0)"
        script += [step.sql, f"INSERT INTO schema_migrations VALUES {taken};"]
    script += [f"{row};" for row in rows]
    if postgres:
        # One statement to psql, and so one transaction: its scope is every organisation.
        script.insert(0, "SET LOCAL penstock.org_id = '*';")
        site.server.sql("\n".join(script), site.database, role=ROLE)
        return
    site.path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(site.path)) as db:
        db.executescript("\n".join(script))
