"""The pipeline of a run: the loop over layers that its mesh asks for, and what would not fit it."""

from collections.abc import Mapping
from math import gcd

from jaxgpt.nn.pipeline import Pipelined
from jaxgpt.nn.stack import Loop
from jaxgpt.ops.sharding import placement
from jaxgpt.parallel.mesh import row_parts
from jaxgpt.runs.divisibility import rows_by_field
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import ConfigError

PER_STAGE = 4
"""Microbatches a stage, where not given: with so many the bubble is below a fifth (Huang et al. 2019, section 2.3)."""


def layer_loop(run: ObjectiveRun) -> Loop:
    """What `run` loops over its layers with, on the mesh that is being traced for."""
    current = placement()
    return pipelined(run, {} if current is None else current.mesh.shape) or run.exec.loop(run.model.depth)


def pipelined(run: ObjectiveRun, sizes: Mapping[str, int]) -> Pipelined | None:
    """The pipeline of a run on a mesh of these axes; None without one."""
    stages, repeats = sizes.get("pipeline", 1), run.exec.pipeline.repeats
    if stages == 1:
        return None
    return Pipelined(
        stages=stages,
        microbatches=run.exec.pipeline.microbatches or _most(run, sizes),
        repeats=repeats,
        layers=run.exec.loop(run.model.depth // (stages * repeats)),
    )


def check_pipeline(run: ObjectiveRun, sizes: Mapping[str, int]) -> None:
    """Raises ConfigError when the run does not fit the pipeline of a mesh of these axes."""
    how, layers = pipelined(run, sizes), run.model.depth
    if how is None:
        return
    groups = how.stages * how.repeats
    named = f"exec.mesh.pipeline {how.stages} x exec.pipeline.repeats {how.repeats}"
    problems = []
    if layers % groups:
        problems.append(
            f"model.num_layers: {layers} layers do not divide into {named} groups; use a multiple of {groups}"
        )
    period = run.model.period
    if layers % groups == 0 and (layers // groups) % period:
        problems.append(
            f"model.pattern: a cycle of {period} does not divide the {layers // groups} layers of a stage, and "
            f"all stages run one program; with {named} use a multiple of {groups * period} layers"
        )
    if how.repeats > 1 and how.microbatches < how.stages:
        problems.append(
            f"exec.pipeline: {how.microbatches} microbatches would come round before {how.stages} stages are through; "
            f"use at least {how.stages}, or repeats 1"
        )
    ways = row_parts(sizes)
    problems += [
        f"{name}: {rows} rows do not divide into {how.microbatches} microbatches for {ways} devices each; "
        f"use a multiple of {how.microbatches * ways}, or other exec.pipeline.microbatches"
        for name, rows in _rows(run).items()
        if rows % (how.microbatches * ways)
    ]
    if problems:
        raise ConfigError(problems)


def _rows(run: ObjectiveRun) -> dict[str, int]:
    """Rows that go through the layers at once, by the field that decides them."""
    return {name: rows // parts for name, (rows, parts) in rows_by_field(run).items()}


def _most(run: ObjectiveRun, sizes: Mapping[str, int]) -> int:
    rows = gcd(*_rows(run).values()) // row_parts(sizes)
    return next((n for n in range(min(rows, PER_STAGE * sizes["pipeline"]), 1, -1) if rows % n == 0), 1)
