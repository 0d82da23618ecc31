"""How the identity provider's keys are fetched: one bounded GET, without redirects."""

import time
from collections.abc import Awaitable, Callable

import httpx
import trio

from penstock.http.jwks import JwksUnavailableError

_SECONDS = 5.0
_MOST_BYTES = 256 * 1024


def key_fetcher(url: str) -> Callable[[], Awaitable[bytes]]:
    """Give what fetches the document at a URL; it raises JwksUnavailableError."""

    async def fetch() -> bytes:
        # On a thread: an answer that is not read to its end would leave a generator behind here.
        return await trio.to_thread.run_sync(_fetch, url, abandon_on_cancel=True)

    return fetch


def _fetch(url: str) -> bytes:
    document = bytearray()
    until = time.monotonic() + _SECONDS
    try:
        # A redirect would have somebody else than the setting say whose keys are trusted.
        with (
            httpx.Client(follow_redirects=False, trust_env=False, timeout=_SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                raise JwksUnavailableError(f"jwks_url answers {answer.status_code}")
            for piece in answer.iter_bytes():
                document += piece
                if len(document) > _MOST_BYTES:
                    raise JwksUnavailableError(f"jwks_url gives over {_MOST_BYTES} bytes")
                if time.monotonic() > until:
                    raise JwksUnavailableError(f"jwks_url took over {_SECONDS:g} s")
    except httpx.HTTPError as error:
        raise JwksUnavailableError(f"jwks_url: {type(error).__name__}") from None
    return bytes(document)
