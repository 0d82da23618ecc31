"""The runs surface put together."""

from penstock.engine.ledger_port import Ledger
from penstock.engine.session import Plant
from penstock.http.runs.gate import AddressLimit, Gate, SharedToken
from penstock.http.runs.reading import StoreFacts
from penstock.http.runs.surface import Runs
from penstock.http.runs.writing import RunsLimits
from penstock.ledgers import LEDGER_FILE
from penstock.settings import Settings, secret_bytes


def compose_runs(settings: Settings, ledger: Ledger, plant: Plant) -> Runs:
    """Give the surface."""
    token = settings.runs_auth_token if settings.runs_auth_enabled else None
    limited = settings.runs_rate_limit_enabled
    return Runs(
        ledger,
        plant.writer,
        plant.clock,
        _store_facts(settings),
        Gate(
            None if token is None else SharedToken(secret_bytes(token)),
            AddressLimit(settings.runs_rate_limit_rpm) if limited else None,
        ),
        RunsLimits(
            settings.runs_body_bytes,
            settings.runs_batch_body_bytes,
            settings.runs_batch_length,
            settings.runs_text_length,
        ),
        lambda: plant.sluice.refuses_bulk,
    )


def _store_facts(settings: Settings) -> StoreFacts:
    if settings.database_url is not None:
        # Its log is a write-ahead log; that it syncs is the doctor's to check. The URL has secrets.
        return StoreFacts("postgresql", "WAL", "FULL")
    path = str(settings.data_dir / LEDGER_FILE)
    return StoreFacts(path, settings.ledger_journal_mode.upper(), "FULL")
