"""Hugging Face `gpt_neox` (GPTNeoXForCausalLM): published weights are `EleutherAI/gpt-neox-20b`, `pythia-*`.

A head's queries, keys and values lie side by side in one matrix.
"""

from typing import Annotated, Any

from pydantic import Field

from jaxgpt.interop.hugging_face.config import Config, Small, activation_name, family, inner_width
from jaxgpt.interop.hugging_face.rope import read_rope, rope_key, rope_keys, share
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import Decoder, GPTNeoX
from jaxgpt.spec.sizes import Count, Layers, Length, Width

LAYER = "blocks/layers"
Share = Annotated[float, Field(gt=0, le=1)]


def names(model: Decoder) -> NameMap:
    """The tensors of a model with so many heads."""
    fused = {kind: tuple(f"{LAYER}/attention/{name}/{kind}" for name in "qkv") for kind in ("weight", "bias")}
    heads = model.num_heads
    return NameMap(
        rows=(
            Row("embed_in.weight", ("embed/token",)),
            Row("layers.{i}.input_layernorm.weight", (f"{LAYER}/norm_attention/scale",)),
            Row("layers.{i}.input_layernorm.bias", (f"{LAYER}/norm_attention/bias",)),
            Row("layers.{i}.attention.query_key_value.weight", fused["weight"], transposed=True, blocks=heads),
            Row("layers.{i}.attention.query_key_value.bias", fused["bias"], blocks=heads),
            Row("layers.{i}.attention.dense.weight", (f"{LAYER}/attention/o/weight",), transposed=True),
            Row("layers.{i}.attention.dense.bias", (f"{LAYER}/attention/o/bias",)),
            Row("layers.{i}.post_attention_layernorm.weight", (f"{LAYER}/norm_feed_forward/scale",)),
            Row("layers.{i}.post_attention_layernorm.bias", (f"{LAYER}/norm_feed_forward/bias",)),
            Row("layers.{i}.mlp.dense_h_to_4h.weight", (f"{LAYER}/feed_forward/up/weight",), transposed=True),
            Row("layers.{i}.mlp.dense_h_to_4h.bias", (f"{LAYER}/feed_forward/up/bias",)),
            Row("layers.{i}.mlp.dense_4h_to_h.weight", (f"{LAYER}/feed_forward/down/weight",), transposed=True),
            Row("layers.{i}.mlp.dense_4h_to_h.bias", (f"{LAYER}/feed_forward/down/bias",)),
            Row("final_layer_norm.weight", ("norm_final/scale",)),
            Row("final_layer_norm.bias", ("norm_final/bias",)),
            Row("embed_out.weight", ("lm_head/weight",), transposed=True, bare=True),
        ),
        prefix="gpt_neox.",
        buffers=r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
        copies={"embed_out.weight": "embed_in.weight"},
        renames=((r"^lm_head\.", "embed_out."),),  # how a model in memory calls it; files keep the old name
    )


def fields(config: Config) -> dict[str, Any]:
    """Our fields from their keys."""
    hidden, heads = config("hidden_size", 6144, Width), config("num_attention_heads", 64, Count)
    config.multiple("hidden_size", hidden, "num_attention_heads", heads)
    context = config("max_position_embeddings", 2048, Length)
    part = config("partial_rotary_factor", config("rotary_pct", 0.25, Share), Share, rope_key(config))
    turned = int(hidden // heads * part)
    if not config.problems and (turned < 2 or turned % 2):
        config.problems.append(f"rotary_pct: {part} of a head's {hidden // heads} channels is no even number of them")
    biased = config("attention_bias", True, bool)
    return {
        "vocab_size": config("vocab_size", 50432, Length),
        "context": context,
        "d_model": hidden,
        "num_layers": config("num_hidden_layers", 44, Layers),
        "num_heads": heads,
        "position": read_rope(config, context, "rotary_emb_base") | {"width": None if part == 1 else turned},
        "residual": "parallel" if config("use_parallel_residual", True, bool) else "sequential",
        "qkv_bias": biased,
        "o_bias": biased,
        "feed_forward": {
            "kind": "mlp",
            "d_ff": config("intermediate_size", 24576, Width),
            "activation": config.activation("hidden_act", "gelu"),
        },
        "norm": {"kind": "layer", "eps": config("layer_norm_eps", 1e-5, Small)},
        "init_std": config("initializer_range", 0.02, Small),
        "tied": config("tie_word_embeddings", False, bool),
        "dropout": config.dropout(0.0, "hidden_dropout", "attention_dropout"),
    }


def keys(model: Decoder) -> dict[str, Any]:
    """Their keys from our fields."""
    return {
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.context,
        "hidden_size": model.d_model,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        **rope_keys(model.position, "rotary_emb_base"),
        "rotary_pct": share(getattr(model.position, "width", None), model.head_width),
        "use_parallel_residual": model.residual == "parallel",
        "attention_bias": model.has_qkv_bias or model.has_o_bias,
        "intermediate_size": inner_width(model),
        "hidden_act": activation_name(model),
        "layer_norm_eps": getattr(model.norm, "eps", 1e-5),
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        **dict.fromkeys(("hidden_dropout", "attention_dropout"), model.dropout),
    }


FAMILY = family("gpt_neox", "GPTNeoXForCausalLM", GPTNeoX, names, fields, keys)
