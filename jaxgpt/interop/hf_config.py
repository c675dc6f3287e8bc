"""What a Hugging Face configuration of an OpenAI-type GPT says, as fields of our Decoder, and what it cannot say."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from jaxgpt.models import Decoder
from jaxgpt.nn.feed_forward import MLP
from jaxgpt.nn.norm import LayerNorm
from jaxgpt.ops.activations import Activation
from jaxgpt.ops.patterns import Causal
from jaxgpt.ops.positions import Learned
from jaxgpt.spec import ConfigError, apply_overrides, parse

D = TypeVar("D", bound=Decoder)

FIELDS = {
    "vocab_size": "vocab_size",
    "n_positions": "context",
    "n_embd": "d_model",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_inner": "feed_forward.d_ff",
    "layer_norm_epsilon": "norm.eps",
    "initializer_range": "init_std",
    "tie_word_embeddings": "tied",
    "resid_pdrop": "dropout",
}
"""Their keys and our dotted paths; both libraries fall back to the same values where a key is absent."""
DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")


class Dialect(NamedTuple):
    """How one Hugging Face class spells its configuration."""

    model_type: str
    norm_place: Literal["pre", "post"]
    activation: str
    """The key that names the activation."""
    activations: Mapping[str, Activation]
    """What its values mean; the first is the default."""
    defaults: Mapping[str, Any]
    """What Hugging Face assumes where a key is absent."""
    only: Mapping[str, Any]
    """Keys that change the computation in a way our models do not have, with the value that does not."""


def read_config(config: Mapping[str, Any], dialect: Dialect, family: type[D]) -> D:
    """The family's spec for a parsed config.json. Keys that do not touch the computation are ignored.

    Raises ConfigError with one line for every key that asks for something else than the family computes.
    """
    held = {**dialect.defaults, **config}
    problems = []
    if held.get("model_type", dialect.model_type) != dialect.model_type:
        problems.append(f"model_type: {held['model_type']!r}, expected '{dialect.model_type}'; use that family's map")
    name = held.get(dialect.activation, next(iter(dialect.activations)))
    if name not in dialect.activations:
        problems.append(f"{dialect.activation}: {name!r} is not supported; known: {', '.join(dialect.activations)}")
    if len({held[key] for key in DROPOUTS}) > 1:
        rates = ", ".join(f"{key} {held[key]}" for key in DROPOUTS)
        problems.append(f"{rates}: one dropout serves all three places here; make them equal")
    problems += [
        f"{key}: {held[key]!r} is not supported, only {value!r}; such weights need another model class"
        for key, value in dialect.only.items()
        if held.get(key, value) != value
    ]
    if problems:
        raise ConfigError(problems)
    tree = {"norm": {"kind": "layer"}, "feed_forward": {"kind": "mlp", "activation": dialect.activations[name]}}
    return parse(family, apply_overrides(tree, {ours: held[key] for key, ours in FIELDS.items() if key in held}))


def check_expressible(model: Decoder, dialect: Dialect) -> None:
    """Raises ConfigError with one line for every field of `model` that the Hugging Face class cannot express."""
    feed_forward = model.feed_forward
    known = isinstance(feed_forward, MLP) and feed_forward.activation in dialect.activations.values()
    wants = {
        "vocab_size": (model.vocab_size is not None, "a number"),
        "position": (isinstance(model.position, Learned), "learned"),
        "norm": (isinstance(model.norm, LayerNorm) and model.norm.bias, "layer, with bias"),
        "norm_place": (model.norm_place == dialect.norm_place, dialect.norm_place),
        "feed_forward": (known, f"mlp with one of {', '.join(dialect.activations)}"),
        "pattern": (set(model.pattern) == {Causal()}, "causal"),
        "num_kv_heads": (model.kv_heads == model.num_heads, "num_heads"),
        "d_head": (model.head_width * model.num_heads == model.d_model, "d_model / num_heads"),
        "qk_norm": (model.qk_norm is None, "none"),
        "soft_cap": (model.soft_cap is None, "none"),
        "bias": (model.bias, "true"),
    }
    problems = [
        f"model.{name}: {getattr(model, name)!r}; Hugging Face's '{dialect.model_type}' has {expected} only"
        for name, (holds, expected) in wants.items()
        if not holds
    ]
    if problems:
        raise ConfigError(problems)
