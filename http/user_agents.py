"""What kind of device and browser a request came from, as far as its `User-Agent` tells.

Statistics group by these, so they are few words, whatever is sent: a header cannot make new groups.
A fixed number of substrings is looked for, in time that a hostile header cannot stretch; thousands
of patterns that know every device by name would cost milliseconds a new header.
"""

from functools import lru_cache

from penstock.engine.media.rollup import NOWHERE, Surroundings

_LONGEST = 512
# The first that is there. Most browsers say that they are other ones as well, so the order matters.
_BROWSERS = (
    (b"edg", "Edge"),
    (b"opr/", "Opera"),
    (b"opera", "Opera"),
    (b"samsungbrowser", "Samsung Internet"),
    (b"firefox", "Firefox"),
    (b"fxios", "Firefox"),
    (b"crios", "Chrome"),
    (b"chrome", "Chrome"),
    (b"chromium", "Chrome"),
    (b"safari", "Safari"),
)
_TABLETS = (b"ipad", b"tablet", b"kindle", b"silk/")
_PHONES = (b"iphone", b"ipod", b"mobile", b"windows phone")
_TELEVISIONS = (b"smart-tv", b"smarttv", b"appletv", b"googletv", b"tizen", b"web0s", b"crkey")
_DESKTOPS = (b"windows nt", b"macintosh", b"x11", b"linux", b"cros")
_BOTS = (b"bot", b"spider", b"crawler", b"curl/", b"python", b"headless")
OTHER = "other"


@lru_cache(maxsize=4096)
def surroundings_of(user_agent: bytes) -> Surroundings:
    """Tell device and browser of a header; nothing of an empty one."""
    if not user_agent:
        return NOWHERE
    text = user_agent[:_LONGEST].lower()
    browser = next((name for part, name in _BROWSERS if part in text), OTHER)
    return Surroundings(device_type=_device(text), browser_family=browser)


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
