"""What the pages of the browser client's tests talk to."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from playwright.sync_api import Browser, Page

from portal_rig import Browsers, PageServer, Recorder, page_server, recorder


@pytest.fixture(scope="session")
def portal() -> Iterator[PageServer]:
    with page_server() as server:
        yield server


@pytest.fixture
def recording() -> Iterator[Recorder]:
    with recorder(time.monotonic) as opened:
        yield opened


@pytest.fixture
def visit(browsers: Browsers, portal: PageServer) -> Callable[..., Any]:
    """Give the teller of stories: (service's URL, story of a page, workers=)."""

    async def visited(service: str, story: Callable[[Page], Any], *, workers: bool = True) -> Any:
        def told(browser: Browser) -> Any:
            page = portal.open(browser, service, workers=workers)
            try:
                return story(page)
            finally:
                page.context.close()

        return await trio.to_thread.run_sync(browsers.tell, told)

    return visited
