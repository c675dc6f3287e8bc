"""Token files: ids on disk, memory-mapped, and refused when anything about them is wrong.

    bytes 0-103   header, little-endian: magic, version, item size, ids, documents, vocabulary size,
                  SHA-256 of what made the file, SHA-256 of payload and header
    then          the ids, uint16 or uint32
    then          the offset of each document's first id, uint64

Documents are kept as offsets as well as by end-of-text ids, because not every vocabulary has one.
"""

import hashlib
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from jaxgpt.disk import atomic
from jaxgpt.spec import ConfigError

MAGIC = b"JAXGPT\x00T"
VERSION = 1
_FIELDS = struct.Struct("<8sII QQQ 32s")
_HEADER = _FIELDS.size + 32
DTYPES: dict[int, np.dtype] = {2: np.dtype("<u2"), 4: np.dtype("<u4")}


def dtype_for(vocab_size: int) -> np.dtype:
    """The dtype in which ids of a vocabulary are stored: uint16 while each fits, else uint32."""
    return DTYPES[2 if vocab_size <= 2**16 else 4]


@dataclass(frozen=True, eq=False)
class TokenFile:
    """An open, verified token file."""

    path: Path
    ids_N: np.ndarray
    """uint16 or uint32, a view of the mapped file."""
    starts_D: np.ndarray
    """int64, ascending from 0: where each document begins."""
    vocab_size: int


class TokenWriter:
    """Writes a token file as documents arrive. The name appears at a clean exit only, whole and synced."""

    def __init__(self, path: Path, vocab_size: int, made_of: str):
        """`made_of` is a SHA-256 in hex: the digest of everything the ids depend on."""
        self.path, self.vocab_size, self.made_of = path, vocab_size, made_of
        self.count, self._starts, self._sha = 0, list[int](), hashlib.sha256()
        self._between = True  # documents: the next id begins one
        self._dtype = dtype_for(vocab_size)
        self._stack = ExitStack()

    def __enter__(self) -> "TokenWriter":
        self._file = self._stack.enter_context(atomic(self.path))
        self._file.write(bytes(_HEADER))
        return self

    def add(self, ids_n: np.ndarray, ends: bool = True) -> None:
        """Appends a document, or a part of one that more parts follow when `ends` is false. One without ids leaves no
        trace. Raises ConfigError when an id lies outside the vocabulary."""
        if len(ids_n):
            self._append(ids_n)
        self._between |= ends

    def _append(self, ids_n: np.ndarray) -> None:
        if ids_n.min() < 0 or ids_n.max() >= self.vocab_size:
            bad = int(np.argmax((ids_n < 0) | (ids_n >= self.vocab_size)))
            where = f"token {self.count + bad}: id {ids_n[bad]}"
            raise ConfigError(f"{self.path}: {where} is outside the vocabulary of {self.vocab_size}")
        if self._between:
            self._starts.append(self.count)
            self._between = False
        self.count += len(ids_n)
        self._write(ids_n.astype(self._dtype).tobytes())

    def _write(self, raw: bytes) -> None:
        self._sha.update(raw)
        self._file.write(raw)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if kind is None:
            self._write(np.array(self._starts, "<u8").tobytes())
            sizes = self._dtype.itemsize, self.count, len(self._starts), self.vocab_size
            fields = _FIELDS.pack(MAGIC, VERSION, *sizes, bytes.fromhex(self.made_of))
            self._sha.update(fields)
            self._file.seek(0)
            self._file.write(fields + self._sha.digest())
        self._stack.__exit__(kind, error, trace)


def open_token_file(path: Path, vocab_size: int, made_of: str | None = None) -> TokenFile:
    """Maps a token file after checking all of it: about 1 s for each GB.

    Raises ConfigError with one line that names file and offset when it is missing, short, long, not a token file, of
    another version, made of something else, made for another vocabulary size, damaged, or holds an id out of range.
    """

    def refuse(offset: int, problem: str) -> ConfigError:
        return ConfigError(f"{path}: byte {offset}: {problem}; delete the file and it will be built again")

    try:
        raw = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) < _HEADER:
        raise refuse(len(raw), f"ends inside the header of {_HEADER} bytes")
    fields, checksum = raw[: _FIELDS.size].tobytes(), raw[_FIELDS.size : _HEADER].tobytes()
    magic, version, item, count, documents, size_in_file, made_of_in_file = _FIELDS.unpack(fields)
    if magic != MAGIC:
        raise refuse(0, f"{magic!r} is not the magic of a token file, {MAGIC!r}")
    if version != VERSION:
        raise refuse(8, f"version {version}, expected {VERSION}")
    if item not in DTYPES:
        raise refuse(12, f"{item} bytes an id, expected 2 or 4")
    end_of_ids = _HEADER + count * item
    size = end_of_ids + documents * 8
    if len(raw) != size:
        offset = min(len(raw), size)
        raise refuse(offset, f"the file has {len(raw)} bytes, but {count} ids and {documents} documents make {size}")
    sha = hashlib.sha256(raw[_HEADER:].data)
    sha.update(fields)
    if sha.digest() != checksum:
        raise refuse(_HEADER, f"SHA-256 from here on is {sha.hexdigest()[:12]}, the header says {checksum.hex()[:12]}")
    if size_in_file != vocab_size:
        raise refuse(32, f"made for a vocabulary of {size_in_file}, the tokenizer has {vocab_size}")
    if made_of is not None and made_of_in_file.hex() != made_of:
        raise refuse(40, f"made of {made_of_in_file.hex()[:12]}, expected {made_of[:12]}")
    ids_N = np.asarray(raw[_HEADER:end_of_ids].view(DTYPES[item]))
    if count and int(ids_N.max()) >= vocab_size:
        bad = int(np.argmax(ids_N >= vocab_size))
        raise refuse(_HEADER + bad * item, f"id {ids_N[bad]} of token {bad} is outside the vocabulary of {vocab_size}")
    starts_D = np.frombuffer(raw[end_of_ids:].tobytes(), "<u8").astype(np.int64)
    if documents and (starts_D[0] != 0 or np.any(np.diff(starts_D) <= 0) or starts_D[-1] >= count):
        raise refuse(end_of_ids, "document offsets do not ascend from 0 inside the file")
    return TokenFile(path, ids_N, starts_D, vocab_size)
