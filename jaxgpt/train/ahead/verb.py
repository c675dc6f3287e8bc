"""`jaxgpt compile`, from words to table."""

import json
from collections.abc import Sequence
from pathlib import Path

from jaxgpt.disk import write_json_atomic
from jaxgpt.parallel.chips import parse_slice
from jaxgpt.spec import ConfigError, load_yaml
from jaxgpt.train.ahead.ask import compile_for
from jaxgpt.train.ahead.search import search
from jaxgpt.train.ahead.table import print_answer, print_search
from jaxgpt.train.spec import Run


def compile_ahead(
    config: Path, overrides: Sequence[str], topology: str, mesh: str, json_path: Path | None, tries: bool
) -> None:
    """Compiles the step of a run for a slice, or, if `tries`, for many meshes of it; prints, and writes JSON."""
    where, sizes = parse_slice(topology), parse_mesh(mesh)
    run = load_yaml(Run, config, [*overrides, *([f"exec.mesh={json.dumps(sizes)}"] if sizes else [])])
    if tries:
        tried = search(run, where, sizes)
        print_search(tried)
        figures = {
            "tried": [
                {"mesh": one.mesh, "why": one.why} if one.answer is None else one.answer.figures() for one in tried
            ]
        }
    else:
        answer = compile_for(run, where)
        print_answer(answer)
        figures = answer.figures()
    if json_path is not None:
        write_json_atomic(json_path, figures)


def parse_mesh(text: str) -> dict[str, int]:
    """`fsdp=128,tensor=8` as sizes by axis. Raises ConfigError; the axes' names are checked with the run."""
    sizes = {}
    for part in filter(None, text.split(",")):
        name, _, size = part.partition("=")
        if not name or not size.removeprefix("-").isdecimal():
            raise ConfigError(f"--mesh: '{part}' is no axis=size; write --mesh fsdp=128,tensor=8")
        sizes[name.strip()] = int(size)
    return sizes
