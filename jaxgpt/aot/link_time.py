"""How long a collective takes on a torus of chips, by the formulas of rings.

A group of n devices gathers or scatters b bytes along a ring in (n - 1)/n · b / bandwidth, and sums them in twice that
(Patarasuk & Yuan 2009). Along each axis of the torus that a group spans it has two links a chip where the axis closes
to a ring and one where it is a line, and all axes work at once. Latency is not counted.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from jaxgpt.aot.collectives import Collective
from jaxgpt.parallel.chips import Slice

PASSES = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0, "collective-broadcast": 1.0}
"""How often the whole value goes round."""
EXCHANGES = ("all-to-all", "ragged-all-to-all")


class Place(NamedTuple):
    """A device's coordinates in its slice, and which slice that is."""

    slice: int
    at: tuple[int, ...]
    """Along the axes of its slice."""


def taken(moved: Iterable[Collective], places: Sequence[Place], topology: Slice) -> dict[str, float]:
    """Seconds by kind, one collective after another; but permutes that go opposite ways around a ring use links of
    their own, and count as going at once, which is how XLA sends the two halves of a matrix around."""
    ways: dict[tuple[str, bool], float] = {}
    for collective in moved:
        back = (
            collective.kind == "collective-permute"
            and collective.group > 2
            and collective.members[1] > collective.members[-1]
        )
        ways[collective.kind, back] = ways.get((collective.kind, back), 0.0) + collective.times * seconds(
            collective, places, topology
        )
    return {kind: max(took for (name, _), took in ways.items() if name == kind) for kind, _ in ways}


def seconds(collective: Collective, places: Sequence[Place], topology: Slice) -> float:
    """One execution, if nothing else is on the links. `places` are those of the mesh's devices, in order.

    Between slices, each chip of a group takes its share of the value over the data centre's network.
    """
    group = [places[i] for i in collective.members]
    slices = len({place.slice for place in group})
    if collective.kind == "collective-permute":
        return max(_hop(collective.bytes, a, b, topology) for a, b in pairwise(group))
    near = [place.at for place in group if place.slice == group[0].slice]
    inside = _within(collective, near, topology) if len(near) > 1 else 0.0
    if slices == 1:
        return inside
    passes = PASSES.get(collective.kind, 1.0)
    return inside + passes * (slices - 1) / slices * collective.bytes / len(near) / topology.chip.between


def _within(collective: Collective, group: list[tuple[int, ...]], topology: Slice) -> float:
    extents = [len(set(along)) for along in zip(*group, strict=True)]
    axes = [i for i, extent in enumerate(extents) if extent > 1]
    rings = [topology.wrapped[i] and extents[i] == topology.shape[i] for i in axes]
    if (
        collective.kind in EXCHANGES
    ):  # the longest axis: each of n chips sends 1/n to each other, a quarter of a ring away
        return max(
            collective.bytes * extents[i] / (8 if ring else 4) / topology.chip.link
            for i, ring in zip(axes, rings, strict=True)
        )
    bandwidth = topology.chip.link * sum(2 if ring else 1 for ring in rings)
    return PASSES[collective.kind] * (len(group) - 1) / len(group) * collective.bytes / bandwidth


def _hop(size: int, a: Place, b: Place, topology: Slice) -> float:
    """Seconds from one chip to another; a link that others' messages cross too is shared with them."""
    if a.slice != b.slice:
        return size / topology.chip.between
    hops = 0
    for x, y, length, wraps in zip(a.at, b.at, topology.shape, topology.wrapped, strict=True):
        far = abs(x - y)
        hops = max(hops, min(far, length - far) if wraps else far)
    return size * max(hops, 1) / topology.chip.link
