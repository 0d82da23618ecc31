"""Takes addresses, tokens and e-mails out of what people's programs write.

Whatever a client may write freely goes through here before it is stored: messages, stack traces,
URLs, properties and their names. What is taken out leaves a word in its place that says what it
was. Rather too much is taken than too little; ids stay (UUIDs, and digests where an id belongs),
since without them nothing can be followed.

Every expression looks at each character a bounded number of times, so that no text takes long. Most
texts have nothing that an expression begins with, and then it is not even tried.
"""

import re
from ipaddress import IPv6Address
from typing import Any

EMAIL = "[email]"
TOKEN = "[token]"  # noqa: S105 - the word in a token's place
ADDRESS = "[address]"

DEEPEST = 12
_SHORTEST_KEY = 14
_LEAST_SECRET = 1000

# Also as URLs, HTML and JSON write it, and in full width.
_ATS = ("@", "%40", "&#64;", "\\u0040", "\uff20")
_AT = f"(?:{'|'.join(map(re.escape, _ATS))})"
_EMAIL = re.compile(
    rf"(?:[\w.!#$'*+~-]{{1,64}}|\"[^\"\s@][^\"@]{{0,63}}\"){_AT}[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,8}}"
)
# https://user:password@host
_USER_INFO = re.compile(r"(?<=://)[^\s/?#@]{1,256}@")
# `Authorization: Bearer …`, `token=…`, `"api_key": "…"`: what a secret's name stands before.
_NAMED = re.compile(
    r"(?P<name>(?:bearer|basic|(?:[\w-]{0,24}(?:token|secret|passw(?:or)?d|passphrase|pwd|jwt"
    r"|api[_-]?key|signature|auth|authorization|credential|cookie"
    r"|(?:session|license|access|private)[_-]?key)s?))"
    r"[\"']?(?P<mark>\s{0,4}[:=]\s{0,4}|\s{1,4}))"
    r"(?P<scheme>(?:bearer|basic)\s{1,4})?[\"']?(?P<value>[^\s\"'&,;<>]{4,})",
    re.IGNORECASE,
)
# One of these is in each of the names.
_SECRET_WORDS = (
    *("bearer", "basic", "token", "secret", "passw", "passphrase", "pwd", "jwt", "key"),
    *("signature", "auth", "credential", "cookie"),
)
# JSON Web Tokens, this service's own tokens, and whatever is as long and as mixed as only keys are.
_JWT = re.compile(r"\beyJ[\w-]{4,}\.[\w-]{2,}(?:\.[\w-]*)?|\bv1\.[\w-]{16,}\.[\w-]{16,}")
_KEYLIKE = re.compile(r"(?<![\w+/-])[\w+/-]{24,}={0,2}(?![\w+/-])")
_KNOWN_KEYS = re.compile(r"\b(?:sk|pk|rk|ghp|gho|xox[abp]|AKIA|AIza)[\w-]{12,}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_IPV4 = re.compile(
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|[01]?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|[01]?\d?\d)(?!\d|\.\d)"
)
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-f:][0-9a-f:.]{0,43}[0-9a-f:](?![\w:])", re.IGNORECASE)
_COLON = re.compile("%3a", re.IGNORECASE)
# The same as a part of a URL.
_IPV6_IN_URL = re.compile(
    r"(?<![\w%])(?:[0-9a-f]{1,4}|%3a)(?:[0-9a-f]{1,4}|%3a|\.){2,20}(?!\w)", re.IGNORECASE
)
# Words of code are long, too; only keys have figures among both cases, or are all hexadecimal.
_HEX = re.compile(r"[0-9a-fA-F]{24,}")
_DIGEST = re.compile(r"[0-9a-f]{24,128}|[0-9A-F]{24,128}")


def scrubbed(text: str) -> str:
    """Give a text without addresses, tokens and e-mails."""
    if "://" in text:
        text = _USER_INFO.sub(f"{TOKEN}@", text)
    if any(at in text for at in _ATS):
        text = _EMAIL.sub(EMAIL, text)
    if "eyJ" in text or "v1." in text:
        text = _JWT.sub(TOKEN, text)
    if _names_secret(text):
        text = _NAMED.sub(_named, text)
    if len(text) >= _SHORTEST_KEY:
        text = _KNOWN_KEYS.sub(TOKEN, text)
        text = _KEYLIKE.sub(_keylike, text)
    if "::" in text or text.count(":") > 6:
        text = _IPV6.sub(_ipv6, text)  # first: its last part may be written as IPv4
    if "%3" in text:
        text = _IPV6_IN_URL.sub(_ipv6, text)
    return _IPV4.sub(ADDRESS, text) if text.count(".") >= 3 else text


def scrubbed_id(text: str) -> str:
    """Give an id without addresses, tokens and e-mails. One that is all a digest stays."""
    return text if _DIGEST.fullmatch(text) else scrubbed(text)


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
    if _names_secret(name) and _NAMED.fullmatch(f"{name}=xxxx"):
        return _blanked(value, depth + 1)
    return scrubbed_json(value, depth + 1)


def _blanked(value: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    """Give what may stay of a secret's value: its form, and small counts."""
    if depth >= DEEPEST:
        return None
    if isinstance(value, dict):
        return {scrubbed(str(name)): _blanked(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_blanked(inner, depth + 1) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    # {"tokens": 12} counts; {"secret": 123456} is one.
    return value if isinstance(value, int) and abs(value) < _LEAST_SECRET else TOKEN


def _names_secret(text: str) -> bool:
    text = text.lower()
    return any(word in text for word in _SECRET_WORDS)


def _named(found: re.Match[str]) -> str:
    value = found["value"]
    if value.startswith(("[email]", TOKEN, ADDRESS)):
        return found[0]
    spaced = found["mark"].isspace()
    mixed = any(character.isdigit() for character in value)
    if found["name"][:2].lower() in {"be", "ba"}:
        mixed = mixed or any(character.isupper() for character in value[1:])
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
        address = IPv6Address(_COLON.sub(":", found[0]))
    except ValueError:
        return found[0]
    return found[0] if int(address) == 0 else ADDRESS
