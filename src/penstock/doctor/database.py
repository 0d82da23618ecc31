"""Can the ledger's database be used, and is anything about it dangerous."""

from collections.abc import Iterator

import trio

from penstock.doctor.finding import Finding, ok, problem, warning
from penstock.settings import Settings


def check_database(settings: Settings) -> Iterator[Finding]:
    """Connect as the service would, and look."""
    if settings.database_url is None:
        yield ok("database", "the embedded one, in the data folder")
        return
    from penstock.storage.ledger import LedgerOpenError  # noqa: PLC0415
    from penstock.storage.ledger.postgres import look_at_postgres  # noqa: PLC0415

    try:
        server = trio.run(look_at_postgres, settings.database_url.get_secret_value())
    except LedgerOpenError as error:
        yield problem("database", error.detail, error.remedy)
        return
    steps = f"; the next start takes {server.due} steps of its schema" if server.due else ""
    yield ok("database", f"PostgreSQL {server.version}, database {server.database!r}{steps}")
    for concern in server.concerns:
        yield warning("database", concern.seen, concern.remedy)
