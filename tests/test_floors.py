"""Rooms import only from lower floors, never in a circle, within a room neither; spec and text hold no jax."""

import ast
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

FLOORS = [
    {"spec"},
    {"disk", "process", "terminal"},
    {"shipped"},
    {"ops", "text", "seal"},
    {"nn", "parallel"},
    {"models"},
    {"peft"},
    {"objectives", "decode", "interop"},
    {"evals"},
    {"runs"},
    {"inference", "plots"},
    {"train"},
    {"aot", "align"},
    {"lab"},
    {"arguments", "doctor", "seams"},
    {"chat_verb", "eval_verb", "lab_verbs"},
    {"cli"},
    {"__main__"},
]
UPWARD = {("runs/objective_run.py", "jaxgpt.train.loop.train")}
"""A kind of run knows its loop, and loads it when it trains."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ROOT = Path(__file__).parent.parent / "jaxgpt"
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if (str(path.relative_to(ROOT)), name) not in UPWARD]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    mine = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "torch":
            pytest.fail(f"{path} imports torch")
        if parts[0] == "jax":
            assert mine not in {"spec", "terminal", "disk", "shipped", "seal", "text"}, f"{path} imports jax"
        if parts[0] != "jaxgpt" or parts[1:2] in ([mine], ["__version__"]):
            continue
        assert parts[1] in FLOOR, f"{path} imports {name}, which has no floor"
        assert FLOOR[parts[1]] < FLOOR[mine], f"{path} (floor {FLOOR[mine]}) imports {name} (floor {FLOOR[parts[1]]})"


def module(path: Path) -> str:
    return ".".join(("jaxgpt", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def test_no_modules_import_each_other_in_a_circle():
    """Those inside functions, and those for types alone, count too."""
    modules = {module(path): path for path in FILES}
    below = {
        name: {said if said in modules else said.rpartition(".")[0] for said in imports(path)}
        for name, path in modules.items()
    }
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small_and_well_named(path):
    assert len(path.read_text().splitlines()) <= 400
    assert path.stem not in {"utils", "common", "helpers", "misc"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("__init__.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_export_hides_a_module(path):
    """Modules are nouns, functions verbs: `import jaxgpt.room.name as m` gives the module."""
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
    exported = {alias.asname or alias.name for node in top for alias in node.names}
    inside = {other.stem for other in path.parent.glob("*.py")} | {other.name for other in path.parent.glob("*/")}
    assert not exported & inside


def test_test_files_have_names_of_their_own():
    """pytest imports them by name alone: two of one name stop the whole suite."""
    names = sorted(path.name for path in ROOT.parent.glob("tests/**/*.py") if path.name != "conftest.py")
    assert not [a for a, b in pairwise(names) if a == b]
