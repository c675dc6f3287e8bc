"""Compiles the attention kernels for TPU, forward and backward, on a machine that has none.

    python tpu/compile_attention.py                                    # v5e and v5p, every kernel: a quarter of an hour
    python tpu/compile_attention.py --topology v6e:2x2 --kernel splash --length 8192

libtpu (`pip install 'jax[tpu]'`) describes a topology's chips and compiles for them ahead of time, so this finds what
an emulated kernel on a CPU hides: operations that Mosaic lacks, and blocks that overflow a chip's memory. It times
nothing and checks no value. Each topology is compiled in a child process, because libtpu, once loaded, stays. Prints a
line for each case: bytes of temporaries in a chip's main memory (what stays in its fast memory is not counted) and
seconds to compile, or the error; exit status 1 when a case fails.
"""

import argparse
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any, NamedTuple

from jaxgpt.aot.topology import NO_PROBING

KERNELS = "splash", "block_sparse"
H = 8
"""Query heads."""


class Shape(NamedTuple):
    """What a case has besides kernel and pattern."""

    d_head: int
    groups: int
    segments: bool = False
    soft_cap: float | None = None


SHAPES = Shape(64, H), Shape(128, 2, segments=True)
"""Every pattern on splash takes both; on block_sparse, which compiles slowly, they take turns."""
MORE = Shape(64, 1), Shape(128, H, soft_cap=50.0), Shape(80, 2)
"""On splash and causal only: multi-query, capped, and a head that does not fill the vector unit."""


def compile_all(topology: str, names: list[str], length: int, batch: int) -> int:
    """Compiles every case on the chips of `topology`, rows spread over them; returns how many fail."""

    from jaxgpt.aot.topology import slice_devices
    from jaxgpt.ops.sharding import constraining
    from jaxgpt.parallel import Mesh, Standard, placement_of
    from jaxgpt.parallel.chips import parse_slice

    mesh = Mesh().build(slice_devices(parse_slice(topology)))
    failed = 0
    for name in names:
        for index, pattern in enumerate(every_pattern()):
            for shape in shapes(name, index):
                label = f"{pattern.kind} {getattr(pattern, 'factor', '')}".strip()
                extra = " segments" if shape.segments else f" cap {shape.soft_cap}" if shape.soft_cap else ""
                start = time.perf_counter()
                try:
                    with constraining(placement_of(Standard(), mesh)):
                        program = compiled(name, pattern, shape, mesh, length, batch)
                    result = f"{program.memory_analysis().temp_size_in_bytes:>13,} bytes"
                except Exception as error:
                    failed += 1
                    result = f"FAILED {type(error).__name__}: {str(error).strip().splitlines()[0]}"
                where = f"{topology:10} {name:12} {label:15} d_head {shape.d_head:3} heads {H}/{shape.groups}{extra:9}"
                print(f"{where} {result} {time.perf_counter() - start:5.1f} s", flush=True)
    return failed


def every_pattern() -> list[Any]:
    """Each kind, causal first; the extents suit a row of 2048."""
    from jaxgpt.ops.patterns import (
        Banded,
        Bidirectional,
        Causal,
        Dilated,
        Fixed,
        GlobalWindow,
        Intersection,
        PerHead,
        Prefix,
        Sinks,
        Strided,
        Union,
    )

    causal, band, strided, fixed = Causal(), Banded(window=256), Strided(stride=128), Fixed(stride=128)
    window = GlobalWindow(window=256)
    alone = [
        causal,
        Bidirectional(),
        Prefix(length=100),
        band,
        Dilated(window=64, dilation=3),
        Sinks(window=256),
        window,
    ]
    factors = [strided, strided.evolve(factor="column"), fixed, fixed.evolve(factor="summary")]
    return [*alone, *factors, Union(of=(band, strided)), Intersection(of=(causal, window)), PerHead(of=(causal, band))]


def shapes(name: str, index: int) -> tuple[Shape, ...]:
    """The shapes that a kernel's `index`-th pattern is compiled in."""
    if name == "splash":
        return SHAPES + (MORE if index == 0 else ())
    return (SHAPES[index % len(SHAPES)],)


def compiled(name: str, pattern: Any, shape: Shape, mesh: Any, length: int, batch: int) -> Any:
    """The compiled value and gradient of one attention call, in bfloat16."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    from jaxgpt.ops.attention import BlockSparse, Scores, Side
    from jaxgpt.ops.attention.splash import Splash
    from jaxgpt.parallel import ROWS

    kernel = {"splash": Splash(), "block_sparse": BlockSparse()}[name]
    rows = NamedSharding(mesh, PartitionSpec(ROWS))
    at = np.arange(length, dtype=np.int32)

    def loss(q_BHTK: Any, k_BGTK: Any, v_BGTK: Any, segment_BT: Any) -> Any:
        side = Side(at, segment_BT if shape.segments else None)
        scores = Scores(pattern, side, side, soft_cap=shape.soft_cap, numbering="row")
        return jnp.sum(kernel.attend(q_BHTK, k_BGTK, v_BGTK, scores).astype(jnp.float32) ** 2)

    sizes = [(batch, heads, length, shape.d_head) for heads in (H, shape.groups, shape.groups)]
    values = [jax.ShapeDtypeStruct(size, jnp.bfloat16, sharding=rows) for size in sizes]
    segment = jax.ShapeDtypeStruct((batch, length), jnp.int32, sharding=rows)
    return jax.jit(jax.value_and_grad(loss, (0, 1, 2))).lower(*values, segment).compile()


def main() -> int:
    """Reads the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", nargs="+", default=["v5e:2x2", "v5p:2x2x1"], help="as libtpu names them")
    parser.add_argument("--kernel", nargs="+", default=KERNELS, choices=KERNELS)
    parser.add_argument("--length", type=int, default=2048, help="tokens a row")
    parser.add_argument("--batch", type=int, default=64, help="rows in all")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if find_spec("libtpu") is None:
        print("error: libtpu is not installed; pip install 'jax[tpu]' in an environment of its own", file=sys.stderr)
        return 2
    if options.child:
        return compile_all(options.topology[0], options.kernel, options.length, options.batch) > 0
    failed = False
    for topology in options.topology:
        command = [sys.executable, __file__, "--child", "--topology", topology, "--kernel", *options.kernel]
        command += ["--length", str(options.length), "--batch", str(options.batch)]
        failed |= subprocess.run(command, env=os.environ | NO_PROBING).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
