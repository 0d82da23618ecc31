"""`/console/tuner`: what `penstock tune` has found, and the way from there to the policy's form.

Nothing is tuned here: a tuning takes whole cores for minutes, which are the service's own on this
machine. Files are read in a thread, one visitor's at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlencode

import trio

from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.console.door import PREFIX
from penstock.http.console.frame import Frame
from penstock.http.console.tunings import TuningSheet, TuningShelf
from penstock.http.console.visits import Visit
from penstock.http.exchange import JSON, Answer
from penstock.http.problems import Problem

PATH = f"{PREFIX}/tuner"
_POLICY = f"{PREFIX}/policy"
_PNG = b"image/png"

T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class TunerPage:
    """The list, a page for each tuning, and what these pages fetch."""

    frame: Frame
    shelf: TuningShelf
    reading: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (
            self.frame.page(PATH, self._list),
            self.frame.page(f"{PATH}/<name>", self._show),
            self.frame.data(f"{PATH}/<name>/plot.png", self._plot),
            self.frame.data(f"{PATH}/<name>/points", self._points),
        )

    async def _list(self, visit: Visit, _call: Call) -> Answer:
        return self.frame.pages.render(
            visit,
            "tuner.html",
            "Tuner",
            PATH,
            entries=await self._read(self.shelf.entries),
            place=self.shelf.place,
        )

    async def _show(self, visit: Visit, call: Call) -> Answer:
        sheet = await self._sheet(call)
        load = call.query.get("load", sheet.best_load)
        if load not in sheet.policies:
            raise RefusedError(
                Problem.PARAMETER_MALFORMED,
                f"load: it must be one of those tried: {', '.join(sheet.policies)}",
                field="load",
                seen=load[:80],
            )
        return self.frame.pages.render(
            visit,
            "tuning.html",
            f"Tuning {sheet.name}",
            PATH,
            sheet=sheet,
            path=f"{PATH}/{sheet.name}",
            load=load,
            form=f"{_POLICY}?{urlencode(sheet.prefill)}#edit" if sheet.prefill else "",
        )

    async def _plot(self, _visit: Visit, call: Call) -> Answer:
        name = call.parameters["name"]
        plot = await self._read(lambda: self.shelf.plot(name))
        if plot is None:
            raise RefusedError(Problem.NOT_FOUND, "there is no such plot", seen=name[:80])
        return Answer(200, plot, "ok", _PNG)

    async def _points(self, _visit: Visit, call: Call) -> Answer:
        chart = (await self._sheet(call)).chart
        if chart is None:
            raise RefusedError(Problem.NOT_FOUND, "there is no chart of so many points")
        return Answer(200, chart, "ok", JSON)

    async def _sheet(self, call: Call) -> TuningSheet:
        name = call.parameters["name"]
        sheet = await self._read(lambda: self.shelf.sheet(name))
        if isinstance(sheet, str):
            raise RefusedError(Problem.NOT_FOUND, sheet[:300], seen=name[:80])
        return sheet

    async def _read(self, read: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(read, limiter=self.reading)
