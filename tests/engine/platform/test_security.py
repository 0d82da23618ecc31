"""What the security page lists is decided by what an entry says of itself."""

from typing import Any

import pytest

from penstock.engine.platform.security import SecurityKind, kind_of


@pytest.mark.parametrize(
    ("action", "detail", "kind"),
    [
        ("console.sign_in_failed", {"status": "denied"}, SecurityKind.SIGN_IN_FAILED),
        ("console.sign_in", {}, SecurityKind.SIGN_IN),
        ("console.exported", {}, SecurityKind.ADMIN),
        ("admin.geo.status", {"status": "allowed"}, None),
        ("admin.geo.status", {"status": "denied"}, SecurityKind.DENIED),
        ("audit.ingest", {"status": "denied", "status_code": 403}, SecurityKind.DENIED),
        ("patient.view", {"status": "failure", "status_code": 401}, SecurityKind.DENIED),
        ("patient.view", {"status": "failure", "status_code": 404}, None),
        ("patient.view", {"metadata": {"status": "denied"}}, None),
        ("patient.view", {"status": ["denied"], "status_code": [403]}, None),
        ("policy.reverted", {"status": "allowed"}, SecurityKind.POLICY),
        ("policy", {}, None),
    ],
)
def test_an_entry_has_one_kind_or_none(
    action: str, detail: dict[str, Any], kind: SecurityKind | None
) -> None:
    """By its action and its own status; a refusal is one whatever was asked for."""
    assert kind_of(action, detail) is kind
