"""Hugging Face `gpt2` (GPT2LMHeadModel): published weights are `openai-community/gpt2`, `-medium`, `-large`, `-xl`.

Their Conv1D stores (in, out) as we do; queries, keys and values are one matrix.
"""

from typing import Any

from jaxgpt.interop.hugging_face.config import Config, Small, activation_name, family, inner_width
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import GPT2, Decoder
from jaxgpt.spec.sizes import Count, Layers, Length, Width

LAYER = "blocks/layers"
NAMES = NameMap(
    rows=(
        Row("wte.weight", ("embed/token",)),
        Row("wpe.weight", ("embed/position",)),
        Row("h.{i}.ln_1.weight", (f"{LAYER}/norm_attention/scale",)),
        Row("h.{i}.ln_1.bias", (f"{LAYER}/norm_attention/bias",)),
        Row("h.{i}.attn.c_attn.weight", tuple(f"{LAYER}/attention/{name}/weight" for name in "qkv")),
        Row("h.{i}.attn.c_attn.bias", tuple(f"{LAYER}/attention/{name}/bias" for name in "qkv")),
        Row("h.{i}.attn.c_proj.weight", (f"{LAYER}/attention/o/weight",)),
        Row("h.{i}.attn.c_proj.bias", (f"{LAYER}/attention/o/bias",)),
        Row("h.{i}.ln_2.weight", (f"{LAYER}/norm_feed_forward/scale",)),
        Row("h.{i}.ln_2.bias", (f"{LAYER}/norm_feed_forward/bias",)),
        Row("h.{i}.mlp.c_fc.weight", (f"{LAYER}/feed_forward/up/weight",)),
        Row("h.{i}.mlp.c_fc.bias", (f"{LAYER}/feed_forward/up/bias",)),
        Row("h.{i}.mlp.c_proj.weight", (f"{LAYER}/feed_forward/down/weight",)),
        Row("h.{i}.mlp.c_proj.bias", (f"{LAYER}/feed_forward/down/bias",)),
        Row("ln_f.weight", ("norm_final/scale",)),
        Row("ln_f.bias", ("norm_final/bias",)),
        Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.(bias|masked_bias)",
    copies={"lm_head.weight": "wte.weight"},
)


def fields(config: Config) -> dict[str, Any]:
    """Our fields from their keys."""
    config.only("scale_attn_weights", True)
    config.only("scale_attn_by_inverse_layer_idx", False)
    config.only("add_cross_attention", False)
    return sizes(config, vocab=50257, context=1024) | {
        "feed_forward": {
            "kind": "mlp",
            "d_ff": config("n_inner", None, Width),
            "activation": config.activation("activation_function", "gelu_new"),
        },
    }


def keys(model: Decoder) -> dict[str, Any]:
    """Their keys from our fields."""
    return size_keys(model) | {
        "n_inner": inner_width(model),
        "activation_function": activation_name(model),
    }


def sizes(config: Config, vocab: int, context: int) -> dict[str, Any]:
    """What OpenAI's two GPTs have in common, with the sizes that are assumed where keys are absent."""
    width, heads = config("n_embd", 768, Width), config("n_head", 12, Count)
    config.multiple("n_embd", width, "n_head", heads)
    return {
        "vocab_size": config("vocab_size", vocab, Length),
        "context": config("n_positions", context, Length),
        "d_model": width,
        "num_layers": config("n_layer", 12, Layers),
        "num_heads": heads,
        "norm": {"kind": "layer", "eps": config("layer_norm_epsilon", 1e-5, Small)},
        "init_std": config("initializer_range", 0.02, Small),
        "tied": config("tie_word_embeddings", True, bool),
        "dropout": config.dropout(0.1, "resid_pdrop", "embd_pdrop", "attn_pdrop"),
    }


def size_keys(model: Decoder) -> dict[str, Any]:
    """Their size keys from our fields: the inverse of `sizes`."""
    return {
        "vocab_size": model.vocab_size,
        "n_positions": model.context,
        "n_embd": model.d_model,
        "n_layer": model.num_layers,
        "n_head": model.num_heads,
        "layer_norm_epsilon": getattr(model.norm, "eps", 1e-5),
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), model.dropout),
    }


WORDS = {"num_layers": "n_layer", "d_model": "n_embd", "num_heads": "n_head", "context": "n_positions"}
FAMILY = family("gpt2", "GPT2LMHeadModel", GPT2, lambda model: NAMES, fields, keys, words=WORDS)
