"""No code decides by which member of a seam it was given: what matters of a member is said on the seam's base.

Left out is `interop/`, which translates members into what other libraries call them.
"""

import ast
import importlib
from pathlib import Path

import jaxgpt
from jaxgpt.spec import members, seams

PACKAGE = Path(jaxgpt.__file__).parent
CHECKS = ("isinstance", "issubclass")
NEEDS_AN_EXTRA = {"jaxgpt.evals.mteb", "jaxgpt.evals.harness"}


def asked_for(module):
    """(line, class) of each class that an `isinstance` or `issubclass` in a module names."""
    for call in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in CHECKS:
            for name in ast.walk(call.args[1]):
                if isinstance(name, ast.Name):
                    yield call.lineno, getattr(module, name.id, None)


def test_no_member_is_asked_for():
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    names = {
        ".".join(("jaxgpt", *path.parts)).removesuffix(".__init__") for path in paths if path.parts[0] != "interop"
    }
    modules = [importlib.import_module(name) for name in names - NEEDS_AN_EXTRA - {"jaxgpt.__main__"}]
    known = {cls for seam in seams() for cls in members(seam).values()}
    assert [f"{m.__name__}:{line} {cls.__name__}" for m in modules for line, cls in asked_for(m) if cls in known] == []
