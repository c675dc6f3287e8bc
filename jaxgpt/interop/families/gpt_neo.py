"""Hugging Face `gpt_neo` (GPTNeoForCausalLM): published weights are `EleutherAI/gpt-neo-125m`, `-1.3B`, `-2.7B`.

Tensors are named much as in their GPT-2, but stored (out, in), with queries, keys and values apart.
"""

from itertools import chain, islice
from typing import Any

from jaxgpt.interop.hugging_face import config as hf_config
from jaxgpt.interop.hugging_face.config import Config, Small, activation_name, cycle, family, inner_width
from jaxgpt.interop.hugging_face.sliding_window import width_of, window
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import Decoder, GPTNeo
from jaxgpt.ops.patterns import Banded, Causal, Pattern
from jaxgpt.spec.errors import quote
from jaxgpt.spec.sizes import Count, Layers, Length, Width

LAYER = "blocks/layers"
NAMES = NameMap(
    rows=(
        Row("wte.weight", ("embed/token",)),
        Row("wpe.weight", ("embed/position",)),
        Row("h.{i}.ln_1.weight", (f"{LAYER}/norm_attention/scale",)),
        Row("h.{i}.ln_1.bias", (f"{LAYER}/norm_attention/bias",)),
        *(
            Row(f"h.{{i}}.attn.attention.{name}_proj.weight", (f"{LAYER}/attention/{name}/weight",), transposed=True)
            for name in "kvq"
        ),
        Row("h.{i}.attn.attention.out_proj.weight", (f"{LAYER}/attention/o/weight",), transposed=True),
        Row("h.{i}.attn.attention.out_proj.bias", (f"{LAYER}/attention/o/bias",)),
        Row("h.{i}.ln_2.weight", (f"{LAYER}/norm_feed_forward/scale",)),
        Row("h.{i}.ln_2.bias", (f"{LAYER}/norm_feed_forward/bias",)),
        Row("h.{i}.mlp.c_fc.weight", (f"{LAYER}/feed_forward/up/weight",), transposed=True),
        Row("h.{i}.mlp.c_fc.bias", (f"{LAYER}/feed_forward/up/bias",)),
        Row("h.{i}.mlp.c_proj.weight", (f"{LAYER}/feed_forward/down/weight",), transposed=True),
        Row("h.{i}.mlp.c_proj.bias", (f"{LAYER}/feed_forward/down/bias",)),
        Row("ln_f.weight", ("norm_final/scale",)),
        Row("ln_f.bias", ("norm_final/bias",)),
        Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.attention\.(bias|masked_bias)",
    copies={"lm_head.weight": "wte.weight"},
)


def fields(config: Config) -> dict[str, Any]:
    """Our fields from their keys."""
    context, layers = config("max_position_embeddings", 2048, Length), config("num_layers", 24, Layers)
    width, heads = config("hidden_size", 2048, Width), config("num_heads", 16, Count)
    config.multiple("hidden_size", width, "num_heads", heads)
    return {
        "vocab_size": config("vocab_size", 50257, Length),
        "context": context,
        "d_model": width,
        "num_layers": layers,
        "num_heads": heads,
        "pattern": _patterns(config, layers, window(config("window_size", 256, Length), context)),
        "score_scale": 1.0,
        "qkv_bias": False,
        "feed_forward": {
            "kind": "mlp",
            "d_ff": config("intermediate_size", None, Width),
            "activation": config.activation("activation_function", "gelu_new"),
        },
        "norm": {"kind": "layer", "eps": config("layer_norm_epsilon", 1e-5, Small)},
        "init_std": config("initializer_range", 0.02, Small),
        "tied": config("tie_word_embeddings", True, bool),
        "dropout": config.dropout(0.0, "resid_dropout", "embed_dropout", "attention_dropout"),
    }


def keys(model: Decoder) -> dict[str, Any]:
    """Their keys from our fields."""
    kinds = ["local" if isinstance(one, Banded) else "global" for one in model.layer_patterns]
    return {
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.context,
        "hidden_size": model.d_model,
        "num_layers": model.num_layers,
        "num_heads": model.num_heads,
        "attention_types": [[kinds, 1]],
        "window_size": width_of(model.layer_patterns) or 256,
        "intermediate_size": inner_width(model),
        "activation_function": activation_name(model),
        "layer_norm_epsilon": getattr(model.norm, "eps", 1e-5),
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        **dict.fromkeys(("resid_dropout", "embed_dropout", "attention_dropout"), model.dropout),
    }


def _patterns(config: Config, layers: int, local: Pattern) -> tuple[Pattern, ...]:
    """`[[["global", "local"], 12]]`: kinds, and how often they follow one another."""
    if config.problems:  # the number of layers may be one of them
        return (Causal(),)
    given = config("attention_types") or [[["global", "local"], 12]]
    meaning = {"global": Causal(), "local": local}
    try:
        repeated = (kinds for kinds, times in given if kinds for _ in range(times))
        patterns = [meaning[kind] for kind in islice(chain.from_iterable(repeated), layers + 1)]
    except (TypeError, ValueError, KeyError):
        patterns = []
    if len(patterns) != layers:
        config.problems.append(
            f"attention_types: {quote(given)} does not say 'global' or 'local' for each of {layers} layers (num_layers)"
        )
        return (Causal(),)
    return cycle(patterns)


WORDS = hf_config.WORDS | {"num_layers": "num_layers", "num_heads": "num_heads"}
FAMILY = family("gpt_neo", "GPTNeoForCausalLM", GPTNeo, lambda model: NAMES, fields, keys, words=WORDS)
