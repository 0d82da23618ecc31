"""Replays: a link for whoever may see one, and the download where the store can sign no links.

The link itself is the key: whoever has it can read the replay until it expires. So it is
short-lived and made for one session, and that it was made is in the audit before anybody has it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from penstock.engine.blob_port import (
    BlobInfo,
    BlobStore,
    BlobUnavailableError,
    replay_key,
)
from penstock.engine.records import AuditEntry
from penstock.http.cold_routes import Call, ColdRoute, RefusedError, StreamAnswer
from penstock.http.core.documents import private
from penstock.http.core.keeping import RETRY_SECONDS, Keeping
from penstock.http.core.reads import find_session
from penstock.http.core.requests import Doors, expect, id_in_path
from penstock.http.core.starts import SESSIONS
from penstock.http.exchange import Answer
from penstock.http.instants import iso_instant
from penstock.http.problems import Problem, problem_answer
from penstock.http.replay_links import (
    LinkVerdict,
    NoSuchPart,
    PartOfBlob,
    WholeBlob,
    plan_range,
    sign_link,
    verify_link,
)
from penstock.http.roles import Role

DOWNLOADS = "/v1/replays"


@dataclass(slots=True, frozen=True)
class LinkTerms:
    """How our own links are made: secrets, the current one first, and for how long they hold.

    `public_url` is where clients reach this service; without it links are relative.
    """

    secrets: Sequence[bytes]
    replay_url_seconds: int
    public_url: str = ""


@dataclass(slots=True, frozen=True)
class Replays:
    """The routes of replays."""

    doors: Doors
    keeping: Keeping
    blobs: BlobStore
    terms: LinkTerms

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (
            ColdRoute("GET", f"{SESSIONS}/<session_id>/replay", self._link, cross_origin=True),
            ColdRoute(
                "GET", f"{DOWNLOADS}/<org_id>/<session_id>/<token>", self._download,
                cross_origin=True,
            ),
        )  # fmt: skip

    async def _link(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PATIENT, Role.SPECIALIST)
        expect(call)
        found = await find_session(self.keeping, claims, id_in_path(call, "session_id"))
        key = replay_key(claims.org_id, found.session_id)
        await self._blob(key)
        expires_unix = int(self.keeping.clock.unix()) + self.terms.replay_url_seconds
        await self.keeping.write(
            AuditEntry(
                self.keeping.now_ms(),
                claims.principal_id,
                "replay.linked",
                f"session:{found.session_id}",
                {"role": claims.role.value, "org_id": claims.org_id},
            )
        )
        try:
            url = await self.blobs.sign(key, self.terms.replay_url_seconds)
        except BlobUnavailableError as error:
            raise _unavailable(error) from error
        if url is None:
            token = sign_link(key, expires_unix, self.terms.secrets[0])
            base = self.terms.public_url.rstrip("/")
            url = f"{base}{DOWNLOADS}/{claims.org_id}/{found.session_id}/{token}"
        return private(200, {"url": url, "expires_at": iso_instant(expires_unix * 1000)})

    async def _download(self, call: Call) -> Answer | StreamAnswer:
        key = replay_key(id_in_path(call, "org_id"), id_in_path(call, "session_id"))
        verdict = verify_link(
            key,
            call.parameters["token"],
            self.terms.secrets,
            now_unix=self.keeping.clock.unix(),
        )
        if verdict is not LinkVerdict.VALID:
            raise RefusedError(Problem.REPLAY_LINK_REFUSED, f"the link is {verdict}")
        blob = await self._blob(key)
        tag = f'"{blob.version}"'
        plan = plan_range(
            call.headers.get("Range"),
            blob.size,
            if_range=call.headers.get("If-Range"),
            etag=tag,
        )
        return self._answer(blob, tag, plan)

    def _answer(
        self, blob: BlobInfo, tag: str, plan: WholeBlob | PartOfBlob | NoSuchPart
    ) -> Answer | StreamAnswer:
        if isinstance(plan, NoSuchPart):
            answer = problem_answer(Problem.RANGE_UNSATISFIABLE, limit=blob.size)
            return answer._replace(headers=((b"content-range", plan.content_range.encode()),))
        start, end, status = 0, blob.size, 200
        headers = [
            (b"etag", tag.encode()),
            (b"accept-ranges", b"bytes"),
            # The link is a secret of one person: neither shared caches nor pages may keep it.
            (b"cache-control", b"private, no-store"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-disposition", b'attachment; filename="replay.bin.gz"'),
        ]
        if isinstance(plan, PartOfBlob):
            start, end, status = plan.start, plan.end, 206
            headers.append((b"content-range", plan.content_range.encode()))
        headers.append((b"content-length", b"%d" % (end - start)))
        return StreamAnswer(
            status, self._bytes(blob, start, end), "ok", b"application/gzip", tuple(headers)
        )

    async def _bytes(self, blob: BlobInfo, start: int, end: int) -> AsyncIterator[bytes]:
        # A fault from here on cuts the answer short of its Content-Length, which clients see.
        async with aclosing(self.blobs.get_range(blob, start, end)) as pieces:
            async for piece in pieces:
                yield piece

    async def _blob(self, key: str) -> BlobInfo:
        try:
            blob = await self.blobs.head(key)
        except BlobUnavailableError as error:
            raise _unavailable(error) from error
        if blob is None:
            raise RefusedError(Problem.REPLAY_MISSING)
        return blob


def _unavailable(error: BlobUnavailableError) -> RefusedError:
    return RefusedError(Problem.REPLAY_UNAVAILABLE, error.reason.meaning, retry_after=RETRY_SECONDS)
