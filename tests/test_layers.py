"""The import graph: a layer imports those above it in the table of CONTRIBUTING.md only, and importing funcgrad is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import funcgrad

ROOT = Path(funcgrad.__file__).parent
TOP = ["_conformance", "inspect", "testing", "extend", "errors", "__main__", "__init__"]
LAYERS = {
    1: ["core"],
    2: ["primitives"],
    3: ["transforms"],
    4: ["compiler"],
    5: ["tree", "api"],
    6: ["numpy", "scipy", "lax", "random", "callbacks"],
    7: ["nn", "optim", "data", "serialization", "train"],
    8: TOP,
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names}
FILES = sorted(ROOT.rglob("*.py"))


def part(path):
    """The part of the library a file belongs to: the name of its folder, or of the file itself."""
    inside = path.relative_to(ROOT)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imported_parts(path):
    """The parts of funcgrad that a file imports, each with the line."""
    package = ["funcgrad", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [*base, *(node.module.split(".") if node.module else [])]
            if names[:1] != ["funcgrad"]:
                continue
            for alias in node.names if len(names) == 1 else [None]:
                yield (names[1] if alias is None else alias.name), node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                names = alias.name.split(".")
                if names[0] == "funcgrad" and len(names) > 1:
                    yield names[1], node.lineno


def test_every_part_has_a_layer():
    assert {part(f) for f in FILES} == set(LAYER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_up_the_table(path):
    own = part(path)
    for name, line in imported_parts(path):
        if name in LAYER and name != own:
            assert LAYER[name] <= LAYER[own], f"{path.name}:{line}: layer {LAYER[own]} imports {name}, of a layer below"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_own_import_inside_a_function(path):
    # The contract of back ends and the printer of the IR are needed by what they need: core may close that circle.
    if part(path) == "core":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for inner in ast.walk(node):
                own = isinstance(inner, ast.ImportFrom) and (inner.level or (inner.module or "").startswith("funcgrad"))
                assert not own, f"{path.name}:{inner.lineno} imports inside {node.name}"


def test_importing_is_light():
    """Importing funcgrad imports no optional package and no back end but NumPy's."""
    heavy = [
        "cupy",
        "jax",
        "torch",
        "scipy",
        "matplotlib",
        "tqdm",
        "safetensors",
        "opt_einsum",
        "llvmlite",
        "pandas",
        "hypothesis",
    ]
    code = f"import sys, funcgrad; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
