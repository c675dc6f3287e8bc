"""The TPUs that Google Cloud rents: their names, machines and shapes. Needs Python alone.

    python tpu/accelerators.py                  # the table
    python tpu/accelerators.py v5p:4x4x4        # hosts, chips, runtime and gcloud's flags of one slice, for vm.sh

What Google documents, and where (stored copies of 2025 and 2026):

- names of GKE's node label, chips of a machine, shapes: docs.cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus
- v5e, v5p, v6e, machine types with their chips: docs.cloud.google.com/tpu/docs/v5e, /v5p ("the maximum v5p shape is
  16x16x24", 6144 chips), /v6e (4 chips in each VM of a slice of more than 8)
- v4: docs.cloud.google.com/tpu/docs/v4 (4096 chips), and the rule of three dimensions, cloud.google.com/tpu/docs/
  types-topologies: AxBxC, A <= B <= C, "either all <= 4 or all integer multiples of 4"; the default shape of a number
  of chips is the one most like a cube; any other is asked for as --type and --topology
- runtime versions: docs.cloud.google.com/tpu/docs/runtimes
- the number in a type counts TensorCores on v4 and v5p (two a chip), chips on v5e and v6e: the pages of each

Where a shape exists on one machine as well as on several (8 chips of v5e or v6e), the one machine is meant.
"""

import sys
from math import prod
from typing import NamedTuple

SMALL = "2x2x1", "2x2x2", "2x2x4", "2x4x4"
"""The shapes of three dimensions that are less than one cube of 4x4x4."""
FLAT = "1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"
"""All shapes of two dimensions."""


class Accelerator(NamedTuple):
    """A generation of TPUs."""

    gke: str
    """Value of the node label cloud.google.com/gke-tpu-accelerator."""
    machine: str
    """Machine type of a node, less `-4t` for 4 chips."""
    gcloud: str
    """What gcloud calls it: `v5litepod` in --accelerator-type=v5litepod-16."""
    counts: int
    """What the number in that type counts for each chip."""
    runtime: str
    """Software version of a TPU VM."""
    solo: int
    """Most chips of a machine that is a slice by itself. Machines of larger slices have 4."""
    chips: int
    """Most chips of a slice."""
    flat: bool
    """Whether shapes have two dimensions, not three."""

    def shapes(self) -> list[str]:
        """Every valid topology."""
        if self.flat:
            return list(FLAT)
        most, step = self.chips, 4
        cubes = [
            (a, b, c)
            for a in range(step, most, step)
            for b in range(a, most // a + 1, step)
            for c in range(b, most // (a * b) + 1, step)
        ]
        return [*SMALL, *("x".join(map(str, shape)) for shape in sorted(cubes, key=lambda shape: (prod(shape), shape)))]


TABLE = {
    "v4": Accelerator("tpu-v4-podslice", "ct4p-hightpu", "v4", 2, "tpu-ubuntu2204-base", 4, 4096, False),
    "v5e": Accelerator("tpu-v5-lite-podslice", "ct5lp-hightpu", "v5litepod", 1, "v2-alpha-tpuv5-lite", 8, 256, True),
    "v5p": Accelerator("tpu-v5p-slice", "ct5p-hightpu", "v5p", 2, "v2-alpha-tpuv5", 4, 6144, False),
    "v6e": Accelerator("tpu-v6e-slice", "ct6e-standard", "v6e", 1, "v2-alpha-tpuv6e", 8, 256, True),
}


class Slice(NamedTuple):
    """Chips that are wired together. Get one from `named`."""

    accelerator: Accelerator
    shape: str

    @property
    def chips(self) -> int:
        """How many in all."""
        return prod(map(int, self.shape.split("x")))

    @property
    def chips_per_host(self) -> int:
        """How many each machine has."""
        return self.chips if self.chips <= self.accelerator.solo else 4

    @property
    def hosts(self) -> int:
        """Machines: as many processes train."""
        return self.chips // self.chips_per_host

    @property
    def machine(self) -> str:
        """Machine type of a GKE node."""
        return f"{self.accelerator.machine}-{self.chips_per_host}t"

    @property
    def flags(self) -> list[str]:
        """How gcloud is asked for it: by type where that means this shape, else by shape."""
        sides = {shape: sorted(map(int, shape.split("x"))) for shape in self.accelerator.shapes()}
        alike = [shape for shape, side in sides.items() if prod(side) == self.chips]
        if self.shape == min(alike, key=lambda shape: sum(sides[shape])):
            return [f"--accelerator-type={self.accelerator.gcloud}-{self.chips * self.accelerator.counts}"]
        return [f"--type={self.accelerator.gcloud}", f"--topology={self.shape}"]


def named(text: str) -> Slice:
    """The slice that `v5p:4x4x4` names. Raises ValueError, one line with the value and what there is."""
    kind, colon, shape = text.partition(":")
    if not colon:
        raise ValueError(f"--topology: {text!r} is not TYPE:SHAPE; write v5e:4x4 or v5p:4x4x4")
    if kind not in TABLE:
        raise ValueError(f"--topology: there is no {kind!r}; known: {', '.join(TABLE)}")
    accelerator = TABLE[kind]
    if shape not in accelerator.shapes():
        cubes = f", and AxBxC of multiples of 4, A <= B <= C, up to {accelerator.chips} chips"
        known = ", ".join(FLAT) if accelerator.flat else ", ".join(SMALL) + cubes
        raise ValueError(f"--topology: {kind} has no slice of {shape!r}; its shapes: {known}")
    return Slice(accelerator, shape)


def main() -> int:
    """Prints one slice's facts, or the table; returns the exit status."""
    if len(sys.argv) == 1:
        for kind, row in TABLE.items():
            shapes = row.shapes()
            known = " ".join(shapes if row.flat else [*shapes[:6], "...", shapes[-1]])
            print(f"{kind:4} {row.gke:21} {row.machine:14} {row.runtime:20} up to {row.chips:4} chips: {known}")
        return 0
    try:
        found = named(sys.argv[1])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(found.hosts, found.chips, found.accelerator.runtime, *found.flags)
    return 0


if __name__ == "__main__":
    sys.exit(main())
