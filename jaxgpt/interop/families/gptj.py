"""Hugging Face `gptj` (GPTJForCausalLM): published weights are `EleutherAI/gpt-j-6b`."""

from typing import Any

from jaxgpt.interop.families import gpt2
from jaxgpt.interop.hugging_face.config import Config, Small, activation_name, family, inner_width
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import GPTJ, Decoder
from jaxgpt.spec.sizes import Count, Layers, Length, Width

LAYER = "blocks/layers"
NAMES = NameMap(
    rows=(
        Row("wte.weight", ("embed/token",)),
        Row("h.{i}.ln_1.weight", (f"{LAYER}/norm_attention/scale",)),
        Row("h.{i}.ln_1.bias", (f"{LAYER}/norm_attention/bias",)),
        *(
            Row(f"h.{{i}}.attn.{name}_proj.weight", (f"{LAYER}/attention/{name}/weight",), transposed=True)
            for name in "kvq"
        ),
        Row("h.{i}.attn.out_proj.weight", (f"{LAYER}/attention/o/weight",), transposed=True),
        Row("h.{i}.mlp.fc_in.weight", (f"{LAYER}/feed_forward/up/weight",), transposed=True),
        Row("h.{i}.mlp.fc_in.bias", (f"{LAYER}/feed_forward/up/bias",)),
        Row("h.{i}.mlp.fc_out.weight", (f"{LAYER}/feed_forward/down/weight",), transposed=True),
        Row("h.{i}.mlp.fc_out.bias", (f"{LAYER}/feed_forward/down/bias",)),
        Row("ln_f.weight", ("norm_final/scale",)),
        Row("ln_f.bias", ("norm_final/bias",)),
        Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True),
        Row("lm_head.bias", ("lm_head/bias",), bare=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.(bias|masked_bias)",
    copies={},
)


def fields(config: Config) -> dict[str, Any]:
    """Our fields from their keys."""
    config.only("tie_word_embeddings", False)
    width, heads = config("n_embd", 4096, Width), config("n_head", 16, Count)
    config.multiple("n_embd", width, "n_head", heads)
    turned = config("rotary_dim", 64, Width)
    if not config.problems and (turned % 2 or turned > width // heads):
        config.problems.append(f"rotary_dim: {turned}, expected an even number up to n_embd / n_head {width // heads}")
    return {
        "vocab_size": config("vocab_size", 50400, Length),
        "context": config("n_positions", 2048, Length),
        "d_model": width,
        "num_layers": config("n_layer", 28, Layers),
        "num_heads": heads,
        "position": {"kind": "rotary", "width": turned},
        "residual": "parallel_one_norm",
        "qkv_bias": False,
        "o_bias": False,
        "feed_forward": {
            "kind": "mlp",
            "d_ff": config("n_inner", None, Width),
            "activation": config.activation("activation_function", "gelu_new"),
        },
        "norm": {"kind": "layer", "eps": config("layer_norm_epsilon", 1e-5, Small)},
        "init_std": config("initializer_range", 0.02, Small),
        "tied": False,
        "head_bias": True,
        "dropout": config.dropout(0.0, "resid_pdrop", "embd_pdrop", "attn_pdrop"),
    }


def keys(model: Decoder) -> dict[str, Any]:
    """Their keys from our fields."""
    return {
        "vocab_size": model.vocab_size,
        "n_positions": model.context,
        "n_embd": model.d_model,
        "n_layer": model.num_layers,
        "n_head": model.num_heads,
        "rotary_dim": getattr(model.position, "width", None) or model.head_width,
        "n_inner": inner_width(model),
        "activation_function": activation_name(model),
        "layer_norm_epsilon": getattr(model.norm, "eps", 1e-5),
        "initializer_range": model.init_std,
        "tie_word_embeddings": False,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), model.dropout),
    }


FAMILY = family("gptj", "GPTJForCausalLM", GPTJ, lambda model: NAMES, fields, keys, words=gpt2.WORDS)
