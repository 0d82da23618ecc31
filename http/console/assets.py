"""The console's own files: style sheet, scripts, and D3, at addresses that change with them.

D3 draws the charts. It comes inside the wheel XStatic-D3 and is served from where that was
installed: neither fetched from elsewhere nor copied into this project. All files share one address
with a digest of all of them in it, so that a script's imports lead to files of the same make.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from penstock.http.cold_routes import Call, ColdRoute
from penstock.http.console.pages import SECURITY
from penstock.http.exchange import Answer
from penstock.http.portal_assets import takes_gzip
from penstock.http.problems import Problem, problem_answer

PREFIX = "/console/assets"
_FOLDER = Path(__file__).parent / "static"
_D3 = ("XStatic-D3", "xstatic/pkg/d3/data/d3.js")
_DIGEST_CHARACTERS = 16
_CONTENT_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_FOR_GOOD = (b"cache-control", b"public, max-age=31536000, immutable")


@dataclass(slots=True, frozen=True)
class Asset:
    """One file, as it is and compressed, under the entity tag of its content."""

    tag: bytes
    plain: Answer
    packed: Answer


@dataclass(slots=True, frozen=True)
class Assets:
    """The files of this process."""

    digest: str
    files: Mapping[str, Asset]

    def url(self, name: str) -> str:
        """Give a file's address; KeyError where there is no such file."""
        self.files[name]
        return f"{PREFIX}/{self.digest}/{name}"

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the route; it is open to everybody, since the sign-in has looks, too."""
        return (ColdRoute("GET", f"{PREFIX}/<digest>/<name>", self._serve),)

    async def _serve(self, call: Call) -> Answer:
        asset = self.files.get(call.parameters["name"])
        if asset is None or call.parameters["digest"] != self.digest:
            missing = problem_answer(Problem.NOT_FOUND, "there is no such file of this version")
            return missing._replace(headers=SECURITY)
        if asset.tag in call.headers.get("If-None-Match", "").encode("latin1"):
            return asset.plain._replace(status=304, body=b"")
        accepted = call.headers.get("Accept-Encoding", "").encode("latin1")
        return asset.packed if takes_gzip(accepted) else asset.plain


def load_assets() -> Assets:
    """Read the files, and compress each once."""
    contents = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir())}
    package, path = _D3
    contents["d3.js"] = Path(str(distribution(package).locate_file(path))).read_bytes()
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(b"%b\0%d\0%b" % (name.encode(), len(content), content))
    return Assets(
        digest.hexdigest()[:_DIGEST_CHARACTERS],
        {name: _asset(name, content) for name, content in contents.items()},
    )


def _asset(name: str, content: bytes) -> Asset:
    tag = b'"%b"' % hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS].encode()
    headers = (*SECURITY, _FOR_GOOD, (b"etag", tag), (b"vary", b"Accept-Encoding"))
    kind = _CONTENT_TYPES[Path(name).suffix]
    packed = gzip.compress(content, mtime=0)
    return Asset(
        tag,
        Answer(200, content, "ok", kind, headers=headers),
        Answer(200, packed, "ok", kind, headers=(*headers, (b"content-encoding", b"gzip"))),
    )
