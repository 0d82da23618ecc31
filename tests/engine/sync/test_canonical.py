"""Equal JSON has one spelling, and one digest."""

import orjson
import pytest

from penstock.engine.sync.canonical import NotCanonicalError, canonical, digest, parse


def test_order_space_and_points_make_no_difference() -> None:
    """The same object, however it was written, is the same text."""
    one = parse(b'{"b": [1.0, {"y": 2, "x": -0.0}], "a": "\\u00e4"}')
    two = parse('{"a":"ä","b":[1,{"x":0,"y":2.0}]}'.encode())
    assert canonical(one) == canonical(two) == '{"a":"ä","b":[1,{"x":0,"y":2}]}'.encode()
    assert digest(canonical(one)) == digest(canonical(two))


@pytest.mark.parametrize("other", [b'{"a":2}', b'{"a":null}', b"{}", b'{"a":"1"}', b'{"a":1.5}'])
def test_different_content_is_different(other: bytes) -> None:
    """Another value, type or key is another record."""
    assert digest(canonical(parse(other))) != digest(canonical(parse(b'{"a":1}')))


def test_a_number_beyond_exactness_stays_as_it_is() -> None:
    """No digit is invented for a float that stands for no one whole number."""
    assert orjson.loads(canonical(parse(b"[1e300, 5.0]"))) == [1e300, 5]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b'"\\ud800"', b"NaN", b"1e999", b"[" * 5000, b"1 2"]
)
def test_what_is_no_json_is_told(text: bytes) -> None:
    """A typed error, for whatever bytes."""
    with pytest.raises(NotCanonicalError):
        parse(text)


@pytest.mark.parametrize("depth", [300, 900])
@pytest.mark.parametrize("leaf", [b"1", b"1.0"])
def test_what_is_nested_too_deeply_is_told(depth: int, leaf: bytes) -> None:
    """What can be read and not be written back is an error, too, and no crash."""
    value = parse(b"[" * depth + leaf + b"]" * depth)
    with pytest.raises(NotCanonicalError):
        canonical(value)
