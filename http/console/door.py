"""The door of the console: who has a visit comes in, and only its own forms are believed.

A page that is asked for without a visit leads to the sign-in, and back to where it was asked for;
what a script asks for gets 401. A form is believed when three things agree: the visit's cookie, the
visit's CSRF token in the body, and what the browser says of where the form comes from.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from penstock.engine.platform.addresses import Address, ProxyChain, read_address
from penstock.http.cold_routes import Call, RefusedError
from penstock.http.console.visits import Visit, Visits
from penstock.http.exchange import Answer
from penstock.http.problems import Problem

PREFIX = "/console"
DASHBOARD = "/dashboard"
SIGN_IN = f"{PREFIX}/sign-in"
SIGN_OUT = f"{PREFIX}/sign-out"
MAX_FORM_BYTES = 32 * 1024
MAX_FORM_FIELDS = 200
# What a page that keeps itself fresh says when nobody has asked: it does not keep the visit alive.
BY_ITSELF = "X-Penstock-By-Itself"
_COOKIE = "penstock-visit"
_HTML = b"text/html; charset=utf-8"
_LONGEST_NEXT = 1024
_INSIDE = re.compile(
    rf"(?:{PREFIX}|{DASHBOARD})(?:/[A-Za-z0-9._~%-]*)*(?:\?[A-Za-z0-9._~%&=+:;,!$'()*@/-]*)?"
)
_DOTS = frozenset({".", ".."})


class TurnedAwayError(Exception):
    """Whoever asks is not signed in; the answer leads to where that can be mended."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.code)
        self.answer = answer


Form = Mapping[str, str]


@dataclass(slots=True, frozen=True)
class Door:
    """Lets visitors in.

    `tls` says whether this process speaks it; `origin` is where browsers reach the service, where
    a setting says so.
    """

    visits: Visits
    proxies: ProxyChain
    tls: bool = False
    origin: str = ""

    def visit(self, call: Call) -> Visit:
        """Give the visit of whoever asks; TurnedAwayError leads to the sign-in."""
        visit = self._known(call)
        if visit is None:
            raise TurnedAwayError(_to_sign_in(call))
        return visit

    def caller(self, call: Call) -> Visit:
        """Give the same for what scripts ask for; RefusedError (401) where there is no visit."""
        visit = self._known(call)
        if visit is None:
            raise RefusedError(Problem.SIGNED_OUT)
        return visit

    def listener(self, call: Call) -> Visit:
        """Give the same for a stream, which browsers open by themselves again and again."""
        visit = self.visits.peek(self.visit_id(call))
        if visit is None:
            raise RefusedError(Problem.SIGNED_OUT)
        return visit

    def _known(self, call: Call) -> Visit | None:
        visits = self.visits
        return (visits.peek if BY_ITSELF in call.headers else visits.find)(self.visit_id(call))

    async def post(self, call: Call) -> tuple[Visit, Form]:
        """Give the visit and the form that it sent; refuse what may be somebody else's form."""
        visit = self.caller(call) if not wants_page(call) else self.visit(call)
        self.check_origin(call)
        form = await read_form(call)
        sent = form.get("csrf", "").encode("utf-8", "replace")
        if not hmac.compare_digest(sent, visit.csrf.encode()):
            raise RefusedError(
                Problem.FORM_FOREIGN, "csrf: it is not this visit's; open the page again"
            )
        return visit, form

    def check_origin(self, call: Call) -> None:
        """Refuse a form that another site's page sent, as far as the browser tells."""
        site = call.headers.get("Sec-Fetch-Site")
        if site is not None and site != "same-origin":
            raise RefusedError(
                Problem.FORM_FOREIGN, "Sec-Fetch-Site: it must be same-origin", seen=site[:80]
            )
        origin = call.headers.get("Origin")
        if origin is None:
            return
        host = call.headers.get("Host", "")
        schemes = ("https",) if self.secure(call) else ("http", "https")
        own = {f"{scheme}://{host}".lower() for scheme in schemes if host}
        own |= {self.origin} if self.origin else set()
        if origin.lower() not in own:
            raise RefusedError(
                Problem.FORM_FOREIGN,
                "Origin: it must be this service's; a proxy must pass Host on, or set public_url",
                seen=origin[:80],
                setting="public_url",
            )

    def visit_id(self, call: Call) -> str:
        """Give what the visitor's cookie holds, empty where there is none."""
        name = self._cookie_name(secure=self.secure(call))
        for pair in call.cookies.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
        return ""

    def cookie(self, call: Call, visit_id: str, max_age: int) -> tuple[bytes, bytes]:
        """Give the header that has the browser keep a visit; `max_age` 0 has it forget one."""
        secure = self.secure(call)
        cookie = (
            f"{self._cookie_name(secure=secure)}={visit_id}; Path=/; Max-Age={max_age}; "
            f"HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
        )
        return (b"set-cookie", cookie.encode("ascii"))

    def secure(self, call: Call) -> bool:
        """Say whether the browser's side of the connection is encrypted."""
        if self.tls:
            return True
        peer = read_address(call.peer)
        trusted = peer is not None and self.proxies.trusts(peer)
        return trusted and call.headers.get("X-Forwarded-Proto", "").lower() == "https"

    def address(self, call: Call) -> Address | None:
        """Give the visitor's address, as far as our own proxies tell it."""
        return self.proxies.client(call.peer, call.forwarded)

    @staticmethod
    def _cookie_name(*, secure: bool) -> str:
        # The prefix has browsers refuse it from elsewhere, but they want Secure with it.
        return f"__Host-{_COOKIE}" if secure else _COOKIE


async def read_form(call: Call) -> Form:
    """Read a form's fields within their bounds. Of a field that comes twice, the first counts."""
    kind = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedError(
            Problem.UNSUPPORTED_TYPE,
            "the route takes application/x-www-form-urlencoded",
            seen=kind[:80],
        )
    body = await call.read(MAX_FORM_BYTES)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError:
        raise RefusedError(
            Problem.BODY_MALFORMED,
            f"the body is no form in UTF-8 of at most {MAX_FORM_FIELDS} fields",
            limit=MAX_FORM_FIELDS,
        ) from None
    form: dict[str, str] = {}
    for name, value in pairs:
        form.setdefault(name, value)
    return form


def wants_page(call: Call) -> bool:
    """Say whether the answer is for somebody's eyes rather than for a script."""
    return "text/html" in call.headers.get("Accept", "").lower()


def inside(target: str) -> str:
    """Give where to go after the sign-in: a path of the console's own, and nothing else."""
    path = target.partition("?")[0]
    steps = [unquote(step) for step in path.split("/")]
    good = (
        len(target) <= _LONGEST_NEXT
        and _INSIDE.fullmatch(target) is not None
        and not any(step in _DOTS or "/" in step or "\\" in step for step in steps)
        and path not in {SIGN_IN, SIGN_OUT}
    )
    return target if good else PREFIX


def see_other(target: str, *headers: tuple[bytes, bytes]) -> Answer:
    """Lead to another page of the console; `target` is one of our own making, or from `inside`."""
    location = (b"location", target.encode("ascii"))
    return Answer(303, b"", "see_other", _HTML, headers=(location, *headers))


def _to_sign_in(call: Call) -> Answer:
    asked = call.path + (f"?{urlencode(call.query)}" if call.query else "")
    if call.method != "GET" or inside(asked) in {PREFIX, f"{PREFIX}/"}:
        return see_other(SIGN_IN)
    return see_other(f"{SIGN_IN}?{urlencode({'next': asked})}")
