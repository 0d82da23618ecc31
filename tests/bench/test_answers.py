import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.answers import Answer, UnreadableAnswerError, read_answer

_WHOLE = b'HTTP/1.1 202 \r\nContent-Length: 7\r\nServer: x\r\n\r\n{"a":1}'


def test_an_answer_is_read_only_when_it_is_whole() -> None:
    """Every beginning of an answer means "not yet"; the whole is the answer."""
    assert all(read_answer(_WHOLE[:end]) is None for end in range(len(_WHOLE)))
    assert read_answer(_WHOLE) == Answer(202, closes=False)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 202 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 202 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 202 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1",
        b"HTTP/1.1 202 OK\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 202 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 429 No\r\ncontent-length: 999999\r\n\r\n",
        b"SSH-2.0",
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    """Other protocols, framings, surplus bytes and a 202 without its JSON are no answers."""
    with pytest.raises(UnreadableAnswerError):
        read_answer(data)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: _WHOLE[:30] + tail))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever arrives is an answer, the beginning of one, or refused, and nothing else."""
    try:
        answer = read_answer(data)
    except UnreadableAnswerError:
        return
    assert answer is None or 0 <= answer.status <= 999
