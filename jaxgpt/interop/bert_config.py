"""What a Hugging Face configuration of a BERT-type encoder says, as fields of our Encoder, and what it cannot say."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from jaxgpt.interop import hf_config
from jaxgpt.interop.hf_config import Config, activation_name, inner_width
from jaxgpt.models import Encoder
from jaxgpt.nn.feed_forward import MLP
from jaxgpt.nn.norm import LayerNorm
from jaxgpt.ops.activations import GELU, Activation
from jaxgpt.ops.patterns import Bidirectional
from jaxgpt.ops.positions import Learned
from jaxgpt.spec import ConfigError, apply_overrides, parse
from jaxgpt.spec.errors import quote

E = TypeVar("E", bound=Encoder)

FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "feed_forward.d_ff",
    "type_vocab_size": "token_types",
    "layer_norm_eps": "norm.eps",
    "initializer_range": "init_std",
    "hidden_dropout_prob": "dropout",
}
"""Their keys and our dotted paths."""
DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
}
"""What transformers assumes where a key is absent."""
ACTIVATIONS: Mapping[str, Activation] = {**hf_config.ACTIVATIONS, "gelu_python": GELU()}
ONLY = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
"""Keys that change the computation in a way our encoders do not have, with the value that does not."""


class Heads(NamedTuple):
    """What a class has above its blocks."""

    pooler: bool = False
    masked: bool = False
    next_sentence: bool = False


class Dialect(NamedTuple):
    """How one Hugging Face family differs from the others."""

    model_type: str
    defaults: Mapping[str, Any]
    """Where absent keys mean something else than DEFAULTS."""
    offset: bool
    """Whether positions start behind the padding id."""
    head_activation: Activation | None
    """The masked head's; None: that of the blocks."""
    heads: Mapping[str, Heads]
    """Each class's. The first has the pooler alone, and is meant where a file names none."""


def read_config(config: Mapping[str, Any], dialect: Dialect, family: type[E]) -> E:
    """The family's spec for a parsed config.json. Keys that do not touch the computation are ignored.

    Raises ConfigError with one line for every key that asks for something else than the family computes.
    """
    held = {**DEFAULTS, **dialect.defaults, **config}
    asked = Config(held, dialect.model_type)
    problems = asked.problems
    activation = asked.activation("hidden_act", "gelu", ACTIVATIONS)
    asked.dropout(0.1, "hidden_dropout_prob", "attention_probs_dropout_prob")
    for key, value in ONLY.items():
        asked.only(key, value)
    names = held.get("architectures") or [next(iter(dialect.heads))]
    if not isinstance(names, list) or len(names) != 1 or str(names[0]) not in dialect.heads:
        problems.append(
            f"architectures: {quote(names)}, expected one of {', '.join(dialect.heads)}; their heads are read"
        )
    padding, positions = held.get("pad_token_id") if dialect.offset else -1, held["max_position_embeddings"]
    offset = padding + 1 if isinstance(padding, int) else -1
    if offset < 0 or type(positions) is not int or positions <= offset:
        problems.append(
            f"max_position_embeddings: {quote(positions)} with pad_token_id {quote(padding)} leave no position"
        )
    if problems:
        raise ConfigError(problems)
    heads = dialect.heads[names[0]]
    tree = {
        "norm": {"kind": "layer"},
        "embed_norm": {"kind": "layer", "eps": held["layer_norm_eps"]},
        "feed_forward": {"kind": "mlp", "activation": activation},
        "position": {"kind": "learned", "offset": offset},
        "context": positions - offset,
        "pooler": heads.pooler,
        "next_sentence": heads.next_sentence,
        "masked_head": heads.masked,
        "head_activation": dialect.head_activation or activation,
    }
    return parse(
        family, apply_overrides(tree, {ours: held[key] for key, ours in FIELDS.items() if key in held}, family)
    )


def write_config(model: Encoder, dialect: Dialect) -> dict[str, Any]:
    """The content of config.json. Raises ConfigError with one line for every field that it cannot express."""
    feed_forward, position = model.feed_forward, model.position
    activation = feed_forward.activation if isinstance(feed_forward, MLP) else None
    known = activation in ACTIVATIONS.values()
    starts = position.offset if isinstance(position, Learned) else -1
    wants = {
        "vocab_size": (model.vocab_size is not None, "a number"),
        "position": (starts >= 1 if dialect.offset else starts == 0, _positions(dialect)),
        "norm": (isinstance(model.norm, LayerNorm) and model.norm.bias, "layer, with bias"),
        "embed_norm": (model.embed_norm == model.norm, "that of the blocks"),
        "norm_place": (model.norm_place == "post", "post"),
        "residual": (model.residual == "sequential", "sequential"),
        "feed_forward": (known, f"mlp with one of {', '.join(ACTIVATIONS)}"),
        "pattern": (set(model.pattern) == {Bidirectional()}, "bidirectional"),
        "num_kv_heads": (model.kv_heads == model.num_heads, "num_heads"),
        "d_head": (model.head_width * model.num_heads == model.d_model, "d_model / num_heads"),
        "qk_norm": (model.qk_norm is None, "none"),
        "soft_cap": (model.soft_cap is None, "none"),
        "score_scale": (model.score_scale is None, "none"),
        "bias": (model.bias, "true"),
        "qkv_bias": (model.has_qkv_bias, "true"),
        "o_bias": (model.has_o_bias, "true"),
        "head": (model.head is None, "none"),
        "next_sentence": (
            not model.next_sentence or any(has.next_sentence for has in dialect.heads.values()),
            "false",
        ),
        "token_types": (model.token_types > 0, "at least 1"),
        "head_activation": (
            not (model.masked_head and known) or model.head_activation == (dialect.head_activation or activation),
            "gelu" if dialect.head_activation else "that of feed_forward",
        ),
    }
    problems = [
        f"model.{name}: {getattr(model, name)!r}; Hugging Face's '{dialect.model_type}' has {expected} only"
        for name, (holds, expected) in wants.items()
        if not holds
    ]
    if problems:
        raise ConfigError(problems)
    assert isinstance(model.norm, LayerNorm)
    return {
        "architectures": [architecture(model, dialect)],
        "model_type": dialect.model_type,
        "vocab_size": model.vocab_size,
        "hidden_size": model.d_model,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "intermediate_size": inner_width(model),
        "hidden_act": activation_name(model, ACTIVATIONS),
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.dropout,
        "max_position_embeddings": model.context + starts,
        "pad_token_id": starts - 1 if dialect.offset else 0,
        "type_vocab_size": model.token_types,
        "initializer_range": model.init_std,
        "layer_norm_eps": model.norm.eps,
        "tie_word_embeddings": True,
    }


def architecture(model: Encoder, dialect: Dialect) -> str:
    """The class that has the model's heads; else the one with its masked head that lets a pooler lie, or the first."""
    named = {has: name for name, has in dialect.heads.items()}
    heads = Heads(model.pooler, model.masked_head, model.next_sentence)
    return named.get(heads) or (named[Heads(masked=True)] if model.masked_head else next(iter(dialect.heads)))


def _positions(dialect: Dialect) -> str:
    return "learned, with an offset of at least 1," if dialect.offset else "learned, without an offset,"
