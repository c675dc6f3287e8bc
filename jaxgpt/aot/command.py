"""`jaxgpt compile`, from words to table."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxgpt.aot.adaptation import adapted, changes
from jaxgpt.aot.compilation import compile_adapted, without_text
from jaxgpt.aot.mesh_search import search
from jaxgpt.aot.printing import print_answer, print_search
from jaxgpt.disk import write_json_atomic
from jaxgpt.parallel import Mesh
from jaxgpt.parallel.chips import parse_slice
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import ConfigError, JaxgptError, load_yaml


def compile_ahead(
    config: Path, overrides: Sequence[str], topology: str, mesh: str, json_path: Path | None, tries: bool
) -> None:
    """Compiles the step of a run for a slice: on the mesh that is named, or, if `tries` or where none is, on many of
    which the best is told. Prints, and writes JSON. Raises JaxgptError where the step fits on none."""
    where, sizes = parse_slice(topology), parse_mesh(mesh)
    jax.config.update("jax_platforms", "cpu")  # counting parameters asks for devices; libtpu would look for its own
    changes_of_mesh = [f"exec.mesh={json.dumps(sizes)}"] if sizes else []
    run = without_text(load_yaml(ObjectiveRun, config, [*overrides, *changes_of_mesh]))
    if tries or run.exec.mesh == Mesh():
        tried = search(run, where, sizes)
        print_search(tried, run)
        best, figures = tried[0].answer, {"tried": [trial.figures(run) for trial in tried]}
        if best is not None and not tries:
            print_answer(best, run)
            figures |= best.figures() | {"changed": changes(run, best.run)}
    else:
        best = compile_adapted(adapted(run, where), where)
        print_answer(best, run)
        figures = best.figures() | {"changed": changes(run, best.run)}
    if json_path is not None:
        write_json_atomic(json_path, figures)
    if best is None:
        raise JaxgptError(f"--mesh: none of {len(tried)} can be compiled for {where.name}; use a larger slice")


def parse_mesh(text: str) -> dict[str, int]:
    """`fsdp=128,tensor=8` as sizes by axis. Raises ConfigError; the axes' names are checked with the run."""
    sizes = {}
    for part in filter(None, text.split(",")):
        name, _, size = part.partition("=")
        if not name or not size.removeprefix("-").isdecimal():
            raise ConfigError(f"--mesh: '{part}' is no axis=size; write --mesh fsdp=128,tensor=8")
        sizes[name.strip()] = int(size)
    return sizes
