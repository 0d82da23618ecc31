"""A service with its embedded Core, and people who ask it things over real connections."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asking import Api, event, service_account, user
from penstock.service import Service


@pytest.fixture
def core(serve: Callable[..., Any], dial: Callable[[Service], Any]) -> Callable[..., Any]:
    """Give the opener of services to ask: (settings by keyword)."""

    @asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[Api]:
        async with serve(**changes) as service:
            yield Api(service, dial)

    return opened


@pytest.fixture(scope="session")
def make_user() -> Callable[..., str]:
    """Give the maker of people's tokens: (role, principal, organisation)."""
    return user


@pytest.fixture(scope="session")
def make_service() -> Callable[..., str]:
    """Give the maker of services' tokens: (secret)."""
    return service_account


@pytest.fixture(scope="session")
def make_event() -> Callable[..., dict[str, Any]]:
    """Give the maker of aggregation events: (session number, revision, fields by keyword)."""
    return event
