"""What Llama and its kin have in common: names of tensors, keys of the configuration.

Queries and keys turn half-paired channels; a model of ours with interleaved pairs is written with its channels moved.
"""

from collections.abc import Mapping
from typing import Any

from jaxgpt.interop.hf_config import Config, activation_name, inner_width
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.interop.rope import read_rope, rope_keys, rope_parameters
from jaxgpt.models import Decoder
from jaxgpt.ops.positions import Turning

LAYER = "blocks/layers"
NORMS = {"input_layernorm": "norm_1", "post_attention_layernorm": "norm_2"}
NORMS_ON_BOTH_SIDES = {
    "input_layernorm": "norm_1",
    "post_attention_layernorm": "norm_1_after",
    "pre_feedforward_layernorm": "norm_2",
    "post_feedforward_layernorm": "norm_2_after",
}
MOST_LAYERS = 10_000


def names(model: Decoder) -> NameMap:
    """The tensors of a model."""
    interleaved = isinstance(model.position, Turning) and model.position.pairing == "interleaved"
    paired = {"q": model.num_heads, "k": model.kv_heads} if interleaved else {}
    norms = NORMS_ON_BOTH_SIDES if model.norm_place == "both" else NORMS
    rows = [Row("embed_tokens.weight", ("embed/token",))]
    for theirs, ours in norms.items():
        rows.append(Row(f"layers.{{i}}.{theirs}.weight", (f"{LAYER}/{ours}/scale",)))
    for name in "qkvo":
        own = Row(f"layers.{{i}}.self_attn.{name}_proj.", (f"{LAYER}/attention/{name}/",), paired=paired.get(name, 0))
        rows += _affine(own)
    for name in "qk":
        path = f"{LAYER}/attention/{name}_norm/scale"
        rows.append(Row(f"layers.{{i}}.self_attn.{name}_norm.weight", (path,), paired=int(interleaved)))
    for name in ("gate", "up", "down"):
        rows += _affine(Row(f"layers.{{i}}.mlp.{name}_proj.", (f"{LAYER}/feed_forward/{name}/",)))
    rows.append(Row("norm.weight", ("norm_f/scale",)))
    rows.append(Row("lm_head.weight", ("head/weight",), transposed=True, bare=True))
    return NameMap(
        rows=tuple(rows),
        prefix="model.",
        buffers=r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",
        copies={"lm_head.weight": "embed_tokens.weight"},
    )


def _affine(row: Row) -> list[Row]:
    """A projection's weight and bias."""
    (path,) = row.ours
    weight = row._replace(theirs=row.theirs + "weight", ours=(path + "weight",), transposed=True)
    return [weight, row._replace(theirs=row.theirs + "bias", ours=(path + "bias",))]


def fields(config: Config, defaults: Mapping[str, Any], activation: str = "hidden_act") -> dict[str, Any]:
    """Our fields from their keys. `defaults`: what transformers assumes where a key is absent."""

    def value(key: str) -> Any:
        return config(key, defaults[key])

    config.only("attention_dropout", 0, None)
    config.only("partial_rotary_factor", 1, None)
    if rope_parameters(config).get("partial_rotary_factor", 1) != 1:
        config.problems.append("rope_parameters.partial_rotary_factor: not supported here, only 1; all channels turn")
    context = config.whole("max_position_embeddings", defaults["max_position_embeddings"])
    return {
        "vocab_size": value("vocab_size"),
        "context": context,
        "d_model": value("hidden_size"),
        "num_layers": config.whole("num_hidden_layers", defaults["num_hidden_layers"], most=MOST_LAYERS),
        "num_heads": value("num_attention_heads"),
        "num_kv_heads": value("num_key_value_heads"),
        "d_head": value("head_dim"),
        "position": read_rope(config, context),
        "norm": {"kind": "rms", "eps": config("rms_norm_eps", 1e-6)},
        "feed_forward": {
            "kind": "gated",
            "d_ff": value("intermediate_size"),
            "activation": config.activation(activation, defaults[activation]),
        },
        "bias": False,
        "tied": value("tie_word_embeddings"),
        "init_std": config("initializer_range", 0.02),
    }


def keys(model: Decoder, activation: str = "hidden_act") -> dict[str, Any]:
    """Their keys from our fields."""
    return {
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.context,
        "hidden_size": model.d_model,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_width,
        "intermediate_size": inner_width(model),
        activation: activation_name(model),
        **rope_keys(model.position),
        "rms_norm_eps": getattr(model.norm, "eps", 1e-6),
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        "attention_dropout": 0.0,
    }


def check_multiple(config: Config, held: Mapping[str, Any]) -> None:
    """Notes a problem where heads do not divide the width: the class of transformers wants it, whatever `head_dim`."""
    width, heads = held["d_model"], held["num_heads"]
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
        config.problems.append(f"hidden_size: {width} is not a multiple of num_attention_heads {heads}")
