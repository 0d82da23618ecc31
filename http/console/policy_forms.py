"""The policy page's forms, as the requests of the admin API that they stand for.

A form is turned into the same JSON body that `/v1/admin/policy` takes, and goes through the same
code from there on: what may be set, what contradicts what and what it is answered is decided in one
place. What a form has of its own is only that everything in it is text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import orjson

from penstock.engine.policy import KNOBS
from penstock.engine.policy_book import PolicyBook
from penstock.engine.policy_editions import GLOBAL
from penstock.http.admin_policy import PREFIX, PolicyAdmin
from penstock.http.console.door import Form
from penstock.http.console.visits import Visit
from penstock.http.exchange import JSON, Answer
from penstock.http.policy_requests import AdminCall
from penstock.http.problems import Problem, problem_answer
from penstock.http.roles import Role
from penstock.http.user_tokens import UserClaims

_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?", re.IGNORECASE)
# What the pages offer as the end of an edit, by its seconds.
EXPIRIES = (
    ("", "no end"),
    ("900", "15 minutes"),
    ("3600", "1 hour"),
    ("28800", "8 hours"),
    ("86400", "1 day"),
)
ENFORCED_FOR = "3600"


@dataclass(slots=True, frozen=True)
class PolicyForms:
    """Makes changes of the policy for a visit, by the admin API's own handlers."""

    admin: PolicyAdmin

    @property
    def book(self) -> PolicyBook:
        """Give the book that is changed."""
        return self.admin.desk.book

    async def preview(self, visit: Visit, form: Form) -> Answer:
        """Tell what the edit of a form would change."""
        return await self.admin.answer(self.admin.preview, _call(visit, _edit_body(form)))

    async def edit(self, visit: Visit, form: Form) -> Answer:
        """Make the edit of a form."""
        return await self._make(visit, "PATCH", PREFIX, _edit_body(form))

    async def revert(self, visit: Visit, form: Form) -> Answer:
        """Undo the last edit of the form's scope."""
        body = {**_signed(form), "scope": form.get("scope", "")}
        return await self._make(visit, "POST", f"{PREFIX}/revert", body)

    async def propose(self, visit: Visit, form: Form) -> Answer:
        """Set the form's knobs as a candidate beside the policy."""
        if form.get("scope", GLOBAL) != GLOBAL:
            return problem_answer(
                Problem.BODY_MALFORMED,
                "scope: a candidate is one for the global scope",
                field="scope",
                seen=form["scope"][:80],
            )
        body = {**_signed(form), "set": _put(form)}
        name = form.get("name", "").strip()
        return await self._make(visit, "PUT", f"{PREFIX}/candidates/<name>", body, name)

    async def withdraw(self, visit: Visit, form: Form) -> Answer:
        """Take a candidate away."""
        query = {"revision": form.get("revision", ""), "reason": form.get("reason", "")}
        name = form.get("name", "")
        return await self._make(visit, "DELETE", f"{PREFIX}/candidates/<name>", {}, name, query)

    async def enforce(self, visit: Visit, form: Form) -> Answer:
        """Put a candidate's knobs into force for everybody, for as long as the form says."""
        name = form.get("name", "")
        candidate = self.book.candidates.get(name)
        if candidate is None:
            return problem_answer(
                Problem.CANDIDATE_UNKNOWN,
                f"there is no candidate {name[:40]!r} that makes a policy",
            )
        body = {**_signed(form), **_end(form), "scope": GLOBAL, "set": dict(candidate.knobs)}
        return await self._make(visit, "PATCH", PREFIX, body)

    async def _make(
        self,
        visit: Visit,
        method: str,
        rule: str,
        body: Mapping[str, Any],
        name: str = "",
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        handler = self.admin.routes()[method, rule]
        return await self.admin.answer(handler, _call(visit, body, name, query))


def _call(
    visit: Visit,
    body: Mapping[str, Any],
    name: str = "",
    query: Mapping[str, str] | None = None,
) -> AdminCall:
    # The visit was begun with a token of just this role.
    role = Role.PLATFORM_ADMIN
    claims = UserClaims(
        visit.principal_id, visit.org_id, role, 0, visit.began_unix, visit.ends_unix
    )
    return AdminCall(claims, query or {}, JSON, orjson.dumps(body), name)


def _edit_body(form: Form) -> dict[str, Any]:
    clear = [name for name in KNOBS if form.get(f"clear.{name}")]
    scope = form.get("scope", GLOBAL)
    return {**_signed(form), **_end(form), "scope": scope, "set": _put(form), "clear": clear}


def _put(form: Form) -> dict[str, Any]:
    return {
        name.removeprefix("set."): _value(text.strip())
        for name, text in form.items()
        if name.startswith("set.") and text.strip()
    }


def _signed(form: Form) -> dict[str, Any]:
    return {"revision": _value(form.get("revision", "")), "reason": form.get("reason", "")}


def _end(form: Form) -> dict[str, Any]:
    text = form.get("expires", "").strip()
    return {"expires_in_seconds": _value(text)} if text else {}


def _value(text: str) -> str | int | float:
    """Read a number where it is one; what is none is refused by its name and as it was sent."""
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text) if _NUMBER.fullmatch(text) else inf
    # JSON has no word for what is too large to be a number, and would say that nothing was sent.
    return number if isfinite(number) else text
