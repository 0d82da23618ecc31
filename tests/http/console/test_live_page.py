from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import orjson
import pytest
import trio
from playwright.sync_api import Page

from console_rig import Console, check_looks, signed_in, tell, until
from penstock.bench.patients import Exercise, Traits, record
from penstock.engine import wire
from penstock.engine.watches import MOST_WATCHES
from penstock.service import Service
from portal_rig import Browsers

SESSION = str(UUID(int=1))
EVENTS = f"/console/live/{SESSION}/frames"
PATIENT = Traits(exercise=Exercise.SQUAT, repetition_seconds=2.0, setup_seconds=1.0)
_PATIENCE = 30

Serve = Callable[..., Any]


async def _exercise(service: Service, token: str, *, every: float, seconds: int = 40) -> None:
    """Send what a patient does, a second's frames at a time."""
    seen = record(PATIENT, seconds=seconds, seed=3)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/octet-stream",
        "X-Batch-Meta": '{"camera_resolution":"640x480","exercise":"squat"}',
    }
    async with httpx.AsyncClient(base_url=service.address, headers=headers, timeout=30) as client:
        for at in range(0, seconds * 10, 10):
            part = slice(at, at + 10)
            body = wire.encode(seen.landmarks[part], seen.timestamps_ms[part])
            answer = await client.post("/v1/pose/frames", content=body)
            assert answer.status_code == 202, answer.text
            await trio.sleep(every)


@asynccontextmanager
async def _events(service: Service, console: Console) -> AsyncIterator[AsyncIterator[Any]]:
    """Look on over a connection of its own: a client may leave a stream that never ends."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in console.client.cookies.jar)
    host, port = service.address.removeprefix("http://").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(
            f"GET {EVENTS} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookies}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        head, _, rest = head.partition(b"\r\n\r\n")
        assert b" 200 " in head.partition(b"\r\n")[0]
        assert b"text/event-stream" in head
        assert b"no-store" in head

        async def told() -> AsyncGenerator[Any, None]:
            nonlocal rest
            while True:
                # An event is a chunk, behind a line with its size.
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.startswith(b"data: "):
                        yield orjson.loads(line[6:])
                    elif line.startswith((b":", b"retry")):
                        yield line.decode()
                    elif line == b"0\r":
                        return
                piece = await stream.receive_some()
                assert piece, "the answer was cut off"
                rest += piece

        async with aclosing(told()) as events:
            yield events


async def test_who_looks_on_sees_frames_and_repetitions(
    serve: Serve, make_token: Callable[..., str]
) -> None:
    """Each event has the new frames' landmarks and times, what was counted and what was lost."""
    async with (
        serve() as service,
        signed_in(service) as console,
        _events(service, console) as told,
        trio.open_nursery() as nursery,
    ):
        assert await anext(told) == "retry: 2000"
        nursery.start_soon(lambda: _exercise(service, make_token(1), every=0.02))
        times: list[int] = []
        event: Any = {}
        with trio.fail_after(_PATIENCE):
            async for event in told:
                if not isinstance(event, dict):
                    continue
                assert len(event["times"]) == len(event["points"]) <= 60
                assert all(len(points) == 33 for points in event["points"])
                assert event["aspect"] == pytest.approx(640 / 480)
                times += event["times"]
                if event["reps"] >= 5:
                    break
        assert times == sorted(set(times))
        assert event["joint"] in {"knee_flexion_left", "knee_flexion_right"}
        assert len(event["angle"]) == len(event["times"])
        frames = event["frames"]
        assert frames["seen"] >= frames["aggregated"] > 0
        assert (frames["lost"], frames["shed"], frames["refused"]) == (0, 0, 0)
        nursery.cancel_scope.cancel()


async def test_only_so_many_look_on(serve: Serve) -> None:
    """One more than may is told so with 503, and may when one of them has gone."""
    async with serve() as service, signed_in(service) as console, trio.open_nursery() as nursery:

        async def look_on(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope() as scope:
                async with _events(service, console) as told:
                    await anext(told)
                    task_status.started(scope)
                    await trio.sleep_forever()

        scopes = [await nursery.start(look_on) for _ in range(MOST_WATCHES)]
        refused = await console.get(EVENTS, accept="text/event-stream")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_watches")
        assert refused.json()["limit"] == MOST_WATCHES
        scopes[0].cancel()
        with trio.fail_after(_PATIENCE):
            while service.sessions._plant.watches.number == MOST_WATCHES:  # noqa: ASYNC110
                await trio.sleep(0.01)
        async with _events(service, console) as told:
            assert await anext(told) == "retry: 2000"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("over", ["the service stops", "the visit ends"])
async def test_looking_on_ends_with_what_it_needs(serve: Serve, over: str) -> None:
    """A stream ends by itself when the service stops, or when its visit is signed out."""
    async with serve() as service, signed_in(service) as console, _events(service, console) as told:
        await anext(told)
        if over == "the service stops":
            service.stopping.set()
        else:
            await console.post("/console/sign-out")
        with trio.fail_after(_PATIENCE):
            seen = [line async for line in told if not str(line).startswith(":")]
        # The visit's end is an event of its own; its data are an empty object.
        assert seen == ([] if over == "the service stops" else [{}])


async def test_what_is_no_session_has_no_page(serve: Serve) -> None:
    """A word that is no UUID gets a page that says so; scripts get a problem."""
    async with serve() as service, signed_in(service) as console:
        page = await console.get("/console/live/nobody")
        assert (page.status_code, "a session&#39;s id is a UUID" in page.text) == (404, True)
        data = await console.get("/console/live/nobody/frames", accept="text/event-stream")
        assert (data.status_code, data.json()["code"]) == (404, "not_found")


async def test_what_lies_far_out_is_told_in_numbers(
    serve: Serve, make_token: Callable[..., str]
) -> None:
    """Landmarks at the ends of what a float can hold, and none at all, are told all the same."""
    landmarks = np.full((10, 33, 4), 3e38, np.float32)
    landmarks[:, ::2] *= -1
    landmarks[:, 0] = np.nan
    body = wire.encode(landmarks, np.arange(10) * 100)
    headers = {
        "Authorization": f"Bearer {make_token(1)}",
        "Content-Type": "application/octet-stream",
    }
    async with (
        serve() as service,
        signed_in(service) as console,
        _events(service, console) as told,
    ):
        assert await anext(told) == "retry: 2000"
        answer = await console.client.post("/v1/pose/frames", content=body, headers=headers)
        assert answer.status_code == 202, answer.text
        with trio.fail_after(_PATIENCE):
            event: Any = await anext(told)
            while not isinstance(event, dict):
                event = await anext(told)
        values = [value for frame in event["points"] for point in frame for value in point]
        assert len(values) == 10 * 33 * 3
        assert all(isinstance(value, float) for value in values)


async def test_the_page_says_why_it_waits_and_keeps_only_the_newest(
    serve: Serve, browsers: Browsers, make_token: Callable[..., str]
) -> None:
    """One too many is told so and comes in later; a tab that draws nothing piles no frames up."""
    async with serve() as service, signed_in(service) as console, trio.open_nursery() as nursery:
        with ExitStack() as others:
            for _ in range(MOST_WATCHES):
                others.enter_context(service.sessions._plant.watches.watch(str(UUID(int=9))))
            left, here = trio.Event(), trio.lowlevel.current_trio_token()
            nursery.start_soon(lambda: _exercise(service, make_token(1), every=0.1, seconds=300))

            def story(page: Page) -> None:
                page.emulate_media(reduced_motion="no-preference")
                page.add_init_script("window.requestAnimationFrame = () => 0;")
                page.goto(f"/console/live/{SESSION}")
                until(page, "document.getElementById('state').textContent.includes('as may')")
                trio.from_thread.run_sync(left.set, trio_token=here)
                until(page, "Number(document.getElementById('live').dataset.waiting) >= 290")
                taken = "Number(document.getElementById('live').dataset.taken)"
                before = page.evaluate(taken)
                until(page, f"{taken} > {before} + 3")
                assert page.evaluate("document.getElementById('live').dataset.waiting") == "300"

            nursery.start_soon(lambda: _close_after(left, others))
            await tell(browsers, console, story)
        nursery.cancel_scope.cancel()


async def _close_after(event: trio.Event, stack: ExitStack) -> None:
    await event.wait()
    stack.close()


async def test_the_page_shows_the_skeleton_and_counts(
    serve: Serve, browsers: Browsers, make_token: Callable[..., str]
) -> None:
    """In both themes, wide and narrow: the skeleton is drawn, and repetitions come up."""
    async with serve() as service, signed_in(service) as console, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: _exercise(service, make_token(1), every=0.35, seconds=300))

        def story(name: str) -> Callable[[Page], None]:
            def told(page: Page) -> None:
                page.goto(f"/console/live/{SESSION}")
                until(page, "Number(document.getElementById('reps').textContent) >= 2")
                until(page, "document.getElementById('live').dataset.shown !== undefined")
                drawn = (
                    "(() => { const c = document.getElementById('skeleton');"
                    "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
                    ".some((value) => value > 0); })()"
                )
                until(page, drawn)
                until(page, "document.getElementById('state').textContent === 'Live'")
                check_looks(page, name)

            return told

        for theme, width in (("light", 1280), ("dark", 1280), ("dark", 360)):
            await tell(browsers, console, story(f"live-{theme}-{width}"), theme=theme, width=width)
        nursery.cancel_scope.cancel()
