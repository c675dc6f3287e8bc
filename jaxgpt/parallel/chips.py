"""What a chip can do at best, from its maker's pages. Predictions and MFU divide by these."""

from math import prod
from typing import NamedTuple

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean

GB, GIB, GBIT = 1e9, 2**30, 1e9 / 8


class Chip(NamedTuple):
    """One TPU chip (v4 and v5p: both cores of it, which jax shows as one device)."""

    kind: str
    """What jax calls such a device (`device_kind`)."""
    flops: float
    """FLOP/s at best, dense and in bf16."""
    memory: float
    """Bytes of its memory (HBM)."""
    bandwidth: float
    """Bytes a second between the chip and its HBM."""
    link: float
    """Bytes a second over one link to a neighbour (ICI), one way."""
    axes: int
    """Dimensions of the torus; the chip has two links along each."""
    wraps: int
    """An axis of a slice closes to a ring when its length is a multiple of this; else it is a line."""
    between: float
    """Bytes a second of a chip's share of the network between slices (DCN), one way."""
    page: str
    """The maker's page that has these figures."""

    @property
    def links(self) -> int:
        """The number of links that a chip has to its neighbours."""
        return 2 * self.axes


# Pages print the interconnect of all links in both directions: 1,200 GB/s of v5p are 6 links of 2 x 100. v4's prints
# the bisection of a pod instead, 24 TB/s over 2 x 16 x 16 links. The network between slices: v5e's and v6e's pages
# print 6.4 and 25.6 Tbit/s a pod of 256 chips; v4's prints none, so it has v5p's.
PAGES = "https://docs.cloud.google.com/tpu/docs/"
CHIPS = {
    "v4": Chip("TPU v4", 275e12, 32 * GIB, 1200 * GB, 24e12 / 512, 3, 4, 50 * GBIT, PAGES + "v4"),
    "v5e": Chip("TPU v5 lite", 197e12, 16 * GIB, 819 * GB, 50 * GB, 2, 16, 25 * GBIT, PAGES + "v5e"),
    "v5p": Chip("TPU v5", 459e12, 95 * GIB, 2765 * GB, 100 * GB, 3, 4, 50 * GBIT, PAGES + "v5p"),
    "v6e": Chip("TPU v6 lite", 918e12, 32 * GIB, 1638 * GB, 100 * GB, 2, 16, 100 * GBIT, PAGES + "v6e"),
}

GPUS = {  # dense bf16 FLOP/s, from NVIDIA's datasheets
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
}
PEAK = GPUS | {chip.kind: chip.flops for chip in CHIPS.values()}
"""FLOP/s by what a device's kind begins with."""


class Slice(NamedTuple):
    """A topology by name: `v5p:4x4x8`, or `v5p:4x4x8*2` for two such slices."""

    name: str
    """What libtpu calls one such slice: `v5p:4x4x8`."""
    chip: Chip
    shape: tuple[int, ...]
    copies: int

    @property
    def chips(self) -> int:
        """The number of chips of all slices together."""
        return prod(self.shape) * self.copies

    @property
    def wrapped(self) -> tuple[bool, ...]:
        """For each axis of the torus, whether it closes to a ring."""
        return tuple(size % self.chip.wraps == 0 for size in self.shape)


def parse_slice(text: str) -> Slice:
    """Reads a topology's name. Raises ConfigError, one line, when it is none."""
    name, star, copies = text.partition("*")
    generation, _, sizes = name.partition(":")
    if generation not in CHIPS:
        raise ConfigError(f"--topology: '{text}' names no known chip{did_you_mean(generation, CHIPS)}")
    chip = CHIPS[generation]
    parts = sizes.split("x")
    if len(parts) != chip.axes or not all(map(_counts, parts)) or (star and not _counts(copies)):
        example = "x".join(["4"] * chip.axes)
        raise ConfigError(
            f"--topology: '{text}' needs {chip.axes} sizes, as in {generation}:{example}; *2 behind them: two slices"
        )
    return Slice(name, chip, tuple(map(int, parts)), int(copies or 1))


def _counts(text: str) -> bool:
    return text.isdecimal() and int(text) > 0
