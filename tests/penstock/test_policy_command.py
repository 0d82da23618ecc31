"""`penstock policy …` against the real surface behind a small HTTP server on loopback."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import orjson
import pytest
import trio

from penstock.engine.decisions import Offer
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.loss import LossAccount
from penstock.engine.policy_book import PolicyBook, Signed
from penstock.engine.policy_desk import PolicyDesk, StoreUnavailableError
from penstock.engine.policy_editions import GLOBAL, Action, PolicyChange
from penstock.engine.sluice import Sluice
from penstock.engine.stress import Readings
from penstock.http.admin_policy import PREFIX, PolicyAdmin
from penstock.http.exchange import Answer
from penstock.http.policy_requests import AdminCall
from penstock.http.user_tokens import UserTokenVerifier

ORG, SESSION, PERSON = (str(UUID(int=n)) for n in (8, 9, 10))


class Clock:
    """The machine's, as a service's is: tokens are minted by it."""

    def monotonic(self) -> float:
        return time.monotonic()

    def unix(self) -> float:
        return time.time()


class Store:
    """Keeps the changes, or fails."""

    def __init__(self) -> None:
        self.broken = False
        self.kept: list[tuple[PolicyChange, Mapping[str, Any]]] = []

    async def save(self, changes: Sequence[PolicyChange], book: dict[str, Any]) -> None:
        self.kept += [(change, book) for change in changes]
        if self.broken:
            raise StoreUnavailableError(LedgerReason.DISK_FULL, "no room is left", retry_after=2)


class Service:
    """The surface, and a server for it whose answers a test may replace."""

    def __init__(self, secret: str) -> None:
        clock = Clock()
        self.book, self.store = PolicyBook(), Store()
        self.sluice = Sluice(self.book, clock)
        desk = PolicyDesk(self.book, self.store, clock, self.sluice.adopt)
        verifier = UserTokenVerifier(
            secret.encode(), issuer="penstock", audience="penstock", leeway_seconds=5
        )
        self.admin = PolicyAdmin(verifier, desk, self.sluice, clock)
        self.instead: Answer | None = None
        self.before: Callable[[str], None] = lambda _: None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def port(self) -> str:
        return str(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def edit(self, scope: str = GLOBAL, **put: Any) -> None:
        signed = Signed(PERSON, "by another", self.book.revision)
        self.book.adopt(self.book.edit(scope, put, (), signed, Clock().unix()))
        self.sluice.adopt()

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        self.before(method)
        if self.instead is not None:
            return self.instead
        claims = self.admin.check(headers.get("Authorization", "").encode())
        if isinstance(claims, Answer):
            return claims
        parts = urlsplit(target)
        rule, name = parts.path, ""
        for folder in ("candidates", "sessions"):
            start = f"{PREFIX}/{folder}/"
            if parts.path.startswith(start):
                rule, name = f"{start}<name>", parts.path.removeprefix(start)
        content_type = headers.get("Content-Type", "").encode()
        call = AdminCall(claims, dict(parse_qsl(parts.query)), content_type, body, name)
        return trio.run(self.admin.answer, self.admin.routes()[method, rule], call)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = service.answer(self.command, self.path, self.headers, body)
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Handler


@pytest.fixture
def service(secrets: dict[str, str]) -> Iterator[Service]:
    service = Service(secrets["PENSTOCK_USER_JWT_SECRET"])
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


@pytest.fixture
def ask(run: Any, service: Service, secrets: dict[str, str]) -> Callable[..., Any]:
    """Run a policy command beside the service: same secret, same port."""

    def ask_policy(*arguments: str, **environ: str) -> Any:
        secret = {"PENSTOCK_USER_JWT_SECRET": secrets["PENSTOCK_USER_JWT_SECRET"]}
        return run("policy", *arguments, PENSTOCK_PORT=service.port, **secret, **environ)

    return ask_policy


def test_set_then_show(ask: Any, service: Service) -> None:
    """What was set is in force, with who and why; the table says where each knob comes from."""
    ran = ask("set", "keep_every=3", "loss_percent=2.5", "--reason", "busy evening")
    assert (ran.code, ran.err) == (0, "")
    assert "revision 1: edited global" in ran.out
    policy = service.book.in_force("", "").policy
    assert (policy.keep_every, policy.loss_percent) == (3, 2.5)
    (change,) = service.book.history()
    assert change.reason == "busy evening"
    shown = ask("show")
    assert shown.code == 0
    rows = {line.split()[0]: line for line in shown.out.splitlines() if line.split()}
    assert re.search(r"revision 1, changed [0-9]+ s ago; stress 0", shown.out)
    assert " 3 " in rows["keep_every"]
    assert "global" in rows["keep_every"]
    assert "default" in rows["thin_at"]
    assert "busy evening" in shown.out


def test_one_person_is_one_author(ask: Any, service: Service) -> None:
    """Minted tokens speak for the same principal each time."""
    for value in ("3", "4"):
        assert ask("set", f"keep_every={value}", "--reason", "r").code == 0
    authors = {change.author for change in service.book.history()}
    assert len(authors) == 1
    UUID(authors.pop())


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        ([], GLOBAL),
        (["--org", ORG.upper()], f"org:{ORG}"),
        (["--session", SESSION], f"session:{SESSION}"),
    ],
)
def test_each_scope_is_set_reverted_and_shown(
    ask: Any, service: Service, options: list[str], scope: str
) -> None:
    """The options name the scope, for an edit, its revert, its history."""
    assert ask("set", "keep_every=3", "--reason", "r", *options).code == 0
    assert service.book.scopes()[-1] == scope
    merged = orjson.loads(ask("show", "--json", *options).out)
    merged = merged["scopes"][GLOBAL] if scope == GLOBAL else merged
    assert merged["knobs"]["keep_every"] == {"value": 3, "from": scope}
    ran = ask("revert", "--reason", "r", *options)
    assert (ran.code, ran.err) == (0, "")
    assert "reverted" in ran.out
    assert service.book.in_force(ORG, SESSION).policy.keep_every == 2
    changes = orjson.loads(ask("history", "--json", *options).out)["changes"]
    assert [change["action"] for change in changes] == ["reverted", "edited"]
    assert "reverted" in ask("history", *options).out


def test_an_edit_for_a_while_and_a_clear(ask: Any, service: Service) -> None:
    """--for gives an end, --clear gives a knob up."""
    assert ask("set", "keep_every=3", "loss_percent=9", "--reason", "r").code == 0
    assert ask("set", "--clear", "keep_every", "--clear=loss_percent", "--reason", "r").code == 0
    assert service.book.editions(GLOBAL) == ()
    ran = ask("set", "inbox_mode=drop_oldest", "--for", "15m", "--reason", "r", "--json")
    (edition,) = service.book.editions(GLOBAL)
    assert edition.expires_unix is not None
    assert edition.expires_unix - edition.made_unix == pytest.approx(900, abs=5)
    assert orjson.loads(ran.out)["after"] == {"inbox_mode": "drop_oldest"}


def test_candidates(ask: Any, service: Service) -> None:
    """Proposed, shown with what they would have done, withdrawn."""
    ran = ask("propose", "tight", "inbox_batches=4", "inbox_soft_batches=4", "--reason", "r")
    assert (ran.code, ran.err) == (0, "")
    assert "proposed candidate tight" in ran.out
    place = service.sluice.join(SESSION, ORG, LossAccount())
    service.sluice.decide(place, Offer(10, 0, 900, 1000, 4, 4000))
    shown = ask("show").out
    assert "would have given up 10 of 10 frames" in shown
    assert "inbox_full" in shown
    service.edit(inbox_soft_batches=30)
    service.edit(f"org:{ORG}", inbox_soft_batches=20)
    assert "rests" in ask("show").out
    assert ask("withdraw", "tight", "--reason", "enough").code == 0
    assert "tight" not in ask("show").out


def test_a_history_keeps_its_ids_whole_and_hides_nothing(ask: Any, service: Service) -> None:
    """An old reason's escape sequence is spelled out; no id is broken at 100 columns."""
    scope = f"session:{SESSION}"
    old = PolicyChange(
        123456, Action.EXPIRED, scope, {}, {"keep_every": 3}, PERSON, "a\x1b[2J\u202eb", 1e9
    )
    service.book._history.append(old)
    lines = ask("history", COLUMNS="100").out.splitlines()
    assert max(map(len, lines)) <= 100
    assert any(scope in line for line in lines)
    assert f"  by {PERSON}: a\\u001b[2J\\u202eb" in lines
    assert "  keep_every - -> 3" in lines


def test_show_begins_with_what_is_turned(ask: Any, service: Service) -> None:
    """A knob that differs from its default is first, beside it; one of anything is one."""
    service.edit(retry_after_max_seconds=20.0)
    place = service.sluice.join(SESSION, ORG, LossAccount())
    service.sluice.decide(place, Offer(1, 0, 90, 100, 0, 0))
    out = ask("show").out
    names = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line.split()]
    assert names[names.index("Knob") + 1 :][0].startswith("retry_after_max_seconds")
    assert re.search(r"retry_after_max_seconds +20 +30 +global", out)
    assert "1 batch decided, 0 of 1 frame given up; 0 live sessions over budget" in out


def test_show_tells_what_has_ended(ask: Any, service: Service) -> None:
    """While the ledger does not take it, the edition is marked."""
    now = Clock().unix()
    signed = Signed(PERSON, "r", 0)
    service.book.adopt(service.book.edit(GLOBAL, {"keep_every": 3}, (), signed, now - 9, now - 1))
    service.book.end(now)
    assert "ended, not saved yet" in " ".join(ask("show").out.split())


def test_explain(ask: Any, service: Service) -> None:
    """What a session lost of its budget, and each decision in words."""
    ran = ask("explain", SESSION)
    assert ran.code == 0
    assert "is not live here" in ran.out
    assert "not followed because it is not live" in ran.out
    place = service.sluice.join(SESSION, ORG, LossAccount(due=1000, lost=30))
    service.sluice.sense(Readings(60, 100, 0, 100, 0.0, 0.0), 0.0, 0.0)
    assert ask("explain", SESSION).code == 0
    service.sluice.decide(place, Offer(10, 0, 900, 1000, 0, 0))
    out = ask("explain", SESSION.upper()).out
    assert "lost 30 of 1010 frames, 2.97 % of a budget of 5 %, within budget" in " ".join(
        out.split()
    )
    assert "all of them are kept from now on" in out
    assert orjson.loads(ask("explain", SESSION, "--json").out)["decisions"]


def test_a_stale_change_says_who_was_first(ask: Any, service: Service) -> None:
    """When somebody else came between reading and writing: who, what, why; theirs stays."""

    def meddle(method: str) -> None:
        if method == "PATCH":
            service.edit(keep_every=5)

    service.before = meddle
    ran = ask("set", "keep_every=3", "--reason", "r")
    assert (ran.code, ran.out) == (2, "")
    first, second = ran.lines
    assert "changed meanwhile, now at revision 1" in first
    assert f"revision 1: edited global by {PERSON}" in second
    assert "by another" in second
    assert service.book.in_force("", "").policy.keep_every == 5


def test_each_fault_is_one_line(ask: Any, service: Service) -> None:
    """With the knob, the value seen and the limit; exit code 2; nothing has changed."""
    ran = ask("set", "keep_every=99", "moon=1", "--reason", "r")
    assert (ran.code, ran.out) == (2, "")
    first, second = ran.lines
    assert first == (
        "penstock: keep_every: it must be a whole number from 2 to 10, seen 99, limit 10 (global)"
    )
    assert second.startswith("penstock: moon: there is no such knob")
    ran = ask("set", "thin_at=75", "--reason", "r")
    (line,) = ran.lines
    assert "thin_at" in line
    assert "refuse_at" in line
    assert service.book.revision == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set", "keep_every", "--reason", "r"], "'keep_every': it must be KNOB=VALUE"),
        (["set", "a=1", "a=2", "--reason", "r"], "a: it is given twice"),
        (["set", "a=1"], "Missing option '--reason'"),
        (["set", "a=1", "--reason", " "], "reason"),
        (["set", "--reason", "r"], "the edit names no knob"),
        (["set", "keep_every=3", "--reason", "r", "--for", "soon"], "--for: 'soon'"),
        (["set", "keep_every=3", "--reason", "r", "--org", "moon"], "--org: 'moon'"),
        (
            ["set", "keep_every=3", "--reason", "r", "--org", ORG, "--session", SESSION],
            "--org and --session: give one of them",
        ),
        (["revert", "--reason", "r"], "no edit that could be undone"),
        (["withdraw", "tight", "--reason", "r"], "there is no candidate 'tight'"),
        (["propose", "Big/Name", "keep_every=3", "--reason", "r"], "name: it must be"),
        (["explain", "moon"], "SESSION: 'moon'"),
        (["show", "--session", "moon"], "--session: 'moon'"),
        (["show", "--url", "ftp://x"], "--url: 'ftp://x'"),
        (["show", "--url", "http://x:y"], "--url: 'http://x:y'"),
        (["show", "--token", "two words"], "--token: it is not a token"),
        (["show", "--token", "abc"], "user_token_malformed"),
        (["history", "--limit", "100000"], "limit"),
    ],
)
def test_a_refusal_is_one_line(ask: Any, arguments: list[str], words: str) -> None:
    """Exit code 2 and what is wrong, for what the command finds and what the service does."""
    ran = ask(*arguments)
    assert (ran.code, ran.out, len(ran.lines)) == (2, "", 1)
    assert words in ran.err


def test_tokens_in_their_order(ask: Any, service: Service, run: Any) -> None:
    """A flag wins over the environment, which wins over minting."""
    ran = ask("show", PENSTOCK_TOKEN="from-the-environment")
    assert (ran.code, "user_token_malformed" in ran.err) == (2, True)
    ran = ask("show", "--token", "abc", PENSTOCK_TOKEN="from-the-environment")
    assert ran.code == 2
    ran = run("policy", "show", PENSTOCK_PORT=service.port)
    assert ran.code == 2
    (line,) = ran.lines
    assert "user_jwt_secret: not set" in line
    assert "--token" in line


def test_a_token_and_a_url_need_no_settings(
    run: Any, service: Service, secrets: dict[str, str]
) -> None:
    """An operator's laptop has neither secret nor settings file."""
    secret = {"PENSTOCK_USER_JWT_SECRET": secrets["PENSTOCK_USER_JWT_SECRET"]}
    ids = ["--principal-id", PERSON, "--org-id", ORG]
    token = run("token", "user", *ids, "--role", "platform_admin", **secret).out.strip()
    ran = run(
        "policy", "set", "keep_every=3", "--reason=r", "--url", service.url, PENSTOCK_TOKEN=token
    )
    assert (ran.code, ran.err) == (0, "")
    assert service.book.history()[0].author == PERSON
    clerk = run("token", "user", *ids, "--role", "clinic_admin", **secret).out.strip()
    ran = run("policy", "show", "--url", service.url, "--token", clerk)
    assert ran.code == 2
    assert "platform_admin" in ran.err


def test_a_token_of_the_environment_is_no_unknown_setting(run: Any) -> None:
    """A shell in which it is exported can still run every other command."""
    assert run("config", PENSTOCK_TOKEN="abc").code == 0


def test_beside_a_dev_service(run: Any, tmp_path: Any) -> None:
    """--dev takes the data folder's secrets, and says so when there are none."""
    ran = run("policy", "show", "--dev")
    assert (ran.code, len(ran.lines)) == (2, 1)
    assert "no service has run in" in ran.err
    assert list(tmp_path.iterdir()) == []
    assert run("token", "service", "--dev").code == 0
    ran = run("policy", "show", "--dev", "--url", "http://127.0.0.1:1")
    assert ran.code == 1


def test_a_service_that_is_not_there(ask: Any, service: Service) -> None:
    """Exit code 1 and one line: nothing is wrong with what was asked."""
    ran = ask("show", "--url", "http://127.0.0.1:1")
    assert (ran.code, ran.out) == (1, "")
    (line,) = ran.lines
    assert "http://127.0.0.1:1 cannot be reached" in line
    service.instead = Answer(200, b"<html>", "ok")
    ran = ask("show")
    assert (ran.code, len(ran.lines)) == (1, 1)
    assert "is it a Penstock service?" in ran.err
    service.instead = None
    service.store.broken = True
    ran = ask("set", "keep_every=3", "--reason", "r")
    assert (ran.code, len(ran.lines)) == (1, 1)
    assert "no room is left (ledger_disk_full)" in ran.err


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),  # noqa: S104
        ("::", "http://[::1]:8080"),
        ("example.test", "http://example.test:8080"),
    ],
)
def test_the_configured_address_is_reached_from_here(host: str, url: str) -> None:
    """A service on every interface is on this machine's own as well."""
    from penstock.commands.admin_link import _address  # noqa: PLC0415
    from penstock.settings import Settings  # noqa: PLC0415

    assert _address(Settings(host=host)) == url
