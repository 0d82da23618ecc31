"""The browser client as this service hands it out: `/portal/`, versioned, with its integrity hash.

A version's address holds a digest of the content, so what lies there never changes: browsers keep
it for good, and a page that names the integrity hash runs either exactly these bytes or nothing.
Which version is the newest one, `portal.json` tells. The answers are made once; which origins may
read them is the edge's business, as for every other answer.
"""

import base64
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from penstock.http.cold_routes import Call, ColdRoute, ColdSurface
from penstock.http.exchange import JSON, Answer
from penstock.http.problems import Problem, problem_answer

_MANIFEST_RULE = "/portal/portal.json"
_FILE_RULE = "/portal/<version>/<name>"
_FOLDER = Path(__file__).parent / "portal"
_MODULE, _TYPES = "portal.js", "portal.d.ts"
_CONTENT_TYPES = {
    _MODULE: b"text/javascript; charset=utf-8",
    # No type is registered for TypeScript, and nothing but people and compilers reads it.
    _TYPES: b"text/plain; charset=utf-8",
}
_DIGEST_CHARACTERS = 12
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_FOR_GOOD = (b"cache-control", b"public, max-age=31536000, immutable")
# A page that asks at every start learns of a new version within a minute.
_FOR_A_MINUTE = (b"cache-control", b"public, max-age=60")


@dataclass(slots=True, frozen=True)
class _File:
    """One file, as it is and compressed."""

    plain: Answer
    compressed: Answer


@dataclass(slots=True, frozen=True)
class PortalAssets:
    """The files of one version, and the manifest that names it."""

    version: str
    integrity: str
    manifest: Answer
    files: Mapping[str, _File]

    def surface(self) -> ColdSurface:
        """Give the routes as the application serves them."""
        return ColdSurface(
            (
                ColdRoute("GET", _MANIFEST_RULE, self._serve_manifest, cross_origin=True),
                ColdRoute("GET", _FILE_RULE, self._serve_file, cross_origin=True),
            )
        )

    async def _serve_manifest(self, _call: Call) -> Answer:
        return self.manifest

    async def _serve_file(self, call: Call) -> Answer:
        accepted = call.headers.get("Accept-Encoding", "").encode("latin1")
        return self.answer(call.parameters["version"], call.parameters["name"], accepted)

    def answer(self, version: str, name: str, accept_encoding: bytes) -> Answer:
        """Give a file; 404 for another version than this one, which this process does not have."""
        file = self.files.get(name) if version == self.version else None
        if file is None:
            return problem_answer(
                Problem.NOT_FOUND, f"only version {self.version} is here", seen=version[:80]
            )
        return file.compressed if takes_gzip(accept_encoding) else file.plain


def load_portal(release: str) -> PortalAssets:
    """Read the files that lie beside this module; `release` is the package's version."""
    contents = {name: (_FOLDER / name).read_bytes() for name in _CONTENT_TYPES}
    digest = hashlib.sha256(b"\0".join(contents.values())).hexdigest()[:_DIGEST_CHARACTERS]
    version = f"{release}-{digest}"
    sha384 = hashlib.sha384(contents[_MODULE]).digest()
    integrity = f"sha384-{base64.b64encode(sha384).decode()}"
    manifest = {
        "version": version,
        "url": f"/portal/{version}/{_MODULE}",
        "types": f"/portal/{version}/{_TYPES}",
        "integrity": integrity,
    }
    return PortalAssets(
        version,
        integrity,
        Answer(200, orjson.dumps(manifest), "ok", JSON, headers=(_FOR_A_MINUTE, _NOSNIFF)),
        {name: _file(name, content) for name, content in contents.items()},
    )


def takes_gzip(accept_encoding: bytes) -> bool:
    """Say whether an Accept-Encoding allows gzip (RFC 9110, section 12.5.3)."""
    for item in accept_encoding.lower().split(b","):
        coding, _, weight = item.partition(b";")
        if coding.strip() == b"gzip":
            return weight.strip().partition(b"=")[2].strip(b" 0.") != b"" or not weight
    return False


def _file(name: str, content: bytes) -> _File:
    headers = (_FOR_GOOD, _NOSNIFF, (b"vary", b"Accept-Encoding"))
    kind = _CONTENT_TYPES[name]
    # Without a time stamp: every process of a release sends the same bytes.
    packed = gzip.compress(content, mtime=0)
    return _File(
        Answer(200, content, "ok", kind, headers=headers),
        Answer(200, packed, "ok", kind, headers=(*headers, (b"content-encoding", b"gzip"))),
    )
