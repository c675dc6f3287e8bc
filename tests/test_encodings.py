"""Every text that is read or written has its encoding named: the locale of the machine decides nothing."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("jaxgpt/**/*.py"), *ROOT.glob("tpu/**/*.py"), *ROOT.glob("bench/*.py")])
TEXT = {"read_text", "write_text"}
RUN = {"run", "Popen", "check_output"}


def slips(tree):
    """Lines of calls that would ask the locale."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function, names = call.func, {keyword.arg for keyword in call.keywords}
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        base = getattr(function.value, "id", "") if isinstance(function, ast.Attribute) else ""
        if "encoding" in names:
            continue
        if (name in TEXT and isinstance(function, ast.Attribute)) or (
            name in RUN and base == "subprocess" and names & {"text"}
        ):
            yield call.lineno
        elif name in ("open", "fdopen"):
            place = 0 if name == "open" and isinstance(function, ast.Attribute) else 1
            mode = call.args[place] if len(call.args) > place else ast.Constant("r")
            mode = next((keyword.value for keyword in call.keywords if keyword.arg == "mode"), mode)
            if isinstance(mode, ast.Constant) and "b" not in str(mode.value):
                yield call.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_depends_on_the_locale(path):
    assert list(slips(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_the_search_finds_what_it_should():
    bad = ["p.read_text()", "p.write_text(x)", "open(p)", "open(p, 'w')", "path.open()", "subprocess.run(c, text=True)"]
    good = ["p.read_text(encoding='utf-8')", "open(p, 'rb')", "open(p, 'w', encoding='ascii')", "path.open('rb')"]
    good += [
        "subprocess.run(c)",
        "store.open(spec)",
        "Path(p).open('rb')",
        "sink.open(directory, facts)",
        "subprocess.run(c, encoding='utf-8')",
    ]
    assert [list(slips(ast.parse(line))) for line in bad] == [[1]] * len(bad)
    assert [list(slips(ast.parse(line))) for line in good] == [[]] * len(good)
