"""docs/course.md: it holds every item of the notes, and every name, test and file on it exists."""

import ast
import re
from pathlib import Path

import pytest

import funcgrad as fg
from funcgrad import data, train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "course.md").read_text("utf-8")
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))

# As the page itself imports them.
NAMESPACES = {
    name: getattr(fg, name) for name in ("extend", "lax", "nn", "optim", "random", "scipy", "testing", "tree")
}
NAMESPACES |= {"fg": fg, "fnp": fg.numpy, "data": data, "train": train}
NAMES = sorted(
    {name for c in CODE for name in re.findall(rf"(?<![\w./])(?:{'|'.join(NAMESPACES)})(?:\.[A-Za-z_]\w*)+", c)}
)
# The number of items of each lecture of the notes.
LECTURES = {1: 5, 2: 17, 3: 9, 4: 17, 5: 5, 6: 15, 7: 9, 8: 8, 9: 8}


def defined_tests():
    found = set()
    for file in (ROOT / "tests").glob("test_course_*.py"):
        found |= {node.name for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}
    return found


def test_the_page_is_read():
    assert {"fg.grad", "nn.losses.softmax_cross_entropy", "optim.ema_momentum", "scipy.special.xlogy"} <= set(NAMES)
    assert len(NAMES) > 150


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name):
    first, *rest = name.split(".")
    value = NAMESPACES[first]
    for part in rest:
        assert hasattr(value, part), f"docs/course.md names {name}, and there is no {part}"
        value = getattr(value, part)


def test_every_test_named_exists():
    named = {t for c in CODE for t in re.findall(r"\btest_\w+", c) if not t.endswith("_py")}
    assert named and not named - defined_tests()


def test_every_erratum_has_its_tests_and_they_are_on_the_page():
    errata = {t for t in defined_tests() if t.startswith("test_erratum_")}
    assert {int(t.split("_")[2]) for t in errata} == set(range(1, 15))
    assert not {t for t in errata if t not in PAGE}


def test_every_item_of_the_notes_is_there_once():
    expected = [f"{lecture}.{i + 1}" for lecture, count in LECTURES.items() for i in range(count)]
    assert re.findall(r"^\| (\d+\.\d+) \|", PAGE, flags=re.MULTILINE) == expected


def test_every_file_exists():
    files = {c for c in CODE if re.fullmatch(r"(notebooks|funcgrad|backends|tests)/[\w./]*", c)}
    links = {t for t in re.findall(r"\]\(([^)#]+)\)", PAGE)}
    assert files and links
    missing = [f for f in files if not (ROOT / f).exists()] + [t for t in links if not (ROOT / "docs" / t).exists()]
    assert not missing
