"""Which audit entries are about security, and of which kind. Decided once, when one is stored."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

SIGN_IN, SIGN_OUT, SIGN_IN_FAILED = "console.sign_in", "console.sign_out", "console.sign_in_failed"
# What a caller was told who may not come in.
_DENIED, _DENIED_CODES = "denied", (401, 403)
# An admin's look at something changes nothing.
_LOOKED = "allowed"
_POLICY = "policy."
_ADMIN = (
    "admin.",
    "audit.redacted",
    "consent.",
    "console.",
    "device_token.",
    "erasure.",
    "outbox.",
    "quota.",
    "replay.linked",
    "retention.",
)


class SecurityKind(StrEnum):
    """What the security page tells apart."""

    SIGN_IN = "sign_in"
    SIGN_IN_FAILED = "sign_in_failed"
    DENIED = "denied"
    POLICY = "policy"
    ADMIN = "admin"


def kind_of(action: str, detail: Mapping[str, Any]) -> SecurityKind | None:
    """Say of which kind an entry is; None where it is no matter of security."""
    if action == SIGN_IN_FAILED:
        return SecurityKind.SIGN_IN_FAILED
    if detail.get("status") == _DENIED or detail.get("status_code") in _DENIED_CODES:
        return SecurityKind.DENIED
    if action in {SIGN_IN, SIGN_OUT}:
        return SecurityKind.SIGN_IN
    if action.startswith(_POLICY):
        return SecurityKind.POLICY
    if action.startswith(_ADMIN) and detail.get("status") != _LOOKED:
        return SecurityKind.ADMIN
    return None
