"""CMCD in its three forms: read onto the fields of media events, or refused by its key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.media.events import MediaData, MediaKind
from penstock.http.cmcd import (
    KEYS,
    MAX_CMCD_CHARACTERS,
    NO_CMCD,
    Cmcd,
    CmcdFault,
    Form,
    read_cmcd,
    read_cmcd_headers,
    with_cmcd,
)

WHOLE = Cmcd(
    bitrate=3_200_000.0,
    top_bitrate=6_000_000.0,
    buffer_length_ms=21_300,
    buffer_starved=True,
    effective_bandwidth=25.4,
    playback_rate=1.08,
)


def test_both_forms_say_the_same() -> None:
    """Kilobits become bits and megabits, as the fields of events are."""
    assert read_cmcd("bl=21300,br=3200,bs,mtp=25400,ot=v,pr=1.08,tb=6000") == WHOLE
    plain = {"bl": 21300, "br": 3200, "bs": True, "mtp": 25400, "ot": "v", "pr": 1.08, "tb": 6000}
    assert read_cmcd(plain) == WHOLE


def test_the_headers_are_one_list() -> None:
    """The standard's four headers, in any order, with others around them."""
    headers = [
        (b"host", b"cdn.example"),
        (b"cmcd-object", b"br=3200,ot=v,tb=6000"),
        (b"cmcd-request", b"bl=21300,mtp=25400"),
        (b"cmcd-session", b'sid="6e2fb550-c457-11e9-bb97-0800200c9a66"'),
        (b"cmcd-status", b"bs, pr=1.08"),
        (b"cmcd", b" "),
    ]
    assert read_cmcd_headers(headers) == WHOLE
    assert read_cmcd_headers(reversed(headers)) == WHOLE
    assert read_cmcd_headers([(b"cmcd", b"bl=21300,br=3200,bs,mtp=25400,pr=1.08,tb=6000")]) == WHOLE
    assert read_cmcd_headers([(b"accept", b"br=1")]) == NO_CMCD


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        'cid="a,b\\"c\\\\",sid="x"',
        'nor="..%2F300kbps%2Ftrack.m4v",nrr="12323-48763"',
        "d=4004,dl=25400,rtp=15000,sf=h,st=v,su",
        'com.example-hello="world",com.example-flag',
        "zz=1",
        "br=(5000;v 128;a),v=2",
        "v=2,br=wrong",
    ],
)
def test_what_says_nothing_of_the_viewing_is_left_alone(text: str) -> None:
    """Other keys of the standard, keys of senders, and all of another version."""
    assert read_cmcd(text) == NO_CMCD


@pytest.mark.parametrize("kind", ["a", "m", "i", "c", "tt", "k", "o"])
def test_only_the_pictures_bitrate_counts(kind: str) -> None:
    """The bitrate of a manifest or of the sound alone is not what the viewer sees."""
    found = read_cmcd(f"br=128,tb=256,bl=900,ot={kind}")
    assert found == Cmcd(buffer_length_ms=900)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("br=x", "br"),
        ("br=-1", "br"),
        ("br=1.5", "br"),
        ("br=10000001", "br"),
        ("br", "br"),
        ("br=", "br"),
        ("br=٣", "br"),
        ("bs=true", "bs"),
        ("pr=101", "pr"),
        ("pr=1e1", "pr"),
        ("sid=bare", "sid"),
        ('sid="open', "sid"),
        ('cid="' + "x" * 65 + '"', "cid"),
        ("ot=z", "ot"),
        ('sf="h"', "sf"),
        ("v=new", "v"),
        ("br=1,br=2", "br"),
        ("br=1,", ""),
        (",br=1", ""),
        ("=1", ""),
        ("br=1;bl=2", "br"),
        ("{}", ""),
        ("x" * (MAX_CMCD_CHARACTERS + 1), ""),
        ({"br": "3200"}, "br"),
        ({"br": True}, "br"),
        ({"br": 3.5}, "br"),
        ({"br": float("inf")}, "br"),
        ({"pr": float("nan")}, "pr"),
        ({"bs": 1}, "bs"),
        ({"sid": 5}, "sid"),
        ({"ot": ["v"]}, "ot"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(value: str | dict[str, Any], key: str) -> None:
    """A refusal says which key, what it must be and what came, and does not repeat all of it."""
    fault = read_cmcd(value)
    assert isinstance(fault, CmcdFault)
    assert fault.key == key
    assert fault.detail.startswith(("must", "may"))
    assert len(fault.seen) <= 80


def test_null_is_absent() -> None:
    """A client may write all keys, whether or not it has a value."""
    assert read_cmcd({"br": None, "bl": 5, "bs": False}) == Cmcd(
        buffer_length_ms=5, buffer_starved=False
    )


@pytest.mark.parametrize("headers", [[(b"cmcd-object", b"br=1"), (b"cmcd", b"br=2")]])
def test_a_key_in_two_headers_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """Nobody could say which one holds."""
    fault = read_cmcd_headers(headers)
    assert isinstance(fault, CmcdFault)
    assert fault.key == "br"


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (MediaKind.SESSION_START, "initial_bitrate"),
        (MediaKind.QUALITY_CHANGE, "to_bitrate"),
        (MediaKind.HEARTBEAT, "bitrate"),
        (MediaKind.BUFFERING_START, "bitrate"),
    ],
)
def test_the_bitrate_goes_where_the_event_has_it(kind: MediaKind, field: str) -> None:
    """What is shown from now on has another name in two kinds of events."""
    found = with_cmcd(MediaData(), kind, Cmcd(bitrate=5.0))
    assert found.plain() == {field: 5.0}


def test_what_the_event_says_itself_stands() -> None:
    """CMCD fills in what is missing and changes nothing."""
    found = with_cmcd(MediaData(buffer_length_ms=1.0), MediaKind.PLAY, WHOLE)
    assert found.buffer_length_ms == 1.0
    assert found.bitrate == 3_200_000.0


@given(st.text(max_size=60) | st.text('abrlsv=,"\\( );.0123456789', max_size=60))
def test_any_text_is_taken_or_refused(text: str) -> None:
    """Whatever is sent, it is CMCD or a fault, nothing else."""
    assert isinstance(read_cmcd(text), Cmcd | CmcdFault)


@given(
    st.dictionaries(
        st.sampled_from(sorted(KEYS)) | st.text(max_size=3),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=90)
        | st.lists(st.integers()),
    )
)
def test_any_object_is_taken_or_refused(plain: dict[str, Any]) -> None:
    """Whatever JSON an object holds, it is CMCD or a fault that names one of its keys."""
    found = read_cmcd(plain)
    assert isinstance(found, Cmcd) or found.key in plain


@st.composite
def _listed(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw the same keys in both forms."""
    plain: dict[str, Any] = {}
    parts = []
    for name in draw(st.lists(st.sampled_from(sorted(KEYS.keys() - {"v"})), unique=True)):
        key = KEYS[name]
        match key.form:
            case Form.INTEGER:
                plain[name] = draw(st.integers(0, int(key.most)))
                parts.append(f"{name}={plain[name]}")
            case Form.DECIMAL:
                plain[name] = draw(st.integers(0, 1000)) / 10
                parts.append(f"{name}={plain[name]}")
            case Form.FLAG:
                plain[name] = True
                parts.append(name)
            case Form.TEXT:
                plain[name] = draw(st.text('ab,=" \\()', max_size=20))
                written = plain[name].replace("\\", "\\\\").replace('"', '\\"')
                parts.append(f'{name}="{written}"')
            case Form.WORD:
                plain[name] = draw(st.sampled_from(key.words))
                parts.append(f"{name}={plain[name]}")
    return draw(st.sampled_from([",", ", "])).join(parts), plain


@given(_listed())
def test_a_list_is_the_object_that_it_writes_out(both: tuple[str, dict[str, Any]]) -> None:
    """Quoting, escapes and separators inside texts lose nothing and invent nothing."""
    text, plain = both
    found = read_cmcd(text)
    assert isinstance(found, Cmcd)
    assert found == read_cmcd(plain)
