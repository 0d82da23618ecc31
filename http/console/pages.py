"""The looks of the console: every page is a template in the same layout, under the same policy.

How to add a page
-----------------
A page is a module beside this one, `http/console/<page>.py`, with a class or function that gives
its routes, and a template of its own in `templates/`:

    def routes(frame: Frame, …) -> tuple[ColdRoute, ...]:
        async def show(visit: Visit, call: Call) -> Answer:
            return frame.pages.render(visit, "health.html", "Health", facts=…)
        return (frame.page("/console/health", show),)

`Frame` (see `frame`) has the gate in it: `page` for what people look at, `data` for what scripts
fetch (JSON), `stream` for what they listen to (server-sent events), `form` for what is sent by
POST. The template begins with `{% extends "layout.html" %}` and fills the block `content` (and
`scripts`, for modules); what pages have in common are the macros of `parts.html`. Nothing inline:
neither `<script>…</script>`, nor `<style>`, nor `style=` or `on…=` attributes, which the policy
would stop; data for a script is fetched, or put into `data-…` attributes. Files go to `static/` and
are named by `asset("x.js")`. One line in `src/penstock/console_link.py` puts the routes in. The
navigation (`_SECTIONS` below) shows a page as soon as it is served, and marks the one whose path is
the longest beginning of the page's own. Escaping is on for all templates; nothing marks text as
safe.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from penstock.http.cold_routes import RefusedError
from penstock.http.console.visits import Visit
from penstock.http.exchange import Answer, unkept
from penstock.http.problems import Problem, problem_answer

HTML = b"text/html; charset=utf-8"
SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        b"base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_TEMPLATES = Path(__file__).parent / "templates"
_SECTIONS = (
    ("Console", "Flow", "/console"),
    ("Console", "Sessions", "/console/sessions"),
    ("Console", "Policy", "/console/policy"),
    ("Console", "Tuner", "/console/tuner"),
    ("Console", "Outbox", "/console/outbox"),
    ("Console", "Settings", "/console/settings"),
    ("Console", "Health", "/console/health"),
    ("Dashboard", "Home", "/dashboard/"),
    ("Dashboard", "Audit", "/dashboard/audit"),
    ("Dashboard", "Analytics", "/dashboard/analytics"),
    ("Dashboard", "Errors", "/dashboard/errors"),
    ("Dashboard", "Media", "/dashboard/media"),
    ("Dashboard", "Security", "/dashboard/security"),
)


@dataclass(slots=True, frozen=True)
class Link:
    """One entry of the navigation."""

    name: str
    path: str
    current: bool


class Pages:
    """Writes pages. `asset` gives the address of a file of `static/`."""

    def __init__(self, asset: Callable[[str], str], version: str) -> None:
        self._served: frozenset[str] = frozenset()
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {"asset": asset, "version": version}
        self._environment.filters |= {"moment": _moment, "iso": _iso, "count": _count}

    def announce(self, rules: Iterable[str]) -> None:
        """Tell which paths are served: the navigation leads to those alone."""
        self._served = frozenset(rules)

    def render(
        self,
        visit: Visit | None,
        template: str,
        title: str,
        section: str = "",
        *,
        status: int = 200,
        **facts: object,
    ) -> Answer:
        """Write a page; `section` is its path, or that of the page it belongs to."""
        body = self._environment.get_template(template).render(
            visit=visit,
            title=title,
            navigation=self._navigation(section) if visit is not None else {},
            **facts,
        )
        code = "ok" if status < 400 else "page_refused"
        return unkept(Answer(status, body.encode(), code, HTML, headers=SECURITY))

    def refusal(self, visit: Visit | None, refused: RefusedError) -> Answer:
        """Write the page that says what is wrong with a request."""
        plain = refused.answer(problem_answer)
        page = self.render(
            visit,
            "refusal.html",
            HTTPStatus(plain.status).phrase,
            status=plain.status,
            code=plain.code,
            detail=refused.detail or refused.problem.meaning,
            facts={
                name: refused.facts[name]
                for name in ("field", "limit", "seen", "setting")
                if refused.facts.get(name) is not None
            },
            wait=plain.retry_after,
        )
        return page._replace(code=plain.code, retry_after=plain.retry_after)

    def refuse(
        self,
        problem: Problem,
        detail: str | None = None,
        *,
        retry_after: float | None = None,
        **facts: object,
    ) -> Answer:
        """Word what is wrong where nobody knows who asks."""
        return self.refusal(None, RefusedError(problem, detail, retry_after=retry_after, **facts))

    def _navigation(self, section: str) -> dict[str, list[Link]]:
        current = max(
            (path for *_, path in _SECTIONS if _below(section, path)), key=len, default=""
        )
        groups: dict[str, list[Link]] = {}
        for group, name, path in _SECTIONS:
            if path in self._served:
                groups.setdefault(group, []).append(Link(name, path, path == current))
        return groups


def _below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent.rstrip("/") + "/")


def _moment(at_unix: float) -> str:
    """Write a moment for people, in UTC."""
    return datetime.fromtimestamp(at_unix, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _iso(at_unix: float) -> str:
    """Write a moment for machines."""
    at = datetime.fromtimestamp(at_unix, UTC)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _count(number: float) -> str:
    """Write a number so that its thousands can be read."""
    whole = isinstance(number, int) or float(number).is_integer()
    return f"{int(number):,}" if whole else f"{number:,.2f}"
