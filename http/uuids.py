"""What passes for an id: one spelling of UUIDs only, but for case.

Python's own reader takes braces, prefixes and foreign digits as well.
"""

import re

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    """Say whether a text is a UUID."""
    return _UUID.fullmatch(text) is not None
