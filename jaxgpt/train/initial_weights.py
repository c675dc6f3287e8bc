"""Weights that a run starts from: another run's, or another library's checkpoint."""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.inference.load import load_base
from jaxgpt.models import Model
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.trainable import frozen_digest
from jaxgpt.spec import ConfigError, diff
from jaxgpt.text import Codec
from jaxgpt.text.corpora.locate import locate
from jaxgpt.train.new_rows import frozen_rows, new_rows
from jaxgpt.train.state import State

OPEN = frozenset(
    {
        "dropout",
        "text_head",
        "pooler",
        "next_sentence",
        "masked_head",
        "lm_head",
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
"""Parts of a parameter tree that the model may have and the weights lack, or the other way round."""
ADAPTER = "adapter"
"""The field, and the part of a path, of what a model may have beside all those weights."""
PROBE = "The quick brown fox jumps over 13 lazy dogs; naïve, isn't it?"
"""A text whose ids tell two vocabularies apart."""


class Start:
    """The weights that `run.start` names, on the devices where those of `like` lie. They are read when first needed."""

    def __init__(self, run: ObjectiveRun, codec: Codec, like: State):
        self._run, self._codec, self._like = run, codec, like
        self._new = new_rows(run.tokenizer, codec)

    def sources(self) -> dict[str, str]:
        """SHA-256 of what is frozen, which no checkpoint of the run holds, by the field that names it."""
        return {} if self.frozen is None else {"start": frozen_digest(self.frozen)}

    def begin(self, state: State, key: jax.Array) -> State:
        """`state` with those weights, and its own for a head that they lack and for an adapter, of which `key` draws
        what starts from the weights themselves; as it is where there is no start.

        Raises ConfigError listing everything in which the model differs from the one those weights are of.
        """
        if self._run.start is None:
            return state
        own, frozen = flatten_dict(state.params, sep="/"), self.frozen
        flat = {name: self._weight(name, leaf) if name in self._weights else leaf for name, leaf in own.items()}
        if (adapter := self._run.model.adaptation) is not None:
            places = flatten_dict(self._like.params, sep="/")
            begun = adapter.begin(flat | flatten_dict(frozen or {}, sep="/"), self._codec, key)
            fresh = {name: leaf for name, leaf in begun.items() if name not in self._weights}
            flat |= {name: jax.device_put(leaf, places[name].sharding) for name, leaf in fresh.items()}
        params = unflatten_dict(flat, sep="/")
        average = None if state.ema is None else jax.tree.map(jnp.copy, params)
        return state._replace(params=params, ema=average, frozen=frozen)

    @property
    def frozen(self) -> Any:
        """The part that is not trained; None where all is. Raises ConfigError as `begin` does."""
        if self._like.frozen is None:
            return None
        names = flatten_dict(self._like.frozen, sep="/")
        return unflatten_dict({name: self._weight(name, None) for name in names}, sep="/")

    def _weight(self, name: str, own: jax.Array | None) -> jax.Array:
        """The weight of a path; in a table that has rows for new tokens these are `own`'s, or where it is not trained
        the same in every run."""
        like, theirs = flatten_dict(self._like.model_params, sep="/")[name], self._weights[name]
        if self._new is None or theirs.shape == like.shape:
            return theirs
        fresh = frozen_rows(like.shape) if own is None else own
        return jax.device_put(self._new.fill(theirs, fresh), like.sharding)

    @cached_property
    def _weights(self) -> dict[str, jax.Array]:
        """The weights of `start` by path."""
        run = self._run
        path = locate(str(run.start_name), "start")
        source = load_base(path, run, run.exec.mesh, run.exec.rules)
        problems = _unlike(source.model, run.model)
        if source.codec is not None and _other_ids(source.codec, self._codec):
            problems.append(f"tokenizer: {path} has another; set tokenizer.path to its tokenizer.json")
        ours, theirs = (flatten_dict(tree, sep="/") for tree in (self._like.model_params, source.params))
        frozen = flatten_dict(self._like.frozen or {}, sep="/")
        weights = {}
        for name, leaf in ours.items():
            other = theirs.get(name)
            if other is not None and other.shape == leaf.shape:
                weights[name] = jax.tree.map(lambda own, like: jax.device_put(own, like.sharding), other, leaf)
            elif other is not None and self._new is not None and self._new.lie_between(other.shape, leaf.shape):
                weights[name] = other
            elif other is None and name in frozen:
                problems.append(f"{name}: {path} lacks it, so it must be trained; let a rule of trainable name it")
            elif other is not None or not _may_differ(name):
                shape = None if other is None else other.shape
                problems.append(f"{name}: {path} has {shape}, the model {leaf.shape}")
        extra = theirs.keys() - ours.keys()
        problems += [f"{name}: the model has no place for it" for name in extra if not _may_differ(name)]
        if problems:
            raise ConfigError([f"start: {problem}" for problem in problems])
        return weights


def _other_ids(theirs: Codec, ours: Codec) -> bool:
    """Whether two vocabularies give other ids; one without the probe's characters is the same only as a whole."""
    if theirs.digest == ours.digest:
        return False
    try:
        return theirs.encode(PROBE) != ours.encode(PROBE)
    except ConfigError:
        return True


def _may_differ(name: str) -> bool:
    """Whether the model may have a parameter that the weights lack, or the other way round."""
    parts = name.split("/")
    return parts[0] in HEADS or ADAPTER in parts


def _unlike(theirs: Model, ours: Model) -> list[str]:
    """Fields whose values make another function of the same weights."""
    before, now = theirs.adaptation, ours.adaptation
    free = {*OPEN, "kind"} if before and now else {*OPEN, "kind", ADAPTER}
    specs: list[dict[str, Any]] = [model.model_dump(mode="json", exclude=free) for model in (theirs, ours)]
    problems = []
    if before and not now:
        problems.append(f"model.adapter is {before.kind} in the weights' model; set it so, or merge it there first")
    return problems + [
        f"model.{name} is {old!r} in the weights' model; set it so"
        for name, (old, new) in diff(*specs).items()
        if not (name.rpartition(".")[2] in SHAPED and None in (old, new))
    ]
