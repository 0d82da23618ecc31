"""A service, and an operator who asks it things over real connections."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asking import Api
from penstock.service import Service


@pytest.fixture
def operated(serve: Callable[..., Any], dial: Callable[[Service], Any]) -> Callable[..., Any]:
    """Give the opener of services to ask: (settings by keyword)."""

    @asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[Api]:
        async with serve(**changes) as service:
            yield Api(service, dial)

    return opened
