"""A trained adapter for other libraries: by itself, or merged into the weights that it stands on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.inference.adapters import is_peft, is_run
from jaxgpt.inference.load import load
from jaxgpt.inference.loaded import Loaded
from jaxgpt.interop.json_object import read_object
from jaxgpt.interop.peft.config import CONFIG
from jaxgpt.interop.peft.write import write_adapter
from jaxgpt.nn.adapter import Adapter
from jaxgpt.ops.stored import as_arrays
from jaxgpt.peft.merge import merge
from jaxgpt.runs.storage import NF4
from jaxgpt.runs.trainable import split_params
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text.corpora.locate import locate

BASE = "base_model_name_or_path"


def load_adapted(source: Path, best: bool) -> Loaded:
    """A run, or a folder of PEFT's on the base that it names. Raises ConfigError where that is not here."""
    if not is_peft(source):
        return load(source, best)
    name = read_object(source / CONFIG, "the configuration of a PEFT adapter").get(BASE)
    if not isinstance(name, str):
        raise ConfigError(f"{source / CONFIG}: {BASE}: {quote(name)}, expected the folder that the adapter is for")
    return load(locate(name, f"{source / CONFIG}: {BASE}"), adapter=source)


def adapter_of(loaded: Loaded) -> Adapter | None:
    """What stands on a model's projections or in front of its inputs; None: nothing."""
    return loaded.model.adaptation


def write_peft(loaded: Loaded, target: Path, dtype: str) -> list[str]:
    """Writes a run's adapter as a folder of PEFT's, whole or not at all; what is worth a note. Raises ConfigError for
    what PEFT's files cannot express."""
    if loaded.run is None:
        raise ConfigError("this is a folder of PEFT's already; --merge writes a whole model")
    if target.suffix == ".gguf":
        raise ConfigError(f"{target}: an adapter becomes a folder of PEFT's; --merge writes a whole model")
    run, notes = loaded.run, []
    below = _flat(as_arrays(loaded.with_adapter(None).params))
    own, _ = split_params(loaded.params, run.trained)
    whole = below | _flat(as_arrays(own))  # what is not trained is the base, whatever it was stored as
    whole = {path: whole[path] for path in flatten_dict(loaded.model.shapes(), sep="/")}
    if run.storage.kind != "full":
        notes.append(f"in training the base was {run.storage.kind}; in another dtype outputs differ by its rounding")
    start = locate(str(run.start_name), "start")
    origin = None if is_run(start) or not start.is_dir() else str(start)
    if origin is None:
        notes.append(f"{BASE} is null, as {start} is no Hugging Face folder: convert it too")
    return notes + write_adapter(target, loaded.model, unflatten_dict(whole, sep="/"), below, origin, dtype)


def _rounded(path: str, leaf: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers that are left of a parameter in a file."""
    if dtype == "nf4":
        return np.asarray(NF4().store(path, jnp.asarray(leaf)).astype(jnp.float32))
    return leaf.astype(np.dtype(dtype))


def _flat(tree: Any) -> dict[str, np.ndarray]:
    return {path: np.asarray(leaf) for path, leaf in flatten_dict(tree, sep="/").items()}


def merged(loaded: Loaded, dtype: str) -> tuple[Loaded, str]:
    """The model with its adapter in its weights, in host memory, and a line on what rounding them to `dtype` takes.
    Raises ConfigError where there is no adapter, or one that is no change of weights."""
    model: Any = loaded.model
    if (adapter := adapter_of(loaded)) is None:
        raise ConfigError("--merge: there is no adapter in these weights; leave it out")
    before = _flat(as_arrays(loaded.params))
    result = merge(adapter, unflatten_dict(before, sep="/"))
    after = flatten_dict(result.params, sep="/")
    error, lost = result.error, result.lost
    changed = [path for path in after if not np.array_equal(before[path], after[path])]
    for path in changed if dtype != "float32" else ():
        exact = after[path].astype(np.float64)
        off = np.abs(_rounded(path, after[path], dtype).astype(np.float64) - exact).max()
        error = max(error, off / np.abs(exact).max())
        lost = max(lost, off / np.abs(exact - before[path]).max())
    line = (
        f"merged {len(changed)} arrays: in {dtype} one is off by at most {error:.1e} of its largest value, and that is "
        f"{lost:.1e} of the largest change that the adapter makes to it"
    )
    whole = replace(loaded, model=model.evolve(adapter=None), params=result.params, adapter=None, adapters={}, views={})
    return whole, line
