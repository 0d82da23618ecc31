"""Takes addresses, tokens and e-mails out of what people's programs write.

Whatever a client may write freely goes through here before it is stored: messages, stack traces,
URLs, properties and their names. What is taken out leaves a word in its place that says what it
was. Rather too much is taken than too little; ids (UUIDs) stay, since without them nothing can be
followed.

Every expression looks at each character a bounded number of times, so that no text takes long.
"""

import re
from ipaddress import IPv6Address
from typing import Any

EMAIL = "[email]"
TOKEN = "[token]"  # noqa: S105 - the word in a token's place
ADDRESS = "[address]"

DEEPEST = 12

_AT = r"(?:@|%40)"
_EMAIL = re.compile(rf"[\w.!#$'*+~-]{{1,64}}{_AT}[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,8}}")
# `Authorization: Bearer …`, `token=…`, `"api_key": "…"`: what a secret's name stands before.
_NAMED = re.compile(
    r"(?P<name>(?:bearer|basic|(?:[\w-]{0,24}(?:token|secret|passw(?:or)?d|api[_-]?key|signature"
    r"|authorization|credential|cookie|session[_-]?key|license[_-]?key)s?))"
    r"[\"']?(?:\s{0,4}[:=]\s{0,4}|\s{1,4}))"
    r"(?P<scheme>(?:bearer|basic)\s{1,4})?[\"']?(?P<value>[^\s\"'&,;<>]{4,})",
    re.IGNORECASE,
)
# JSON Web Tokens, this service's own tokens, and whatever is as long and as mixed as only keys are.
_JWT = re.compile(r"\beyJ[\w-]{4,}\.[\w-]{2,}(?:\.[\w-]*)?|\bv1\.[\w-]{16,}\.[\w-]{16,}")
_KEYLIKE = re.compile(r"(?<![\w+/-])[\w+/-]{24,}={0,2}(?![\w+/-])")
_KNOWN_KEYS = re.compile(r"\b(?:sk|pk|rk|ghp|gho|xox[abp]|AKIA|AIza)[\w-]{12,}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_IPV4 = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)"
)
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-f:][0-9a-f:.]{0,43}[0-9a-f:](?![\w:])", re.IGNORECASE)
# Words of code are long, too; only keys have figures among both cases, or are all hexadecimal.
_HEX = re.compile(r"[0-9a-fA-F]{24,}")


def scrubbed(text: str) -> str:
    """Give a text without addresses, tokens and e-mails."""
    text = _EMAIL.sub(EMAIL, text)
    text = _JWT.sub(TOKEN, text)
    text = _NAMED.sub(_named, text)
    text = _KNOWN_KEYS.sub(TOKEN, text)
    text = _KEYLIKE.sub(_keylike, text)
    if "::" in text or text.count(":") > 6:
        text = _IPV6.sub(_ipv6, text)  # first: its last part may be written as IPv4
    return _IPV4.sub(ADDRESS, text)


def scrubbed_json(value: Any, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    """Give a JSON value whose texts, names included, are scrubbed; too deep ones become None."""
    if isinstance(value, str):
        return scrubbed(value)
    if depth >= DEEPEST:
        return None
    if isinstance(value, dict):
        return {
            scrubbed(str(name)): _named_value(str(name), inner, depth)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [scrubbed_json(inner, depth + 1) for inner in value]
    return value


def _named_value(name: str, value: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    # {"password": "hunter2"}: the name says what the value is.
    if isinstance(value, str) and len(value) >= 4 and _NAMED.fullmatch(f"{name}=xxxx"):
        return TOKEN
    return scrubbed_json(value, depth + 1)


def _named(found: re.Match[str]) -> str:
    if _UUID.fullmatch(found["value"]) or found["value"].startswith("["):
        return found[0]
    spaced = found["name"].rstrip("\"'")[-1:].isspace()
    mixed = any(character.isdigit() for character in found["value"])
    # "invalid token received" tells no token; "Bearer abc123" does.
    return found[0] if spaced and not mixed else f"{found['name']}{found['scheme'] or ''}{TOKEN}"


def _keylike(found: re.Match[str]) -> str:
    text = found[0]
    if _UUID.fullmatch(text):
        return text
    if _HEX.fullmatch(text):
        return TOKEN
    kinds = (str.islower, str.isupper, str.isdigit)
    mixed = all(any(kind(character) for character in text) for kind in kinds)
    # A path is long as well; of its parts, each is looked at by itself.
    if "/" in text:
        return "/".join(_part(part) for part in text.split("/"))
    return TOKEN if mixed else text


def _part(part: str) -> str:
    return _KEYLIKE.sub(_keylike, part) if len(part) >= 24 else part


def _ipv6(found: re.Match[str]) -> str:
    try:
        address = IPv6Address(found[0])
    except ValueError:
        return found[0]
    return found[0] if int(address) == 0 else ADDRESS
