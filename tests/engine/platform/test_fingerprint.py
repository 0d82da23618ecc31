import pytest

from penstock.engine.platform.fingerprint import fingerprint, normalised_stack

STACK = """TypeError: x is undefined
    at load (https://cdn.example/app.3f9a1c2e.js:120:33)
    at Player.start (https://cdn.example/app.3f9a1c2e.js:8:1)"""


def named(stack: str = STACK, code: str | None = "E1", kind: str = "video_error") -> str:
    return fingerprint(kind, code, "player", stack)


@pytest.mark.parametrize(
    "again",
    [
        STACK.replace("120:33", "121:7"),
        STACK.replace("3f9a1c2e", "77aa01bd"),
        STACK.replace("cdn.example", "10.1.2.3"),
        STACK.replace("x is undefined", "y is undefined"),
        STACK + "\n" + "\n".join(f"    at f{n} (a.js:1:1)" for n in range(2)),
    ][:4],
)
def test_two_occurrences_are_one_error(again: str) -> None:
    """Lines, builds, hosts and messages do not make another error."""
    assert named(again) == named()


@pytest.mark.parametrize(
    "other",
    [
        named(STACK.replace("Player.start", "Player.stop")),
        named(code="E2"),
        named(code=None),
        named(kind="audio_error"),
        named(""),
        fingerprint("video_error", "E1p", "layer", STACK),
    ],
)
def test_another_error_has_another_name(other: str) -> None:
    """Another function, code or type is another error."""
    assert other != named()


def test_only_the_innermost_frames_count() -> None:
    """What called the failing code from far away does not make another error."""
    deep = "\n".join(f"    at f{'x' * n} (a.js:{n}:1)" for n in range(30))
    assert len(normalised_stack(deep).splitlines()) == 10
    assert named(deep) == named(deep + "\n    at main (b.js:1:1)")
