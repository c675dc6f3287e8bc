"""What Llama and its kin have in common: names of tensors, keys of the configuration.

Queries and keys turn half-paired channels; a model of ours with interleaved pairs is written with its channels moved.
"""

from collections.abc import Mapping
from typing import Any

from jaxgpt.interop.families.rows import LAYER, dense
from jaxgpt.interop.hugging_face.config import Config, Small, activation_name, inner_width
from jaxgpt.interop.hugging_face.rope import read_rope, rope_key, rope_keys
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import Decoder
from jaxgpt.nn.norm_place import BothNorms
from jaxgpt.ops.positions import Turning
from jaxgpt.spec.sizes import Count, Layers, Length, Width

NORMS = {"input_layernorm": "norm_attention", "post_attention_layernorm": "norm_feed_forward"}
NORMS_ON_BOTH_SIDES = {
    "input_layernorm": "norm_attention",
    "post_attention_layernorm": "norm_attention_after",
    "pre_feedforward_layernorm": "norm_feed_forward",
    "post_feedforward_layernorm": "norm_feed_forward_after",
}


def names(model: Decoder) -> NameMap:
    """The two-way map between their tensor names and our parameter paths."""
    interleaved = isinstance(model.position, Turning) and model.position.pairing == "interleaved"
    paired = {"q": model.num_heads, "k": model.kv_heads} if interleaved else {}
    norms = NORMS_ON_BOTH_SIDES if model.norm_place == BothNorms() else NORMS
    rows = [Row("embed_tokens.weight", ("embed/token",))]
    for theirs, ours in norms.items():
        rows.append(Row(f"layers.{{i}}.{theirs}.weight", (f"{LAYER}/{ours}/scale",)))
    for name in "qkvo":
        rows += dense(f"layers.{{i}}.self_attn.{name}_proj", f"{LAYER}/attention/{name}", paired=paired.get(name, 0))
    for name in "qk":
        path = f"{LAYER}/attention/{name}_norm/scale"
        rows.append(Row(f"layers.{{i}}.self_attn.{name}_norm.weight", (path,), paired=int(interleaved)))
    for name in ("gate", "up", "down"):
        rows += dense(f"layers.{{i}}.mlp.{name}_proj", f"{LAYER}/feed_forward/{name}")
    rows.append(Row("norm.weight", ("norm_final/scale",)))
    rows.append(Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True))
    return NameMap(
        rows=tuple(rows),
        prefix="model.",
        buffers=r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",
        copies={"lm_head.weight": "embed_tokens.weight"},
    )


def fields(config: Config, defaults: Mapping[str, Any], activation: str = "hidden_act") -> dict[str, Any]:
    """Our fields from their keys. `defaults`: what transformers assumes where a key is absent."""

    def value(key: str, kind: Any) -> Any:
        return config(key, defaults[key], kind)

    config.only("attention_dropout", 0, None)
    config.only("partial_rotary_factor", 1, None)
    where = rope_key(config)
    if config("partial_rotary_factor", 1, None, where) != 1:
        config.problems.append(f"{where}.partial_rotary_factor: not supported here, only 1; all channels turn")
    context = value("max_position_embeddings", Length)
    width, heads = value("hidden_size", Width), value("num_attention_heads", Count)
    groups, d_head = value("num_key_value_heads", Count), value("head_dim", Width)
    config.multiple("num_attention_heads", heads, "num_key_value_heads", groups or heads)
    if d_head is None:
        config.multiple("hidden_size", width, "num_attention_heads", heads)
    if not config.problems and (d_head or width // heads) % 2:
        name = f"head_dim: {d_head}" if d_head else f"hidden_size: {width} / num_attention_heads {heads}"
        config.problems.append(f"{name} is no even number, and channels turn in pairs")
    return {
        "vocab_size": value("vocab_size", Length),
        "context": context,
        "d_model": width,
        "num_layers": value("num_hidden_layers", Layers),
        "num_heads": heads,
        "num_kv_heads": groups,
        "d_head": d_head,
        "position": read_rope(config, context),
        "norm": {"kind": "rms", "eps": config("rms_norm_eps", 1e-6, Small)},
        "feed_forward": {
            "kind": "gated",
            "d_ff": value("intermediate_size", Width),
            "activation": config.activation(activation, defaults[activation]),
        },
        "bias": False,
        "tied": value("tie_word_embeddings", bool),
        "init_std": config("initializer_range", 0.02, Small),
    }


def keys(model: Decoder, activation: str = "hidden_act") -> dict[str, Any]:
    """The keys of config.json from our fields."""
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


def check_multiple(config: Config, ours: Mapping[str, Any]) -> None:
    """Notes a problem where heads do not divide the width: the class of transformers wants it, whatever `head_dim`."""
    config.multiple("hidden_size", ours["d_model"], "num_attention_heads", ours["num_heads"])
