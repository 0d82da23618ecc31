"""How the identity provider's keys are fetched: one bounded GET, without redirects."""

from collections.abc import Awaitable, Callable

import httpx
import trio

from penstock.http.jwks import JwksUnavailableError

_SECONDS = 5.0
_MOST_BYTES = 256 * 1024


def key_fetcher(url: str) -> Callable[[], Awaitable[bytes]]:
    """Give what fetches the document at a URL; it raises JwksUnavailableError."""

    async def fetch() -> bytes:
        document = bytearray()
        try:
            with trio.fail_after(_SECONDS):
                # A redirect would have somebody else than the setting say whose keys are trusted.
                async with (
                    httpx.AsyncClient(follow_redirects=False, trust_env=False) as client,
                    client.stream("GET", url) as answer,
                ):
                    if answer.status_code != 200:
                        raise JwksUnavailableError(f"jwks_url answers {answer.status_code}")
                    async for piece in answer.aiter_bytes():
                        document += piece
                        if len(document) > _MOST_BYTES:
                            raise JwksUnavailableError(f"jwks_url gives over {_MOST_BYTES} bytes")
        except trio.TooSlowError:
            raise JwksUnavailableError(f"jwks_url took over {_SECONDS:g} s") from None
        except httpx.HTTPError as error:
            raise JwksUnavailableError(f"jwks_url: {type(error).__name__}") from None
        return bytes(document)

    return fetch
