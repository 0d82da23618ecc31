"""The drop policy's admin routes, on the real application, book, desk and sluice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import orjson
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from penstock.engine.decisions import Offer, Refuse
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.loss import LossAccount
from penstock.engine.policy import DEFAULT_POLICY, KNOBS
from penstock.engine.policy_book import PolicyBook, Signed
from penstock.engine.policy_desk import PolicyDesk, StoreUnavailableError
from penstock.engine.policy_editions import GLOBAL, PolicyChange
from penstock.engine.sluice import Sluice
from penstock.engine.stress import Readings
from penstock.http.admin_policy import PREFIX, PolicyAdmin
from penstock.http.app import AppLimits, Parts, create_app
from penstock.http.edge import CorsRules, Edge
from penstock.http.health import Readiness
from penstock.http.meters import RequestMeter
from penstock.http.policy_documents import moment
from penstock.http.roles import Role
from penstock.http.user_tokens import UserTokenVerifier
from penstock.jwts import mint_user_jwt

SECRET = b"the user secret of the tests, long enough"
NOW = 1_700_000_000.0
ADMIN, ORG, SESSION = (str(UUID(int=n)) for n in (7, 8, 9))
ANY_NAME = "0d5d1c3e-3f64-4f35-a8b3-6b0c0a0f9d11"
ROUTES = [
    ("GET", PREFIX),
    ("PATCH", PREFIX),
    ("POST", f"{PREFIX}/revert"),
    ("GET", f"{PREFIX}/history"),
    ("PUT", f"{PREFIX}/candidates/{ANY_NAME}"),
    ("DELETE", f"{PREFIX}/candidates/{ANY_NAME}"),
    ("GET", f"{PREFIX}/decisions"),
    ("GET", f"{PREFIX}/sessions/{ANY_NAME}"),
]


class Clock:
    """Hand-driven."""

    def __init__(self) -> None:
        self.now = NOW

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


class Store:
    """Keeps what it is given, when it is let."""

    def __init__(self) -> None:
        self.kept: list[PolicyChange] = []
        self.open = trio.Event()
        self.open.set()
        self.broken = False

    async def save(self, changes: Sequence[PolicyChange], book: dict[str, Any]) -> None:
        await self.open.wait()
        if self.broken:
            raise StoreUnavailableError(LedgerReason.DISK_FULL, "no room", retry_after=1.5)
        self.kept += changes
        orjson.dumps(book)  # a store that could not keep it would be told late


@dataclass(slots=True)
class Reply:
    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        return str(self.json.get("code", ""))


def _token(role: Role = Role.PLATFORM_ADMIN, secret: bytes = SECRET, ttl: int = 3600) -> str:
    return mint_user_jwt(
        secret,
        principal_id=ADMIN,
        org_id=ORG,
        role=role,
        consent_level=3,
        issuer="penstock",
        audience="penstock",
        issued_unix=int(NOW) - 10,
        expires_unix=int(NOW) + ttl,
    )


@dataclass(slots=True)
class Office:
    """The application, and all that is behind it."""

    clock: Clock = field(default_factory=Clock)
    store: Store = field(default_factory=Store)
    book: PolicyBook = field(default_factory=PolicyBook)
    sluice: Sluice = field(init=False)
    desk: PolicyDesk = field(init=False)
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.sluice = Sluice(self.book, self.clock)
        self.desk = PolicyDesk(self.book, self.store, self.clock, self.sluice.adopt)
        verifier = UserTokenVerifier(
            SECRET, issuer="penstock", audience="penstock", leeway_seconds=5
        )
        nobody = cast("Any", None)
        parts = Parts(
            pose=nobody,
            edge=Edge(CorsRules(), self.clock),
            meter=RequestMeter(),
            readiness=Readiness(()),
            exposition=nobody,
            limits=AppLimits(10, 64),
            version="test",
            surfaces=(PolicyAdmin(verifier, self.desk, self.sluice, self.clock).surface(),),
        )
        self.client = create_app(parts).test_client()

    async def ask(
        self,
        method: str,
        path: str = "",
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Reply:
        sent = {"Authorization": f"Bearer {_token() if token is None else token}"}
        data = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        if body is not None:
            sent["Content-Type"] = "application/json"
        response = await self.client.open(
            path if path.startswith(PREFIX) else PREFIX + path,
            method=method,
            headers=sent | dict(headers or {}),
            data=data,
            query_string=dict(query or {}),
        )
        payload = await response.get_data(as_text=False)
        return Reply(response.status_code, orjson.loads(payload), response.headers)

    async def edit(self, scope: str = GLOBAL, revision: int | None = None, **more: Any) -> Reply:
        revision = self.book.revision if revision is None else revision
        body = {"revision": revision, "scope": scope, "reason": "a test", **more}
        return await self.ask("PATCH", "", body)


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_but_platform_admins(office: Office, method: str, path: str) -> None:
    """Without a token, with a bad one, or in another role, nothing opens and nothing is told."""
    body = {"revision": 0, "scope": GLOBAL, "set": {"keep_every": 3}, "reason": "a test"}
    for token, status, code in (
        (None, 401, "user_token_missing"),
        ("v1.abc.def", 401, "user_token_malformed"),
        (_token(secret=b"another secret of the tests, long enough"), 401, "user_token_signature"),
        (_token(ttl=-1), 401, "user_token_expired"),
        (_token(Role.PATIENT), 403, "role_required"),
        (_token(Role.SPECIALIST), 403, "role_required"),
        (_token(Role.CLINIC_ADMIN), 403, "role_required"),
    ):
        headers = {"Authorization": "" if token is None else f"Bearer {token}"}
        reply = await office.ask(method, path, body, headers=headers)
        assert (reply.status, reply.code) == (status, code)
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert reply.headers["X-Request-Id"]
        assert ("WWW-Authenticate" in reply.headers) is (status == 401)
        if status == 403:
            assert reply.json["limit"] == "platform_admin"
            assert reply.json["seen"] in reply.json["detail"]
    assert (office.book.revision, office.store.kept) == (0, [])


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_platform_admin_is_let_in(office: Office, method: str, path: str) -> None:
    """Every route that refuses the others is there for this one, and no cache keeps its answer."""
    reply = await office.ask(method, path, headers={"Content-Type": "application/json"})
    assert reply.status not in {401, 403, 404, 405}
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Request-Id"]


async def test_the_first_look(office: Office) -> None:
    """Before any edit: the defaults, what each knob means, no pressure, no change."""
    reply = await office.ask("GET")
    assert reply.status == 200
    state = reply.json
    assert (state["revision"], state["changed_at"], state["seconds_since_change"]) == (
        0,
        None,
        None,
    )
    assert state["candidates"] == {}
    assert state["rung"] == "calm"
    assert state["stress"] == dict.fromkeys(("level", "memory", "backlog", "writer", "delay"), 0.0)
    assert list(state["scopes"]) == [GLOBAL]
    knobs = state["scopes"][GLOBAL]["knobs"]
    assert {name: knob["value"] for name, knob in knobs.items()} == DEFAULT_POLICY.plain()
    assert {knob["from"] for knob in knobs.values()} == {"default"}
    assert list(state["knobs"]) == list(KNOBS)
    assert state["knobs"]["keep_every"] == {
        "meaning": KNOBS["keep_every"].meaning,
        "unit": "frames",
        "allowed": "a whole number from 2 to 10",
        "low": 2,
        "high": 10,
        "whole": True,
        "default": 2,
    }
    assert state["knobs"]["inbox_mode"]["words"] == ["refuse", "drop_oldest"]


async def test_an_edit_is_saved_shown_and_in_force(office: Office) -> None:
    """The answer is the new state; the author is the token's principal."""
    reply = await office.edit(f"org:{ORG}", set={"keep_every": 3, "inbox_mode": "drop_oldest"})
    assert reply.status == 200
    change = reply.json["change"]
    assert (change["action"], change["scope"]) == ("edited", f"org:{ORG}")
    assert change["before"] == {}
    assert change["after"] == {"keep_every": 3, "inbox_mode": "drop_oldest"}
    assert (change["author"], change["reason"]) == (ADMIN, "a test")
    assert change["made_at"] == "2023-11-14T22:13:20.000Z"
    assert reply.json["revision"] == change["revision"] == 1
    assert reply.json["scopes"][f"org:{ORG}"]["knobs"]["keep_every"] == {
        "value": 3,
        "from": f"org:{ORG}",
    }
    assert [kept.revision for kept in office.store.kept] == [1]
    place = office.sluice.join(SESSION, ORG, LossAccount())
    assert place.policy.keep_every == 3
    office.clock.now += 12
    assert (await office.ask("GET")).json["seconds_since_change"] == 12


async def test_an_edit_is_effective_at_the_next_decision(office: Office) -> None:
    """When the answer has come, the very next batch is decided by the new knobs."""
    place = office.sluice.join(SESSION, ORG, LossAccount())
    full = Offer(10, 0, 900, 1000, 4, 4000)
    assert not isinstance(office.sluice.decide(place, full), Refuse)
    await office.edit(f"session:{SESSION}", set={"inbox_batches": 4, "inbox_soft_batches": 4})
    decision = office.sluice.decide(place, full)
    assert isinstance(decision, Refuse)
    assert (decision.knob, decision.limit) == ("inbox_batches", 4)


async def test_one_sessions_policy(office: Office) -> None:
    """Merged, with the scope that each knob comes from; a live session's organisation is known."""
    await office.edit(GLOBAL, set={"loss_percent": 1, "gap_seconds": 2})
    await office.edit(f"org:{ORG}", set={"loss_percent": 3}, expires_in_seconds=90)
    asked = {"session_id": SESSION.upper(), "org_id": ORG}
    found = (await office.ask("GET", query=asked)).json
    assert found["scopes"] == [GLOBAL, f"org:{ORG}"]
    assert found["knobs"]["gap_seconds"] == {"value": 2.0, "from": GLOBAL}
    assert found["knobs"]["loss_percent"] == {
        "value": 3.0,
        "from": f"org:{ORG}",
        "expires_at": "2023-11-14T22:14:50.000Z",
    }
    assert found["knobs"]["thin_at"]["from"] == "default"
    stranger = (await office.ask("GET", query={"session_id": SESSION})).json
    assert (stranger["org_id"], stranger["scopes"]) == (None, [GLOBAL])
    office.sluice.join(SESSION, ORG, LossAccount())
    known = (await office.ask("GET", query={"session_id": SESSION})).json
    assert (known["org_id"], known["scopes"]) == (ORG, [GLOBAL, f"org:{ORG}"])


@pytest.mark.parametrize(
    "end", [{"expires_at": "2023-11-14T22:14:50Z"}, {"expires_in_seconds": 90}]
)
async def test_an_edit_may_have_an_end(office: Office, end: dict[str, Any]) -> None:
    """As a moment or as a while, from the service's clock."""
    reply = await office.edit(set={"keep_every": 3}, **end)
    assert reply.json["change"]["expires_at"] == "2023-11-14T22:14:50.000Z"
    (edition,) = reply.json["scopes"][GLOBAL]["editions"]
    assert edition["expires_at"] == "2023-11-14T22:14:50.000Z"
    assert edition["set"] == {"keep_every": 3}
    assert office.book.expire(NOW + 89) is None
    assert office.book.expire(NOW + 90) is not None


async def test_two_edits_at_once(office: Office) -> None:
    """One is made; the other is told the revision it named, the current one, and who was first."""
    office.store.open = trio.Event()
    replies: list[Reply] = []

    async def edit(keep_every: int) -> None:
        replies.append(await office.edit(revision=0, set={"keep_every": keep_every}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(edit, 3)
        nursery.start_soon(edit, 4)
        await wait_all_tasks_blocked()
        office.store.open.set()
    first, second = sorted(replies, key=lambda reply: reply.status)
    assert (first.status, second.status) == (200, 409)
    assert second.code == "policy_revision_stale"
    assert (second.json["seen"], second.json["current"]) == (0, 1)
    (change,) = second.json["changes"]
    assert change == first.json["change"]
    assert office.book.in_force("", "").policy.keep_every == change["after"]["keep_every"]


async def test_contradictions_are_told_with_both_knobs(office: Office) -> None:
    """A fault has the scope it shows in, both knobs, the value and the limit; nothing changes."""
    await office.edit(set={"refuse_at": 80})
    await office.edit(f"org:{ORG}", set={"thin_at": 75})
    reply = await office.edit(clear=["refuse_at"])
    assert (reply.status, reply.code) == (422, "policy_invalid")
    (fault,) = reply.json["faults"]
    assert (fault["scope"], fault["knob"], fault["other"]) == (f"org:{ORG}", "thin_at", "refuse_at")
    assert (fault["seen"], fault["limit"]) == (75, 70)
    assert "thin_at" in reply.json["detail"]
    assert office.book.revision == 2


@pytest.mark.parametrize(
    ("knob", "value", "seen", "limit"),
    [
        ("keep_every", 11, 11, 10),
        ("keep_every", 1, 1, 2),
        ("keep_every", "3", "3", None),
        ("keep_every", 10**30, str(10**30), 10),
        ("loss_percent", None, None, None),
        ("inbox_mode", ["refuse"], "['refuse']", None),
        ("moon", "x" * 999, "x" * 80 + "…", None),
    ],
)
async def test_a_wrong_value_is_told(
    office: Office, knob: str, value: Any, seen: Any, limit: Any
) -> None:
    """The knob, what was seen and the limit, in a body that is JSON whatever was sent."""
    text = b"%d" % value if isinstance(value, int) else orjson.dumps(value)
    body = b'{"revision":0,"scope":"global","reason":"r","set":{"%b":%b}}' % (knob.encode(), text)
    reply = await office.ask("PATCH", "", body)
    assert (reply.status, reply.code) == (422, "policy_invalid")
    (fault,) = reply.json["faults"]
    assert (fault["knob"], fault["seen"], fault["limit"]) == (knob, seen, limit)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"revision": None}, "revision"),
        ({"revision": "1"}, "revision"),
        ({"revision": -1}, "revision"),
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"scope": "everywhere"}, "scope"),
        ({"scope": "org:1"}, "scope"),
        ({"scope": 1}, "scope"),
        ({"set": []}, "set"),
        ({"clear": "keep_every"}, "clear"),
        ({"sets": {}}, "sets"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "1700000090"}, "expires_at"),
        ({"expires_at": 1700000090}, "expires_at"),
        ({"expires_at": "2023-11-14T22:14:50"}, "expires_at"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": 10**9}, "expires_in_seconds"),
        ({"expires_at": "2033-11-14T22:14:50Z", "expires_in_seconds": 9}, None),
    ],
)
async def test_a_wrong_body_is_told_by_its_field(
    office: Office, change: dict[str, Any], name: str | None
) -> None:
    """An unknown key, too: a mistyped one must not be ignored."""
    body = {"revision": 0, "scope": GLOBAL, "reason": "r", "set": {"keep_every": 3}} | change
    reply = await office.ask("PATCH", "", body)
    assert (reply.status, reply.code) == (400, "body_malformed")
    assert reply.json.get("field") == name
    assert office.book.revision == 0


@pytest.mark.parametrize("missing", ["revision", "reason", "scope"])
async def test_a_change_says_on_what_and_why(office: Office, missing: str) -> None:
    """Without them there is no change, by whichever route."""
    body = {"revision": 0, "scope": GLOBAL, "reason": "r"}
    del body[missing]
    for method, path, more in (
        ("PATCH", "", {"set": {"keep_every": 3}}),
        ("POST", "/revert", {}),
    ):
        reply = await office.ask(method, path, body | more)
        assert (reply.status, reply.json["field"]) == (400, missing)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 5000])
async def test_what_is_no_json_object_is_refused(office: Office, body: bytes) -> None:
    """As a 400, whatever it is."""
    for method, path in ROUTES:
        if method in {"PATCH", "POST", "PUT"}:
            reply = await office.ask(method, path, body)
            assert (reply.status, reply.code) == (400, "body_malformed")


async def test_other_types_and_sizes_are_refused(office: Office) -> None:
    """A form is no edit, and 64 KiB are enough for one."""
    body = {"revision": 0, "scope": GLOBAL, "reason": "r", "set": {}}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await office.ask("PATCH", "", body, headers=form)
    assert (reply.status, reply.code) == (415, "unsupported_media_type")
    reply = await office.ask("PATCH", "", body | {"reason": "x" * 65536})
    assert reply.status == 413
    with_charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    body["set"] = {"keep_every": 3}
    assert (await office.ask("PATCH", "", body, headers=with_charset)).status == 200


async def test_a_revert(office: Office) -> None:
    """One step back, once; then there is nothing to revert."""
    await office.edit(set={"keep_every": 3})
    await office.edit(set={"keep_every": 4})
    body = {"revision": 2, "scope": GLOBAL, "reason": "too much"}
    reply = await office.ask("POST", "/revert", body)
    assert (reply.status, reply.json["change"]["action"]) == (200, "reverted")
    assert reply.json["change"]["after"] == {"keep_every": 3}
    assert office.sluice.join(SESSION, ORG, LossAccount()).policy.keep_every == 3
    reply = await office.ask("POST", "/revert", body)
    assert (reply.status, reply.code) == (409, "policy_revision_stale")
    reply = await office.ask("POST", "/revert", body | {"revision": 3})
    assert (reply.status, reply.code) == (409, "policy_nothing_to_revert")


async def test_history(office: Office) -> None:
    """Newest first, of all scopes or of one, so many as asked for."""
    for number, scope in enumerate((GLOBAL, f"org:{ORG}", GLOBAL)):
        await office.edit(scope, set={"keep_every": 3 + number})
    found = (await office.ask("GET", "/history")).json
    assert [change["revision"] for change in found["changes"]] == [3, 2, 1]
    found = (await office.ask("GET", "/history", query={"scope": GLOBAL, "limit": "1"})).json
    assert [change["revision"] for change in found["changes"]] == [3]


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("", {"session_id": "1"}, "session_id"),
        ("", {"org_id": "{" + ORG + "}"}, "org_id"),
        ("", {"sesion_id": SESSION}, "sesion_id"),
        ("/history", {"limit": "0"}, "limit"),
        ("/history", {"limit": "x"}, "limit"),
        ("/history", {"limit": "٣"}, "limit"),
        ("/history", {"limit": "9" * 99}, "limit"),
        ("/history", {"scope": "moon"}, "scope"),
        ("/decisions", {"session_id": ""}, "session_id"),
        ("/decisions", {"limit": "100000"}, "limit"),
        ("/sessions/moon", {}, "session_id"),
        (f"/sessions/{SESSION}", {"org_id": ORG}, "org_id"),
    ],
)
async def test_a_wrong_parameter_is_told_by_its_name(
    office: Office, path: str, query: dict[str, str], name: str
) -> None:
    """An unknown one, too: what it should have narrowed would be shown unnarrowed."""
    reply = await office.ask("GET", path, query=query)
    assert (reply.status, reply.code, reply.json["field"]) == (400, "parameter_malformed", name)


async def test_candidates_come_and_go(office: Office) -> None:
    """A proposal changes nothing in force and is counted from then on; withdrawing ends it."""
    put = {"set": {"inbox_batches": 4, "inbox_soft_batches": 4}, "reason": "shadow"}
    reply = await office.ask("PUT", "/candidates/tight", put | {"revision": 0})
    assert (reply.status, reply.json["change"]["action"]) == (200, "proposed")
    assert reply.json["change"]["candidate"] == "tight"
    place = office.sluice.join(SESSION, ORG, LossAccount())
    for _ in range(3):
        office.sluice.decide(place, Offer(10, 0, 900, 1000, 4, 4000))
    state = (await office.ask("GET")).json
    assert state["scopes"][GLOBAL]["editions"] == []
    assert state["decided"]["frames_lost"] == 0
    candidate = state["candidates"]["tight"]
    assert candidate["set"] == {"inbox_batches": 4, "inbox_soft_batches": 4}
    assert (candidate["author"], candidate["rests"]) == (ADMIN, [])
    assert candidate["decided"]["frames"] == 30
    assert candidate["decided"]["by_cause"]["inbox_full"] == {
        "verdict": "refuse",
        "batches": 3,
        "frames_lost": 30,
    }
    query = {"revision": "1", "reason": "seen enough"}
    reply = await office.ask("DELETE", "/candidates/tight", query=query)
    assert (reply.status, reply.json["candidates"]) == (200, {})
    assert reply.json["change"]["reason"] == "seen enough"
    reply = await office.ask("DELETE", "/candidates/tight", query=query | {"revision": "2"})
    assert (reply.status, reply.code) == (404, "candidate_unknown")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"reason": "r"}, "revision"),
        ({"revision": "x", "reason": "r"}, "revision"),
        ({"revision": "0"}, "reason"),
        ({"revision": "0", "reason": " "}, "reason"),
        ({"revision": "0", "reason": "x" * 501}, "reason"),
        ({"revision": "0", "reason": "r", "set": "{}"}, "set"),
    ],
)
async def test_a_withdrawal_says_on_what_and_why(
    office: Office, query: dict[str, str], name: str
) -> None:
    """In the query, since a DELETE has no body."""
    reply = await office.ask("DELETE", "/candidates/tight", query=query)
    assert (reply.status, reply.json["field"]) == (400, name)


async def test_candidates_are_bounded(office: Office) -> None:
    """The fourth is refused with the limit; a bad name by its field."""
    body = {"reason": "r", "set": {"keep_every": 3}}
    for number in range(3):
        await office.ask("PUT", f"/candidates/c{number}", body | {"revision": number})
    reply = await office.ask("PUT", "/candidates/c3", body | {"revision": 3})
    assert (reply.status, reply.code, reply.json["limit"]) == (409, "policy_full", 3)
    reply = await office.ask("PUT", "/candidates/C", body | {"revision": 3})
    assert (reply.status, reply.json["faults"][0]["knob"]) == (422, "name")


async def test_a_candidate_that_rests_says_why(office: Office) -> None:
    """An edit that it contradicts is made nevertheless."""
    body = {"revision": 0, "reason": "r", "set": {"thin_at": 65}}
    await office.ask("PUT", "/candidates/late", body)
    state = (await office.edit(set={"refuse_at": 60})).json
    candidate = state["candidates"]["late"]
    assert candidate["decided"] is None
    assert candidate["rests"][0]["other"] == "refuse_at"


async def test_what_cannot_be_saved_is_not_in_force(office: Office) -> None:
    """503 with Retry-After and the ledger's reason, by every changing route; nothing changes."""
    await office.edit(set={"keep_every": 3})
    await office.ask(
        "PUT", "/candidates/c", {"revision": 1, "reason": "r", "set": {"keep_every": 5}}
    )
    before, office.store.broken = office.book.plain(), True
    body = {"revision": 2, "reason": "r"}
    query = {"revision": "2", "reason": "r"}
    for reply in (
        await office.edit(set={"keep_every": 4}),
        await office.ask("POST", "/revert", body | {"scope": GLOBAL}),
        await office.ask("PUT", "/candidates/d", body | {"set": {"keep_every": 5}}),
        await office.ask("DELETE", "/candidates/c", query=query),
    ):
        assert (reply.status, reply.code) == (503, "ledger_disk_full")
        assert (reply.headers["Retry-After"], reply.json["retry_after_ms"]) == ("2", 1500)
    assert office.book.plain() == before
    assert office.sluice.join(SESSION, ORG, LossAccount()).policy.keep_every == 3


async def test_pressure_and_decisions(office: Office) -> None:
    """Under stress the state says how much and which part; the sample says what was decided why."""
    place = office.sluice.join(SESSION, ORG, LossAccount(due=10_000))
    office.sluice.sense(Readings(96, 100, 0, 100, 0.0, 0.0), NOW, NOW)
    for _ in range(3):
        office.sluice.decide(place, Offer(10, 0, 900, 1000, 64, 4000))
    state = (await office.ask("GET")).json
    assert (state["stress"]["level"], state["stress"]["memory"]) == (96.0, 96.0)
    assert state["rung"] == "refuse_bulk"
    found = (await office.ask("GET", "/decisions", query={"session_id": SESSION})).json
    decision = found["decisions"][0]
    assert decision["session_id"] == SESSION
    assert (decision["verdict"], decision["cause"]) == ("refuse", "inbox_full")
    assert decision["retry_after_seconds"] >= 1
    assert decision["words"]
    assert decision["inputs"]["rung"] == "refuse_bulk"
    assert decision["inputs"]["stress"]["memory"] == 96.0
    assert decision["offer"]["frames"] == 10
    other = (await office.ask("GET", "/decisions", query={"session_id": ORG})).json
    assert other == {"decisions": []}


async def test_a_session_is_explained(office: Office) -> None:
    """Its policy with sources, its loss and budget; asking begins to follow it."""
    await office.edit(f"session:{SESSION}", set={"loss_percent": 2})
    place = office.sluice.join(SESSION, ORG, LossAccount(due=1000, lost=30))
    found = (await office.ask("GET", f"/sessions/{SESSION.upper()}")).json
    assert (found["live"], found["followed"], found["org_id"]) == (True, True, ORG)
    assert found["policy"]["knobs"]["loss_percent"] == {
        "value": 2.0,
        "from": f"session:{SESSION}",
    }
    assert found["budget"] == {
        "frames_due": 1000,
        "frames_lost": 30,
        "lost_percent": 3.0,
        "loss_percent": 2.0,
        "stretch_ms": 0,
        "gap_seconds": 1.0,
        "over_budget": True,
    }
    assert found["works"]["rung"] == "calm"
    assert found["decisions"] == []
    office.sluice.decide(place, Offer(10, 0, 900, 1000, 0, 0))
    (decision,) = (await office.ask("GET", f"/sessions/{SESSION}")).json["decisions"]
    assert (decision["verdict"], decision["cause"]) == ("admit", "calm")


async def test_a_session_that_is_not_live_is_explained_as_far_as_it_goes(office: Office) -> None:
    """It says so, and gives the policy that would hold; it is not followed."""
    found = (await office.ask("GET", f"/sessions/{SESSION}")).json
    assert (found["live"], found["org_id"], found["budget"]) == (False, None, None)
    assert found["policy"]["scopes"] == [GLOBAL]
    assert (found["followed"], found["not_followed_because"]) == (False, "it is not live")


async def test_ids_that_nobody_has_are_not_followed(office: Office) -> None:
    """However many are asked for, a live session can be followed."""
    for number in range(20):
        await office.ask("GET", f"/sessions/{UUID(int=number + 100)}")
    office.sluice.join(SESSION, ORG, LossAccount())
    found = (await office.ask("GET", f"/sessions/{SESSION}")).json
    assert (found["followed"], found["not_followed_because"]) == (True, None)


async def test_an_edit_that_ends_in_another_age_is_refused(office: Office) -> None:
    """With the limit and what was seen; and every answer after it is one."""
    reply = await office.edit(set={"keep_every": 3}, expires_at="9999-12-31T23:59:59-23:59")
    assert (reply.status, reply.code) == (422, "policy_invalid")
    (fault,) = reply.json["faults"]
    assert (fault["knob"], fault["limit"]) == ("expires_at", NOW + 366 * 86400)
    assert fault["seen"] > 2e11
    assert (await office.ask("GET")).status == 200


@pytest.mark.parametrize(
    ("unix", "words"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (253402387139.0, "9999-12-31T23:59:59.000Z"),
        (1e300, "9999-12-31T23:59:59.000Z"),
        (float("inf"), "9999-12-31T23:59:59.000Z"),
        (-1e300, "0001-01-01T00:00:00.000Z"),
        pytest.param(10**400, "9999-12-31T23:59:59.000Z", id="large"),
        (float("nan"), "9999-12-31T23:59:59.000Z"),
        (None, None),
    ],
)
def test_every_number_is_a_moment(unix: float | None, words: str | None) -> None:
    """Whatever a ledger holds can be shown."""
    assert moment(unix) == words


async def test_faults_are_bounded(office: Office) -> None:
    """Twenty are told, and how many more there are; a request has no more knobs than sense."""
    reply = await office.edit(set={f"moon{n}": 1 for n in range(30)})
    assert (reply.status, len(reply.json["faults"]), reply.json["more_faults"]) == (422, 20, 10)
    assert reply.json["detail"].endswith("; and 10 more")
    for name, value in (
        ("set", {f"m{n}": 1 for n in range(65)}),
        ("set", {"m" * 41: 1}),
        ("clear", [f"m{n}" for n in range(65)]),
        ("clear", ["m" * 41]),
    ):
        body: dict[str, Any] = {"set": {"keep_every": 3}} | {name: value}
        reply = await office.edit(**body)
        assert (reply.status, reply.json["field"]) == (400, name)
        assert len(orjson.dumps(reply.json)) < 1000


@pytest.mark.parametrize("hidden", ["\x1b", "\n", "\x9b", "\u202e", "\u2066", "\u2028"])
async def test_a_reason_hides_nothing(office: Office, hidden: str) -> None:
    """In a body or a query; the character is named."""
    named = f"U+{ord(hidden):04X}"
    query = {"revision": "0", "reason": f"a{hidden}b"}
    for reply in (
        await office.edit(set={"keep_every": 3}, reason=f"a{hidden}b"),
        await office.ask("DELETE", "/candidates/gentle", query=query),
    ):
        assert (reply.status, reply.json["field"]) == (400, "reason")
        assert named in reply.json["detail"]


async def test_what_has_ended_says_so_until_it_is_saved(office: Office) -> None:
    """An operator sees that the ledger is behind, not that the edition is in force."""
    await office.edit(set={"keep_every": 3}, expires_in_seconds=90)
    office.store.broken = True
    office.clock.now += 90
    with pytest.raises(StoreUnavailableError):
        await office.desk.expire()
    state = (await office.ask("GET")).json["scopes"][GLOBAL]
    assert [edition["ended"] for edition in state["editions"]] == [True]
    assert state["knobs"]["keep_every"] == {"value": 2, "from": "default"}


async def test_other_methods_are_refused(office: Office) -> None:
    """With the list of those that there are."""
    reply = await office.ask("DELETE")
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert {"GET", "PATCH"} <= set(reply.headers["Allow"].split(", "))


async def test_without_the_surface_there_is_nothing_there() -> None:
    """An application that was given no policy has no such routes."""
    office = Office()
    parts = Parts(
        pose=cast("Any", None),
        edge=Edge(CorsRules(), office.clock),
        meter=RequestMeter(),
        readiness=Readiness(()),
        exposition=cast("Any", None),
        limits=AppLimits(10, 64),
        version="test",
    )
    office.client = create_app(parts).test_client()
    assert (await office.ask("GET")).status == 404


async def test_a_stale_answer_is_bounded(office: Office) -> None:
    """However long somebody was away, so many changes are told."""
    for number in range(30):
        signed = Signed("ada", "r", number)
        office.book.adopt(office.book.edit(GLOBAL, {"loss_percent": number}, (), signed, NOW))
    reply = await office.edit(revision=0, set={"keep_every": 3})
    assert (reply.status, len(reply.json["changes"])) == (409, 20)
    assert reply.json["changes"][0]["revision"] == 30
