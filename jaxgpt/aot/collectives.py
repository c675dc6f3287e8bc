"""What a compiled program's devices say to one another: its collectives, from its text."""

import re
from collections.abc import Iterable
from math import prod
from typing import NamedTuple

import numpy as np

from jaxgpt.aot.hlo import Instruction, Module, array_bytes, elements, executed, parse

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
    """One collective instruction of a compiled program."""

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
    """The sum over all collectives of one kind."""

    times: int
    bytes: int


def collectives(text: str) -> list[Collective]:
    """The collectives of a compiled program (`compiled.as_text()`, of any backend), in the order in which they are run.

    An asynchronous pair counts at its start. What happens within one device alone (groups of one) is left out.
    """
    module = parse(text)
    moved, chains = list[Collective](), set[str]()
    for computation, instruction, times in executed(module, fusions=True):
        if _kind(instruction) is None:
            continue
        chain = re.search(r"channel_id=(\d+).*chain_id=", instruction.rest)
        if chain and chain[1] in chains:  # a TPU's start, the work meanwhile and the end each show it
            continue
        chains |= {chain[1]} if chain else set()
        moved.append(_collective(module, computation, instruction, times))
    return [each for each in moved if each.group > 1]


def totals(moved: Iterable[Collective]) -> dict[str, Total]:
    """Sums by kind, each collective counted as often as it is run; kinds that do not occur are left out."""
    out: dict[str, Total] = {}
    for each in moved:
        times, size = out.get(each.kind, (0, 0))
        out[each.kind] = Total(times + each.times, size + each.times * each.bytes)
    return out


def _kind(instruction: Instruction) -> str | None:
    kind = instruction.opcode.removesuffix("-start")
    return kind if kind in KINDS else None


def _collective(module: Module, computation: str, instruction: Instruction, times: int) -> Collective:
    kind = _kind(instruction) or ""
    shape = instruction.shape
    if instruction.opcode.endswith("-start") and kind != "all-reduce":  # (operands, results, ...)
        shape = elements(shape)[1]
    members = (
        _chain(instruction.rest) if kind == "collective-permute" else _first_group(instruction.rest, module.devices)
    )
    size = array_bytes(shape)
    if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"  # how TPUs do it: a fusion of the sum and of each device's slice
    elif kind == "reduce-scatter":
        size *= len(members)
    source = re.search(r'op_name="([^"]*)"', instruction.rest)
    return Collective(kind, size, len(members), times, members, source[1] if source else "")


def _first_group(rest: str, devices: int) -> tuple[int, ...]:
    """`replica_groups={{0,1},{2,3}}`, `[4,2]<=[2,4]T(1,0)` or `mesh['a'=2,'b'=4] {'b'}`; none named: all devices."""
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", rest)
    if listed:
        return _numbers(listed[1])
    iota = re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", rest)
    if iota:
        return tuple(_iota(iota[2]).reshape(_numbers(iota[1]))[0].tolist())
    named = re.search(r"replica_groups=mesh\[(.*?)\](?:, device_ids=\((.*?)\))? \{(.*?)\}", rest)
    if named:
        return _along(*named.groups())
    return tuple(range(devices))


def _along(axes: str, order: str | None, wanted: str) -> tuple[int, ...]:
    """Devices of a mesh `'a'=2,'b'=4` along the `wanted` axes from its first on: `'b'`, or `'b':(2)2`, the part of size
    2 behind a part of size 2. `order` lists the devices, row by row, where they are not in order."""
    parts = {name: (int(before or 1), int(size or 0)) for name, before, size in re.findall(_PART, wanted)}
    sizes, picks = list[int](), list[int | slice]()
    for name, size in re.findall(r"'([^']+)'=(\d+)", axes):
        before, own = parts.get(name, (1, 1))
        own = own or int(size)
        sizes += [before, own, int(size) // (before * own)]
        picks += [0, slice(None) if name in parts else 0, 0]
    ids = np.arange(prod(sizes)) if not order else _iota(order) if order[0] == "[" else np.array(_numbers(order))
    return tuple(ids.reshape(sizes)[tuple(picks)].reshape(-1).tolist())


_PART = r"'([^']+)'(?::\((\d+)\)(\d+))?"


def _iota(text: str) -> np.ndarray:
    """`[2,4]T(1,0)`: counting from 0 over the sizes, then transposed."""
    sizes, _, order = text.partition("T")
    shape = _numbers(sizes.strip("[]"))
    return np.arange(prod(shape)).reshape(shape).transpose(_numbers(order.strip("()")) or None)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


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
