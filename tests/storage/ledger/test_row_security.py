"""PostgreSQL itself keeps the rows of organisations apart, whatever is asked."""

import dataclasses
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from penstock.engine.ledger_port import OrgQuery, Verdict
from penstock.engine.records import FinalEntry
from penstock.storage.ledger import kinds
from penstock.storage.ledger.postgres import look_at_postgres
from penstock.storage.ledger.sql import Statement, Steps
from postgres_server import ROLE

ORGS = [str(UUID(int=number)) for number in (1, 2)]
OURS, THEIRS = ORGS
MakeFinal = Callable[..., FinalEntry]


@dataclasses.dataclass(slots=True, frozen=True)
class CarelessQuery(OrgQuery[list[str]]):
    """A question whose SQL has forgotten the organisation."""


def _careless(_query: CarelessQuery) -> Steps[list[str]]:
    rows = yield Statement("SELECT org_id FROM session_finals ORDER BY org_id")
    return [org_id for (org_id,) in rows]


@pytest.fixture
async def filled(postgres_site: Any, make_final: MakeFinal) -> Any:
    """Give a site whose ledger has a final of each organisation, and is closed."""
    group = [
        dataclasses.replace(make_final(number), org_id=org_id) for number, org_id in enumerate(ORGS)
    ]
    async with postgres_site.open() as ledger:
        outcomes = await ledger.commit(group)
        assert [outcome.verdict for outcome in outcomes] == [Verdict.STORED] * 2
    return postgres_site


@pytest.fixture
def raw(filled: Any) -> Any:
    """Give a plain connection of the service's role, which owns the tables."""
    session = filled.server.session(filled.database, role=ROLE)
    yield session
    session.close()


async def test_with_a_scope_only_its_organisation_s_rows_are_there(raw: Any) -> None:
    """Reading, changing, removing another one's rows does nothing, also for the tables' owner."""
    raw.ask(f"SET penstock.org_id = '{OURS}'")
    assert raw.ask("SELECT org_id FROM session_finals") == OURS
    assert raw.ask(f"SELECT count(*) FROM session_finals WHERE org_id = '{THEIRS}'") == "0"
    for statement in ("UPDATE session_finals SET status = 'x'", "DELETE FROM session_finals"):
        assert raw.ask(f"{statement} RETURNING org_id") == OURS
    raw.ask("SET penstock.org_id = '*'")
    assert raw.ask("SELECT org_id, status FROM session_finals") == f"{THEIRS}|completed"


async def test_without_a_scope_nothing_is_there(raw: Any) -> None:
    """Neither before one was ever set nor after the transaction that had one."""
    count = "SELECT count(*) FROM session_finals"
    assert raw.ask(count) == "0"
    assert raw.ask(f"BEGIN; SET LOCAL penstock.org_id = '*'; {count}; COMMIT") == "2"
    assert raw.ask("SELECT current_setting('penstock.org_id')") == ""
    assert raw.ask(count) == "0"


async def test_a_row_cannot_be_written_into_another_organisation(filled: Any) -> None:
    """What is inserted or moved must be of the scope's organisation."""
    for statement in (
        "INSERT INTO session_finals SELECT 'new', revision, org_id, principal_id, status,"
        f" ended_unix_ms, body FROM (SELECT *, '{THEIRS}' AS org_id FROM"
        " (SELECT revision, principal_id, status, ended_unix_ms, body FROM session_finals) a) b",
        f"UPDATE session_finals SET org_id = '{THEIRS}'",
    ):
        with pytest.raises(AssertionError, match="row-level security"):
            filled.server.sql(
                f"SET penstock.org_id = '{OURS}'; {statement}", filled.database, role=ROLE
            )


async def test_a_question_that_forgets_its_organisation_still_gets_no_other_one_s_rows(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger sets the scope from the question, for every statement of its answer."""
    monkeypatch.setitem(kinds._ANSWERS, CarelessQuery, _careless)
    async with filled.open(readers=1) as ledger:
        assert await ledger.read(CarelessQuery(OURS)) == [OURS]
        assert await ledger.read(CarelessQuery(THEIRS)) == [THEIRS]
        for nobody in ("", "*", "a\x00b", "' OR '1", OURS.upper() + " "):
            assert await ledger.read(CarelessQuery(nobody)) == []


@pytest.mark.parametrize("org_id", ["", "*"])
async def test_no_entry_has_an_organisation_that_stands_for_others(
    postgres_site: Any, make_final: MakeFinal, org_id: str
) -> None:
    """The scopes that mean nobody and everybody are nobody's name."""
    async with postgres_site.open() as ledger:
        (outcome,) = await ledger.commit([dataclasses.replace(make_final(1), org_id=org_id)])
        assert outcome.verdict is Verdict.UNFIT


async def test_every_table_with_an_organisation_is_kept_apart(filled: Any) -> None:
    """No migration may add one that is not, its owner included."""
    tables = filled.sql(
        "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, count(p.polname),"
        " count(k.conname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " LEFT JOIN pg_policy p ON p.polrelid = c.oid AND p.polcmd = '*'"
        " AND pg_get_expr(p.polqual, c.oid) LIKE '%current_setting(''penstock.org_id''%'"
        " LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'c'"
        " AND pg_get_constraintdef(k.oid) LIKE '%org_id%'"
        " WHERE a.attname = 'org_id' AND c.relkind IN ('r', 'p') GROUP BY 1, 2"
    ).splitlines()
    assert "session_finals|t|1|1" in tables
    for table in tables:
        name, secured, policies, checks = table.split("|")
        assert (secured, policies, checks) == ("t", "1", "1"), name


async def test_a_role_above_row_security_is_told(postgres_site: Any, postgres_server: Any) -> None:
    """A superuser makes all of this void: that is found at the opening, with a remedy."""

    async def concerns(role: str) -> list[str]:
        server = await look_at_postgres(postgres_server.url(postgres_site.database, role))
        return [concern.remedy for concern in server.concerns if "BYPASSRLS" in concern.seen]

    assert await concerns(ROLE) == []
    (remedy,) = await concerns("postgres")
    assert "NOBYPASSRLS" in remedy
    assert f"ALTER DATABASE {postgres_site.database} OWNER TO" in remedy
    postgres_server.sql(f"ALTER ROLE {ROLE} BYPASSRLS")
    try:
        assert len(await concerns(ROLE)) == 1
    finally:
        postgres_server.sql(f"ALTER ROLE {ROLE} NOBYPASSRLS")
