"""The Quart application: every route that is not on the express lane, and the lane's twins.

What the lane answers is answered here by the same functions, so that HTTP/2, TLS and unusual
requests get the same answers.
"""

import logging
from dataclasses import dataclass
from time import perf_counter
from typing import cast

import trio
from quart import Response, g, has_request_context, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from penstock.engine.wire import MAX_MEMBER_BYTES
from penstock.http.admin_policy import Handler, PolicyAdmin
from penstock.http.edge import Edge
from penstock.http.ends import ENDS, SessionEnds
from penstock.http.exchange import Answer, Head, json_answer
from penstock.http.health import Readiness
from penstock.http.meters import RequestMeter
from penstock.http.metrics import Exposition
from penstock.http.policy_requests import Call
from penstock.http.pose import PATH, PoseFrames
from penstock.http.problems import Problem, of_status, problem_answer

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class AppLimits:
    """What the application itself must enforce, by their settings' names."""

    request_timeout_seconds: float
    max_header_count: int


@dataclass(slots=True, frozen=True)
class Parts:
    """What the routes speak with."""

    pose: PoseFrames
    edge: Edge
    meter: RequestMeter
    readiness: Readiness
    exposition: Exposition
    limits: AppLimits
    version: str
    policy: PolicyAdmin | None = None
    ends: SessionEnds | None = None

    def respond(self, answer: Answer) -> Response:
        """Turn an answer into Quart's response, and remember what to count it under."""
        g.code = answer.code
        response = Response(answer.body, status=answer.status)
        response.headers.clear()
        request_id = self.edge.request_id(_header("X-Request-Id"))
        for name, value in self.edge.headers(answer, request_id, _header("Origin")):
            response.headers.add(name.decode("latin1"), value.decode("latin1"))
        return response


def create_app(parts: Parts) -> QuartTrio:
    """Put the routes together."""
    app = QuartTrio("penstock", static_folder=None, template_folder=None)
    # A redirect to the path with a slash less would be HTML, and trust the Host that came.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_MEMBER_BYTES
    app.config["BODY_TIMEOUT"] = None
    app.config["RESPONSE_TIMEOUT"] = None
    _add_hooks(app, parts)
    _add_errors(app, parts)
    _add_pose(app, parts)
    _add_operators(app, parts)
    if parts.ends is not None:
        _add_ends(app, parts, parts.ends)
    if parts.policy is not None:
        _add_policy(app, parts, parts.policy)
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
        response = parts.respond(problem_answer(of_status(error.code or 500)))
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    async def fault(error: Exception) -> Response:
        response = parts.respond(problem_answer(Problem.INTERNAL))
        request_id = response.headers["X-Request-Id"]
        logger.error(
            "request.failed",
            extra={"route": request.path, "request_id": request_id},
            exc_info=error,
        )
        return response


def _add_pose(app: QuartTrio, parts: Parts) -> None:
    @app.route(PATH, methods=["POST"], provide_automatic_options=False)
    async def pose_frames() -> Response:
        head = _head()
        refused = parts.pose.check_head(head)
        if isinstance(refused, Answer):
            return parts.respond(refused)
        body = await _read_body(parts.limits.request_timeout_seconds)
        if isinstance(body, Answer):
            return parts.respond(body)
        return parts.respond(await parts.pose.answer(head, body))

    _add_preflight(app, parts, PATH)


def _add_ends(app: QuartTrio, parts: Parts, ends: SessionEnds) -> None:
    rule = ENDS.path.replace("{id}", "<session_id>")

    @app.route(rule, methods=["POST"], provide_automatic_options=False)
    async def end_session(session_id: str) -> Response:
        head = _head()
        refused = ends.check_head(session_id, head)
        if isinstance(refused, Answer):
            return parts.respond(refused)
        body = await _read_body(parts.limits.request_timeout_seconds)
        if isinstance(body, Answer):
            return parts.respond(body)
        return parts.respond(await ends.answer(session_id, head, body))

    _add_preflight(app, parts, rule)


def _add_preflight(app: QuartTrio, parts: Parts, rule: str) -> None:
    async def preflight(session_id: str = "") -> Response:  # noqa: ARG001 - the path has it
        response = parts.respond(Answer(204, b"", "preflight"))
        response.headers.remove("Content-Type")
        response.headers.remove("Content-Length")  # RFC 9110, section 8.6: none in a 204
        response.headers["Allow"] = "OPTIONS, POST"
        for name, value in parts.edge.preflight_headers(_header("Origin")):
            response.headers[name.decode("latin1")] = value.decode("latin1")
        return response

    app.add_url_rule(rule, f"preflight {rule}", preflight, methods=["OPTIONS"])


def _add_operators(app: QuartTrio, parts: Parts) -> None:
    @app.get("/v1/healthz")
    async def healthz() -> Response:
        return parts.respond(json_answer(200, {"status": "ok", "version": parts.version}))

    @app.get("/readyz")
    async def readyz() -> Response:
        findings = parts.readiness.findings()
        if not findings:
            return parts.respond(json_answer(200, {"status": "ready", "reasons": []}))
        reasons = [{"code": finding.code, "detail": finding.detail} for finding in findings]
        return parts.respond(
            json_answer(503, {"status": "not ready", "reasons": reasons}, code="not_ready")
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        body, content_type = parts.exposition.render(request.headers.get("Accept", ""))
        return parts.respond(Answer(200, body, "ok", content_type.encode()))


def _add_policy(app: QuartTrio, parts: Parts, policy: PolicyAdmin) -> None:
    def add(method: str, rule: str, handler: Handler) -> None:
        async def serve(name: str = "") -> Response:
            claims = policy.check(_header("Authorization"))
            if isinstance(claims, Answer):
                return parts.respond(claims)
            body = await _read_body(parts.limits.request_timeout_seconds)
            if isinstance(body, Answer):
                return parts.respond(body)
            call = Call(claims, request.args, _header("Content-Type"), body, name)
            return parts.respond(await policy.answer(handler, call))

        app.add_url_rule(rule, f"{method} {rule}", serve, methods=[method])

    for (method, rule), handler in policy.routes().items():
        add(method, rule, handler)


def _header(name: str) -> bytes:
    # A WebSocket handshake has no route here, but its refusal is an answer, too.
    asked = request if has_request_context() else websocket
    return asked.headers.get(name, "").encode("latin1")


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
    )


async def _read_body(limit_seconds: float) -> bytes | Answer:
    """Read the body within its bounds of size and time."""
    try:
        with trio.fail_after(limit_seconds):
            return cast("bytes", await request.get_data(cache=False))
    except trio.TooSlowError:
        return problem_answer(
            Problem.REQUEST_TIMEOUT, setting="request_timeout_seconds", limit=limit_seconds
        )
    except RequestEntityTooLarge:
        return problem_answer(Problem.BODY_TOO_LARGE, limit=MAX_MEMBER_BYTES)
