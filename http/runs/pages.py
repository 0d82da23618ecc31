"""The pages that show an OpenAPI document: `/docs` to try things out, `/redoc` to read.

Both are one page and one script of this service's own. Nothing comes from elsewhere, and the
pages' policy tells browsers so.
"""

from importlib import resources
from typing import Any

import orjson

from penstock.http.cold_routes import Call, ColdRoute, ColdSurface, Handler
from penstock.http.exchange import JSON, Answer

_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
_HTML = b"text/html; charset=utf-8"


def pages_surface(document: dict[str, Any]) -> ColdSurface:
    """Give the routes that serve a document and its pages."""
    page = _file("page.html")
    return ColdSurface(
        (
            _fixed("/openapi.json", orjson.dumps(document), JSON),
            _fixed("/docs", page, _HTML),
            _fixed("/redoc", page, _HTML),
            _fixed("/docs/page.js", _file("page.js"), b"text/javascript; charset=utf-8"),
            _fixed("/docs/page.css", _file("page.css"), b"text/css; charset=utf-8"),
        )
    )


def _fixed(path: str, body: bytes, content_type: bytes) -> ColdRoute:
    answer = Answer(200, body, "ok", content_type, headers=(_POLICY,))

    async def give(_call: Call) -> Answer:
        return answer

    handler: Handler = give
    return ColdRoute("GET", path, handler)


def _file(name: str) -> bytes:
    return (resources.files("penstock.http.runs") / name).read_bytes()
