"""What a compiled program's devices say to one another: its collectives, from its text."""

import re
from collections.abc import Iterable
from math import prod
from typing import NamedTuple

import numpy as np

from jaxgpt.parallel.hlo import Instruction, Module, array_bytes, elements, executed, parse

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


class Collective(NamedTuple):
    """One instruction."""

    kind: str
    bytes: int
    """Of the whole value, once: what a group gathers, reduces or scatters; what one device exchanges or sends."""
    group: int
    """Devices that talk with one another; of a permute, those along one chain."""
    times: int
    """How often it is run in a run of the program: 1, or the trips of the loops around it."""
    members: tuple[int, ...]
    """The first group, as places in the mesh's devices."""
    source: str
    """The operation of the model that it came from, as XLA remembers it."""


class Total(NamedTuple):
    """All of a kind."""

    times: int
    bytes: int


def collectives(text: str) -> list[Collective]:
    """Those of a compiled program (`compiled.as_text()`, of any backend), in the order in which they are run.

    An asynchronous pair counts at its start. What happens within one device alone (groups of one) is left out.
    """
    module = parse(text)
    found = [_collective(module, *step) for step in executed(module, fusions=True) if _kind(step[1]) is not None]
    return [one for one in found if one.group > 1]


def totals(found: Iterable[Collective]) -> dict[str, Total]:
    """By kind, each counted as often as it is run; kinds that do not occur are left out."""
    out: dict[str, Total] = {}
    for one in found:
        times, size = out.get(one.kind, (0, 0))
        out[one.kind] = Total(times + one.times, size + one.times * one.bytes)
    return out


def _kind(one: Instruction) -> str | None:
    kind = one.opcode.removesuffix("-start")
    return kind if kind in KINDS else None


def _collective(module: Module, computation: str, one: Instruction, times: int) -> Collective:
    kind = _kind(one) or ""
    shape = one.shape
    if one.opcode.endswith("-start") and kind != "all-reduce":  # (operands, results, ...)
        shape = elements(shape)[1]
    members = _chain(one.rest) if kind == "collective-permute" else _first_group(one.rest, module.devices)
    size = array_bytes(shape)
    if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"  # how TPUs do it: a fusion of the sum and of each device's slice
    elif kind == "reduce-scatter":
        size *= len(members)
    source = re.search(r'op_name="([^"]*)"', one.rest)
    return Collective(kind, size, len(members), times, members, source[1] if source else "")


def _first_group(rest: str, devices: int) -> tuple[int, ...]:
    """`replica_groups={{0,1},{2,3}}`, `[2,4]<=[8]` or `[4,2]<=[2,4]T(1,0)`; none named: all devices."""
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", rest)
    if listed:
        return tuple(int(i) for i in listed[1].split(","))
    made = re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", rest)
    if made:
        groups, sizes = (tuple(int(i) for i in made[part].split(",")) for part in (1, 2))
        order = tuple(int(i) for i in made[3].split(",")) if made[3] else None
        return tuple(np.arange(prod(sizes)).reshape(sizes).transpose(order).reshape(groups)[0].tolist())
    return tuple(range(devices))


def _chain(rest: str) -> tuple[int, ...]:
    """`source_target_pairs={{0,1},{1,2},{2,0}}`: the devices that one walk along the arrows meets."""
    listed = re.search(r"source_target_pairs=\{(.*?)\}\}", rest)
    pairs = re.findall(r"(\d+),(\d+)", listed[1]) if listed else []
    after = {int(a): int(b) for a, b in pairs if a != b}
    starts = [a for a in after if a not in after.values()] or list(after)
    walk = starts[:1]
    while walk and walk[-1] in after and after[walk[-1]] not in walk:
        walk.append(after[walk[-1]])
    return tuple(walk)
