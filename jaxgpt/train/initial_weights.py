"""Weights that a run starts from: another run's, or another library's checkpoint."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.inference.load import load
from jaxgpt.models import Model
from jaxgpt.runs.run import Run
from jaxgpt.spec import ConfigError, diff
from jaxgpt.text import Codec
from jaxgpt.text.corpora.locate import locate
from jaxgpt.train.state import State

OPEN = frozenset(
    {
        "dropout",
        "text_head",
        "pooler",
        "next_sentence",
        "masked_head",
        "context",
        "init_std",
        "residual_init",
        "vocab_size",
    }
)
"""Fields in which a model may differ from the one that it starts from: they change no function of the kept weights,
or, as the context and the vocabulary, show in their shapes."""
SHAPED = frozenset({"d_ff", "d_head", "num_kv_heads", "qkv_bias", "o_bias"})
"""Fields that stand for a default where they are null; what they come to shows in the weights' shapes."""
HEADS = ("text_head", "pooler", "next_sentence", "lm_head")
"""Parts of a tree that may be new, or be left behind."""
PROBE = "The quick brown fox jumps over 13 lazy dogs; naïve, isn't it?"
"""By its ids two vocabularies are told apart."""


def started(run: Run, codec: Codec, state: State) -> State:
    """`state` with the weights that `run.start` names, and fresh ones for a head that it lacks; `{seed}` in the name is
    the run's seed. As it is where there is no start.

    Raises ConfigError listing everything in which the model differs from the one those weights are of.
    """
    if run.start is None:
        return state
    path = locate(run.start.replace("{seed}", str(run.seed)), "start")
    source = load(path, dtype="float32", mesh=run.exec.mesh, rules=run.exec.rules)
    problems = _unlike(source.model, run.model)
    if source.codec is not None and source.codec.encode(PROBE) != codec.encode(PROBE):
        problems.append(f"tokenizer: {path} has another; set tokenizer.path to its tokenizer.json")
    ours, theirs = (flatten_dict(tree, sep="/") for tree in (state.params, source.params))
    kept = {}
    for name, leaf in ours.items():
        held = theirs.get(name)
        if held is not None and held.shape == leaf.shape:
            kept[name] = jax.device_put(held, leaf.sharding)
        elif held is None and _head(name):
            kept[name] = leaf
        else:
            problems.append(f"{name}: {path} has {None if held is None else held.shape}, the model {leaf.shape}")
    problems += [f"{name}: the model has no place for it" for name in theirs.keys() - ours.keys() if not _head(name)]
    if problems:
        raise ConfigError([f"start: {problem}" for problem in problems])
    params = unflatten_dict(kept, sep="/")
    return state._replace(params=params, ema=None if state.ema is None else jax.tree.map(jnp.copy, params))


def _head(name: str) -> bool:
    return name.split("/")[0] in HEADS


def _unlike(theirs: Model, ours: Model) -> list[str]:
    """Fields whose values make another function of the same weights."""
    told: list[dict[str, Any]] = [model.model_dump(mode="json", exclude={*OPEN, "kind"}) for model in (theirs, ours)]
    return [
        f"model.{name} is {old!r} in the weights' model; set it so"
        for name, (old, new) in diff(*told).items()
        if not (name.rpartition(".")[2] in SHAPED and None in (old, new))
    ]
