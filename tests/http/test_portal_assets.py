"""The browser client is handed out whole, under an address that never means anything else."""

import base64
import gzip
import hashlib
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.http.exchange import Answer
from penstock.http.portal_assets import PortalAssets, load_portal, takes_gzip

PORTAL = Path(__file__).parents[2] / "http" / "portal"


@pytest.fixture(scope="module")
def assets() -> PortalAssets:
    return load_portal("1.2.3")


def _headers(answer: Answer) -> dict[bytes, bytes]:
    return dict(answer.headers)


def test_the_manifest_names_what_is_served(assets: PortalAssets) -> None:
    """Its address gives the very bytes whose hash it states, in a browser's own notation."""
    told: Any = orjson.loads(assets.manifest.body)
    assert told["version"].startswith("1.2.3-")
    _, _, version, name = told["url"].split("/")
    served = assets.answer(version, name, b"")
    assert served.status == 200
    assert served.body == (PORTAL / "portal.js").read_bytes()
    wanted = base64.b64encode(hashlib.sha384(served.body).digest()).decode()
    assert told["integrity"] == f"sha384-{wanted}"
    types = assets.answer(version, told["types"].rpartition("/")[2], b"")
    assert types.body == (PORTAL / "portal.d.ts").read_bytes()


def test_what_never_changes_is_kept_for_good(assets: PortalAssets) -> None:
    """The files are immutable; the manifest, which changes, is asked for again."""
    headers = _headers(assets.answer(assets.version, "portal.js", b""))
    assert headers[b"cache-control"] == b"public, max-age=31536000, immutable"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert _headers(assets.manifest)[b"cache-control"] == b"public, max-age=60"


def test_who_takes_gzip_gets_it(assets: PortalAssets) -> None:
    """The same bytes travel compressed, and caches are told that there are two forms."""
    plain = assets.answer(assets.version, "portal.js", b"br")
    packed = assets.answer(assets.version, "portal.js", b"gzip, deflate, br")
    assert _headers(packed)[b"content-encoding"] == b"gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert b"content-encoding" not in _headers(plain)
    assert _headers(plain)[b"vary"] == _headers(packed)[b"vary"] == b"Accept-Encoding"


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"gzip; q=1.0", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000, br", False),
        (b"", False),
        (b"br", False),
        (b"xgzip", False),
    ],
)
def test_an_accept_encoding_is_read(header: bytes, *, takes: bool) -> None:
    """A weight of nothing is a no; other codings say nothing of gzip."""
    assert takes_gzip(header) is takes


@pytest.mark.parametrize(
    ("version", "name"),
    [("1.2.3", "portal.js"), ("x" * 500, "portal.js"), ("", "portal.js")],
)
def test_another_version_is_not_here(assets: PortalAssets, version: str, name: str) -> None:
    """What this process does not have is 404, in words that say which version it has."""
    answer = assets.answer(version, name, b"gzip")
    assert (answer.status, answer.code) == (404, "not_found")
    assert assets.version.encode() in answer.body
    assert len(answer.body) < 500


@pytest.mark.parametrize("name", ["", "..", "portal.json", "portal.ts", "portal.js.gz"])
def test_other_names_are_not_here(assets: PortalAssets, name: str) -> None:
    """Only the two files are served, whatever else lies beside them."""
    assert assets.answer(assets.version, name, b"").status == 404


def test_another_content_is_another_version(
    assets: PortalAssets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that browsers keep for good must never come to mean other bytes."""
    for name in ("portal.js", "portal.d.ts"):
        (tmp_path / name).write_bytes((PORTAL / name).read_bytes() + b"\n")
    monkeypatch.setattr("penstock.http.portal_assets._FOLDER", tmp_path)
    other = load_portal("1.2.3")
    assert other.version != assets.version
    assert other.integrity != assets.integrity


def test_the_client_asks_for_no_more_than_a_strict_policy_grants() -> None:
    """No code is made of text, and nothing is imported from anywhere."""
    source = (PORTAL / "portal.js").read_text(encoding="utf-8")
    for forbidden in (r"\beval\b", r"new Function", r"^import ", r"import\(", r"innerHTML"):
        assert not re.search(forbidden, source, re.MULTILINE), forbidden


def test_the_types_name_every_public_part() -> None:
    """Exports, methods, options and statistics are all told, and nothing that is not there."""
    source = (PORTAL / "portal.js").read_text(encoding="utf-8")
    types = (PORTAL / "portal.d.ts").read_text(encoding="utf-8")
    values = r"^export (?:async )?(?:class|function) (\w+)"
    assert set(re.findall(values, source, re.MULTILINE)) == set(
        re.findall(values, types, re.MULTILINE)
    )
    session = source.partition("export class PortalSession")[2].partition("\n}\n")[0]
    declared = types.partition("export class PortalSession")[2].partition("\n}\n")[0]
    public = r"^  (?:get )?([a-z]\w*)(?:\(| =)"
    told = r"^  (?:readonly )?([a-z]\w*)(?:\(|:)"
    assert set(re.findall(public, session, re.MULTILINE)) == set(
        re.findall(told, declared, re.MULTILINE)
    )
