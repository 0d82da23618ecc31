"""Are there finals that were not delivered, or are on their way for too long."""

from collections.abc import Iterator

import trio

from penstock.doctor.finding import Finding, Machine, ok, warning
from penstock.engine.delivery_records import OutboxCounts, OutboxState
from penstock.settings import Settings

# Longer than a store or Core is away for an update.
_OLD_SECONDS = 3600.0


def check_outbox(settings: Settings, machine: Machine) -> Iterator[Finding]:
    """Look into the ledger, whether a service runs or not."""
    state = _state(settings)
    if state is None:
        return  # there is no ledger yet, or another check says what is wrong with it
    if state.dead:
        yield warning(
            "outbox",
            f"{state.dead} finals were given up after outbox_max_attempts",
            "see why with `penstock outbox list --dead`, mend that, then `penstock outbox retry`",
        )
        return
    oldest = state.oldest_unix_ms
    seconds = 0.0 if oldest is None else machine.unix() - oldest / 1000
    if seconds > _OLD_SECONDS:
        yield warning(
            "outbox",
            f"{state.pending} finals are on their way, the oldest for {seconds / 3600:.1f} hours",
            "see with `penstock outbox list` whether it is the blob store or Core that is away",
        )
        return
    yield ok("outbox", f"{state.pending} finals on their way" if state.pending else "empty")


def _state(settings: Settings) -> OutboxState | None:
    from penstock.engine.ledger_port import LedgerUnavailableError  # noqa: PLC0415
    from penstock.ledgers import LEDGER_FILE  # noqa: PLC0415
    from penstock.storage.ledger.sql import LedgerFaultError  # noqa: PLC0415
    from penstock.storage.ledger.sqlite import ask_sqlite_file  # noqa: PLC0415

    try:
        if settings.database_url is not None:
            from penstock.storage.ledger.postgres import ask_postgres  # noqa: PLC0415

            url = settings.database_url.get_secret_value()
            return trio.run(ask_postgres, url, OutboxCounts())
        path = settings.data_dir / LEDGER_FILE
        return ask_sqlite_file(path, OutboxCounts()) if path.is_file() else None
    except (LedgerUnavailableError, LedgerFaultError):
        return None
