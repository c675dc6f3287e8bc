"""What an adapter changes of a base: a few leaves beside those of its weights or in their place; the rest is shared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.disk import resolve
from jaxgpt.inference.device_weights import in_dtype, on_mesh, placed_shapes, put
from jaxgpt.interop.peft.config import CONFIG
from jaxgpt.models import Model
from jaxgpt.parallel import Mesh, Rules
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.trainable import frozen_digest, split_params
from jaxgpt.spec import ConfigError, load_yaml
from jaxgpt.spec.errors import quote
from jaxgpt.text import Codec
from jaxgpt.text.tokenizers.saved import load_codec

DEFAULT = "default"
"""What an adapter is called where nobody names it; PEFT's own."""
Leaves = Mapping[str, jax.Array]
"""Parameters by path: `blocks/layers/attention/q/adapter/a`."""


class Adaptation(NamedTuple):
    """An adapter, read for a base."""

    spec: ObjectiveRun | Model
    """The run that trained it; of another library's, the model."""
    model: Model
    """The base's, with the adapter and what else belongs to it."""
    leaves: Leaves
    """The parameters that are its own, on the base's devices."""
    codec: Codec | None
    """The run's; None: the base's."""

    def params(self, base: Leaves) -> Any:
        """The model's whole tree: its own leaves, and the arrays of the base themselves."""
        paths = flatten_dict(self.model.shapes(), sep="/")
        return unflatten_dict(
            {path: self.leaves[path] if path in self.leaves else base[path] for path in paths}, sep="/"
        )


def is_run(path: Path) -> bool:
    """Whether `jaxgpt train` wrote that folder."""
    return (path / "config.yaml").exists()


def is_peft(path: Path) -> bool:
    """Whether that folder holds an adapter of PEFT's."""
    return (path / CONFIG).exists()


def named_paths(adapter: Any) -> dict[str, Path]:
    """The folders of adapters by name, of a path or of several by name. Raises ConfigError for what is neither."""
    several = adapter if isinstance(adapter, Mapping) else {DEFAULT: adapter}
    if not several or not all(isinstance(name, str) and name for name in several):
        raise ConfigError(f"adapter: {quote(adapter)}, expected a path, or paths by names")
    paths = {name: resolve(path, "adapter") for name, path in several.items()}
    for path in paths.values():
        if not is_run(path) and not is_peft(path):
            raise ConfigError(f"adapter: {path}: holds neither {CONFIG} nor a run's config.yaml")
    return paths


def read_run(
    path: Path, best: bool, base: Leaves, mesh: Mesh | None, rules: Rules | None, origin: Path | None = None
) -> Adaptation:
    """What a run trained, of weights whose rest is `base`, float32. Raises ConfigError where the run has another.

    `origin`: where the base comes from, if it is what the run itself names.
    """
    run = load_yaml(ObjectiveRun, path / "config.yaml")
    trained, frozen = split_params(placed_shapes(run.model, mesh, rules), run.trained)
    if frozen is None:
        raise ConfigError(f"adapter: {path} trained all of its model; load it by itself")
    restored = restore(path / "ckpt", trained, best=best, part="params" if run.ema is None else "ema")
    if restored is None:
        raise ConfigError(f"{path}: holds no checkpoint yet; train it first")
    wanted = flatten_dict(frozen, sep="/")
    differ = [name for name, leaf in wanted.items() if name not in base or base[name].shape != leaf.shape]
    if differ:
        name = differ[0]
        has = f"has shape {base[name].shape}" if name in base else "is missing"
        more = f" (and {len(differ) - 1} more)" if len(differ) > 1 else ""
        raise _other(path, run, origin, f"{name}{more} {has}, expected {wanted[name].shape}")
    before = str(restored[2].get("sources", {}).get("start"))
    stored = {name: on_mesh(name, run.storage.store(name, base[name]), mesh, rules) for name in wanted}
    now = frozen_digest(unflatten_dict(stored, sep="/"))
    if now != before:
        raise _other(path, run, origin, f"SHA-256 {before[:16]}... then, {now[:16]}... now")
    leaves = flatten_dict(in_dtype(restored[1], None), sep="/")
    leaves |= {name: leaf for name, leaf in stored.items() if leaf is not base[name]}  # other numbers than the base's
    return Adaptation(run, run.model, leaves, load_codec(path / "tokenizer"))


def _other(path: Path, run: ObjectiveRun, origin: Path | None, why: str) -> ConfigError:
    if origin is None:
        return ConfigError(f"adapter: {path} was trained on other weights than these: {why}; on {run.start_name}")
    return ConfigError(f"start: {origin} has changed since {path} was trained on its weights: {why}; put it back")


def read_peft(path: Path, model: Model, base: Leaves, mesh: Mesh | None, rules: Rules | None) -> Adaptation:
    """PEFT's adapter in a folder, for a model and its weights. Raises ConfigError and JaxgptError where it does not
    fit."""
    from jaxgpt.interop.peft.read import read_adapter  # here: most models have none

    adapted, arrays = read_adapter(path, model, lambda name: np.asarray(base[name].astype(np.float32)))
    like = flatten_dict(placed_shapes(adapted, mesh, rules), sep="/")
    return Adaptation(adapted, adapted, {name: put(array, like[name]) for name, array in arrays.items()}, None)
