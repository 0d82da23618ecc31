"""What is installed from the wheel is the whole package, and works away from its source."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDERS = ("engine", "http", "storage", "bench")
LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: an older build's files in the tree must not fill a gap."""
    source = tmp_path_factory.mktemp("source")
    for folder in ("src", *FOLDERS):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=LEFTOVERS)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source)
    _python("-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", ".", cwd=source)
    (built,) = (source / "dist").iterdir()
    return built


def _python(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _tree() -> set[str]:
    files = {path: f"penstock/{path.name}" for path in (ROOT / "src/penstock").glob("*.py")}
    for folder in (ROOT / "src/penstock").iterdir():
        if folder.is_dir():
            for path in folder.resolve().rglob("*.py"):
                files[path] = f"penstock/{folder.name}/{path.relative_to(folder.resolve())}"
    return set(files.values())


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    """Also those of `http`, which has no __init__.py, and the marker of typed packages."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.endswith(".py")} == _tree()
    assert "penstock/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"penstock"}


def test_the_installed_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    """Every module of it can be imported from where it was installed."""
    target = tmp_path / "site"
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps")
    _python(*pip, "--no-index", "--target", str(target), str(wheel), cwd=tmp_path)
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in sorted(_tree())
        if not name.endswith("__main__.py")
    ]
    code = (
        "import importlib, sys\n"
        f"sys.path.insert(0, {str(target)!r})\n"
        f"found = [importlib.import_module(name) for name in {modules!r}]\n"
        f"assert all(m.__file__.startswith({str(target)!r}) for m in found)\n"
        "from penstock.cli import main\n"
        "sys.exit(main(['--version']))\n"
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert _python("-c", code, cwd=tmp_path) == f"penstock {version}\n"


def test_every_requirement_is_pinned_once() -> None:
    """What is installed tomorrow is what was tested today; names and versions, no addresses."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins)
    versions = {canonicalize_name(name): version for name, version in pins}
    assert len(versions) == len(pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    closure: set[str] = set()
    todo = [Requirement(text) for text in wanted]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{requirement} is not pinned"
        assert versions[name] in requirement.specifier, f"{requirement}: {versions[name]} is pinned"
        extras = ("", *requirement.extras)
        for text in () if name in closure and extras == ("",) else metadata.requires(name) or ():
            inner = Requirement(text)
            if not inner.marker or any(inner.marker.evaluate({"extra": e}) for e in extras):
                todo.append(inner)
        closure.add(name)
    assert versions.keys() == closure
