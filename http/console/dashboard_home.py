"""`/dashboard/`: what the last day brought, whether the audit holds, what is known of addresses.

The chain's newest links are followed on every visit: whoever changed something in the last hours
is found out by the next look at this page. The whole chain is the business of `penstock audit
verify`, which takes longer.
"""

from dataclasses import dataclass

from penstock.engine.platform.audit_chain import Break, ChainReader
from penstock.engine.platform.exclusions import ExclusionBook
from penstock.engine.platform.records import AuditChain, AuditChainOf, AuditLinks
from penstock.engine.platform.security import SecurityKind
from penstock.engine.platform.syncing import ExclusionSync
from penstock.engine.platform.viewing import (
    MOST_COUNTED,
    CountsSince,
    LookAtAudit,
    LookAtErrors,
)
from penstock.http.cold_routes import Call, ColdRoute
from penstock.http.console import dashboard_rows as rows
from penstock.http.console.dashboard_cells import listed
from penstock.http.console.frame import Frame
from penstock.http.console.visits import Visit
from penstock.http.core.keeping import Keeping
from penstock.http.exchange import Answer
from penstock.http.instants import iso_instant
from penstock.http.platform.admin import Geo

FOLLOWED_LINKS = 1000
_DAY_MS = 24 * 3600 * 1000
_NEWEST = 8
_SECURITY_FIGURES = (
    ("Refusals", SecurityKind.DENIED),
    ("Failed sign-ins", SecurityKind.SIGN_IN_FAILED),
    ("Policy changes", SecurityKind.POLICY),
    ("Admins' changes", SecurityKind.ADMIN),
)


@dataclass(slots=True, frozen=True)
class Outlook:
    """What the platform knows of addresses."""

    geo: Geo
    book: ExclusionBook
    sync: ExclusionSync


@dataclass(slots=True, frozen=True)
class Figure:
    """One number of the day, and the list that it counts."""

    label: str
    value: str
    href: str


@dataclass(slots=True, frozen=True)
class ChainState:
    """What following the chain's newest links has shown."""

    chain: AuditChain
    followed: int
    broken: Break | None


@dataclass(slots=True, frozen=True)
class DashboardHome:
    """The page."""

    frame: Frame
    keeping: Keeping
    outlook: Outlook

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give its route."""
        return (self.frame.page(f"{rows.PREFIX}/", self._show),)

    async def _show(self, visit: Visit, _call: Call) -> Answer:
        since = self.keeping.now_ms() - _DAY_MS
        security = await self.keeping.read(LookAtAudit(_NEWEST, security=True))
        errors = await self.keeping.read(LookAtErrors(_NEWEST))
        book, geo = self.outlook.book.edition, self.outlook.geo
        return self.frame.pages.render(
            visit,
            "dashboard_home.html",
            "Dashboard",
            f"{rows.PREFIX}/",
            figures=await self._figures(since),
            security=[rows.security_cells(row) for row in security.rows],
            errors=[rows.error_cells(row) for row in errors.rows],
            chain=await self._chain(),
            exclusions=len(book),
            synced_at=None if book.synced_unix_ms is None else book.synced_unix_ms / 1000,
            sync=self.outlook.sync.state,
            geo=geo.status,
            geo_problem=geo.problem,
        )

    async def _figures(self, since_unix_ms: int) -> list[Figure]:
        counts = await self.keeping.read(CountsSince(since_unix_ms))
        since = iso_instant(since_unix_ms)[:16]
        figures = [
            _figure("Audit entries", counts.audit, listed(rows.AUDIT, **{"from": since})),
            _figure("Events", counts.analytics, listed(rows.ANALYTICS, **{"from": since})),
            _figure("Errors", counts.errors, listed(rows.ERRORS, **{"from": since})),
            _figure("Media sessions", counts.media, listed(rows.MEDIA, **{"from": since})),
        ]
        for label, kind in _SECURITY_FIGURES:
            href = listed(rows.SECURITY, **{"from": since, "kind": kind.value})
            figures.append(_figure(label, counts.security.get(kind, 0), href))
        return figures

    async def _chain(self) -> ChainState:
        chain = await self.keeping.read(AuditChainOf())
        begin = max(chain.removed_links, chain.links - FOLLOWED_LINKS)
        reader = ChainReader(chain)
        if begin == chain.removed_links:
            links = await self.keeping.read(AuditLinks(begin, FOLLOWED_LINKS))
        else:
            # The link before them is taken as it is: what is followed is made upon it.
            links = await self.keeping.read(AuditLinks(begin - 1, FOLLOWED_LINKS + 1))
            if not links or links[0].link != begin:
                return ChainState(chain, 0, Break(begin, "it is missing"))
            reader.begin_with(links.pop(0))
        broken = reader.follow(links) or reader.conclude()
        return ChainState(chain, len(links), broken)


def _figure(label: str, count: int, href: str) -> Figure:
    value = f"{count:,}" if count < MOST_COUNTED else f"{MOST_COUNTED:,} or more"
    return Figure(label, value, href)
