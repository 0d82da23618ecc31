"""The Quart application: every route that is not on the express lane, and the lane's twins.

What the lane answers is answered here by the same functions, so that HTTP/2, TLS and unusual
requests get the same answers.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import cast

import trio
from quart import Request, Response, Websocket, g, has_request_context, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from penstock.engine.wire import MAX_MEMBER_BYTES
from penstock.http.cmcd import CMCD_HEADERS
from penstock.http.cold_routes import (
    Call,
    ColdRoute,
    ColdSurface,
    Refuse,
    RefusedError,
    StreamAnswer,
)
from penstock.http.edge import Edge
from penstock.http.ends import ENDS, SessionEnds
from penstock.http.exchange import Answer, Head, json_answer
from penstock.http.health import Finding, Readiness
from penstock.http.media_events import MEDIA_EVENTS, MediaEvents
from penstock.http.meters import RequestMeter
from penstock.http.metrics import Exposition, asks_for_text
from penstock.http.pose import PATH, PoseFrames
from penstock.http.pose_json import MAX_POSE_JSON_BYTES, is_json
from penstock.http.problems import Problem, of_status, problem_answer

logger = logging.getLogger(__name__)

# Each route has its own bound. This one holds while a handler has not come to its body yet.
MOST_BODY_BYTES = 16 << 20


@dataclass(slots=True, frozen=True)
class AppLimits:
    """What the application itself must enforce, by their settings' names."""

    request_timeout_seconds: float
    max_header_count: int


@dataclass(slots=True, frozen=True)
class Parts:
    """What the routes speak with. What is None is not served."""

    pose: PoseFrames | None
    edge: Edge
    meter: RequestMeter
    readiness: Readiness
    exposition: Exposition
    limits: AppLimits
    version: str
    ends: SessionEnds | None = None
    surfaces: tuple[ColdSurface, ...] = ()
    # What `/metrics` is to those who do not ask for Prometheus' format.
    totals: Callable[[], Awaitable[Answer]] | None = None
    media: MediaEvents | None = None

    def respond(self, answer: Answer | StreamAnswer) -> Response:
        """Turn an answer into Quart's response, and remember what to count it under."""
        g.code = answer.code
        if isinstance(answer, StreamAnswer):
            # Of a stream that goes on for ever, a HEAD would wait for ever.
            chunks = b"" if request.method == "HEAD" else answer.chunks
            response = Response(chunks, status=answer.status)
            response.timeout = None
            status, _, code, content_type, headers = answer
            answer = Answer(status, b"", code, content_type, headers=headers)
            given = self.edge.stream_headers(answer, self.request_id(), _header("Origin"))
        else:
            response = Response(answer.body, status=answer.status)
            given = self.edge.headers(answer, self.request_id(), _header("Origin"))
        response.headers.clear()
        for name, value in given:
            response.headers.add(name.decode("latin1"), value.decode("latin1"))
        return response

    def request_id(self) -> bytes:
        """Give the request's id, the same each time it is asked for."""
        if "request_id" not in g:
            g.request_id = self.edge.request_id(_header("X-Request-Id"))
        return cast("bytes", g.request_id)

    def refuse_at(self, path: str) -> Refuse:
        """Find who words what is wrong at a path."""
        for surface in self.surfaces:
            if any(path == own or path.startswith(f"{own}/") for own in surface.paths):
                return surface.refuse
        return problem_answer


def create_app(parts: Parts) -> QuartTrio:
    """Put the routes together."""
    app = QuartTrio("penstock", static_folder=None, template_folder=None)
    # A redirect to the path with a slash less would be HTML, and trust the Host that came.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    app.config["BODY_TIMEOUT"] = None
    app.config["RESPONSE_TIMEOUT"] = None
    _add_hooks(app, parts)
    _add_errors(app, parts)
    if parts.pose is not None:
        _add_pose(app, parts, parts.pose)
    _add_operators(app, parts)
    if parts.ends is not None:
        _add_ends(app, parts, parts.ends)
    if parts.media is not None:
        _add_media(app, parts, parts.media)
    for surface in parts.surfaces:
        for route in surface.routes:
            _add_cold(app, parts, surface, route)
    return app


def _add_hooks(app: QuartTrio, parts: Parts) -> None:
    @app.before_request
    async def begin() -> Response | None:
        g.began = perf_counter()
        headers = request.headers
        if "Content-Length" in headers and "Transfer-Encoding" in headers:
            response = parts.respond(problem_answer(Problem.AMBIGUOUS_FRAMING))
            response.headers["Connection"] = "close"
            return response
        limit = parts.limits.max_header_count
        count = len(list(request.scope["headers"]))  # Quart's own has one more, Remote-Addr
        if count > limit:
            return parts.respond(
                problem_answer(
                    Problem.HEADERS_TOO_LARGE,
                    f"the request has {count} header fields",
                    setting="max_header_count",
                    limit=limit,
                    seen=count,
                )
            )
        return None

    @app.after_request
    async def finish(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule is not None else "none"
        rule = rule.replace("<session_id>", "{id}")  # as the lane names it
        began = getattr(g, "began", perf_counter())
        parts.meter.observe("quart", rule, getattr(g, "code", "ok"), perf_counter() - began)
        return response


def _add_errors(app: QuartTrio, parts: Parts) -> None:
    @app.errorhandler(HTTPException)
    async def http_error(error: HTTPException) -> Response:
        refuse = parts.refuse_at(_asked().path)
        response = parts.respond(refuse(of_status(error.code or 500)))
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(RefusedError)
    async def refusal(refused: RefusedError) -> Response:
        return parts.respond(refused.answer(parts.refuse_at(request.path)))

    @app.errorhandler(Exception)
    async def fault(error: Exception) -> Response:
        response = parts.respond(parts.refuse_at(request.path)(Problem.INTERNAL))
        request_id = response.headers["X-Request-Id"]
        logger.error(
            "request.failed",
            extra={"route": request.path, "request_id": request_id},
            exc_info=error,
        )
        return response


def _add_pose(app: QuartTrio, parts: Parts, pose: PoseFrames) -> None:
    @app.route(PATH, methods=["POST"], provide_automatic_options=False)
    async def pose_frames() -> Response:
        head = _head()
        refused = pose.check_head(head)
        if isinstance(refused, Answer):
            return parts.respond(refused)
        limit = MAX_POSE_JSON_BYTES if is_json(head.content_type) else MAX_MEMBER_BYTES
        body = await _read_within(limit, None, parts.limits.request_timeout_seconds)
        return parts.respond(await pose.answer(head, body))

    _add_preflight(app, parts, PATH, "POST")


def _add_ends(app: QuartTrio, parts: Parts, ends: SessionEnds) -> None:
    rule = ENDS.path.replace("{id}", "<session_id>")

    @app.route(rule, methods=["POST"], provide_automatic_options=False)
    async def end_session(session_id: str) -> Response:
        head = _head()
        refused = ends.check_head(session_id, head)
        if isinstance(refused, Answer):
            return parts.respond(refused)
        body = await _read_within(MAX_MEMBER_BYTES, None, parts.limits.request_timeout_seconds)
        return parts.respond(await ends.answer(session_id, head, body))

    _add_preflight(app, parts, rule, "POST")


def _add_media(app: QuartTrio, parts: Parts, media: MediaEvents) -> None:
    @app.route(MEDIA_EVENTS.path, methods=["POST"], provide_automatic_options=False)
    async def media_event() -> Response:
        head = _head()
        refused = media.check_head("", head)
        if isinstance(refused, Answer):
            return parts.respond(refused)
        body = await _read_within(MAX_MEMBER_BYTES, None, parts.limits.request_timeout_seconds)
        return parts.respond(await media.answer("", head, body))

    _add_preflight(app, parts, MEDIA_EVENTS.path, "POST")


def _add_preflight(app: QuartTrio, parts: Parts, rule: str, *methods: str) -> None:
    async def preflight(**_parameters: str) -> Response:
        response = parts.respond(Answer(204, b"", "preflight"))
        response.headers.remove("Content-Type")
        response.headers.remove("Content-Length")  # RFC 9110, section 8.6: none in a 204
        response.headers["Allow"] = ", ".join(sorted({"OPTIONS", *methods}))
        for name, value in parts.edge.preflight_headers(_header("Origin")):
            response.headers[name.decode("latin1")] = value.decode("latin1")
        return response

    endpoint = f"OPTIONS {rule}"
    if endpoint not in app.view_functions:
        app.add_url_rule(rule, endpoint, preflight, methods=["OPTIONS"])


def _add_operators(app: QuartTrio, parts: Parts) -> None:
    @app.get("/v1/healthz")
    async def healthz() -> Response:
        return parts.respond(json_answer(200, {"status": "ok", "version": parts.version}))

    @app.get("/readyz")
    async def readyz() -> Response:
        reasons, notes = _plain(parts.readiness.findings()), _plain(parts.readiness.notes())
        document: dict[str, object] = {
            "status": "not ready" if reasons else "ready",
            "reasons": reasons,
        }
        if notes:
            document["information"] = notes
        if not reasons:
            return parts.respond(json_answer(200, document))
        return parts.respond(json_answer(503, document, code="not_ready"))

    @app.get("/metrics")
    async def metrics() -> Response:
        accept = request.headers.get("Accept", "")
        if parts.totals is not None and not asks_for_text(accept):
            return parts.respond(await parts.totals())
        body, content_type = parts.exposition.render(accept)
        return parts.respond(Answer(200, body, "ok", content_type.encode()))


def _plain(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [{"code": finding.code, "detail": finding.detail} for finding in findings]


def _add_cold(app: QuartTrio, parts: Parts, surface: ColdSurface, route: ColdRoute) -> None:
    async def serve(**parameters: str) -> Response:
        async def read_within(limit: int, setting: str | None) -> bytes:
            return await _read_within(limit, setting, parts.limits.request_timeout_seconds)

        call = Call(
            route.method,
            request.path,
            parameters,
            request.args.to_dict(),
            cast("dict[str, str]", request.headers),
            request.remote_addr or "",
            parts.request_id().decode("ascii"),
            read_within,
            _forwarded(),
            # HTTP/2 may bring each cookie in a field of its own (RFC 9113, section 8.2.3).
            "; ".join(request.headers.getlist("Cookie")),
        )
        try:
            return parts.respond(await route.handler(call))
        except RefusedError as refused:
            return parts.respond(refused.answer(surface.refuse))

    app.add_url_rule(
        route.rule,
        f"{route.method} {route.rule}",
        serve,
        methods=[route.method],
        provide_automatic_options=False,
    )
    if route.cross_origin:
        methods = {other.method for other in surface.routes if other.rule == route.rule}
        _add_preflight(app, parts, route.rule, *methods)


def _asked() -> Request | Websocket:
    # A WebSocket handshake has no route here, but its refusal is an answer, too.
    return request if has_request_context() else websocket


def _header(name: str) -> bytes:
    return _asked().headers.get(name, "").encode("latin1")


def _forwarded() -> str:
    # A proxy may add a line of its own behind the one that it was given.
    return ",".join(request.headers.getlist("X-Forwarded-For"))


def _raw_headers() -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in request.scope["headers"]]


def _head() -> Head:
    return Head(
        request.query_string,
        _header("Authorization"),
        _header("Content-Type"),
        request.content_length,
        _header("X-Batch-Meta"),
        _header("X-Request-Id"),
        _header("Origin"),
        _header("X-Client-Dropped"),
        _header("User-Agent"),
        tuple((name, value) for name, value in _raw_headers() if name in CMCD_HEADERS),
        request.remote_addr or "",
        _forwarded().encode("latin1"),
    )


async def _read_within(limit: int, setting: str | None, limit_seconds: float) -> bytes:
    """Read the body of a cold route within its own bounds, or raise RefusedError."""
    body = bytearray()
    seen = request.content_length or 0
    try:
        with trio.fail_after(limit_seconds):
            if seen <= limit:
                async for chunk in request.body:
                    body += chunk
                    if len(body) > limit:
                        break
    except trio.TooSlowError:
        raise RefusedError(
            Problem.REQUEST_TIMEOUT, setting="request_timeout_seconds", limit=limit_seconds
        ) from None
    except RequestEntityTooLarge:
        seen = max(seen, limit + 1)
    seen = max(seen, len(body))
    if seen > limit:
        detail = f"the body has more than {limit} bytes"
        raise RefusedError(Problem.BODY_TOO_LARGE, detail, setting=setting, limit=limit, seen=seen)
    return bytes(body)
