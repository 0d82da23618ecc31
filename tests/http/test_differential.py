"""The lane and Quart are one service: the same requests down both paths get the same answers.

One service has the lane, the other has it switched off; every case is sent to both, on a connection
of its own and with a session of its own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import trio

from penstock.engine import wire
from penstock.http.problems import Problem

ALLOWED = "https://portal.test"
# What may differ: when the answer was made, and an id that the service made up.
MADE_UP = {"date"}
# How long ago a token expired depends on the second in which each service is asked.
TIMED = {"token_expired", "token_not_yet_valid"}
# The rest needs a certain state of the service, see test_refusals, or time, see test_connection.
REACHED = {
    "TOKEN_MISSING", "TOKEN_MALFORMED", "TOKEN_SIGNATURE", "TOKEN_EXPIRED", "TOKEN_NOT_YET_VALID",
    "UNSUPPORTED_TYPE", "SIDECAR_TOO_LARGE", "SIDECAR_MALFORMED", "SIDECAR_TWICE", "NOT_FOUND",
    "REQUEST_MALFORMED", "AMBIGUOUS_FRAMING", "METHOD_NOT_ALLOWED", "HEADERS_TOO_LARGE",
    "CODING_UNSUPPORTED",
}  # fmt: skip


@dataclass(slots=True, frozen=True)
class Case:
    """Pieces to send on one connection, and how many answers they get."""

    name: str
    pieces: tuple[bytes, ...]
    answers: int = 1
    shut: bool = False


class Corpus:
    """Builds the cases; each has its own session, so that positions are alike on both sides."""

    def __init__(
        self,
        request: Callable[..., bytes],
        batch: Callable[..., bytes],
        token: Callable[..., str],
    ) -> None:
        self.request = request
        self.batch = batch
        self.token = token
        self.cases: list[Case] = []
        self._session = 0

    def add(self, name: str, *args: Any, answers: int = 1, **kwargs: Any) -> None:
        self._session += 1
        raw = self.request(*args, session=self._session, **kwargs)
        self.cases.append(Case(name, (raw,), answers))

    def raw(self, name: str, *pieces: bytes, answers: int = 1, shut: bool = False) -> None:
        self.cases.append(Case(name, pieces, answers, shut))

    def fresh(self, *args: Any, **kwargs: Any) -> bytes:
        self._session += 1
        return self.request(*args, session=self._session, **kwargs)

    def build(self) -> list[Case]:
        for part in (
            self._sizes,
            self._headers,
            self._sidecars,
            self._tokens,
            self._wire,
            self._framing,
            self._splits,
            self._pipelines,
        ):
            part()
        return self.cases

    def _sizes(self) -> None:
        for frames in (*range(1, 41), 60, 100, 119, 120, 500, 1000, 1970):
            self.add(f"{frames} frames", self.batch(frames))
        self.add("a body at the limit", self.batch(120, noise=True).ljust(wire.MAX_MEMBER_BYTES))
        self.add("a body over it", bytes(wire.MAX_MEMBER_BYTES + 1))
        for size in (65537, 10**6, 10**12, 10**17):
            self.add(f"announces {size}", b"", changes={"Content-Length": str(size)})

    def _headers(self) -> None:  # noqa: C901 - a list, with loops for brevity
        names = ("Host", "Authorization", "Content-Type", "Content-Length")
        raw = self.fresh()
        head, _, body = raw.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        for order in permutations(fields):
            self.raw("order", b"\r\n".join((line, *order)) + b"\r\n\r\n" + body)
        for change in (bytes.upper, bytes.lower, bytes.swapcase):
            cased = [change(n) + b":" + v for n, _, v in (f.partition(b":") for f in fields)]
            self.raw("case of names", b"\r\n".join((line, *cased)) + b"\r\n\r\n" + body)
        for name in names:
            for before, after in (("", ""), ("  ", ""), ("\t", ""), (" ", " "), (" ", " \t ")):
                given = f"{name}: ".encode()
                assert given in raw
                value = raw.partition(given)[2].partition(b"\r\n")[0]
                space = f"{name}:{before}".encode() + value + after.encode()
                self.raw(f"space around {name}", raw.replace(given + value, space))
            body = b"" if name == "Content-Length" else None
            self.add(f"no {name}", body, changes={name: None})
            self.add(f"empty {name}", body, changes={name: ""})
            self.add(f"doubled {name}", more=[(name, "5")])
        for value in (
            "application/octet-stream; charset=x",
            "APPLICATION/Octet-Stream",
            "application/octet-stream ;a=b",
            "application/json",
            "text/plain",
            "application/octet-stream2",
            ";",
            "\xe9" * 90,
        ):
            self.add(f"type {value}", changes={"Content-Type": value})
        for value in ("r-1", "a" * 128, "a" * 129, "", "two words", "r-1  ", "\xe9", "a,b", "<x>"):
            self.add(f"request id {value[:9]}", more=[("X-Request-Id", value)])
        for value in (ALLOWED, ALLOWED.upper(), "https://else.test", "null", "", ALLOWED + " "):
            self.add(f"origin {value}", more=[("Origin", value)])
            self.add(f"refused from {value}", b"", more=[("Origin", value)])
        for value in ("keep-alive", "close", "Keep-Alive", "CLOSE", "x", "keep-alive,x"):
            self.add(f"connection {value}", more=[("Connection", value)])
        for count in (1, 20, 59, 60, 61, 70):
            self.add(f"{count} more fields", more=[(f"X-{i}", "y") for i in range(count)])
        for size in (1000, 15_000, 16_384, 30_000):
            self.add(f"a field of {size}", more=[("X", "y" * size)])
        for name in ("Cookie", "User-Agent", "Accept", "X-Forwarded-For", "Forwarded", "Via"):
            self.add(f"with {name}", more=[(name, "a; b=c, d"), (name, "twice")])

    def _sidecars(self) -> None:
        texts = [
            "{}",
            '{"pose_confidence":0.9,"camera_resolution":"640x480","processing_time_ms":12}',
            '{"coords":"world","exercise":"squat","more":[1,{"a":null}]}',
            '{"exercise":"Kniebeuge \\u00fc"}',
            '{"pose_confidence":2}',
            '{"pose_confidence":true}',
            '{"pose_confidence":"high"}',
            '{"camera_resolution":"640"}',
            '{"camera_resolution":[640,480]}',
            '{"processing_time_ms":-1}',
            '{"coords":"screen"}',
            '{"coords":["world"]}',
            '{"exercise":""}',
            '{"a":1e400}',
            '{"a":' + "[" * 300 + "]" * 300 + "}",
            '{"a":' + "[" * 1000 + "]" * 1000 + "}",
            "[]",
            "null",
            "1",
            "{",
            "not JSON",
            '{"a":"' + "x" * 2100 + '"}',
            '{"a":"' + "x" * 2039 + '"}',
            "\xe9",
        ]
        for text in texts:
            shown = text[:20]
            self.add(f"header sidecar {shown}", more=[("X-Batch-Meta", text)])
            target = f"/v1/pose/frames?meta={quote(text)}"
            self.add(f"query sidecar {shown}", target=target)
            self.add(f"sidecar twice {shown}", target=target, more=[("X-Batch-Meta", text)])
        for query in (
            "", "a=b", "meta", "meta=", "meta={}", "meta={}&meta={}", "a=1&meta={}&b=2",
            "meta=%7B%7D", "meta=%FF", "meta=%", "m%65ta={}", "meta=+{}",
            "&&", "META={", "meta={};x", "?", "a#b",
            'meta={"a":"|^`<>"}', "meta=\xe9", "x" * 3000,
        ):  # fmt: skip
            self.add(f"query {query[:20]}", target=f"/v1/pose/frames?{query}")

    def _tokens(self) -> None:
        good = self.token(9000)
        version, claims, signature = good.split(".")
        for name, value in {
            "basic": "Basic dXNlcjpwYXNz",
            "no scheme": good,
            "scheme alone": "Bearer",
            "scheme and space": "Bearer ",
            "lower-case scheme": f"bearer {good}",
            "two spaces": f"Bearer  {good}",
            "a tab": f"Bearer\t{good}",
            "not a token": "Bearer x",
            "two parts": f"Bearer {version}.{claims}",
            "four parts": f"Bearer {good}.x",
            "other version": f"Bearer v2.{claims}.{signature}",
            "no version": f"Bearer {claims}.{signature}",
            "padded": f"Bearer {good}=",
            "other alphabet": f"Bearer {version}.{claims}.+/{signature[2:]}",
            "long": f"Bearer {'x' * 3000}",
            "not ASCII": f"Bearer {version}.{claims}.\xe9",
            "other secret": f"Bearer {self.token(9000, secret='another secret of the tests')}",
            "expired": f"Bearer {self.token(9000, ttl=-60)}",
            "expired before it began": f"Bearer {self.token(9000, ttl=-60, age=-60)}",
            "not yet": f"Bearer {self.token(9000, age=-600)}",
            "cut signature": f"Bearer {good[:-2]}",
            "swapped": f"Bearer {version}.{signature}.{claims}",
            "cut claims": f"Bearer {version}.{claims[:-4]}.{signature}",
        }.items():
            self.add(f"token: {name}", changes={"Authorization": value})
            self.add(f"token: {name}, and no batch", b"", changes={"Authorization": value})

    def _wire(self) -> None:
        good = self.batch(3)
        payload = wire.decode(good).payload
        times = (3).to_bytes(4, "little") + (2).to_bytes(4, "little") + (1).to_bytes(4, "little")
        for name, body in {
            "empty": b"",
            "not gzip": b"x" * 40,
            "one byte": b"\x1f",
            "magic only": b"\x1f\x8b",
            "JSON": b'{"frames":[]}',
            "corrupt": good[:20] + b"\xff\xff\xff\xff" + good[24:],
            "wrong checksum": good[:-8] + b"\0\0\0\0" + good[-4:],
            "wrong size": good[:-4] + b"\0\0\0\0",
            "truncated": good[:-9],
            "two members": good + good,
            "trailing bytes": good + b"xyz",
            "trailing zero": good + b"\0",
            "inflates to a lot": wire.compress(bytes(2 << 20)),
            "no header": wire.compress(b""),
            "half a header": wire.compress(payload[:5]),
            "version 0": wire.compress(b"\0" + payload[1:]),
            "version 2": wire.compress(b"\2" + payload[1:]),
            "no frames": wire.compress(wire.HEADER.pack(1, 0, 10)),
            "short": wire.compress(payload[:-1]),
            "long": wire.compress(payload + b"x"),
            "claims too many": wire.compress(wire.HEADER.pack(1, 1 << 31, 10) + payload[9:]),
            "backwards": wire.compress(payload[:-12] + times),
        }.items():
            self.add(f"wire: {name}", body)
            self.add(f"wire: {name}, with a sidecar", body, more=[("X-Batch-Meta", "{}")])
            self.add(f"wire: {name}, as JSON", body, changes={"Content-Type": "application/json"})

    def _framing(self) -> None:
        body = self.batch(2)
        chunked = {"Content-Length": None, "Transfer-Encoding": "chunked"}
        chunks = b"%x\r\n%b\r\n" % (len(body), body)
        self.add("chunked", chunks + b"0\r\n\r\n", changes=chunked)
        self.add("chunked, with extension", chunks.replace(b"\r", b";a=b\r", 1) + b"0\r\n\r\n",
                 changes=chunked)  # fmt: skip
        self.add("chunked, with trailer", chunks + b"0\r\nA: b\r\n\r\n", changes=chunked)
        self.add("chunked, empty", b"0\r\n\r\n", changes=chunked)
        self.add("chunked, bad size", b"xyz\r\n", changes=chunked)
        self.add("chunked, too large", b"11000\r\n" + bytes(0x11000) + b"\r\n", changes=chunked)
        for coding in ("gzip", "identity", "chunked, chunked", "xchunked", "gzip, chunked"):
            self.add(f"coding {coding}", changes={**chunked, "Transfer-Encoding": coding})
        self.add("both framings", body, more=[("Transfer-Encoding", "chunked")])
        for length in ("+3", "-3", "3 3", "0x3", "3, 3", "3,4", "x", "9" * 22, "1e3", "\xb2"):
            self.add(f"length {length}", b"abc", changes={"Content-Length": length})
        self.add("length with zeros", body, changes={"Content-Length": f"000{len(body)}"})
        self.add("two lengths alike", body, more=[("Content-Length", str(len(body)))])
        for name, old, new in (
            ("HTTP/1.0", b"/1.1", b"/1.0"),
            ("HTTP/1.2", b"/1.1", b"/1.2"),
            ("HTTP/3.0", b"/1.1", b"/3.0"),
            ("lower-case method", b"POST", b"post"),
            ("absolute form", b" /v1", b" http://penstock.test/v1"),
            ("two spaces", b" HTTP", b"  HTTP"),
            ("space behind the line", b"/1.1\r", b"/1.1 \r"),
            ("PUT", b"POST", b"PUT"),
            ("escaped path", b"frames", b"fr%61mes"),
            ("slash behind", b"frames", b"frames/"),
            ("slash before", b"/v1", b"//v1"),
            ("dots", b"pose", b"pose/../pose"),
            ("other path", b"frames", b"framez"),
            ("fold", b"\r\nHost", b"\r\nA: b\r\n c\r\nHost"),
            ("bare LF", b"\r\nHost", b"\nHost"),
            ("bare CR", b"\r\nHost", b"\rHost"),
            ("NUL", b"Host: ", b"A: b\0c\r\nHost: "),
            ("control", b"Host: ", b"A: b\1c\r\nHost: "),
            ("space before colon", b"Host:", b"Host :"),
            ("no colon", b"Host:", b"Nothing\r\nHost:"),
            ("no name", b"Host:", b": b\r\nHost:"),
            ("empty line first", b"POST", b"\r\nPOST"),
            ("comma in host", b"penstock.test", b"a,b c"),
        ):
            self.raw(name, self.fresh(body).replace(old, new, 1))
        self.add("expects, and has sent", more=[("Expect", "100-continue")])
        self.add("expects something else", more=[("Expect", "tea")])
        self.add("upgrade", more=[("Connection", "upgrade"), ("Upgrade", "websocket")])
        self.add("upgrade to h2c", more=[("Connection", "upgrade"), ("Upgrade", "h2c")])
        self.add("te", more=[("TE", "trailers")])
        whole = self.fresh()
        self.raw("half a head", whole[:40], shut=True)
        self.raw("half a body", whole[:-5], shut=True)
        self.raw("a whole one, then no more", whole, shut=True)

    def _splits(self) -> None:
        for raw in (self.fresh(), self.fresh(changes={"Authorization": "Bearer x"})):
            for cut in sorted({*range(1, 30), *range(30, len(raw), 37), len(raw) - 1}):
                self.raw(f"cut at {cut}", raw[:cut], raw[cut:])
        raw = self.fresh()
        self.raw("byte by byte", *(raw[i : i + 1] for i in range(len(raw))))

    def _pipelines(self) -> None:
        for kinds in permutations("hhccx", 4):
            pieces = [self._of_kind(kind) for kind in kinds]
            self.raw(f"pipelined {kinds}", b"".join(pieces), answers=4)
            self.raw(f"one after another {kinds}", *pieces, answers=4)

    def _of_kind(self, kind: str) -> bytes:
        if kind == "h":
            return self.fresh()
        if kind == "c":
            return self.fresh(more=[("TE", "trailers")])
        return self.fresh(b"not gzip")


async def _ask(case: Case, service: Any, dial: Callable[..., Any]) -> list[Any]:
    with trio.fail_after(5):
        async with dial(service) as client:
            await client.send(*case.pieces)
            if case.shut:
                await client.shut()
            seen: list[Any] = [_plain(reply) for reply in await client.replies(case.answers)]
            seen.append("open" if not case.shut and await client.usable() else "closed")
            if seen[-1] == "closed":
                assert await client.leftover() == b"", case.name
            return seen


def _plain(reply: Any) -> Any:
    headers = {name: value for name, value in reply.headers.items() if name not in MADE_UP}
    if re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", headers["x-request-id"]):
        headers["x-request-id"] = "made up"
    body = orjson.loads(reply.body)
    if body.get("code") in TIMED:
        body["detail"] = re.sub(r"\d+", "N", body["detail"])
        del headers["content-length"]
    return reply.status, headers, body, reply.interim


def _without_ending(seen: list[Any]) -> list[Any]:
    """Leave out what becomes of the connection, if the answer came at the head.

    The one difference allowed: a token or a size that is refused before the body has arrived closes
    the connection. Whether the body has arrived by then is a race between the network and, on
    Quart's path, the tasks that make the answer.
    """
    status, headers, *rest = seen[0]
    if status not in {401, 413} or len(seen) > 2:
        return seen
    return [(status, {k: v for k, v in headers.items() if k != "connection"}, *rest)]


@pytest.fixture(scope="module")
def corpus(
    make_request: Callable[..., bytes],
    make_batch: Callable[..., bytes],
    make_token: Callable[..., str],
) -> list[Case]:
    """Give all cases."""
    return Corpus(make_request, make_batch, make_token).build()


def test_the_corpus_is_large(corpus: list[Case]) -> None:
    """At least 300 different requests are compared."""
    assert len({case.pieces for case in corpus}) >= 300


async def test_both_paths_give_the_same_answers(
    corpus: list[Case], serve: Callable[..., Any], dial: Callable[..., Any]
) -> None:
    """Status, body, headers and what becomes of the connection are alike for every request."""
    options = {"cors_origins": (ALLOWED,), "linger_seconds": 5.0}
    async with serve(**options) as lane, serve(**options, express_lane=False) as quart:
        different = {}
        codes: set[str] = set()
        for case in corpus:
            one, other = [await _ask(case, service, dial) for service in (lane, quart)]
            codes.update(body.get("code", "accepted") for _, _, body, _ in one[:-1])
            large = len(case.pieces[0]) > wire.MAX_MEMBER_BYTES or "announces" in case.name
            if large or len(case.pieces) > 1:
                one, other = _without_ending(one), _without_ending(other)
            if one != other:
                different[case.name] = one, other
        assert not different, list(different.items())[:2]
        assert lane.front.meter.latency["express"].total_seconds
        assert not quart.front.meter.latency["express"].total_seconds
        assert lane.ledger.process.seen == quart.ledger.process.seen
        assert {fault.value for fault in wire.WireFault} <= codes
        assert {problem.code for problem in Problem if problem.name in REACHED} <= codes
