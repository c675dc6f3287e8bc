"""The text of a compiled program: computations, instructions, and how often each is run.

XLA prints an instruction a line, `%name = f32[8,128]{1,0} opcode(%operand, ...), attribute=value, ...`, within the
computation that it belongs to; loops, conditionals, calls and fusions name the computations that they run.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_HEADER = re.compile(r"(?:ENTRY )?%?([\w.-]+)(?: .*)?\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.-]+) = (.*?) ([a-z][a-z0-9-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,<=]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.-]+)")
_WIDTH = re.compile(r"\d+")
_FAST = re.compile(r"S\(\d\)")
"""What a TPU's layouts say of arrays that stay on the chip, outside its main memory."""


class Instruction(NamedTuple):
    """One instruction of an HLO module."""

    name: str
    shape: str
    """As printed: `f32[8,128]{1,0}` or `(f32[8], s32[])`."""
    opcode: str
    operands: tuple[str, ...]
    rest: str
    """What follows the operands: attributes."""
    root: bool

    def called(self, attribute: str) -> str | None:
        """The computation that an attribute (`body`, `calls`, `to_apply`) names."""
        match = re.search(rf"\b{attribute}=%?([\w.-]+)", self.rest)
        return match[1] if match else None


class Module(NamedTuple):
    """A compiled program in HLO text, parsed."""

    computations: dict[str, tuple[Instruction, ...]]
    entry: str
    devices: int

    def shapes(self) -> dict[str, dict[str, str]]:
        """The printed shape of each instruction's result, by computation and name."""
        return {name: {line.name: line.shape for line in lines} for name, lines in self.computations.items()}


def parse(text: str) -> Module:
    """Reads what `compiled.as_text()` gives, of any backend. Raises ValueError where there is no entry computation."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", list[Instruction]()
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            match = _INSTRUCTION.match(line)
            if match:
                inside, rest = _split(match[5])
                operands = tuple(_NAME.findall(inside)) if match[4] != "constant" else ()
                rest = inside if match[4] in ("constant", "parameter") else rest
                current.append(Instruction(match[2], match[3], match[4], operands, rest, bool(match[1])))
        elif match := _HEADER.match(line):
            name, current = match[1], []
            computations[name] = current
            entry = name if line.startswith("ENTRY") else entry
    if not entry:
        raise ValueError("no ENTRY computation: not the text of a compiled program")
    devices = re.search(r"num_partitions=(\d+)", text[:100_000]) or re.search(r"replica_count=(\d+)", text[:100_000])
    return Module(
        {name: tuple(lines) for name, lines in computations.items()}, entry, int(devices[1]) if devices else 1
    )


def _split(after: str) -> tuple[str, str]:
    """What stands within the parentheses that are open, and what follows them."""
    depth = 1
    for i, letter in enumerate(after):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return after[:i], after[i + 1 :]
    return after, ""


def executed(module: Module, fusions: bool = False) -> Iterator[tuple[str, Instruction, int]]:
    """(computation, instruction, times it is run) for all that a run of the program runs.

    A loop counts as often as XLA knows, or as its condition says, that it goes round, else once; of a conditional's
    branches the longest counts. `fusions`: also what is inside fusions.
    """

    def visit(name: str, times: int) -> Iterator[tuple[str, Instruction, int]]:
        for instruction in module.computations[name]:
            yield name, instruction, times
            if instruction.opcode == "while":
                body = instruction.called("body")
                if body in module.computations:
                    yield from visit(body, times * _trips(module, instruction))
            elif instruction.opcode == "conditional":
                yield from visit(max(_branches(instruction), key=lambda branch: _size(module, branch)), times)
            elif instruction.opcode in ("call", "async-start") or (fusions and instruction.opcode == "fusion"):
                inner = instruction.called("calls") or instruction.called("to_apply")
                if inner in module.computations:
                    yield from visit(inner, times)

    return visit(module.entry, 1)


def _trips(module: Module, loop: Instruction) -> int:
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
        return int(known[1])
    condition = loop.called("condition")
    limits = [
        int(instruction.rest) for instruction in module.computations.get(condition or "", ()) if _is_count(instruction)
    ]
    return max(limits, default=1)


def _is_count(instruction: Instruction) -> bool:
    return (
        instruction.opcode == "constant"
        and instruction.shape.startswith(("s32[]", "s64[]", "u32[]"))
        and instruction.rest.isdigit()
    )


def _branches(instruction: Instruction) -> list[str]:
    listed = re.search(r"branch_computations=\{([^}]*)\}", instruction.rest)
    if listed:
        return [name.strip().lstrip("%") for name in listed[1].split(",")]
    return [name for kind in ("true_computation", "false_computation") if (name := instruction.called(kind))]


def _size(module: Module, name: str) -> int:
    return sum(
        1 + _size(module, inner) for instruction in module.computations[name] for inner in _inner(module, instruction)
    )


def _inner(module: Module, instruction: Instruction) -> list[str]:
    names = [instruction.called(kind) for kind in ("calls", "to_apply", "body")]
    return [name for name in names if name in module.computations]


def array_bytes(shape: str, fast: bool = True) -> int:
    """Bytes of all arrays of a printed shape; `fast=False` leaves out those outside a TPU's main memory."""
    total = 0
    for kind, sizes, layout in _ARRAY.findall(shape):
        if not fast and _FAST.search(layout):
            continue
        count = 1
        for size in sizes.split(",") if sizes else ():
            count *= int(size.removeprefix("<="))
        total += -(-count * _bits(kind) // 8)
    return total


def _bits(kind: str) -> int:
    """`f32` -> 32, `bf16` -> 16, `pred` -> 8, `f8e4m3fn` -> 8, `token` -> 0."""
    width = _WIDTH.search(kind)
    return int(width[0]) if width else 8 * (kind == "pred")


def elements(shape: str) -> list[str]:
    """Top-level elements of a printed tuple; an array is its own only element."""
    if not shape.startswith("("):
        return [shape]
    parts, depth, begin = list[str](), 0, 1
    for i, letter in enumerate(shape):
        depth += (letter in "([{") - (letter in ")]}")
        if (letter == "," and depth == 1) or depth == 0:
            parts.append(re.sub(r"/\*.*?\*/", "", shape[begin:i]).strip())
            begin = i + 1
        if depth == 0:
            break
    return [part for part in parts if part]
