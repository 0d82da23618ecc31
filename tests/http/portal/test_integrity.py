"""A page on another origin runs the service's own module, and only the bytes that it expects."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

_LOAD = """([url, integrity]) => new Promise((resolve) => {
  const script = document.createElement("script");
  Object.assign(script, { type: "module", crossOrigin: "anonymous", integrity, src: url });
  script.onload = async () => resolve(Object.keys(await import(url)).sort());
  script.onerror = () => resolve("refused");
  document.head.append(script);
})"""


@pytest.mark.parametrize("spoilt", [False, True])
async def test_a_module_of_another_origin_is_checked(
    visit: Callable[..., Any], portal: Any, serve: Callable[..., Any], *, spoilt: bool
) -> None:
    """With the manifest's hash it loads, cross-origin and compressed; with another it does not."""
    async with serve(cors_origins=(portal.url,)) as service:
        async with httpx.AsyncClient(base_url=service.address) as client:
            told = (await client.get("/portal/portal.json")).json()
            served = await client.get(told["url"], headers={"Origin": portal.url})
        assert served.headers["content-encoding"] == "gzip"
        assert served.headers["access-control-allow-origin"] == portal.url
        assert served.headers.get_list("vary", split_commas=True) == ["Accept-Encoding", "Origin"]
        integrity = told["integrity"] if not spoilt else told["integrity"][:-8] + "AAAAAAAA"

        def story(page: Page) -> Any:
            return page.evaluate(_LOAD, [service.address + told["url"], integrity])

        loaded = await visit(service.address, story)
    names = ["PortalError", "PortalSession", "encodeBatch", "renewFromCore"]
    assert loaded == ("refused" if spoilt else names)
