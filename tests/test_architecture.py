"""The folders' imports point one way, and the tree keeps the shape that makes it installable."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "penstock"
FOLDERS = ("engine", "http", "storage", "bench")

# What each folder may import of penstock, itself aside. The composition root may import anything.
ARROWS = {
    "engine": (),
    "storage": ("penstock.engine",),
    "http": ("penstock.engine",),
    "bench": ("penstock.engine.wire", "penstock.engine.motion"),
    # The policy itself, timed; no other part of the harness knows of it.
    "bench.policy_cost": ("penstock.bench", "penstock.engine"),
    # The policy itself again, tried on sessions that were kept or made.
    "bench.tune": ("penstock.bench", "penstock.engine"),
    # Servers to be measured, not the harness: one of them is Penstock's lane, and the Python ones
    # check tokens and batches by the same functions.
    "bench.peers": ("penstock.bench", "penstock.engine", "penstock.http"),
}
# The engine is the domain: besides the standard library it computes, and waits.
ENGINE_LIBRARIES = {"trio", "numpy", "orjson"}


@dataclass(frozen=True)
class Import:
    """One imported name: by whom, what, and whether importing the module already needs it."""

    importer: str
    imported: str
    at_once: bool


def modules_of(package: Path) -> dict[str, Path]:
    """Name every module under a package folder, links followed."""
    found = {}
    for path in (*package.glob("*.py"), *_below(package)):
        parts = ("penstock", *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _below(package: Path) -> Iterator[Path]:
    for folder in package.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            # `rglob` does not follow a link below its start, but does follow the start itself.
            yield from (package / folder.name / p.relative_to(folder) for p in folder.rglob("*.py"))


def imports_of(module: str, source: str, modules: dict[str, Path]) -> Iterator[Import]:
    """Find what a module imports, down to the module that a name of a package really is."""
    tree = ast.parse(source)
    lazy = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test))
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        at_once = id(node) not in lazy
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, at_once)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if modules[module].name == "__init__.py" else _parent(module)
                for _ in range(node.level - 1):
                    package = _parent(package)
                base = f"{package}.{base}".rstrip(".")
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield Import(module, name if name in modules else base, at_once)


def _parent(module: str) -> str:
    return module.rpartition(".")[0]


def wrong_arrow(found: Import) -> bool:
    """Say whether the importing folder may not import that."""
    parts = found.importer.split(".")
    # The innermost folder that has arrows of its own.
    named = (".".join(parts[1:end]) for end in range(len(parts), 1, -1))
    folder = next((name for name in named if name in ARROWS), None)
    if folder is None:
        return False
    top = found.imported.partition(".")[0]
    if top != "penstock":
        known = top in sys.stdlib_module_names or top in ENGINE_LIBRARIES
        return folder == "engine" and not known
    return not any(
        found.imported == allowed or found.imported.startswith(f"{allowed}.")
        for allowed in (f"penstock.{folder}", *ARROWS[folder])
    )


def circle(found: list[Import], modules: dict[str, Path]) -> list[str]:
    """Give the modules of a circle of imports that happen at once; none when there is none."""
    graph: dict[str, set[str]] = {}
    for entry in found:
        if entry.at_once and entry.imported in modules and entry.imported != entry.importer:
            graph.setdefault(entry.importer, set()).add(entry.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


MODULES = modules_of(PACKAGE)
IMPORTS = [
    found
    for module, path in MODULES.items()
    for found in imports_of(module, path.read_text(encoding="utf-8"), MODULES)
]


def test_the_search_sees_the_whole_tree() -> None:
    """A module that is not looked at could import anything."""
    folders = [ROOT / folder for folder in FOLDERS]
    folders += [path for path in PACKAGE.iterdir() if path.is_dir() and not path.is_symlink()]
    there = {path for folder in folders for path in folder.rglob("*.py")} | {*PACKAGE.glob("*.py")}
    assert {path.resolve() for path in MODULES.values()} == there
    assert {"penstock.cli", "penstock.engine.wire", "penstock.storage.spool"} <= MODULES.keys()


def test_imports_point_one_way() -> None:
    """src/penstock imports http imports engine, storage imports engine, and nothing goes back."""
    assert [found for found in IMPORTS if wrong_arrow(found)] == []


def test_no_import_goes_in_a_circle() -> None:
    """Each module can be read, and imported, before those that use it."""
    assert circle(IMPORTS, MODULES) == []


@pytest.mark.parametrize(
    ("importer", "line", "wrong"),
    [
        ("penstock.engine.a", "import structlog", True),
        ("penstock.engine.a", "def f():\n    import httpx", True),
        ("penstock.engine.a", "from penstock.storage import spool", True),
        ("penstock.engine.a", "from penstock import settings", True),
        ("penstock.engine.a", "from ..http import app", True),
        ("penstock.engine.a", "import trio, numpy as np, orjson, json", False),
        ("penstock.engine.a", "from .wire import decode", False),
        ("penstock.storage.a", "from penstock.http import app", True),
        ("penstock.storage.a", "from penstock.engine.ports import Clock", False),
        ("penstock.http.a", "from penstock.settings import Settings", True),
        ("penstock.http.a", "import httptools", False),
        ("penstock.bench.a", "from penstock.engine import session", True),
        ("penstock.bench.a", "from penstock.engine.wire import encode", False),
        ("penstock.bench.a", "from penstock.http import app", True),
        ("penstock.bench.load.a", "from penstock.http import app", True),
        ("penstock.bench.peers.a", "from penstock.http import app", False),
        ("penstock.bench.peers.a", "from penstock.settings import Settings", True),
        ("penstock.cli", "from penstock.http import app", False),
    ],
)
def test_a_wrong_arrow_would_be_seen(importer: str, line: str, *, wrong: bool) -> None:
    """The check itself is checked: what it must refuse, it refuses."""
    names = ("engine.session", "engine.wire", "engine.ports", "storage.spool", "http.app")
    modules = {f"penstock.{name}": Path("x.py") for name in (*names, "settings")}
    modules[importer] = Path("a.py")
    assert any(map(wrong_arrow, imports_of(importer, line, modules))) is wrong


def test_a_circle_would_be_seen() -> None:
    """Two modules that import each other are one, unless one of them waits with it."""
    modules = {"penstock.a": Path("a.py"), "penstock.b": Path("b.py")}
    there = list(imports_of("penstock.a", "from penstock import b", modules))
    back = list(imports_of("penstock.b", "import penstock.a", modules))
    later = list(imports_of("penstock.b", "def f():\n    import penstock.a", modules))
    assert set(circle(there + back, modules)) == set(modules)
    assert circle(there + later, modules) == []


def test_the_folders_are_relative_links_of_the_package() -> None:
    """A clone anywhere resolves them."""
    for folder in FOLDERS:
        link = PACKAGE / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..", "..", folder)
        assert link.resolve() == ROOT / folder


def test_http_never_hides_the_standard_librarys() -> None:
    """Run from the root, `http` is Python's own, or pip and pytest would break."""
    assert not (ROOT / "http" / "__init__.py").exists()
    subprocess.run([sys.executable, "-c", "import http.client"], cwd=ROOT, check=True)
