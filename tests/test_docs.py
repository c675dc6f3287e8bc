"""What docs and docstrings name is there: paths, links, configs, verbs, flags, overrides, `module.name`."""

import ast
import glob
import re
import shlex
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from jaxgpt import shipped
from jaxgpt.cli import app
from jaxgpt.spec import ConfigError, load_yaml

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in ROOT.glob("**/*.md")
    if path.name != "CHANGELOG.md" and not {".venv", ".venv-tpu", "runs"} & set(path.relative_to(ROOT).parts)
)
"""The changelog tells of names that are gone."""
SOURCES = sorted([*ROOT.glob("jaxgpt/**/*.py"), *ROOT.glob("bench/*.py"), *ROOT.glob("experiments/*.py")])
OURS = re.compile(r"(?<![\w./{<-])(?:jaxgpt|configs|experiments|bench|docs|tests|tpu)/[\w./*-]*[\w*]")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(
    r"(?:^|[`\s(])jaxgpt ((?:train|ablate|lab|sample|eval|convert|show|compile|list|doctor)\b[^`\n#&|;]*)"
)
DOTTED = re.compile(r"`([a-z_][a-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)+)(?:\([^`]*\))?`")
HOLE = re.compile(r"[<>{}…]|\.\.\.|^[A-Z_]+$|=[A-Z]")
"""What a reader fills in."""


def ids(path):
    return str(path.relative_to(ROOT))


def texts(path):
    """A page whole, or the docstrings of a module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    nodes = [
        n.value.value
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
    ]
    return "\n".join(node for node in nodes if isinstance(node, str))


@pytest.mark.parametrize("path", PAGES + SOURCES, ids=ids)
def test_paths_and_links_lead_somewhere(path):
    text = texts(path)
    lost = [name for name in OURS.findall(text) if not glob.glob(str(ROOT / name)) and not made_by_a_run(name)]
    links = [link for link in LINK.findall(text) if path.suffix == ".md" and "://" not in link]
    lost += [link for link in links if not (path.parent / link).exists()]
    assert not lost


def made_by_a_run(name):
    return name.startswith(("bench/results", "tpu/out"))


@cache
def names():
    """`{module or class: what it defines}`: of every module by its last name, and of every class."""
    defined = {}
    for path in SOURCES:
        module = path.parent.name if path.name == "__init__.py" else path.stem
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined.setdefault(module, set()).update(_bound(tree))
        if path.name != "__init__.py":
            defined.setdefault(path.parent.name, set()).add(module)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                defined.setdefault(node.name, set()).update(_bound(node))
    for folder in ROOT.glob("jaxgpt/**/"):
        defined.setdefault(folder.parent.name, set()).add(folder.name)
    return defined


def _bound(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


@cache
def modules():
    return {path.parent.name if path.name == "__init__.py" else path.stem for path in ROOT.glob("jaxgpt/**/*.py")}


@pytest.mark.parametrize("path", PAGES + SOURCES, ids=ids)
def test_what_is_named_by_its_module_is_there(path):
    """`file.json`, `field.of.a.config` and other libraries' names are no business of this test."""
    ours = {"model", "objective", "data", "exec", "tokenizer", "lab", "spec", "run"}
    others = ours | {"gguf", "mteb", "peft", "tokenizers"}
    lost = []
    for name in DOTTED.findall(texts(path)):
        parts = name.removeprefix("jaxgpt.").split(".")
        if name.startswith("jaxgpt.") or (parts[0] in modules() - sys.stdlib_module_names and parts[0] not in others):
            known = [b in names().get(a, set()) | names().get(a.title(), set()) for a, b in pairwise(parts)]
            if not all(known) and not re.search(r"\.(jsonl?|yaml|md|py|txt|tex|pdf|sh|lock|c)$", name):
                lost.append(name)
    assert not lost


@cache
def options(verb):
    """Flags of a verb, and how many words it needs at least; None: there is no such verb."""
    command = typer.main.get_command(app)
    for word in verb.split():
        command = command.commands.get(word)
        if command is None:
            return None
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def commands(path):
    text = texts(path).replace("\\\n", " ")
    for words in COMMAND.findall(text):
        try:
            yield shlex.split(words.rstrip(" .,;:)"))
        except ValueError:  # prose with an apostrophe
            continue


@pytest.mark.parametrize("path", PAGES + SOURCES + sorted(ROOT.glob("configs/**/*.yaml")), ids=ids)
def test_commands_have_these_verbs_flags_and_fields(path):
    from jaxgpt.runs import Run

    wrong = []
    for words in commands(path) if path.suffix != ".yaml" else of_yaml(path):
        verb = " ".join(words[:2]) if words[0] == "lab" and words[1:] else words[0]
        known = options(verb)
        if known is None:
            wrong += [f"no verb '{verb}'"] if not HOLE.search(verb) and verb != "lab" and "|" not in verb else []
            continue
        wrong += [f"{verb} {word}" for word in words if word.startswith("--") and word.partition("=")[0] not in known]
        if (
            words[0] not in {"train", "show", "compile"}
            or len(words) < 2
            or HOLE.search(words[1])
            or words[1].startswith("-")
        ):
            continue
        overrides = [word for word in words[2:] if re.match(r"[a-z_.0-9]+=", word) and not HOLE.search(word)]
        try:
            config = shipped.find(words[1], "config") if not Path(words[1]).suffix else ROOT / words[1]
            if config.exists() or words[1].startswith("configs/"):
                load_yaml(Run, config, overrides)
        except ConfigError as error:
            wrong.append(f"{' '.join(words)}: {error}")
    assert not wrong


def of_yaml(path):
    """The command in a config's first lines."""
    head = "\n".join(
        line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")
    )
    return [shlex.split(words.rstrip(" .,;:)")) for words in COMMAND.findall(head) if "'" not in words]
