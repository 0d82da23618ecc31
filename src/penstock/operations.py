"""What operators ask of a running service, put together: retention, erasures and their routes."""

from dataclasses import dataclass
from functools import partial

from penstock.core_link import CoreLink, forget_of
from penstock.engine.blob_port import BlobStore
from penstock.engine.deliveries import Deliveries
from penstock.engine.erasures import Erasures
from penstock.engine.ledger_port import Ledger
from penstock.engine.platform.actors import ActorNames
from penstock.engine.ports import Spool
from penstock.engine.retention import BlobsSwept, Retention, RetentionRules
from penstock.engine.session import Plant
from penstock.engine.sessions import Sessions
from penstock.settings import Settings
from penstock.storage.blobs.retention import RetentionRule, sweep


@dataclass(slots=True, frozen=True)
class Operations:
    """What runs beside the sessions, for operators."""

    retention: Retention
    erasures: Erasures


def open_operations(
    settings: Settings,
    plant: Plant,
    ledger: Ledger,
    blobs: BlobStore,
    spool: Spool,
    sessions: Sessions,
    deliveries: Deliveries,
    core: CoreLink,
    actors: ActorNames,
) -> Operations:
    """Put them together; whoever opens the service runs them."""
    rules = RetentionRules(
        settings.blob_max_age_seconds,
        settings.blob_max_bytes,
        settings.finals_max_age_seconds,
        settings.audit_max_age_seconds,
    )
    rule = RetentionRule(rules.blob_max_age_seconds, rules.blob_max_bytes)

    def busy() -> bool:
        return plant.sluice.refuses_bulk

    retention = Retention(
        plant.writer, ledger, partial(_sweep, blobs, rule), plant.clock, rules, busy=busy
    )
    erasures = Erasures(
        plant.writer,
        ledger,
        blobs,
        spool,
        sessions,
        deliveries,
        plant.clock,
        actors,
        forget=forget_of(core.grants),
        busy=busy,
    )
    return Operations(retention, erasures)


async def _sweep(
    blobs: BlobStore,
    rule: RetentionRule,
    now_unix: float,
    dry_run: bool,  # noqa: FBT001 - as the port has it
) -> BlobsSwept:
    report = await sweep(blobs, rule, now_unix=now_unix, dry_run=dry_run)
    stopped = None if report.stopped is None else f"{report.stopped}: {report.stopped_detail}"
    return BlobsSwept(
        report.found, report.found_bytes, report.removed, report.removed_bytes, stopped
    )
