"""Reading a trained model: a run of ours, or another library's checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.disk import resolve
from jaxgpt.inference.adapters import DEFAULT, Adaptation, is_run, named_paths, read_peft, read_run
from jaxgpt.inference.device_weights import DTYPES, in_dtype, on_mesh, placed_shapes, put
from jaxgpt.inference.loaded import Loaded
from jaxgpt.parallel import Mesh, Rules, keep_freed_memory
from jaxgpt.parallel.backend import start
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.storage import Full
from jaxgpt.runs.trainable import is_trained
from jaxgpt.spec import ConfigError, load_yaml
from jaxgpt.spec.arguments import choice, instance
from jaxgpt.text.corpora.locate import locate
from jaxgpt.text.tokenizers.saved import load_codec


def load(
    path: str | Path,
    best: bool = True,
    dtype: str | None = None,
    mesh: Mesh | None = None,
    rules: Rules | None = None,
    adapter: str | Path | Mapping[str, str | Path] | None = None,
) -> Loaded:
    """Loads a run (its best checkpoint, or its last), a Hugging Face folder, a .gguf file or a .bin of llama2.c.

    Weights and computation are in `dtype`: `float32`, `bfloat16` or `float16`; None: float32, but a run computes in
    what it trained in. With a `mesh` the weights are split over all devices as `rules` say (None: `Standard`), else the
    first device has them. Other libraries' weights come tensor by tensor: host memory holds one copy and the largest.

    `adapter` is a folder of PEFT's, or a run that trained a part of these weights; of several, by name, the first is in
    use (see `Loaded.with_adapter`). A run that trained a part of others' weights is loaded with those.

    Raises ConfigError when there is no such thing at `path`, or an adapter is another model's, and JaxgptError listing
    all tensors that do not fit.
    """
    start()
    path = resolve(path)
    keep_freed_memory()
    if dtype is not None:
        choice("dtype", dtype, DTYPES)
    instance("best", best, "True or False", bool)
    instance("mesh", mesh, "a Mesh, as of Mesh(fsdp=8), or None", Mesh, NoneType)
    instance("rules", rules, "Rules, as of Standard(), or None", Rules, NoneType)
    if adapter is None:
        return _load_run(path, best, dtype, mesh, rules) if is_run(path) else _load_other(path, dtype, mesh, rules)
    paths = named_paths(adapter)
    exact = dtype is not None and any(map(is_run, paths.values()))  # a run knows its base by the float32 numbers
    base = load(path, best, "float32" if exact else dtype, mesh, rules)
    if base.adapter is not None:
        raise ConfigError(f"adapter: {path} trained a part of other weights already; give those that it started from")
    leaves, adaptations = flatten_dict(base.params, sep="/"), {}
    for name, folder in paths.items():
        if is_run(folder):
            adaptations[name] = read_run(folder, best, leaves, mesh, rules)
        else:
            adaptations[name] = read_peft(folder, base.model, leaves, mesh, rules)
    return _adapted(base, adaptations, dtype)


def load_base(path: Path, run: ObjectiveRun, mesh: Mesh | None, rules: Rules | None) -> Loaded:
    """The weights that `run` starts from, float32, but what it leaves as it is: that is stored as the run stores it."""

    def store(name: str, leaf: jax.Array) -> Any:
        storage = Full() if is_trained(name, run.trained) else run.storage
        return on_mesh(name, storage.store(name, leaf), mesh, rules)

    if not is_run(path):
        return _load_other(path, "float32", mesh, rules, store)
    base = load(path, dtype="float32", mesh=mesh, rules=rules)
    leaves = flatten_dict(base.params, sep="/")
    base = replace(base, params=None)
    return replace(base, params=unflatten_dict({name: store(name, leaves.pop(name)) for name in [*leaves]}, sep="/"))


def _load_other(
    path: Path,
    dtype: str | None,
    mesh: Mesh | None,
    rules: Rules | None,
    store: Callable[[str, jax.Array], Any] = lambda name, leaf: leaf,
) -> Loaded:
    """Another library's checkpoint. `store` makes what stands in the tree for the parameter of a path."""
    from jaxgpt.interop.recognize import read_source  # here: a run needs no other library's format

    source = read_source(path)
    dtype = dtype or "float32"
    like = flatten_dict(placed_shapes(source.model, mesh, rules), sep="/")
    params = source.read(dtype, lambda name, leaf: store(name, put(leaf, like[name])))
    model, rest = source.model, (source.generation, source.recipe, source.chat_templates)
    return Loaded(model, model, params, source.codec, dtype, *rest)


def _load_run(path: Path, best: bool, dtype: str | None, mesh: Mesh | None, rules: Rules | None) -> Loaded:
    run = load_yaml(ObjectiveRun, path / "config.yaml")
    if run.trained is not None:
        origin = locate(str(run.start_name), "start")
        base = replace(load_base(origin, run, mesh, rules), dtype=run.dtype, adapter=None)
        adaptation = read_run(path, best, flatten_dict(base.params, sep="/"), mesh, rules, origin)
        return _adapted(base, {DEFAULT: adaptation}, dtype)
    restored = restore(
        path / "ckpt",
        placed_shapes(run.model, mesh, rules),
        best=best,
        part="params" if run.ema is None else "ema",
    )
    if restored is None:
        raise ConfigError(f"{path}: holds no checkpoint yet; train it first")
    params = in_dtype(restored[1], dtype)
    return Loaded(run, run.model, params, load_codec(path / "tokenizer"), dtype or run.dtype)


def _adapted(base: Loaded, adaptations: Mapping[str, Adaptation], dtype: str | None) -> Loaded:
    """The base with the first of these adapters in use, in `dtype` (None: as they are)."""
    if dtype is not None:
        base = replace(base, params=in_dtype(base.params, dtype), dtype=dtype)
        adaptations = {name: each._replace(leaves=in_dtype(each.leaves, dtype)) for name, each in adaptations.items()}
    base = replace(base, adapters=adaptations, views={})
    base.views[None] = base
    return base.with_adapter(next(iter(adaptations)))
