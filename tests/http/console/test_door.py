from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.platform.addresses import ProxyChain
from penstock.http.cold_routes import Call, RefusedError
from penstock.http.console.door import DASHBOARD, PREFIX, SIGN_IN, Door, inside, read_form
from penstock.http.console.visits import Visits
from penstock.http.problems import Problem
from penstock.service import SystemClock

DOOR = Door(Visits(SystemClock(), 8), ProxyChain.of(["10.0.0.0/8"]), origin="https://pen.example")
FORM = "application/x-www-form-urlencoded"


def _call(
    headers: Mapping[str, str] | None = None,
    *,
    body: bytes = b"",
    peer: str = "192.0.2.1",
    cookies: str = "",
) -> Call:
    async def read(limit: int, setting: str | None) -> bytes:
        if len(body) > limit:
            raise RefusedError(Problem.BODY_TOO_LARGE, setting=setting, limit=limit)
        return body

    given = {"Host": "127.0.0.1:8080", **(headers or {})}
    return Call("POST", SIGN_IN, {}, {}, given, peer, "id", read, "", cookies)


@pytest.mark.parametrize(
    "target",
    [
        "/console",
        "/console/",
        "/console/sessions/a-b_c.d~1",
        "/console/policy?scope=org%3A1&x=%2F%2Fevil.example",
        "/dashboard/",
        "/dashboard/audit?from=2026-01-01T00:00:00Z",
    ],
)
def test_a_sign_in_leads_back_to_the_page_that_was_asked_for(target: str) -> None:
    """Paths of the console and the dashboard are taken as they are."""
    assert inside(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/",
        "//evil.example",
        "///evil.example/console",
        "https://evil.example/console",
        "/\\evil.example",
        "/console/../metrics",
        "/console/%2e%2e/metrics",
        "/console/%2E./x",
        "/console/%2f%2fevil.example",
        "/console/%5cevil.example",
        "/console\\evil",
        "/console@evil.example",
        "/consoles",
        "/console/x\r\nSet-Cookie: a=b",
        "/console/x y",
        "/console/ü",
        "javascript:alert(1)",
        "/console?" + "a" * 2000,
        "/console/sign-in",
        "/console/sign-out?x=1",
        "/console#@evil.example",
    ],
)
def test_a_sign_in_leads_nowhere_else(target: str) -> None:
    """Whatever is no path of ours leads to the console's first page: there is no open redirect."""
    assert inside(target) == PREFIX


@given(st.text(max_size=80) | st.text("/\\.%2eEfF5cC?#@:consledahbr", max_size=40))
def test_no_text_leads_out(text: str) -> None:
    """Any text at all ends below the two paths, in plain ASCII without steps upwards."""
    for target in (text, PREFIX + text, f"{DASHBOARD}/{text}"):
        found = inside(target)
        path = found.partition("?")[0]
        assert found.isascii()
        assert found.isprintable()
        assert any(path == own or path.startswith(f"{own}/") for own in (PREFIX, DASHBOARD))
        assert ".." not in path.split("/")
        assert "\\" not in found


@pytest.mark.parametrize(
    ("headers", "peer", "cookie"),
    [
        ({}, "192.0.2.1", "penstock-visit=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"),
        (
            {"X-Forwarded-Proto": "https"},
            "192.0.2.1",
            "penstock-visit=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict",
        ),
        (
            {"X-Forwarded-Proto": "https"},
            "10.1.2.3",
            "__Host-penstock-visit=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure",
        ),
    ],
)
def test_a_cookie_is_as_strict_as_can_be(headers: dict[str, str], peer: str, cookie: str) -> None:
    """With TLS, also at a proxy of ours, it is Secure with the prefix; others cannot say so."""
    assert DOOR.cookie(_call(headers, peer=peer), "x", 60) == (b"set-cookie", cookie.encode())


def test_tls_makes_the_cookie_secure() -> None:
    """A service that speaks TLS itself needs nobody to say so."""
    door = Door(DOOR.visits, DOOR.proxies, tls=True)
    _, cookie = door.cookie(_call(), "x", 60)
    assert cookie.startswith(b"__Host-penstock-visit=x;")
    assert cookie.endswith(b"; Secure")


def test_the_cookie_is_found_among_others() -> None:
    """Names that only look like it are none, and under TLS the plain one does not count."""
    others = "a=1; xpenstock-visit=2; penstock-visit=three=3; __Host-penstock-visit=4"
    assert DOOR.visit_id(_call(cookies=others)) == "three=3"
    secure = _call({"X-Forwarded-Proto": "https"}, peer="10.0.0.1", cookies=others)
    assert DOOR.visit_id(secure) == "4"
    assert DOOR.visit_id(_call(cookies="penstock-visit")) == ""
    assert DOOR.visit_id(_call()) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:8080"},
        {"Origin": "https://127.0.0.1:8080"},
        {"Origin": "https://pen.example"},
        {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_our_own_forms_are_believed(headers: dict[str, str]) -> None:
    """What browsers send with a form of this service's pages passes."""
    DOOR.check_origin(_call(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "http://127.0.0.1:8080.evil.example"},
        {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_others_forms_are_refused(headers: dict[str, str]) -> None:
    """Another origin's form is refused, whichever of the two headers tells it."""
    with pytest.raises(RefusedError) as refused:
        DOOR.check_origin(_call(headers))
    assert refused.value.problem is Problem.FORM_FOREIGN


def test_behind_tls_a_plain_origin_is_foreign() -> None:
    """Whoever can change plain HTTP on its way cannot send forms to the encrypted console."""
    call = _call({"X-Forwarded-Proto": "https", "Origin": "http://127.0.0.1:8080"}, peer="10.0.0.1")
    with pytest.raises(RefusedError):
        DOOR.check_origin(call)


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        ("application/json", b"a=1", Problem.UNSUPPORTED_TYPE),
        ("", b"a=1", Problem.UNSUPPORTED_TYPE),
        (FORM, b"a=%ff", Problem.BODY_MALFORMED),
        (FORM, "a=ä".encode(), Problem.BODY_MALFORMED),
        (FORM, b"&".join(b"a%d=1" % n for n in range(201)), Problem.BODY_MALFORMED),
        (FORM, b"a=" + b"x" * 32_768, Problem.BODY_TOO_LARGE),
    ],
)
async def test_what_is_no_form_is_refused(kind: str, body: bytes, problem: Problem) -> None:
    """Another type, broken UTF-8, too many fields, too many bytes: each has its own problem."""
    with pytest.raises(RefusedError) as refused:
        await read_form(_call({"Content-Type": kind}, body=body))
    assert refused.value.problem is problem


async def test_a_form_is_read_as_browsers_write_it() -> None:
    """Spaces, umlauts and empty fields arrive; of a field that comes twice, the first counts."""
    body = b"reason=a+b%20%C3%A4&empty=&x=1&x=2"
    form = await read_form(_call({"Content-Type": f"{FORM}; charset=UTF-8"}, body=body))
    assert form == {"reason": "a b ä", "empty": "", "x": "1"}
