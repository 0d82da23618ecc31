import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from console_rig import signed_in, user_token, visitor
from penstock.http.console import pages
from penstock.http.console.assets import load_assets
from penstock.http.roles import Role
from penstock.service import Service

Serve = Callable[..., Any]
TEMPLATES = Path(pages.__file__).parent / "templates"
STATIC = TEMPLATES.parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
OPEN = "/console/sign-in"


def _rules(service: Service) -> Iterator[tuple[str, str]]:
    """Find every route of the console, with something in the place of its variables."""
    app: Any = service.front.app.app
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(("/console", "/dashboard")):
            path = re.sub(r"<[^>]+>", "00000000-0000-0000-0000-000000000001", rule.rule)
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield method, path


def _check_headers(answer: httpx.Response) -> None:
    headers = answer.headers
    assert headers["content-security-policy"] == POLICY, answer.url
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"


async def test_every_answer_is_under_the_policy(serve: Serve) -> None:
    """Pages, data, refusals, redirects and files: all of them, signed in or not, uncached."""
    async with serve() as service, visitor(service) as nobody, signed_in(service) as console:
        rules = list(_rules(service))
        assert len(rules) > 5
        for method, path in (*rules, ("PUT", "/console"), ("GET", "/console/nowhere")):
            for client in (nobody.client, console.client):
                async with client.stream(method, path, headers={"Accept": "text/html"}) as answer:
                    _check_headers(answer)
                    assert "assets" in path or answer.headers["cache-control"] == "no-store"
                    assert answer.status_code < 500, path


async def test_nothing_opens_without_a_visit(serve: Serve) -> None:
    """Every route but the sign-in and the files leads there or answers 401, whatever is sent."""
    async with serve() as service, visitor(service) as nobody:
        tokens = [user_token(service, role) for role in Role]
        for method, path in _rules(service):
            if path == OPEN or path.startswith("/console/assets/"):
                continue
            for token in (None, *tokens):
                headers = {"Accept": "text/html"}
                if token is not None:
                    headers |= {
                        "Authorization": f"Bearer {token}",
                        "Cookie": f"penstock-visit={token}",
                    }
                answer = await nobody.client.request(method, path, headers=headers)
                assert answer.status_code in {303, 401}, (method, path)
                if answer.status_code == 303:
                    assert answer.headers["location"].startswith(OPEN)


async def test_a_page_that_is_not_there_is_a_page(serve: Serve) -> None:
    """People get a page with a way back, and what they asked for is escaped in it."""
    async with serve() as service, signed_in(service) as console:
        answer = await console.get("/console/<b>nowhere</b>")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "<b>nowhere" not in answer.text
        assert "&lt;b&gt;nowhere" in answer.text
        assert 'href="/console"' in answer.text


async def test_the_surface_can_be_switched_off(serve: Serve) -> None:
    """Without `console` among the surfaces, there is nothing at its paths."""
    async with serve(surfaces=("sessions",)) as service, visitor(service) as nobody:
        for path in ("/console", OPEN, "/dashboard/"):
            assert (await nobody.get(path)).status_code == 404


def test_no_template_has_anything_inline() -> None:
    """What the policy would stop is not written: nothing inline, and nothing of another host."""
    templates = sorted(TEMPLATES.glob("*.html"))
    assert len(templates) >= 5
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), template
        assert "<style" not in text, template
        assert not re.search(r"""\s(style|on[a-z]+)\s*=\s*["'{]""", text), template
        assert not re.search(r"""(src|href|action)\s*=\s*["']?(https?:|//|javascript:)""", text)
        assert "|safe" not in text.replace(" ", ""), template


def test_no_script_makes_markup_of_text() -> None:
    """Our scripts write text as text, run none of it, and keep nothing secret in storage."""
    for script in sorted(STATIC.glob("*.js")):
        text = script.read_text(encoding="utf-8")
        for bad in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            ".html(",
            "eval(",
        ):
            assert bad not in text, f"{script.name}: {bad}"


def test_the_style_sheet_is_whole() -> None:
    """Each block is closed before the next begins: one that is not swallows all that follow."""
    for sheet in sorted(STATIC.glob("*.css")):
        depth = 0
        for number, line in enumerate(sheet.read_text(encoding="utf-8").splitlines(), 1):
            begins = line.endswith("{") and not line.startswith(" ")
            assert not (begins and depth), f"{sheet.name}:{number}: the block before is open"
            depth += line.count("{") - line.count("}")
        assert depth == 0, sheet


async def test_files_are_kept_for_good_under_an_address_of_their_own(serve: Serve) -> None:
    """An address changes with the content; who has the file is told so; other addresses are 404."""
    assets = load_assets()
    async with serve() as service, visitor(service) as nobody:
        for name in assets.files:
            answer = await nobody.client.get(assets.url(name))
            assert answer.status_code == 200
            assert answer.content == assets.files[name].plain.body
            assert answer.headers["content-encoding"] == "gzip"
            assert "immutable" in answer.headers["cache-control"]
            plain = await nobody.client.get(assets.url(name), headers={"Accept-Encoding": "br"})
            assert "content-encoding" not in plain.headers
            known = {"If-None-Match": answer.headers["etag"]}
            again = await nobody.client.get(assets.url(name), headers=known)
            assert (again.status_code, again.content) == (304, b"")
        for path in ("/console/assets/0000/console.css", f"{assets.url('console.css')}x"):
            assert (await nobody.client.get(path)).status_code == 404


def test_the_charts_library_comes_from_its_wheel() -> None:
    """D3 is served as it was installed, with its notice, and is not among this project's files."""
    assets = load_assets()
    assert not (STATIC / "d3.js").exists()
    assert b'version: "3.5' in assets.files["d3.js"].plain.body
    with pytest.raises(KeyError):
        assets.url("nothing.js")
