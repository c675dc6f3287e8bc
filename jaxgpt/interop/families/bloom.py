"""Hugging Face `bloom` (BloomForCausalLM): published weights are `bigscience/bloom`, `-560m` to `-7b1`, and bloomz.

A head's queries, keys and values lie side by side in one matrix.
"""

from typing import Any

from jaxgpt.interop.families import gpt2
from jaxgpt.interop.hugging_face.config import Config, Small, family
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import BLOOM, Decoder
from jaxgpt.spec.sizes import Count, Layers, Length, Width

LAYER = "blocks/layers"


def names(model: Decoder) -> NameMap:
    """The tensors of a model with so many heads."""
    fused = {kind: tuple(f"{LAYER}/attention/{name}/{kind}" for name in "qkv") for kind in ("weight", "bias")}
    heads = model.num_heads
    return NameMap(
        rows=(
            Row("word_embeddings.weight", ("embed/token",)),
            Row("word_embeddings_layernorm.weight", ("norm_embed/scale",)),
            Row("word_embeddings_layernorm.bias", ("norm_embed/bias",)),
            Row("h.{i}.input_layernorm.weight", (f"{LAYER}/norm_attention/scale",)),
            Row("h.{i}.input_layernorm.bias", (f"{LAYER}/norm_attention/bias",)),
            Row("h.{i}.self_attention.query_key_value.weight", fused["weight"], transposed=True, blocks=heads),
            Row("h.{i}.self_attention.query_key_value.bias", fused["bias"], blocks=heads),
            Row("h.{i}.self_attention.dense.weight", (f"{LAYER}/attention/o/weight",), transposed=True),
            Row("h.{i}.self_attention.dense.bias", (f"{LAYER}/attention/o/bias",)),
            Row("h.{i}.post_attention_layernorm.weight", (f"{LAYER}/norm_feed_forward/scale",)),
            Row("h.{i}.post_attention_layernorm.bias", (f"{LAYER}/norm_feed_forward/bias",)),
            Row("h.{i}.mlp.dense_h_to_4h.weight", (f"{LAYER}/feed_forward/up/weight",), transposed=True),
            Row("h.{i}.mlp.dense_h_to_4h.bias", (f"{LAYER}/feed_forward/up/bias",)),
            Row("h.{i}.mlp.dense_4h_to_h.weight", (f"{LAYER}/feed_forward/down/weight",), transposed=True),
            Row("h.{i}.mlp.dense_4h_to_h.bias", (f"{LAYER}/feed_forward/down/bias",)),
            Row("ln_f.weight", ("norm_final/scale",)),
            Row("ln_f.bias", ("norm_final/bias",)),
            Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True),
        ),
        prefix="transformer.",
        buffers=r"(?!)",
        copies={"lm_head.weight": "word_embeddings.weight"},
    )


def fields(config: Config) -> dict[str, Any]:
    """Our fields from their keys. The context is what the weights were trained on (`seq_length`), not a limit."""
    config.only("apply_residual_connection_post_layernorm", False)
    norm = {"kind": "layer", "eps": config("layer_norm_epsilon", 1e-5, Small)}
    width = config("n_embed", None, Width) or config("hidden_size", 64, Width)
    heads = config("n_head", config("num_attention_heads", 8, Count), Count)
    config.multiple("n_embed" if config("n_embed") else "hidden_size", width, "n_head", heads)
    return {
        "vocab_size": config("vocab_size", 250880, Length),
        "context": config("seq_length", 2048, Length),
        "d_model": width,
        "num_layers": config("n_layer", config("num_hidden_layers", 2, Layers), Layers),
        "num_heads": heads,
        "position": "alibi",
        "norm": norm,
        "embed_norm": norm,
        "init_std": config("initializer_range", 0.02, Small),
        "tied": config("tie_word_embeddings", True, bool),
        "dropout": config.dropout(0.0, "hidden_dropout", "attention_dropout"),
    }


def keys(model: Decoder) -> dict[str, Any]:
    """Their keys from our fields."""
    return {
        "vocab_size": model.vocab_size,
        "seq_length": model.context,
        "hidden_size": model.d_model,
        "n_layer": model.num_layers,
        "n_head": model.num_heads,
        "layer_norm_epsilon": getattr(model.norm, "eps", 1e-5),
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        **dict.fromkeys(("hidden_dropout", "attention_dropout"), model.dropout),
    }


WORDS = gpt2.WORDS | {"d_model": "hidden_size", "context": "seq_length"}
FAMILY = family("bloom", "BloomForCausalLM", BLOOM, names, fields, keys, words=WORDS)
