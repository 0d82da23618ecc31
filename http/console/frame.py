"""What every page is built upon: the gate before it, the looks around it, the headers upon it.

A page gives its handlers to a `Frame` and gets routes: there is no way to a route without the gate.
What a handler refuses is a page to people and a problem document to scripts.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from penstock.http.cold_routes import Call, ColdRoute, RefusedError, StreamAnswer
from penstock.http.console.door import Door, Form, TurnedAwayError, wants_page
from penstock.http.console.pages import SECURITY, Pages
from penstock.http.console.visits import Visit
from penstock.http.exchange import Answer, unkept
from penstock.http.problems import problem_answer

Show = Callable[[Visit, Call], Awaitable[Answer | StreamAnswer]]
Act = Callable[[Visit, Form, Call], Awaitable[Answer]]


@dataclass(slots=True, frozen=True)
class Frame:
    """Makes routes of pages' handlers."""

    door: Door
    pages: Pages

    def page(self, rule: str, show: Show) -> ColdRoute:
        """Serve a page to visitors; others are led to the sign-in."""

        async def serve(call: Call) -> Answer | StreamAnswer:
            try:
                visit = self.door.visit(call)
            except TurnedAwayError as turned_away:
                return sealed(turned_away.answer)
            return await self._told(visit, call, lambda: show(visit, call), page=True)

        return ColdRoute("GET", rule, serve)

    def data(self, rule: str, show: Show) -> ColdRoute:
        """Serve what a visitor's page fetches; others get 401."""
        return self._to_scripts(rule, self.door.caller, show)

    def stream(self, rule: str, show: Show) -> ColdRoute:
        """Serve what a visitor's page listens to; that it listens does not keep the visit alive."""
        return self._to_scripts(rule, self.door.listener, show)

    def _to_scripts(self, rule: str, enter: Callable[[Call], Visit], show: Show) -> ColdRoute:
        async def serve(call: Call) -> Answer | StreamAnswer:
            async def told() -> Answer | StreamAnswer:
                return await show(enter(call), call)

            return await self._told(None, call, told, page=False)

        return ColdRoute("GET", rule, serve)

    def form(self, rule: str, act: Act) -> ColdRoute:
        """Take a visitor's form, once it is sure that it is theirs."""

        async def serve(call: Call) -> Answer | StreamAnswer:
            async def told() -> Answer | StreamAnswer:
                visit, form = await self.door.post(call)
                return await act(visit, form, call)

            return await self._told(None, call, told, page=wants_page(call))

        return ColdRoute("POST", rule, serve)

    async def _told(
        self,
        visit: Visit | None,
        call: Call,
        show: Callable[[], Awaitable[Answer | StreamAnswer]],
        *,
        page: bool,
    ) -> Answer | StreamAnswer:
        try:
            return sealed(await show())
        except TurnedAwayError as turned_away:
            return sealed(turned_away.answer)
        except RefusedError as refused:
            if not page:
                return sealed(refused.answer(problem_answer))
            if visit is None:
                visit = self.door.visits.find(self.door.visit_id(call))
            return self.pages.refusal(visit, refused)


def sealed(answer: Answer | StreamAnswer) -> Answer | StreamAnswer:
    """Put the console's headers on an answer that does not have them."""
    there = {name for name, _ in answer.headers}
    missing = tuple(header for header in SECURITY if header[0] not in there)
    answer = answer._replace(headers=(*answer.headers, *missing))
    if b"cache-control" in there:
        return answer
    if isinstance(answer, Answer):
        return unkept(answer)
    return answer._replace(headers=(*answer.headers, (b"cache-control", b"no-store")))
