"""Hugging Face `gpt_neo` (GPTNeoForCausalLM): published weights are `EleutherAI/gpt-neo-125m`, `-1.3B`, `-2.7B`.

Tensors are named much as in their GPT-2, but stored (out, in), with queries, keys and values apart.
"""

from itertools import chain, islice
from typing import Any

from jaxgpt.interop.families.rows import LAYER, dense, norm
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.common_keys import CommonKeys
from jaxgpt.interop.hugging_face.config import Config, activation_name, cycle, family, inner_width
from jaxgpt.interop.hugging_face.sliding_window import width_of, window
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import Decoder, GPTNeo
from jaxgpt.ops.patterns import Banded, Causal, Pattern
from jaxgpt.spec.errors import quote
from jaxgpt.spec.sizes import Length, Width

NAMES = NameMap(
    rows=(
        Row("wte.weight", ("embed/token",)),
        Row("wpe.weight", ("embed/position",)),
        *norm("h.{i}.ln_1", f"{LAYER}/norm_attention"),
        *(
            Row(f"h.{{i}}.attn.attention.{name}_proj.weight", (f"{LAYER}/attention/{name}/weight",), transposed=True)
            for name in "kvq"
        ),
        *dense("h.{i}.attn.attention.out_proj", f"{LAYER}/attention/o"),
        *norm("h.{i}.ln_2", f"{LAYER}/norm_feed_forward"),
        *dense("h.{i}.mlp.c_fc", f"{LAYER}/feed_forward/up"),
        *dense("h.{i}.mlp.c_proj", f"{LAYER}/feed_forward/down"),
        *norm("ln_f", "norm_final"),
        Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.attention\.(bias|masked_bias)",
    copies={"lm_head.weight": "wte.weight"},
)
COMMON = CommonKeys(
    vocab_size=50257,
    context=("max_position_embeddings", 2048),
    d_model=("hidden_size", 2048),
    num_layers=("num_layers", 24),
    num_heads=("num_heads", 16),
    norm_eps=("layer_norm_epsilon", 1e-5),
    dropout=0.0,
    dropout_keys=("resid_dropout", "embed_dropout", "attention_dropout"),
)


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    common = COMMON.fields(config)
    local = window(config("window_size", 256, Length), common["context"])
    return common | {
        "pattern": _patterns(config, common["num_layers"], local),
        "score_scale": 1.0,
        "qkv_bias": False,
        "feed_forward": {
            "kind": "mlp",
            "d_ff": config("intermediate_size", None, Width),
            "activation": config.activation("activation_function", "gelu_new"),
        },
    }


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    kinds = ["local" if isinstance(pattern, Banded) else "global" for pattern in model.layer_patterns]
    return COMMON.keys(model) | {
        "attention_types": [[kinds, 1]],
        "window_size": width_of(model.layer_patterns) or 256,
        "intermediate_size": inner_width(model),
        "activation_function": activation_name(model),
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


FAMILY = with_task_classes(
    family("gpt_neo", "GPTNeoForCausalLM", GPTNeo, lambda model: NAMES, fields, keys, words=COMMON.words)
)
