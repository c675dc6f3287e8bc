"""The process that loads libtpu: reads a request from standard input, writes one line of JSON.

python -m jaxgpt.aot.child_process     # started by `ask`, with its environment
"""

import json
import resource
import sys
import time
from typing import Any

import jax

from jaxgpt.aot.collectives import Collective, collectives, totals
from jaxgpt.aot.compilation import TOO_LARGE
from jaxgpt.aot.link_time import Place, taken
from jaxgpt.aot.memory_traffic import traffic
from jaxgpt.aot.topology import places, slice_devices
from jaxgpt.parallel.chips import Slice, parse_slice
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import JaxgptError, parse
from jaxgpt.train.compiled_step import compile_step
from jaxgpt.train.fitting import fitted


def facts(run: ObjectiveRun, topology: Slice) -> dict[str, Any]:
    """Bytes a chip, collectives, seconds to compile: all that the compiled step tells."""
    devices = slice_devices(topology)
    run, programs, measured, _, _ = fitted(run, int(topology.chip.memory), devices)
    step = measured or compile_step(run, programs)
    text, memory = step.executable.as_text(), step.executable.memory_analysis()
    where = places(list(programs.mesh.devices.flat), topology)
    return {
        "kernels": kernels(run, "tpu", programs.mesh.shape["sequence"]),
        "tokens": run.batch_size * run.row_tokens,
        "flops_per_token": run.flops_per_token(),
        "flops_per_token_true": run.flops_per_token(dense=False),
        "params_bytes": bytes_per_device(programs.state.model_params),
        "optimizer_bytes": bytes_per_device(programs.state.opt_state),
        "argument_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "memory_bytes": step.memory,
        "traffic_bytes": traffic(text),
        "collectives": spoken(collectives(text), where, topology),
        "trace_seconds": step.trace_seconds,
        "compile_seconds": step.compile_seconds,
        "cpu_seconds": time.process_time(),
        "host_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "versions": {"jax": jax.__version__, "libtpu": _libtpu()},
    }


def bytes_per_device(tree: Any) -> int:
    """Bytes that one device holds."""
    leaves = jax.tree.leaves(tree)
    sizes = [jax.ShapeDtypeStruct(leaf.sharding.shard_shape(leaf.shape), leaf.dtype) for leaf in leaves]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in sizes)


def spoken(moved: list[Collective], where: list[Place], topology: Slice) -> dict[str, Any]:
    """What a step's collectives say, by kind: how many, bytes, seconds, and the largest with the operation it came
    from."""
    seconds = taken(moved, where, topology)
    out: dict[str, Any] = {kind: {**total._asdict(), "seconds": seconds[kind]} for kind, total in totals(moved).items()}
    for kind, row in out.items():
        largest = max((each for each in moved if each.kind == kind), key=lambda each: each.bytes * each.times)
        row["largest"] = {"bytes": largest.bytes, "times": largest.times, "group": largest.group, "of": largest.source}
    return out


def _libtpu() -> str:
    from importlib.metadata import version

    return version("libtpu")


def main() -> None:
    """One request, one answer: facts, or `error` with one line."""
    request = json.load(sys.stdin)
    topology = parse_slice(request["topology"])._replace(copies=request["copies"])
    try:
        answer = facts(parse(ObjectiveRun, request["run"]), topology)
    except JaxgptError as error:
        answer = {"error": str(error)}
    except jax.errors.JaxRuntimeError as error:
        answer = {"error": refusal(str(error), topology)}
    print(json.dumps(answer), flush=True)


def refusal(text: str, topology: Slice) -> str:
    """One line for what the compiler said."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    used = next((line for line in lines if ("Used" in line and "hbm" in line) or "Ran out of memory" in line), None)
    if used is None:
        return f"the compiler refused the step: {lines[0]}"
    return f"exec.mesh: {TOO_LARGE} of {topology.name}: {used}; split more or set exec.remat=block"


if __name__ == "__main__":
    main()
