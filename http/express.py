"""The express lane's reader: finds hot requests in a connection's bytes.

Theory of operation
-------------------
No I/O here. Between requests the connection gives its bytes to `receive` and asks `next_step`:

========  =============================================================================
step      what it means
========  =============================================================================
MORE      not decidable or not whole yet: read on
a Hot     one whole request; ask again, another may follow in the same bytes
COLD      not for this lane: `surrender` gives every byte back, none consumed
========  =============================================================================

The lane answers only what it understands completely: one of its routes (see `hot_routes`),
HTTP/1.1, one plain Content-Length within the route's bound, one Host, no Transfer-Encoding, Expect,
Upgrade or doubled header that matters. Everything else, valid or not, is surrendered before any
effect, and Hypercorn answers it. So there is one opinion on unusual requests, and the lane cannot
be tricked into another: it never guesses.

The head is parsed by llhttp (httptools), which also gets the body afterwards, so that one parser
serves the whole connection; a head that is known already (see `known_heads`) is not parsed again.
"""

from dataclasses import dataclass
from enum import Enum

import httptools

from penstock.http.cmcd import CMCD_HEADERS
from penstock.http.exchange import Head
from penstock.http.hot_routes import POSE, HotRoutes, Route, Target, is_pose
from penstock.http.known_heads import KnownHeads

_END_OF_HEAD = b"\r\n\r\n"
_BEFORE_TARGET = b"POST "
_AFTER_TARGET = b" HTTP/1.1\r\n"

# Headers that change how the request is framed or answered; the lane has nothing to say to them.
_UNUSUAL = frozenset(
    {b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"http2-settings"}
)
# Headers that the surface reads. Two of the same would need a rule; one each needs none.
_READ = frozenset(
    {
        b"host",
        b"authorization",
        b"content-type",
        b"content-length",
        b"x-batch-meta",
        b"x-request-id",
        b"x-client-dropped",
        b"origin",
        b"connection",
        b"user-agent",
        b"x-forwarded-for",
        *CMCD_HEADERS,
    }
)


class Step(Enum):
    """What to do when there is no whole request to answer."""

    MORE = "more"
    COLD = "cold"


@dataclass(slots=True)
class Hot:
    """One whole request. `keep_alive` is whether the client wants the connection kept."""

    head: Head
    body: bytes
    keep_alive: bool
    route: Route = POSE
    parameter: str = ""


@dataclass(slots=True, frozen=True)
class HeadLimits:
    """The bounds of a request's head, by their settings' names."""

    max_header_bytes: int
    max_header_count: int


class _Fields:
    """What llhttp calls back. Apart from the parser: the two would keep each other alive."""

    __slots__ = ("complete", "count", "found", "strange", "target")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget the last head."""
        self.found: dict[bytes, bytes] = {}
        self.count = 0
        self.strange = False
        self.complete = False
        self.target = b""

    def on_url(self, url: bytes) -> None:
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1
        name = name.lower()
        if name in _READ:
            if name in self.found:
                self.strange = True
            self.found[name] = value.rstrip(b" \t")  # llhttp strips only what is before it
        elif name in _UNUSUAL:
            self.strange = True

    def on_headers_complete(self) -> None:
        self.complete = True


class _HeadParser:
    """One llhttp parser; used again for each request of a connection."""

    __slots__ = ("_llhttp", "fields", "keep_alive")

    def __init__(self) -> None:
        self.fields = _Fields()
        self._llhttp = httptools.HttpRequestParser(self.fields)

    def parse(self, head: bytes) -> bool:
        """Parse one head; False when it is not one that the lane takes."""
        fields = self.fields
        try:
            self._llhttp.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        if fields.strange or not fields.complete:
            return False
        # llhttp skips further spaces before the version; elsewhere they are no HTTP.
        if not head.startswith(_AFTER_TARGET, len(_BEFORE_TARGET) + len(fields.target)):
            return False
        found = fields.found
        if b"host" not in found or not found.get(b"content-length", b"").isdigit():
            return False
        connection = found.get(b"connection", b"keep-alive").lower()
        self.keep_alive = connection == b"keep-alive"
        return self.keep_alive or connection == b"close"

    def skip_body(self, body: bytes) -> None:
        """Move on to the next head."""
        self._llhttp.feed_data(body)
        self.fields.begin()


class Express:
    """The reader of one connection."""

    __slots__ = (
        "_body_start",
        "_buffer",
        "_head",
        "_known",
        "_length",
        "_limits",
        "_parser",
        "_routes",
        "_target",
    )

    def __init__(self, limits: HeadLimits, known: KnownHeads, routes: HotRoutes) -> None:
        self._limits = limits
        self._known = known
        self._routes = routes
        self._parser: _HeadParser | None = None
        self._buffer = b""
        self._head: Head | None = None
        self._target: Target | None = None
        self._body_start = 0
        self._length = 0

    @property
    def pending(self) -> bool:
        """Say whether a request has begun to arrive."""
        return bool(self._buffer)

    @property
    def pending_pose(self) -> bool:
        """Say whether what has begun to arrive is a pose batch."""
        return is_pose(self._buffer)

    @property
    def arriving(self) -> Hot | None:
        """Give the request that is arriving, without its body, once its head is there."""
        if self._head is None or self._target is None:
            return None
        return Hot(self._head, b"", False, *self._target)  # noqa: FBT003 - it cannot be kept

    def receive(self, data: bytes) -> None:
        """Take bytes from the connection."""
        self._buffer = self._buffer + data if self._buffer else data

    def surrender(self) -> bytes:
        """Give back everything not yet answered."""
        data = self._buffer
        self._buffer = b""
        self._head = None
        self._parser = None  # it may stand in the middle of a request
        return data

    def next_step(self) -> Hot | Step:
        """Say what the bytes so far hold."""
        buffer = self._buffer
        if self._head is None:
            target = self._target = self._routes.find(buffer)
            if target is None:
                return Step.MORE if self._routes.may_become(buffer) else Step.COLD
            step = self._find_head(buffer, target.route)
            if step is not None:
                return step
        head, target = self._head, self._target
        if head is None or target is None:  # pragma: no cover - they have just been found
            return Step.COLD
        end = self._body_start + self._length
        if len(buffer) < end:
            return Step.MORE
        body = buffer[self._body_start : end]
        self._buffer = buffer[end:]
        self._head = None
        if head.claims is not None or self._parser is None:  # known, so never parsed
            return Hot(head, body, keep_alive=True)
        self._parser.skip_body(body)
        return Hot(head, body, self._parser.keep_alive, *target)

    def _find_head(self, buffer: bytes, route: Route) -> Step | None:
        limits = self._limits
        end = buffer.find(_END_OF_HEAD, 0, limits.max_header_bytes) + len(_END_OF_HEAD)
        if end < len(_END_OF_HEAD):
            # A line that ends without CR may be the end of a head to h11; it never is to us.
            bare = buffer.count(b"\n") != buffer.count(b"\r\n")
            return Step.COLD if bare or len(buffer) >= limits.max_header_bytes else Step.MORE
        raw = buffer[:end]
        self._body_start = end
        key = b""
        if route is POSE:  # the others come once a session
            key, known = self._known.find(raw)
            if known is not None and known.content_length is not None:
                self._length = known.content_length
                if self._length > route.max_body_bytes:
                    return Step.COLD
                self._head = known
                return None
        parser = self._parser or _HeadParser()
        self._parser = parser
        if not parser.parse(raw) or parser.fields.count > limits.max_header_count:
            return Step.COLD
        fields = parser.fields
        found = fields.found
        length = found[b"content-length"]
        if len(length) > 18 or b"#" in fields.target:
            return Step.COLD
        self._length = int(length)
        if self._length > route.max_body_bytes:
            return Step.COLD
        self._head = Head(
            fields.target.partition(b"?")[2],
            found.get(b"authorization", b""),
            found.get(b"content-type", b""),
            self._length,
            found.get(b"x-batch-meta", b""),
            found.get(b"x-request-id", b""),
            found.get(b"origin", b""),
            found.get(b"x-client-dropped", b""),
            found.get(b"user-agent", b""),
            () if route is POSE else _cmcd_of(found),  # of cameras there is none
            forwarded=found.get(b"x-forwarded-for", b""),
            key=key if parser.keep_alive else b"",
        )
        return None


def _cmcd_of(found: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name, found[name]) for name in CMCD_HEADERS if name in found)
