"""MaxMind's services over HTTP: the list of privacy exclusions, and databases of places.

Both are asked with an account's id and licence key, which are sent to the configured address's own
origin and to no other: not to where a download is redirected, and not to a next page elsewhere.
Nothing of an answer's body reaches a log.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import orjson
import trio

from penstock.engine.platform.exclusions import LONGEST_KIND, Exclusion
from penstock.engine.platform.syncing import SourceError
from penstock.http.instants import read_instant, unix_ms
from penstock.storage.platform.geo import GeoDatabase, GeoDatabaseError
from penstock.storage.platform.unpacking import MOST_DATABASE_BYTES, UnpackError, unpack_database

MOST_PAGES = 10_000
MOST_PAGE_BYTES = 256 * 1024 * 1024
MOST_EXCLUSIONS = 10_000_000
_STEP_SECONDS = 30.0
_LIST_SECONDS = 900.0
_DOWNLOAD_SECONDS = 1800.0
_CHECKSUM = re.compile(rb"\s*([0-9a-fA-F]{64})\b")
_CHECKSUM_BYTES = 4096
_NEXT = re.compile(r'<([^>]{1,2000})>\s*;[^,]{0,200}\brel="?next"?')


@dataclass(slots=True, frozen=True)
class MaxMindAccount:
    """With what MaxMind is asked, and where."""

    account_id: str | None
    license_key: str | None
    exclusions_url: str
    geo_url: str

    def auth(self) -> httpx.BasicAuth:
        """Give the credentials; SourceError where a setting is missing."""
        if self.account_id is None or self.license_key is None:
            name = "maxmind_account_id" if self.account_id is None else "maxmind_license_key"
            raise SourceError("not_configured", f"{name} is not set")
        return httpx.BasicAuth(self.account_id, self.license_key)


class MaxMind:
    """The ports `Source` and `GeoSource` over HTTP. Made by `open_maxmind`."""

    def __init__(
        self, client: httpx.AsyncClient, account: MaxMindAccount, geo: GeoDatabase
    ) -> None:
        self._client = client
        self._account = account
        self._geo = geo

    async def exclusions(self) -> Sequence[Exclusion]:
        """Give the whole list, of all its pages; SourceError when any of it is not to be had."""
        auth = self._account.auth()
        found: list[Exclusion] = []
        url: str | None = self._account.exclusions_url
        seen: set[str] = set()
        total: object = None
        listed = 0
        with _within(_LIST_SECONDS):
            while url is not None:
                if url in seen or len(seen) >= MOST_PAGES:
                    raise SourceError("malformed", "the list's pages do not come to an end")
                seen.add(url)
                document, further = await self._page(url, auth)
                rows = _rows(document)
                listed += len(rows)
                found += [_read_exclusion(row) for row in rows if not _of_other_data(row)]
                if len(found) > MOST_EXCLUSIONS:
                    raise SourceError("too_large", f"the list has over {MOST_EXCLUSIONS} networks")
                total = document.get("total", total)
                url = _next_page(url, document, further)
        if isinstance(total, int) and total != listed:
            raise SourceError("partial", f"the list has {listed} exclusions of {total}")
        return found

    async def update(self) -> None:
        """Download the database, check it, and put it into force; SourceError leaves all as is."""
        auth = self._account.auth()
        url, folder = self._account.geo_url, self._geo.path.parent
        packed, draft = folder / ".download", folder / ".candidate"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with _within(_DOWNLOAD_SECONDS):
                expected = await self._checksum(f"{url}.sha256", auth)
                await self._download(url, auth, packed, expected)
            await trio.to_thread.run_sync(unpack_database, packed, draft)
            await trio.to_thread.run_sync(self._geo.try_out, draft)
            self._geo.install(draft)
        except (UnpackError, GeoDatabaseError) as error:
            raise SourceError("malformed", f"the download: {error}") from None
        except OSError as error:
            raise SourceError("disk", f"it could not be written: {error.strerror}") from None
        finally:
            packed.unlink(missing_ok=True)
            draft.unlink(missing_ok=True)

    def fetched_unix(self) -> float | None:
        """Give when the database in force was downloaded; None without one."""
        return self._geo.fetched_unix()

    async def _page(self, url: str, auth: httpx.BasicAuth) -> tuple[dict[str, Any], str]:
        async with self._asked(url, auth) as answer:
            body = await _bounded(answer, MOST_PAGE_BYTES)
            further = answer.headers.get("Link", "")
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise SourceError("malformed", "a page of the list is no JSON object")
        return document, further

    async def _checksum(self, url: str, auth: httpx.BasicAuth) -> str:
        async with self._asked(url, auth) as answer:
            found = _CHECKSUM.match(await _bounded(answer, _CHECKSUM_BYTES))
        if found is None:
            raise SourceError("malformed", "the checksum is none of SHA-256")
        return found[1].decode().lower()

    async def _download(self, url: str, auth: httpx.BasicAuth, path: Path, expected: str) -> None:
        digest = hashlib.sha256()
        size = 0
        async with self._asked(url, auth) as answer, await trio.open_file(path, "wb") as file:
            async for piece in answer.aiter_raw():
                size += len(piece)
                if size > MOST_DATABASE_BYTES:
                    raise SourceError(
                        "too_large", f"the download is over {MOST_DATABASE_BYTES} bytes"
                    )
                digest.update(piece)
                await file.write(piece)
        if digest.hexdigest() != expected:
            raise SourceError("checksum", "the download's checksum is not the one that was told")

    @asynccontextmanager
    async def _asked(self, url: str, auth: httpx.BasicAuth) -> AsyncIterator[httpx.Response]:
        """Give an answer that can be used; whatever else happens is a SourceError."""
        try:
            async with self._client.stream("GET", url, auth=auth) as answer:
                _refuse(answer)
                yield answer
        except httpx.TimeoutException:
            raise SourceError("timed_out", "MaxMind did not answer in time") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            # Its text may hold the URL, and that may be signed.
            reason = f"MaxMind cannot be reached, or its answer broke off ({type(error).__name__})"
            raise SourceError("unreachable", reason) from None


@asynccontextmanager
async def open_maxmind(account: MaxMindAccount, geo: GeoDatabase) -> AsyncIterator[MaxMind]:
    """Have a client around the block. Nothing is asked yet."""
    # Of a redirect to another origin, httpx takes the credentials away.
    async with httpx.AsyncClient(
        timeout=_STEP_SECONDS, follow_redirects=True, trust_env=True, max_redirects=5
    ) as client:
        yield MaxMind(client, account, geo)


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Bound the whole of several requests."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise SourceError("timed_out", f"it was not done within {seconds:g} s") from None


def _refuse(answer: httpx.Response) -> None:
    status = answer.status_code
    if status == HTTPStatus.OK:
        return
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        detail = f"MaxMind answered {status}: maxmind_account_id or maxmind_license_key is wrong"
        raise SourceError("unauthorised", detail)
    told = answer.headers.get("Retry-After", "")
    retry_after = float(told) if told.isdigit() and len(told) < 7 else None
    reason = "rate_limited" if status == HTTPStatus.TOO_MANY_REQUESTS else "unavailable"
    raise SourceError(reason, f"MaxMind answered {status}", retry_after)


async def _bounded(answer: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    # A loop that is left leaves the generators below it open; one that is cancelled does not.
    with trio.CancelScope() as scope:
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > limit:
                scope.cancel()
    if len(body) > limit:
        raise SourceError("too_large", f"an answer of MaxMind is over {limit} bytes")
    return bytes(body)


def _rows(document: dict[str, Any]) -> list[object]:
    rows = document.get("exclusions")
    if not isinstance(rows, list):
        raise SourceError("malformed", "a page of the list has no exclusions")
    return rows


def _of_other_data(row: object) -> bool:
    # MaxMind asks its clients to look: there may be kinds that are no networks.
    return isinstance(row, dict) and row.get("data_type", "network") != "network"


def _read_exclusion(row: object) -> Exclusion:
    if isinstance(row, dict):
        network, kind = row.get("value"), row.get("exclusion_type")
        if isinstance(network, str) and isinstance(kind, str) and 1 <= len(kind) <= LONGEST_KIND:
            with suppress(ValueError):
                return Exclusion(network, kind, unix_ms(read_instant(row.get("last_updated"))))
    raise SourceError("malformed", "an exclusion lacks its value, exclusion_type or last_updated")


def _next_page(url: str, document: dict[str, Any], link: str) -> str | None:
    found = _NEXT.search(link)
    told = found[1] if found else document.get("next")
    if told is None or told == "":
        return None
    if not isinstance(told, str):
        raise SourceError("malformed", "the next page's address is no text")
    further = urljoin(url, told)
    if _origin(further) != _origin(url):
        raise SourceError("malformed", "the next page is at another origin")
    return further


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SourceError("malformed", "the next page's address is no URL") from None
    return parts.scheme, parts.netloc
