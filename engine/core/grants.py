"""Consents and quotas of the companion Core, asked of its ledger."""

from penstock.engine.core.grant_records import ConsentOf, QuotaOf
from penstock.engine.grants import GrantsUnavailableError
from penstock.engine.ledger_port import Ledger, LedgerUnavailableError
from penstock.engine.ports import Purpose, Quota

_NO_LIMIT = Quota()


class LedgerGrants:
    """The port `GrantSource` over the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def purposes(self, principal_id: str, org_id: str) -> frozenset[Purpose] | None:
        """Give what a principal consents to; None when nothing was ever said."""
        try:
            found = await self._ledger.read(ConsentOf(org_id, principal_id))
        except LedgerUnavailableError as error:
            raise GrantsUnavailableError(str(error)) from error
        return None if found is None else found.purposes

    async def quota(self, org_id: str) -> Quota:
        """Give what an organisation may send: without a record, as much as it likes."""
        try:
            found = await self._ledger.read(QuotaOf(org_id))
        except LedgerUnavailableError as error:
            raise GrantsUnavailableError(str(error)) from error
        return _NO_LIMIT if found is None else found.quota
