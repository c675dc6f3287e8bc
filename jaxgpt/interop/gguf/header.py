"""The head of a GGUF file: settings by key, and what its tensors are. Everything is checked against the file's end.

`gguf.GGUFReader` trusts the counts and lengths that it reads, so that a damaged file makes it loop or fail anywhere.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

MAGIC, VERSIONS = b"GGUF", (2, 3)
MOST_TEXTS, MOST_ENTRIES = 2**22, 2**17
"""Of a list, as of a vocabulary's tokens; of tensors and of keys: many times what any file has."""
MAX_RANK = 4
"""ggml's own limit."""
SCALARS = {
    GGUFValueType.UINT8: "u1",
    GGUFValueType.INT8: "i1",
    GGUFValueType.UINT16: "<u2",
    GGUFValueType.INT16: "<i2",
    GGUFValueType.UINT32: "<u4",
    GGUFValueType.INT32: "<i4",
    GGUFValueType.FLOAT32: "<f4",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "<u8",
    GGUFValueType.INT64: "<i8",
    GGUFValueType.FLOAT64: "<f8",
}


class Entry(NamedTuple):
    """What a GGUF header says of one tensor."""

    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    """Slowest axis first, as in numpy; the file has it the other way round."""
    offset: int
    """Its first byte in the file."""
    size: int
    """Its bytes."""


class Header(NamedTuple):
    """What a file says about itself."""

    fields: dict[str, Any]
    """int, float (the shortest that reads as the float32), bool, str, list of str, or a numpy array."""
    tensors: dict[str, Entry]


def read_header(path: Path) -> Header:
    """Raises ConfigError with one line that says where the file is unsound."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _header(path, data)
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise ConfigError(f"{path}: cannot be read as GGUF: {error}") from None


class _Cursor:
    """Reads forwards, never beyond the end."""

    def __init__(self, path: Path, data: mmap.mmap):
        self.path, self.data, self.at = path, data, 0

    def fault(self, what: str) -> ConfigError:
        return ConfigError(f"{self.path}: byte {self.at}: {what}; the file is damaged or no GGUF, get it again")

    def take(self, size: int, what: str) -> bytes:
        if size > len(self.data) - self.at:
            raise self.fault(f"{what} of {size:,} bytes would end beyond the file's {len(self.data):,}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, code: str, what: str) -> int:
        return int(struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0])

    def text(self, what: str) -> str:
        return self.take(self.number("Q", what), what).decode("utf-8", "replace")

    def name(self, what: str) -> str:
        name = self.text(what)
        if not name.isprintable() or "\ufffd" in name or not 0 < len(name) <= 512:
            raise self.fault(f"{what} is not up to 512 printable characters")
        return name

    def kind(self, what: str) -> GGUFValueType:
        code = self.number("I", what)
        try:
            return GGUFValueType(code)
        except ValueError:
            raise self.fault(f"{what} has type {code}, which GGUF does not define") from None

    def value(self, key: str) -> Any:
        kind = self.kind(key)
        if kind == GGUFValueType.STRING:
            return self.text(key)
        if kind != GGUFValueType.ARRAY:
            return _plain(np.frombuffer(self.take(np.dtype(SCALARS[kind]).itemsize, key), SCALARS[kind])[0])
        kind, count = self.kind(key), self.number("Q", key)
        if kind == GGUFValueType.STRING:
            if count > min((len(self.data) - self.at) // 8, MOST_TEXTS):
                raise self.fault(f"{key}: {count:,} texts do not fit the file")
            return [self.text(key) for _ in range(count)]
        if kind == GGUFValueType.ARRAY:
            raise self.fault(f"{key}: an array of arrays is not read")
        dtype = np.dtype(SCALARS[kind])
        return np.frombuffer(self.take(count * dtype.itemsize, key), dtype)


def _plain(value: np.generic) -> Any:
    return float(str(value)) if isinstance(value, np.float32) else value.item()


def _header(path: Path, data: mmap.mmap) -> Header:
    cursor = _Cursor(path, data)
    if data[:4] != MAGIC:
        raise ConfigError(f"{path}: starts with {bytes(data[:4])!r}, expected {MAGIC!r}; no GGUF")
    cursor.take(4, "magic")
    version = cursor.number("I", "version")
    if version not in VERSIONS:
        more = ", big-endian" if version & 0xFFFF == 0 else ""
        raise ConfigError(f"{path}: GGUF version {version}{more}; expected 2 or 3, little-endian; convert it again")
    tensor_count, field_count = cursor.number("Q", "tensor count"), cursor.number("Q", "key count")
    if max(tensor_count, field_count) > MOST_ENTRIES:
        raise cursor.fault(f"{tensor_count:,} tensors and {field_count:,} keys, at most {MOST_ENTRIES:,} each are read")
    fields: dict[str, Any] = {}
    for _ in range(field_count):
        key = cursor.name("a key")
        if key in fields:
            raise cursor.fault(f"{key} more than once")
        fields[key] = cursor.value(key)
    entries: dict[str, Entry] = {}
    for _ in range(tensor_count):
        name = cursor.name("a tensor's name")
        if name in entries:
            raise cursor.fault(f"tensor {name} more than once")
        entries[name] = _entry(cursor, name)
    alignment = fields.get("general.alignment", 32)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        raise ConfigError(f"{path}: general.alignment: {quote(alignment)}, expected a power of two")
    start = -(-cursor.at // alignment) * alignment
    return Header(fields, _placed(path, entries, start, alignment, len(data)))


def _entry(cursor: _Cursor, name: str) -> Entry:
    rank = cursor.number("I", name)
    if rank > MAX_RANK:
        raise cursor.fault(f"{name} has {rank} axes, at most {MAX_RANK} are defined")
    shape = tuple(cursor.number("Q", name) for _ in range(rank))[::-1]
    code, offset = cursor.number("I", name), cursor.number("Q", name)
    try:
        kind = GGMLQuantizationType(code)
    except ValueError:
        raise cursor.fault(f"{name} has number format {code}, which this gguf package does not know") from None
    block, width = GGML_QUANT_SIZES[kind]
    if not shape or shape[-1] % block:
        raise cursor.fault(f"{name}: shape {shape} does not divide into blocks of {block} for {kind.name}")
    return Entry(kind, shape, offset, prod(shape) // block * width)


def _placed(path: Path, entries: dict[str, Entry], start: int, alignment: int, end: int) -> dict[str, Entry]:
    """Offsets from the beginning of the file. Raises ConfigError where tensors overlap or end beyond the file."""
    problems, reached = [], start
    placed = {name: entry._replace(offset=start + entry.offset) for name, entry in entries.items()}
    for name, entry in sorted(placed.items(), key=lambda pair: pair[1].offset):
        if entry.offset % alignment or entry.offset < reached:
            problems.append(f"{path}: {name}: byte {entry.offset:,} is not aligned or inside the tensor before it")
        elif entry.offset + entry.size > end:
            problems.append(f"{path}: {name}: ends at byte {entry.offset + entry.size:,}, the file at {end:,}")
        reached = max(reached, entry.offset + entry.size)
    if problems:
        more = f" (and {len(problems) - 1} tensors more)" if len(problems) > 1 else ""
        raise ConfigError(f"{problems[0]}{more}; the file is damaged, get it again")
    return placed
