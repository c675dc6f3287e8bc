"""Safetensors: a JSON table of names, dtypes, shapes and offsets, then the numbers. One file, or shards with an index.

Everything a file claims is checked before any tensor is read, and nothing in it can run. Each read maps only its own
tensor, so that no more of the file is in memory than is in use. Writing goes through the `safetensors` package.
Format: https://github.com/huggingface/safetensors#format
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxgpt.interop.json_object import parse_object, read_object
from jaxgpt.interop.tensors import Tensor, mapped
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import cut, quote
from jaxgpt.spec.stand_in import refuse_stand_in

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_HEADER = 50_000_000
"""Bytes: of half a million tensors, and half the format's own limit, since JSON takes forty times its size."""
MAX_RANK = 32
DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
"""Integers and truth values are only ever buffers (masks, position ids), which name maps leave out."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, or of a folder with `model.safetensors` or with its index and shards; none is read yet.

    Raises ConfigError with one line for each thing wrong.
    """
    if not path.is_dir():
        return _file(path)
    if (path / FILE).exists():
        return _file(_inside(path, FILE))
    if (path / INDEX).exists():
        return _shards(path)
    raise ConfigError(f"{path}: holds neither {FILE} nor {INDEX}; give a folder with weights")


def _shards(folder: Path) -> dict[str, Tensor]:
    index = folder / INDEX
    table = read_object(index, "an index of shards").get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(shard, str) for shard in table.values()):
        raise ConfigError(f"{index}: weight_map: expected a map from tensor to file name")
    files = {shard: _file(_inside(folder, shard)) for shard in sorted(set(table.values()))}
    absent = [
        f"{index}: {cut(name, 64)!r} is not in {shard}; download the shards again"
        for name, shard in table.items()
        if name not in files[shard]
    ]
    if absent:
        raise ConfigError(absent)
    return {name: files[shard][name] for name, shard in table.items()}


def _inside(folder: Path, name: str) -> Path:
    """The file of that name in `folder`, or where the hub's cache keeps what the folder links to, and nowhere else."""
    if name != Path(name).name or not name.endswith(".safetensors") or not name.isprintable() or "\\" in name:
        raise ConfigError(f"{folder / INDEX}: {cut(name, 64)!r} is not the name of a .safetensors file in that folder")
    path, root = folder / name, folder.resolve()
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # not there, or links in a circle
        raise ConfigError(f"{path}: no such file; download the shards again") from None
    cached = root.parent.name == "snapshots" and real.parent == root.parent.parent / "blobs"
    if real.parent != root and not cached:
        raise ConfigError(f"{path}: links to {real}, out of its folder; put the file itself there")
    return path


def _file(path: Path) -> dict[str, Tensor]:
    table, start, size = _header(path)
    tensors: dict[str, Tensor] = {}
    problems, spans = [], []
    for name, facts in table.items():
        if name == "__metadata__":  # notes, of no consequence here
            continue
        try:
            dtype, shape, begin, end = _facts(name, facts)
        except ValueError as error:
            problems.append(f"{path}: {cut(name, 64)!r}: {error}")
            continue
        spans.append((begin, end, name))
        tensors[name] = Tensor(shape, dtype, partial(mapped, path, dtype, start + begin, shape))
    if problems:
        raise ConfigError(problems)
    reached = 0
    for begin, end, name in sorted(spans):
        if begin != reached:
            fault = "overlaps the tensor before it" if begin < reached else f"leaves {begin - reached} bytes unused"
            raise ConfigError(f"{path}: {name}: {fault} at byte {begin}; the file is damaged, get it again")
        reached = end
    if start + reached != size:
        raise ConfigError(f"{path}: tensors end at byte {start + reached} of {size}; the file is damaged, get it again")
    return tensors


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The table, where the numbers start, and the file's size in bytes."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a .safetensors file")
    refuse_stand_in(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
                limit = f"at most {MAX_HEADER:,} and within the file's {size:,}"
                raise ConfigError(f"{path}: its header claims {length:,} bytes, expected {limit}; not safetensors")
            raw = file.read(length)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_object(raw, str(path), "the header of safetensors"), 8 + length, size


def _facts(name: str, facts: Any) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Dtype, shape, begin and end of one tensor. Raises ValueError."""
    if not name.isprintable() or len(name) > 512:
        raise ValueError("a tensor's name is up to 512 printable characters")
    if not isinstance(facts, dict) or not facts.keys() >= {"dtype", "shape", "data_offsets"}:
        raise ValueError("expected dtype, shape and data_offsets")
    shape, offsets = facts["shape"], facts["data_offsets"]
    dtype = DTYPES.get(str(facts["dtype"]))
    if dtype is None:
        raise ValueError(f"dtype {quote(facts['dtype'])} is not read; give unquantised weights (F32, F16 or BF16)")
    if not _naturals(shape) or len(shape) > MAX_RANK:
        raise ValueError(f"shape {str(shape)[:64]} is no list of sizes")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"data_offsets {str(offsets)[:64]} are not begin and end")
    if offsets[1] - offsets[0] != prod(shape) * dtype.itemsize:
        raise ValueError(f"{offsets[1] - offsets[0]:,} bytes do not make {facts['dtype']} of shape {tuple(shape)}")
    return dtype, tuple(shape), offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def write_tensors(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    shard_bytes: int = 5_000_000_000,
    progress: Callable[[int], None] = lambda written: None,
) -> None:
    """Writes `model.safetensors`, or shards of up to `shard_bytes` and their index, into a folder that is a draft yet.

    A tensor larger than that has a shard of its own. `progress` gets the bytes written so far. Raises JaxgptError.
    """
    groups: list[dict[str, np.ndarray]] = [{}]
    for name, array in arrays.items():
        if groups[-1] and sum(each.nbytes for each in groups[-1].values()) + array.nbytes > shard_bytes:
            groups.append({})
        groups[-1][name] = array
    names = [FILE] if len(groups) == 1 else [_shard_name(i, len(groups)) for i in range(len(groups))]
    written = 0
    for file, group in zip(names, groups, strict=True):
        write_file(folder / file, group)
        written += sum(array.nbytes for array in group.values())
        progress(written)
    if len(groups) > 1:
        from jaxgpt.disk import write_json_atomic

        table = {name: file for file, group in zip(names, groups, strict=True) for name in group}
        write_json_atomic(folder / INDEX, {"metadata": {"total_size": written}, "weight_map": table})


def write_file(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes one file into a folder that is a draft yet. Raises JaxgptError."""
    from safetensors.numpy import save_file

    try:
        save_file(dict(arrays), path, metadata={"format": "pt"})  # transformers asks for this note
        path.chmod(path.parent.stat().st_mode & 0o666)  # the package lets nobody else read it
    except Exception as error:  # the Rust side raises its own kind
        raise JaxgptError(f"{path}: cannot be written: {error}; free space") from None


def _shard_name(index: int, count: int) -> str:
    return f"model-{index + 1:05d}-of-{count:05d}.safetensors"
