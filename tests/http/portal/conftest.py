"""One browser for all tests of the client, and what its pages talk to."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from playwright.sync_api import Browser, Page

from portal_rig import (
    CHROMIUM,
    NO_CHROMIUM,
    Browsers,
    PageServer,
    Recorder,
    page_server,
    recorder,
)


@pytest.fixture(scope="session")
def browsers() -> Iterator[Browsers]:
    """Give the browser's thread; without a browser, the tests that need one are skipped."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    opened = Browsers()
    yield opened
    opened.close()


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
