"""A tree of arrays to files and back through Orbax: uncompressed zarr arrays under the leaf's own path, in one OCDBT.

OCDBT holds all arrays in a handful of files, so that a save syncs tens of times, not a thousand. Nothing is compressed:
then no file can hold more than its bytes say (a stranger's could swell to any size). Orbax takes a second to import,
so it is imported when first needed.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.parallel.processes.agreement import process_count
from jaxgpt.runs.checkpoint.manifest import DamagedError, UnreadableError
from jaxgpt.runs.checkpoint.revocable import revocable
from jaxgpt.spec.errors import first_line

_PART = re.compile(r"(?!\.+$)[\w.+-]+")


def named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by path: `params/blocks/layers/attention/q/weight`, `opt_state/...`. Fields of named tuples go by name.

    Raises ValueError for a path that is no safe file name and for two leaves of one path.
    """
    named: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        parts = [jax.tree_util.keystr((key,), simple=True) for key in path]
        name = "/".join(parts)
        if not parts or not all(_PART.fullmatch(part) for part in parts) or name in named:
            raise ValueError(f"'{name}' cannot name an array on disk; use distinct names of letters, digits, _ . + -")
        named[name] = leaf
    return named


def describe(named: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of each leaf. Raises ValueError for a leaf that would not come back as it was."""
    for name, leaf in named.items():
        if not hasattr(leaf, "dtype") or leaf.dtype == object or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            raise ValueError(f"{name}: {type(leaf).__name__} is not a plain array; keep jax.random.key_data of a key")
        if getattr(leaf, "weak_type", False):  # weakness is not stored, and without it the same step rounds otherwise
            raise ValueError(f"{name}: a weakly typed array; create it with an explicit dtype")
    return {name: (str(leaf.dtype), tuple(leaf.shape)) for name, leaf in named.items()}


def save_arrays(directory: Path, named: Mapping[str, Any]) -> None:
    """Writes the leaves below `directory`, which exists. Every process writes its shards; then one calls `finish`.

    Of a save that fails Orbax abandons the other writes, which go on: they reach `directory` no more."""
    import orbax.checkpoint as ocp

    arrays = {
        name: np.asarray(leaf) if isinstance(leaf, np.generic) else leaf for name, leaf in _with_elements(named).items()
    }
    with _one_error(), revocable(directory) as path:
        _handler().save(_epath(path), args=ocp.args.PyTreeSave(arrays))


@contextmanager
def _one_error() -> Iterator[None]:
    """On a full disk Orbax raises, and prints tracebacks besides: its log, and what its threads leave to be found later
    (results that nobody asks for, calls to event loops that are closed). Here the error is all that is heard of it."""
    absl, loops, hook = logging.getLogger("absl"), logging.getLogger("asyncio"), sys.unraisablehook

    def asked_for(record: logging.LogRecord) -> bool:
        return "exception was never retrieved" not in record.getMessage()

    def unraisable(what: Any) -> None:
        if str(what.exc_value) != "Event loop is closed":
            hook(what)

    disabled, absl.disabled, sys.unraisablehook = absl.disabled, True, unraisable
    loops.addFilter(asked_for)
    yield  # where it raises, the threads go on, and so does what listens to them
    absl.disabled, sys.unraisablehook = disabled, hook
    loops.removeFilter(asked_for)


def finish(directory: Path, named: Mapping[str, Any]) -> None:
    """Joins what the processes wrote into one array store. Raises DamagedError when a leaf is not in it then."""
    with revocable(directory) as path:  # Orbax globs below the path it is given, too, and `--out` may hold a [
        _handler().finalize(_epath(path))
    _check_plain(directory, _with_elements(named))


def restore_arrays(directory: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves named by `like`, bitwise, each with the sharding of its counterpart (default: the first device).

    Numpy leaves come back as numpy. Shapes and dtypes must have been compared before. Raises DamagedError.
    """
    import orbax.checkpoint as ocp

    wanted = _with_elements(like)
    _check_plain(directory, wanted)
    arguments = {name: _restore_args(leaf) for name, leaf in wanted.items()}
    request = ocp.args.PyTreeRestore(wanted, restore_args=arguments, partial_restore=True)
    try:
        restored = _handler().restore(_epath(directory.resolve()), args=request)
    except (MemoryError, jax.errors.JaxRuntimeError):  # of the machine, not of the file
        raise
    except OSError as error:
        raise UnreadableError(f"{directory} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # Orbax has no class of its own for what it refuses
        raise DamagedError(f"{directory}: Orbax cannot read it: {first_line(error)}") from error
    return {name: restored[name] if leaf.size else _empty(leaf) for name, leaf in like.items()}


def _with_elements(named: Mapping[str, Any]) -> dict[str, Any]:
    """Orbax refuses arrays without elements; their shape in the manifest is all there is to know of them."""
    return {name: leaf for name, leaf in named.items() if leaf.size}


def _handler() -> Any:
    import orbax.checkpoint as ocp

    # Replicas that share a process share its disk: slicing arrays among them would gain nothing, and compile a program
    # for each device and shape.
    arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=process_count() > 1)
    handlers = ocp.type_handlers.create_type_handler_registry(
        (jax.Array, arrays), (np.ndarray, ocp.type_handlers.NumpyHandler())
    )
    return ocp.PyTreeCheckpointHandler(
        use_ocdbt=True, use_zarr3=True, use_compression=False, type_handler_registry=handlers
    )


def _epath(directory: Path) -> Any:
    """The path as Orbax wants it: it and its array store take `..` in one for another folder."""
    from etils import epath

    return epath.Path(directory)


def _restore_args(leaf: Any) -> Any:
    import orbax.checkpoint as ocp

    if isinstance(leaf, np.ndarray | np.generic):
        return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=tuple(leaf.shape), dtype=leaf.dtype)


def _empty(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        return np.empty(leaf.shape, leaf.dtype)
    return jnp.empty(leaf.shape, leaf.dtype, device=leaf.sharding)


def _check_plain(directory: Path, wanted: Mapping[str, Any]) -> None:
    """Refuses arrays that are not stored uncompressed in the dtype and shape that the manifest promised."""
    import tensorstore

    try:
        base = {"driver": "file", "path": f"{directory.resolve()}/"}
        store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
        stored = {name: store.read(f"{name}/zarr.json") for name in wanted}
        texts = {name: future.result().value for name, future in stored.items()}
    except ValueError as error:
        raise DamagedError(f"{directory} is not an array store: {first_line(error)}") from None
    for name, leaf in wanted.items():
        try:
            facts = json.loads(texts[name])
            (outer,) = facts["codecs"]
            codecs = [outer["name"], *(inner["name"] for inner in outer["configuration"]["codecs"])]
            same = (facts["data_type"], facts["shape"]) == (str(leaf.dtype), list(leaf.shape))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(f"{directory}: {name} is not described ({type(error).__name__})") from None
        if codecs != ["sharding_indexed", "bytes"] or not same:
            raise DamagedError(f"{directory}: {name} is not an uncompressed {leaf.dtype} array of {tuple(leaf.shape)}")
