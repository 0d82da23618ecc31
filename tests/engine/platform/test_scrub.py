import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.platform.scrub import scrubbed, scrubbed_id, scrubbed_json

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
SESSION = "v1.eyJwcmluY2lwYWxfaWQiOiI3In0.bm90IHJlYWxseSBhIHNpZ25hdHVyZQ"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mail ann.lee+x@clinic.example now", "mail [email] now"),
        ("?user=ann%40clinic.example&x=1", "?user=[email]&x=1"),
        (f"token {JWT} refused", "token [token] refused"),
        (f"Authorization: Bearer {SESSION}", "Authorization: Bearer [token]"),
        ("/cb?access_token=abc123&x=1", "/cb?access_token=[token]&x=1"),
        ('{"password": "hunter2"}', '{"password": [token]"}'),
        ("key AKIAIOSFODNN7EXAMPLE used", "key [token] used"),
        ("sha 9f86d081884c7d659a2feaa0c55ad015", "sha [token]"),
        ("from 198.51.100.45:443 failed", "from [address]:443 failed"),
        ("from 198.51.100.45.", "from [address]."),
        ("from 2001:db8::7 failed", "from [address] failed"),
        ("http://[2001:db8::7]:80/x", "http://[[address]]:80/x"),
        ("2001:0db8:0000:0000:0000:0000:0000:0007", "[address]"),
        ("::ffff:198.51.100.45", "[address]"),
        ("?ip=2001%3Adb8%3A%3A7&x=1", "?ip=[address]&x=1"),
        ("client_198.51.100.45, host198.051.100.045x", "client_[address], host[address]x"),
        ("https://ann:hunter2@localhost/x", "https://[token]@localhost/x"),
        ('"ann lee"@clinic.example', "[email]"),
        ("ann&#64;clinic.example ann\\u0040clinic.example ann\uff20clinic.example", "[email] " * 3),
        ("password: hunter, X-Api-Key: abcd", "password: [token], X-Api-Key: [token]"),
        ("Set-Cookie: sid=abcd; Path=/", "Set-Cookie: [token]; Path=/"),
        ("access_key=550e8400-e29b-41d4-a716-446655440000", "access_key=[token]"),
        ("Bearer abcdEFGH sent, pwd=xyzzy", "Bearer [token] sent, pwd=[token]"),
    ],
)
def test_what_names_somebody_is_taken_out(text: str, left: str) -> None:
    """Addresses, tokens and e-mails leave a word that says what was there."""
    assert scrubbed(text) == left.strip()


@pytest.mark.parametrize(
    "text",
    [
        "Failed to load video segment",
        "Error: fetch failed at loadSegment (player.js:120:33)",
        "at 10:00:00 on 2026-02-17T10:00:00Z",
        "550e8400-e29b-41d4-a716-446655440000",
        "version 1.2.3.4.5 of 4.18.2",
        "invalid token received",
        "TypeError: Cannot read properties of undefined (reading 'currentTime')",
        "exerciseVideoPlayerControllerComponentFactory failed",
        "/library/treatment-plan-library/exercises/neck",
        "std::vector::at",
        "basic auth needed, bearer of news, a token ring",
        "100%3A200 of 3%3A4",
        "patient-123",
    ],
)
def test_what_names_nobody_stays(text: str) -> None:
    """Messages, stacks, ids, versions and times can still be read."""
    assert scrubbed(text) == text


def test_json_is_scrubbed_through_and_through() -> None:
    """Names, lists and nested objects as well; a value is judged by its name, too."""
    given_one: dict[str, Any] = {
        "who": ["ann@clinic.example", {"ann@clinic.example": 1}],
        "password": "hunter2",
        "sessionToken": "short",
        "count": 3,
        "flag": True,
        "nothing": None,
        "api_keys": ["short", {"of": 123456, "on": True, "n": 3, "none": None}],
        "max_tokens": 12,
    }
    assert scrubbed_json(given_one) == {
        "who": ["[email]", {"[email]": 1}],
        "password": "[token]",
        "sessionToken": "[token]",
        "count": 3,
        "flag": True,
        "nothing": None,
        "api_keys": ["[token]", {"of": "[token]", "on": True, "n": 3, "none": None}],
        "max_tokens": 12,
    }


def test_ids_that_are_digests_stay() -> None:
    """What an exercise is known by can be followed; anything else in an id's place is judged."""
    digest = "9f86d081884c7d659a2feaa0c55ad015"
    assert scrubbed_id(digest) == digest
    assert scrubbed_id(f"{digest} ann@clinic.example") == "[token] [email]"
    assert scrubbed_id(JWT) == "[token]"


def test_what_is_too_deep_is_dropped() -> None:
    """Nesting cannot hide anything, nor exhaust the stack."""
    value: Any = "ann@clinic.example"
    for _ in range(500):
        value = [value]
    assert "ann" not in str(scrubbed_json(value))


@given(st.text(max_size=300), st.sampled_from(["ann@clinic.example", JWT, "198.51.100.45"]))
def test_nothing_around_it_keeps_it(around: str, planted: str) -> None:
    """Whatever text stands before and behind, apart by a space, what was planted is gone."""
    assert planted not in scrubbed(f"{around} {planted} {around}")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 32_768,
        "a@" * 16_384,
        "1." * 16_384,
        ":" * 32_768,
        "token" * 6_000,
        "a." * 16_000 + "@",
        "eyJ" * 10_000,
        "-" * 32_768,
        "password =" * 3_000,
        "://" * 10_000,
        '"a' * 16_000,
        "%3a" * 10_000,
        "a%3A" * 8_000,
        "auth: " * 5_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """The largest text that is taken, however it is made, costs a fraction of a second."""
    began = time.process_time()
    scrubbed(text)
    assert time.process_time() - began < 2
