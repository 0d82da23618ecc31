"""The dashboard's lists: what each is looked for by, and how its rows are shown and exported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from penstock.engine.media.metrics import MediaStatus
from penstock.engine.platform.security import SecurityKind
from penstock.engine.platform.viewing import (
    Look,
    LookAtAnalytics,
    LookAtAudit,
    LookAtErrors,
    LookAtMedia,
)
from penstock.http.console import dashboard_rows as rows
from penstock.http.console.dashboard_cells import Cell
from penstock.http.console.dashboard_filters import (
    ACTOR,
    ORG,
    TIMES,
    Filter,
    one_of,
    read_text,
    read_word,
)

T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class Column:
    """A column of a table; the class `number` stands its figures right."""

    name: str
    css: str = ""


@dataclass(slots=True, frozen=True)
class Listing(Generic[T]):
    """One list. `look` is made with the filters' arguments; `key` is what its marks have."""

    path: str
    title: str
    lead: str
    filters: tuple[Filter, ...]
    look: Callable[..., Look[T]]
    key: type[int] | type[str]
    columns: tuple[Column, ...]
    cells: Callable[[T], tuple[Cell, ...]]
    fields: tuple[str, ...]
    values: Callable[[T], tuple[Any, ...]]

    @property
    def name(self) -> str:
        """Give the word that it is called by in paths."""
        return self.path.rpartition("/")[2]


def _options(known: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return (("", "Any"), *((word, word.replace("_", " ")) for word in known))


def _columns(*names: str, numbers: tuple[str, ...] = ()) -> tuple[Column, ...]:
    return tuple(Column(name, "number" if name in numbers else "") for name in names)


_ACTION = Filter("action", "Action", read_word, hint="In full, such as policy.edited.")
_KINDS = tuple(kind.value for kind in SecurityKind)
_STATUSES = tuple(status.value for status in MediaStatus)


def _security_look(*, kind: str | None = None, **arguments: Any) -> LookAtAudit:  # noqa: ANN401 - as the look has them
    return LookAtAudit(security=True, kind=SecurityKind(kind) if kind else None, **arguments)


LISTINGS: tuple[Listing[Any], ...] = (
    Listing(
        rows.AUDIT,
        "Audit",
        "Who did what, newest first. Each entry is a link of a chain that cannot be changed "
        "unnoticed.",
        (
            *TIMES,
            Filter("actor", "Actor", read_text, hint="As the list shows it, in full."),
            _ACTION,
            Filter("subject", "Subject", read_text),
            ORG,
            Filter("status", "Status", read_word, hint="Such as success or denied."),
        ),
        LookAtAudit,
        int,
        _columns("When (UTC)", "Action", "Actor", "Subject", "Status"),
        rows.audit_cells,
        rows.AUDIT_FIELDS,
        rows.audit_values,
    ),
    Listing(
        rows.SECURITY,
        "Security",
        "Sign-ins, refusals, and what admins have changed: the part of the audit that is worth a "
        "look.",
        (
            *TIMES,
            Filter("kind", "Kind", one_of(_KINDS), options=_options(_KINDS)),
            Filter("actor", "Actor", read_text, hint="As the list shows it, in full."),
            _ACTION,
        ),
        _security_look,
        int,
        _columns("When (UTC)", "Kind", "Action", "Actor", "Subject", "Reason"),
        rows.security_cells,
        rows.AUDIT_FIELDS,
        rows.audit_values,
    ),
    Listing(
        rows.ANALYTICS,
        "Analytics",
        "What people's programs tell of their use, by when it was received.",
        (
            *TIMES,
            Filter("event", "Event", read_word, "name", hint="Such as page.view."),
            Filter("category", "Category", read_word),
            ACTOR,
            ORG,
        ),
        LookAtAnalytics,
        str,
        _columns("Received (UTC)", "Event", "Category", "Actor", "Resource", "Country", "Device"),
        rows.analytics_cells,
        rows.ANALYTICS_FIELDS,
        rows.analytics_values,
    ),
    Listing(
        rows.ERRORS,
        "Errors",
        "Reports of errors in people's programs. Those with one fingerprint are one error.",
        (
            *TIMES,
            Filter("type", "Type", read_text, "error_type"),
            Filter("feature", "Feature", read_text),
            Filter("fingerprint", "Fingerprint", read_word),
            ACTOR,
            ORG,
        ),
        LookAtErrors,
        str,
        _columns("Received (UTC)", "Type", "Code", "Feature", "Message", "Fingerprint"),
        rows.error_cells,
        rows.ERROR_FIELDS,
        rows.error_values,
    ),
    Listing(
        rows.MEDIA,
        "Media sessions",
        "Playbacks by when their first event came. Figures follow the events within half a "
        "minute.",
        (
            *TIMES,
            Filter("status", "Status", one_of(_STATUSES), options=_options(_STATUSES)),
            Filter("country", "Country", read_word, "country_code", hint="Two letters."),
            Filter("device", "Device", read_text, "device_type"),
            ORG,
        ),
        LookAtMedia,
        str,
        _columns(
            "Begun (UTC)", "Session", "Status", "Events", "Watched", "Completed", "Stalls",
            "Errors", "Country", "Device", numbers=("Events", "Watched", "Completed", "Stalls"),
        ),
        rows.media_cells,
        rows.MEDIA_FIELDS,
        rows.media_values,
    ),
)  # fmt: skip
