"""What kind of device and browser a request came from, as far as its `User-Agent` tells.

Statistics group by these, so they are few words, whatever is sent: a header cannot make new groups.
A header that is not known already costs milliseconds, since browsers are told apart by hundreds of
patterns: so only the beginning of one is looked at, and what was found is remembered.
"""

from functools import lru_cache

import ua_parser

from penstock.engine.media.rollup import NOWHERE, Surroundings

_LONGEST = 256
_REMEMBERED = 8192
# The first that a browser's family begins with: "Chrome Mobile WebView" is a Chrome.
_FAMILIES = (
    ("Samsung Internet", "Samsung Internet"),
    ("Mobile Safari", "Safari"),
    ("Safari", "Safari"),
    ("Chromium", "Chrome"),
    ("Chrome", "Chrome"),
    ("HeadlessChrome", "Chrome"),
    ("Firefox", "Firefox"),
    ("Edge", "Edge"),
    ("Opera", "Opera"),
    ("Android", "Android"),
)
_TABLETS = (b"ipad", b"tablet", b"kindle", b"silk/")
_PHONES = (b"iphone", b"ipod", b"mobile", b"windows phone")
_TELEVISIONS = (b"smart-tv", b"smarttv", b"appletv", b"googletv", b"tizen", b"web0s", b"crkey")
_DESKTOPS = (b"windows nt", b"macintosh", b"x11", b"linux", b"cros")
_BOTS = (b"bot", b"spider", b"crawler", b"curl/", b"python", b"headless")
OTHER = "other"


@lru_cache(maxsize=_REMEMBERED)
def surroundings_of(user_agent: bytes) -> Surroundings:
    """Tell device and browser of a header; nothing of an empty one."""
    if not user_agent:
        return NOWHERE
    return Surroundings(
        device_type=_device(user_agent[:_LONGEST].lower()), browser_family=_browser(user_agent)
    )


def _browser(user_agent: bytes) -> str:
    found = ua_parser.parse_user_agent(user_agent[:_LONGEST].decode("latin1"))
    if found is None:
        return OTHER
    return next((word for start, word in _FAMILIES if found.family.startswith(start)), OTHER)


def _device(text: bytes) -> str:
    # An Android that is not mobile is a tablet, by Google's own rule.
    tablet = b"android" in text and b"mobile" not in text
    kinds = (
        ("bot", _BOTS),
        ("tv", _TELEVISIONS),
        ("tablet", _TABLETS),
        ("mobile", _PHONES),
        ("desktop", _DESKTOPS),
    )
    found = next((kind for kind, parts in kinds if any(part in text for part in parts)), OTHER)
    return "tablet" if tablet and found in {"desktop", OTHER} else found
