"""What a `User-Agent` tells, in few words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.http.user_agents import surroundings_of

_ANDROID = "Mozilla/5.0 (Linux; Android 14; {}) AppleWebKit/537.36 (KHTML, like Gecko) {}"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) {}"
_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) {}"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 {}"


@pytest.mark.parametrize(
    ("user_agent", "device", "browser"),
    [
        (_IPHONE.format("Version/17.4 Mobile/15E148 Safari/604.1"), "mobile", "Safari"),
        (_IPHONE.format("CriOS/124.0 Mobile/15E148 Safari/604.1"), "mobile", "Chrome"),
        (_IPHONE.format("FxiOS/125.0 Mobile/15E148 Safari/605.1.15"), "mobile", "Firefox"),
        (_ANDROID.format("Pixel 8", "Chrome/124.0.0.0 Mobile Safari/537.36"), "mobile", "Chrome"),
        (_ANDROID.format("SM-X710", "Chrome/124.0.0.0 Safari/537.36"), "tablet", "Chrome"),
        (
            _ANDROID.format(
                "SM-S921B", "SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36"
            ),
            "mobile",
            "Samsung Internet",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) Version/12 Safari/604.1",
            "tablet",
            "Safari",
        ),
        (_MAC.format("Version/17.4 Safari/605.1.15"), "desktop", "Safari"),
        (_WINDOWS.format("Chrome/124.0.0.0 Safari/537.36 Edg/124.0.0.0"), "desktop", "Edge"),
        (_WINDOWS.format("Chrome/124.0.0.0 Safari/537.36 OPR/110.0.0.0"), "desktop", "Opera"),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
            "desktop",
            "Firefox",
        ),
        (
            "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) Version/7.0 TV Safari/537.36",
            "tv",
            "Safari",
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "bot",
            "other",
        ),
        ("python-httpx/0.27", "bot", "other"),
        ("something of its own", "other", "other"),
        ("", None, None),
    ],
)
def test_real_headers(user_agent: str, device: str | None, browser: str | None) -> None:
    """Each is what it is, though most say that they are others as well."""
    found = surroundings_of(user_agent.encode())
    assert (found.device_type, found.browser_family, found.country_code) == (device, browser, None)


@given(st.binary(min_size=1, max_size=2000))
def test_any_header_is_one_of_few_words(user_agent: bytes) -> None:
    """Whatever is sent, it makes no new group."""
    found = surroundings_of(user_agent)
    assert found.device_type in {"bot", "tv", "tablet", "mobile", "desktop", "other"}
    assert found.browser_family in {
        "Edge", "Opera", "Samsung Internet", "Firefox", "Chrome", "Safari", "other",
    }  # fmt: skip
