"""The Quart application: every route that is not on the express lane, and the lane's twins.

What the lane answers is answered here by the same functions, so that HTTP/2, TLS and unusual
requests get the same answers.
"""

import logging
from dataclasses import dataclass
from time import perf_counter

import trio
from quart import Response, g, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from penstock.engine.wire import MAX_MEMBER_BYTES
from penstock.http.edge import Edge
from penstock.http.exchange import Answer, Head, json_answer
from penstock.http.health import Readiness
from penstock.http.meters import RequestMeter
from penstock.http.metrics import Exposition
from penstock.http.pose import PATH, PoseFrames
from penstock.http.problems import Problem, of_status, problem_answer

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class AppLimits:
    """What the application itself must enforce, by their settings' names."""

    request_timeout_seconds: float
    max_header_count: int


def create_app(  # noqa: PLR0913 - the parts that the routes speak with
    pose: PoseFrames,
    edge: Edge,
    meter: RequestMeter,
    readiness: Readiness,
    exposition: Exposition,
    limits: AppLimits,
    version: str,
) -> QuartTrio:
    """Put the routes together."""
    app = QuartTrio("penstock", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_MEMBER_BYTES
    app.config["BODY_TIMEOUT"] = None
    app.config["RESPONSE_TIMEOUT"] = None

    def respond(answer: Answer) -> Response:
        g.code = answer.code
        response = Response(answer.body, status=answer.status)
        response.headers.clear()
        offered = request.headers.get("X-Request-Id", "").encode("latin1")
        request_id = edge.request_id(offered)
        origin = request.headers.get("Origin", "").encode("latin1")
        for name, value in edge.headers(answer, request_id, origin):
            response.headers.add(name.decode("latin1"), value.decode("latin1"))
        return response

    @app.before_request
    async def begin() -> Response | None:
        g.began = perf_counter()
        if "Content-Length" in request.headers and "Transfer-Encoding" in request.headers:
            response = respond(problem_answer(Problem.AMBIGUOUS_FRAMING))
            response.headers["Connection"] = "close"
            return response
        if len(request.headers) > limits.max_header_count:
            return respond(
                problem_answer(
                    Problem.HEADERS_TOO_LARGE,
                    f"the request has {len(request.headers)} header fields",
                    setting="max_header_count",
                    limit=limits.max_header_count,
                    seen=len(request.headers),
                )
            )
        return None

    @app.after_request
    async def finish(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule is not None else "none"
        code = getattr(g, "code", "ok")
        meter.observe("quart", rule, code, perf_counter() - getattr(g, "began", perf_counter()))
        return response

    @app.errorhandler(HTTPException)
    async def http_error(error: HTTPException) -> Response:
        problem = of_status(error.code or 500)
        response = respond(problem_answer(problem))
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    async def fault(_error: Exception) -> Response:
        response = respond(problem_answer(Problem.INTERNAL))
        logger.exception(
            "request.failed",
            extra={"route": request.path, "request_id": response.headers["X-Request-Id"]},
        )
        return response

    @app.route(PATH, methods=["POST"], provide_automatic_options=False)
    async def pose_frames() -> Response:
        head = _head()
        refused = pose.check_head(head)
        if isinstance(refused, Answer):
            return respond(refused)
        body = await _read_body(limits.request_timeout_seconds)
        if isinstance(body, Answer):
            return respond(body)
        return respond(await pose.answer(head, body))

    @app.route(PATH, methods=["OPTIONS"])
    async def preflight() -> Response:
        origin = request.headers.get("Origin", "").encode("latin1")
        response = respond(Answer(204, b"", "preflight"))
        response.headers.remove("Content-Type")
        response.headers["Allow"] = "OPTIONS, POST"
        for name, value in edge.preflight_headers(origin):
            response.headers[name.decode("latin1")] = value.decode("latin1")
        return response

    @app.get("/v1/healthz")
    async def healthz() -> Response:
        return respond(json_answer(200, {"status": "ok", "version": version}))

    @app.get("/readyz")
    async def readyz() -> Response:
        findings = readiness.findings()
        if not findings:
            return respond(json_answer(200, {"status": "ready", "reasons": []}))
        reasons = [{"code": finding.code, "detail": finding.detail} for finding in findings]
        return respond(
            json_answer(503, {"status": "not ready", "reasons": reasons}, code="not_ready")
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        body, content_type = exposition.render(request.headers.get("Accept", ""))
        return respond(Answer(200, body, "ok", content_type.encode()))

    return app


def _head() -> Head:
    def header(name: str) -> bytes:
        return request.headers.get(name, "").encode("latin1")

    return Head(
        request.query_string,
        header("Authorization"),
        header("Content-Type"),
        request.content_length,
        header("X-Batch-Meta"),
        header("X-Request-Id"),
        header("Origin"),
    )


async def _read_body(limit_seconds: float) -> bytes | Answer:
    """Read the body within its bounds of size and time."""
    try:
        with trio.fail_after(limit_seconds):
            return bytes(await request.get_data(cache=False, as_text=False))
    except trio.TooSlowError:
        return problem_answer(
            Problem.REQUEST_TIMEOUT, setting="request_timeout_seconds", limit=limit_seconds
        )
    except RequestEntityTooLarge:
        return problem_answer(Problem.BODY_TOO_LARGE, limit=MAX_MEMBER_BYTES)
