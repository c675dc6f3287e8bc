"""Bytes that a compiled program moves between a chip and its memory, from its text.

Every instruction reads its operands and writes its result, but a slice reads only what it takes, and an update in place
writes only what it changes: XLA's own count, loops multiplied. What a TPU keeps in its vector memory is left out.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jaxgpt.aot.hlo import Instruction, Module, array_bytes, elements, executed, parse

FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "while",
    "conditional",
    "call",
    "opt-barrier",
    "optimization-barrier",
    "partition-id",
    "async-start",
    "async-update",
    "async-done",
    "fusion-done",
}
"""Those that move nothing themselves."""
SLICES = {"slice", "dynamic-slice", "gather"}
UPDATES = {"dynamic-update-slice", "scatter"}
VIEWS = {"bitcast", "reshape", "pad"}
"""What a fusion does to a value without reading more of it than is asked for afterwards."""


class Moved(NamedTuple):
    """Bytes that one run of an instruction moves between a chip and its memory."""

    read: int
    written: int


def traffic(text: str) -> int:
    """Bytes read and written in one run of `compiled.as_text()`, by one device."""
    return sum(times * sum(moved) for _, _, times, moved in moves(parse(text)))


def moves(module: Module) -> Iterator[tuple[str, Instruction, int, Moved]]:
    """(computation, instruction, times it is run, what one run of it moves) for all that a run of the program runs."""
    shapes = module.shapes()
    for name, instruction, times in executed(module):
        yield name, instruction, times, _moved(module, instruction, shapes[name])


def _moved(module: Module, instruction: Instruction, shapes: dict[str, str]) -> Moved:
    if instruction.opcode in FREE:
        return Moved(0, 0)
    opcode = instruction.opcode.removesuffix("-start").removesuffix("-done")
    started = instruction.opcode.endswith("-start")
    if instruction.opcode.endswith("-done"):
        return Moved(0, _bytes(instruction.shape))
    if opcode in SLICES:
        parts = elements(instruction.shape)
        return Moved(array_bytes(parts[1]), 0) if started else Moved(array_bytes(parts[0]), _bytes(instruction.shape))
    if opcode in UPDATES:
        changed = sum(_bytes(shapes.get(name, "")) for name in instruction.operands[1:])
        return Moved(changed, changed)
    inner = module.computations.get(instruction.called("calls") or "") if opcode == "fusion" else None
    if inner:
        # One that goes on beside others, as a GPU's copies into a stack do, is printed as (operands, result, context).
        result = elements(instruction.shape)[1] if started else instruction.shape
        return _fusion(module, instruction, inner, shapes, result)
    read = sum(_bytes(shapes.get(name, "")) for name in instruction.operands)
    return Moved(read, 0 if started else _bytes(instruction.shape))


def _fusion(
    module: Module, instruction: Instruction, inner: tuple[Instruction, ...], shapes: dict[str, str], result: str
) -> Moved:
    parameters = {int(line.rest): line.name for line in inner if line.opcode == "parameter"}
    read = 0
    for i, operand in enumerate(instruction.operands):
        whole = _bytes(shapes.get(operand, ""))
        read += min(whole, _used(module, inner, parameters[i])) if i in parameters and whole else whole
    return Moved(read, _written(inner, result))


def _used(module: Module, inner: Iterable[Instruction], name: str) -> int:
    """Bytes that a fusion reads of its parameter: all of it, unless only slices of it are taken or changed."""
    inner = tuple(inner)
    total = 0
    for instruction in inner:
        if name not in instruction.operands:
            continue
        if instruction.opcode in VIEWS:
            total += _used(module, inner, instruction.name)
        elif instruction.opcode in SLICES and instruction.operands[0] == name:
            total += array_bytes(instruction.shape)
        elif instruction.opcode in UPDATES and instruction.operands[0] == name:
            total += 0
        elif instruction.opcode == "fusion":
            nested = module.computations.get(instruction.called("calls") or "", ())
            at = {int(line.rest): line.name for line in nested if line.opcode == "parameter"}
            total += sum(
                _used(module, nested, at[i]) for i, operand in enumerate(instruction.operands) if operand == name
            )
        else:
            return 2**62
    return total


def _written(inner: Iterable[Instruction], shape: str) -> int:
    lines = {instruction.name: instruction for instruction in inner}
    root = next(instruction for instruction in lines.values() if instruction.root)
    parts = root.operands if root.opcode == "tuple" else (root.name,)
    return sum(_result(lines, name, part) for name, part in zip(parts, elements(shape), strict=False))


def _result(lines: dict[str, Instruction], name: str, shape: str) -> int:
    instruction = lines[name]
    while instruction.opcode == "bitcast" and instruction.operands[0] in lines:
        instruction = lines[instruction.operands[0]]
    if instruction.opcode in UPDATES:
        return min(_bytes(shape), sum(_bytes(lines[update].shape) for update in instruction.operands[1:]))
    return _bytes(shape)


def _bytes(shape: str) -> int:
    return array_bytes(shape, fast=False)
