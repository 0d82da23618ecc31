"""The types that an app compiles against are those of the module that it runs."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from playwright.sync_api import Page

from penstock.engine.finals import ClientStatus
from penstock.engine.media.events import MediaKind, MediaType
from penstock.engine.unsent import UNSENT_WORDS
from portal_rig import PORTAL, PageServer

TYPES = re.sub(r"/\*\*.*?\*/", "", PORTAL.with_suffix(".d.ts").read_text(), flags=re.DOTALL)
Visit = Callable[..., Any]

_LOOK = """(options) => {
  open_session(options);
  const members = (kind, made) => [...Object.getOwnPropertyNames(kind.prototype),
    ...Object.keys(made)].filter((name) => name !== "constructor").sort();
  const video = session.attachVideo(document.querySelector("video"), { mediaId: "m" });
  const error = new portal.PortalError("a", "b");
  return {
    exports: Object.keys(portal).sort(),
    PortalSession: members(portal.PortalSession, session),
    PortalError: members(portal.PortalError, error).filter((name) => name !== "name"),
    WatchedVideo: Object.keys(video).sort(),
    PortalStatistics: Object.keys(session.statistics()).sort(),
    DropReason: Object.keys(session.statistics().framesDropped).sort(),
  };
}"""


def _members(name: str) -> list[str]:
    """Name what a class or an interface declares."""
    body = re.search(rf"export (?:class|interface) {name}\b[^{{]*\{{\n(.*?)\n\}}", TYPES, re.DOTALL)
    assert body is not None, name
    found = re.findall(r"^  (?:readonly )?(\w+)\??[:(]", body[1], re.MULTILINE)
    return sorted({one for one in found if one != "constructor"})


def _words(name: str) -> list[str]:
    """Name the words of a union."""
    body = re.search(rf"export type {name} =(.*?);", TYPES, re.DOTALL)
    assert body is not None, name
    return sorted(re.findall(r'"([^"]+)"', body[1]))


async def test_the_types_are_those_of_the_module(
    visit: Visit,
    portal: PageServer,
    serve: Callable[..., Any],
    make_token: Callable[..., str],
) -> None:
    """Each declared name is there and each name declared, down to the fields of an end's answer."""
    session_id = str(UUID(int=1))
    async with serve(cors_origins=(portal.url,)) as service:
        options = {"url": service.address, "sessionId": session_id, "token": make_token(1)}

        def story(page: Page) -> Any:
            found = page.evaluate(_LOOK, options)
            page.evaluate("feed(0, 3)")
            return found, page.evaluate("within(session.end({ status: 'completed' }))")

        found, ended = await visit(service.address, story)
    values = re.findall(r"^export (?:class|function) (\w+)", TYPES, re.MULTILINE)
    assert found.pop("exports") == sorted(values)
    assert found.pop("DropReason") == _words("DropReason")
    for name, members in found.items():
        assert members == _members(name), name
    assert _members("SessionEnd") == sorted(ended)


def test_the_words_of_the_types_are_those_of_the_service() -> None:
    """What a type allows, the service takes, and nothing else."""
    assert _words("DropReason") == sorted(UNSENT_WORDS)
    assert _words("EndStatus") == sorted(ClientStatus)
    assert _words("MediaEventKind") == sorted(MediaKind)
    assert re.search(r"mediaType\?: ([^;]+);", TYPES)[1] == " | ".join(  # type: ignore[index]
        f'"{one}"' for one in sorted(MediaType, reverse=True)
    )
