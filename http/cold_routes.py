"""The routes that are not on the express lane: what a surface says of its own, as plain values.

A surface is a table of routes with a handler each, and its own words for what is wrong. Handlers
get a `Call` and give an answer; they know nothing of Quart, which only `app` speaks with.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from penstock.http.exchange import Answer
from penstock.http.problems import Problem, problem_answer


class RefusedError(Exception):
    """A request that gets no more than a problem. The surface finds the words for the answer."""

    def __init__(
        self,
        problem: Problem,
        detail: str | None = None,
        *,
        retry_after: float | None = None,
        **facts: object,
    ) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.detail = detail
        self.retry_after = retry_after
        self.facts = facts

    def answer(self, refuse: "Refuse") -> Answer:
        """Have a surface word it."""
        return refuse(self.problem, self.detail, retry_after=self.retry_after, **self.facts)


@dataclass(slots=True, frozen=True)
class Call:
    """One request. Of a name that comes twice in the query, the first value is given.

    Header names are looked up in any case. `peer` is the address that connected to us, `forwarded`
    all of X-Forwarded-For, in its order; `cookies` all of Cookie.
    """

    method: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: str
    request_id: str
    read_within: Callable[[int, str | None], Awaitable[bytes]]
    forwarded: str = ""
    cookies: str = ""

    @property
    def authorization(self) -> bytes:
        """Give the header as it came, empty where there is none."""
        return self.headers.get("Authorization", "").encode("latin1")

    async def read(self, limit: int, setting: str | None = None) -> bytes:
        """Read the body; RefusedError when it has more bytes, or comes too slowly.

        `setting` names where the limit comes from. Whatever can be refused without the body is
        refused before it is read.
        """
        return await self.read_within(limit, setting)


class StreamAnswer(NamedTuple):
    """An answer whose body comes in pieces, for as long as the client listens."""

    status: int
    chunks: AsyncIterator[bytes]
    code: str
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Call], Awaitable[Answer | StreamAnswer]]


class Refuse(Protocol):
    """How a surface words an error."""

    def __call__(
        self,
        problem: Problem,
        detail: str | None = None,
        *,
        retry_after: float | None = None,
        **facts: object,
    ) -> Answer:
        """Make the answer."""
        ...


class ColdRoute(NamedTuple):
    """One route. `<name>` in the rule is a variable part: no slash is in it, but in `<path:name>`.

    Browsers of the allowed origins may call it where `cross_origin` says so.
    """

    method: str
    rule: str
    handler: Handler
    cross_origin: bool = False


@dataclass(slots=True, frozen=True)
class ColdSurface:
    """A surface: its routes, and its words for errors, also below `paths` where no route is."""

    routes: tuple[ColdRoute, ...]
    refuse: Refuse = problem_answer
    paths: tuple[str, ...] = field(default=())
