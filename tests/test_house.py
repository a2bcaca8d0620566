"""The structure of the package: no circles among imports, and every arrow points down the pipeline. Imports inside functions count."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import rnndsl

PACKAGE = Path(rnndsl.__file__).parent

# From the bottom to the top: a module imports its own room and those below. A folder's name stands for what is in it and has no line of its own.
ROOMS = [
    # what everything may use
    ("version", "families", "resources", "files", "source", "report", "diagnostics", "scalars", "devices", "tiles", "costs", "law", "runtime_names", "backends", "cache_folder", "origin"),
    ("runtime",),  # which a generated module imports
    # the compiler, in the order of its stages
    ("reading",),
    ("syntax",),
    ("functions",),
    ("checks",),
    ("plan",),
    ("calculus",),
    ("kernel",),
    ("emit",),
    ("compiler",),
    # what people look at, and layers made from programs
    ("tools",),
    ("programs",),
    ("tools.bench", "tools.tune", "tools.verify", "tools.lsp", "tools.editors", "tools.ranks"),
    ("api",),
    ("zoo",),  # published cells by name
    ("nn",),  # stacks of generated classes, in ordinary PyTorch
    ("tasks",),  # what cells can learn
    ("explore",),  # what cells have learned
    ("export",),  # layers as programs of other systems
    ("cli", "__main__"),
]
FACADE = ""  # rnndsl/__init__.py names the public functions and imports them when they are asked for


def modules_of(package: Path) -> dict[str, Path]:
    """The modules of a package by their names inside it; a folder's name is that of its `__init__.py`."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_of(path: Path, name: str, modules: dict[str, Path]) -> set[str]:
    """The modules of a package, called `name`, that one of its files imports anywhere."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if is_type_checking(node):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.update(a.name.removeprefix(f"{name}.") for a in node.names if a.name.startswith(f"{name}."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name the whole path"
            module = (node.module or "").removeprefix(name).removeprefix(".") if f"{node.module}.".startswith(f"{name}.") else None
            if module is not None:
                inside = {f"{module}.{a.name}".removeprefix(".") for a in node.names}
                found |= {i if i in modules else module for i in inside}
        waiting.extend(ast.iter_child_nodes(node))
    return found


def graph_of(package: Path) -> dict[str, set[str]]:
    """What each module of a package imports of it."""
    modules = modules_of(package)
    return {m: imports_of(path, package.name, modules) - {m} for m, path in modules.items()}


def circle_of(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other all around, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        return list(reversed(e.args[1]))
    return []


def room_of(module: str) -> int:
    """The number of a module's room: that of the longest name which it lies in."""
    found = [(len(name), i) for i, room in enumerate(ROOMS) for name in room if f"{module}.".startswith(f"{name}.")]
    assert found, f"rnndsl/{module.replace('.', '/')} stands in no room: add it to ROOMS, where its imports allow"
    return max(found)[1]


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return graph_of(PACKAGE)


def test_no_imports_go_in_a_circle(graph):
    assert not circle_of(graph)


def test_imports_point_down(graph):
    upwards = [f"{m} -> {other}" for m, others in sorted(graph.items()) if m != FACADE for other in sorted(others) if room_of(other) > room_of(m)]
    assert not upwards


def test_the_compiler_knows_nothing_of_the_runtime(graph):
    """It works where torch is not installed."""
    runtime, compiler = room_of("runtime"), room_of("compiler")
    assert not [f"{m} -> {other}" for m, others in graph.items() if m != FACADE and runtime < room_of(m) <= compiler for other in others if room_of(other) == runtime]


@pytest.mark.parametrize("name", [name for room in ROOMS for name in room])
def test_every_room_is_there(name):
    assert name in modules_of(PACKAGE)


@pytest.mark.parametrize(
    ("line", "circle"),
    [
        ("from house import cellar", True), ("import house.cellar", True), ("from house.cellar import wine", True), ("def f():\n    from house.cellar import wine", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.cellar import wine", False), ("import os", False),
    ],
)  # fmt: skip
def test_a_circle_is_found(tmp_path, line, circle):
    """Wherever the import stands, but for one that types alone need."""
    house = tmp_path / "house"
    house.mkdir()
    (house / "__init__.py").write_text("")
    (house / "cellar.py").write_text("from house.attic import dust\nwine = dust\n")
    (house / "attic.py").write_text(f"{line}\ndust = 1\n")
    found = circle_of(graph_of(house))
    assert (sorted(set(found)) == ["attic", "cellar"]) if circle else not found
