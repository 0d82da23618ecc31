"""`/console/settings`: what the service runs with, where each value comes from; no secret is shown.

It is what `penstock config` prints, by the same function. Nothing is changed here: settings are the
environment's and the file's, and what is live is the policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.http.cold_routes import Call, ColdRoute
from penstock.http.console.frame import Frame
from penstock.http.console.visits import Visit
from penstock.http.core.requests import expect, misfit
from penstock.http.exchange import Answer

PATH = "/console/settings"
_SHOWN = ("", "set")
_LONGEST_SEARCH = 80


class SettingShown(Protocol):
    """One setting as it may be shown."""

    @property
    def name(self) -> str:
        """Give its name."""
        ...

    @property
    def words(self) -> str:
        """Give its value, or of a secret only whether it is set."""
        ...

    @property
    def source(self) -> str:
        """Say where the value comes from."""
        ...

    @property
    def change(self) -> str:
        """Say what a change of it takes."""
        ...

    @property
    def description(self) -> str:
        """Say what it is for."""
        ...

    @property
    def secret(self) -> bool:
        """Say whether it is one that is never shown."""
        ...

    @property
    def unset(self) -> bool:
        """Say whether it has no value."""
        ...

    @property
    def changed(self) -> bool:
        """Say whether somebody has set it."""
        ...


@dataclass(slots=True, frozen=True)
class SettingsPage:
    """The page."""

    frame: Frame
    settings: Sequence[SettingShown]

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give its route."""
        return (self.frame.page(PATH, self._show),)

    async def _show(self, visit: Visit, call: Call) -> Answer:
        expect(call, "find", "show")
        find, show = call.query.get("find", "").strip(), call.query.get("show", "")
        if show not in _SHOWN:
            raise misfit("show", "it must be set, or left out", show)
        if len(find) > _LONGEST_SEARCH:
            raise misfit("find", f"it must have at most {_LONGEST_SEARCH} characters", find)
        wanted = find.lower().replace(" ", "_")
        rows = [
            row
            for row in self.settings
            if (wanted in row.name or find.lower() in row.description.lower())
            and (row.changed or not show)
        ]
        return self.frame.pages.render(
            visit,
            "settings.html",
            "Settings",
            PATH,
            rows=rows,
            find=find,
            show=show,
            number=len(self.settings),
        )
