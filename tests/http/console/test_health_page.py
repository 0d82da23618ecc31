from collections.abc import Callable
from typing import Any

from console_rig import WATCHDOG, look_everywhere, signed_in
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.outcomes import Reason
from penstock.http.console.health_page import REMEDIES
from portal_rig import Browsers

Serve = Callable[..., Any]


async def test_the_page_says_what_is_wrong_and_what_to_do(serve: Serve) -> None:
    """A service that is stopping is not ready, and the page has the reason with its remedy."""
    async with serve() as service, signed_in(service) as console:
        page = (await console.get("/console/health")).text
        assert "The service is ready" in page
        assert "open files" in page
        service.stopping.set()
        page = (await console.get("/console/health")).text
        assert "The service is not ready" in page
        assert REMEDIES["draining"] in page


def test_every_fault_of_the_stores_has_a_remedy() -> None:
    """What readiness may name as a reason is never shown without what to do about it."""
    passing = {"ledger_queue_full", "ledger_overdue", "ledger_draining"}
    entrys = {"ledger_conflict", "ledger_unfit", "ledger_full"}
    wanted = {reason.value for reason in LedgerReason} - passing - entrys
    assert {*wanted, Reason.DISK_FULL.value, Reason.SPOOL_UNWRITABLE.value} <= REMEDIES.keys()


async def test_the_page_can_be_used_by_everybody(serve: Serve, browsers: Browsers) -> None:
    """No serious finding of axe, and no page that scrolls sideways, in either theme."""
    async with serve(watchdog=WATCHDOG) as service, signed_in(service) as console:
        await look_everywhere(browsers, console, "/console/health", "health")
