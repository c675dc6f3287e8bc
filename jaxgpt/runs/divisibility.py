"""How a run's rows and tokens divide over a mesh, and what would divide where they do not."""

from collections.abc import Mapping
from math import gcd

from jaxgpt.parallel.mesh import ROWS, row_parts
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import ConfigError


def check_divides(run: ObjectiveRun, sizes: Mapping[str, int]) -> None:
    """Raises ConfigError with one line for each number of rows, and each length of a batch's arrays, that a mesh of
    these axes does not divide; it proposes numbers that do, and a mesh of as many devices that suits the rows."""
    ways, problems = row_parts(sizes), []
    for name, (rows, parts) in rows_by_field(run).items():
        if rows % (ways * parts):
            also = "".join(f", or {text}" for text in [_other_mesh(run, sizes)] if text)
            problems.append(
                f"{name}: {rows} rows do not divide over exec.mesh {' x '.join(ROWS)} = {ways}, accumulate = {parts}; "
                f"use {' or '.join(map(str, around(rows, ways * parts)))} rows{also}"
            )
    for length, name in _lengths(run).items():
        if length % sizes["sequence"]:
            lengths = " or ".join(map(str, around(length, sizes["sequence"])))
            problems.append(
                f"{name}: {length} tokens do not divide over exec.mesh sequence = {sizes['sequence']}; "
                f"use {lengths} tokens"
            )
    if problems:
        raise ConfigError(problems)


def around(number: int, of: int) -> list[int]:
    """The multiples of `of` next to a number, above 0: the lower and the higher, or itself."""
    below = number // of * of
    return [number] if below == number else [multiple for multiple in (below, below + of) if multiple > 0]


def nearest(number: int, of: int) -> int:
    """The multiple of `of` nearest to a number, above 0; the lower of two."""
    return min(around(number, of), key=lambda multiple: (abs(multiple - number), multiple))


def rows_by_field(run: ObjectiveRun) -> dict[str, tuple[int, int]]:
    """Rows of each call and the parts that it is computed in, by the field that decides them. Later sizes of a ramp are
    multiples of its start."""
    parts = run.exec.accumulate
    rows = {"batch_size": (run.batch_size, parts)}
    if run.batch_ramp is not None:
        rows["batch_ramp.start"] = run.batch_ramp.start, parts
    if run.eval.batch_size is not None:
        rows["eval.batch_size"] = run.eval.batch_size, 1
    return rows


def _lengths(run: ObjectiveRun) -> dict[int, str]:
    """Lengths of the batch's arrays of more than rows, and what decides each; of a run whose data have yet to decide
    what a batch holds, that of its rows."""
    shapes = run.batch_shapes() if run.complete else {}
    longer = {name: shape for name, (shape, _) in shapes.items() if len(shape) > 1}
    return {shape[1]: f"batch/{name}" for name, shape in longer.items()} | {run.seq_len: "data.seq_len"}


def _other_mesh(run: ObjectiveRun, sizes: Mapping[str, int]) -> str:
    """Sizes of a mesh of as many devices that divides all rows as they are: fewer parts of a batch, more of a matrix.
    Empty where there is none."""
    common, heads = gcd(*(rows // parts for rows, parts in rows_by_field(run).values())), run.model.heads
    devices = row_parts(sizes) * sizes["tensor"]
    if any(rows % parts for rows, parts in rows_by_field(run).values()):
        return ""
    for tensor in range(sizes["tensor"], heads + 1, sizes["tensor"]):
        ways = devices // (tensor * sizes["expert"])
        if devices % (tensor * sizes["expert"]) == 0 and common % (ways * sizes["expert"]) == 0 and heads % tensor == 0:
            rows = {"data": 1, "fsdp": ways} if sizes["fsdp"] > 1 else {"data": ways}
            return " ".join(f"exec.mesh.{axis}={size}" for axis, size in {**rows, "tensor": tensor}.items())
    return ""
