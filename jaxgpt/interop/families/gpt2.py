"""Hugging Face `gpt2` (GPT2LMHeadModel): published weights are `openai-community/gpt2`, `-medium`, `-large`, `-xl`.

Their Conv1D stores (in, out) as we do; queries, keys and values are one matrix.
"""

from typing import Any

from jaxgpt.interop.families.rows import LAYER, QKV, dense, norm
from jaxgpt.interop.families.task_classes import double_heads, with_task_classes
from jaxgpt.interop.hugging_face.common_keys import CommonKeys
from jaxgpt.interop.hugging_face.config import Config, activation_name, family, inner_width
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import GPT2, Decoder
from jaxgpt.spec.sizes import Width

NAMES = NameMap(
    rows=(
        Row("wte.weight", ("embed/token",)),
        Row("wpe.weight", ("embed/position",)),
        *norm("h.{i}.ln_1", f"{LAYER}/norm_attention"),
        *dense("h.{i}.attn.c_attn", *QKV, transposed=False),
        *dense("h.{i}.attn.c_proj", f"{LAYER}/attention/o", transposed=False),
        *norm("h.{i}.ln_2", f"{LAYER}/norm_feed_forward"),
        *dense("h.{i}.mlp.c_fc", f"{LAYER}/feed_forward/up", transposed=False),
        *dense("h.{i}.mlp.c_proj", f"{LAYER}/feed_forward/down", transposed=False),
        *norm("ln_f", "norm_final"),
        Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.(bias|masked_bias)",
    copies={"lm_head.weight": "wte.weight"},
)
COMMON = CommonKeys(
    vocab_size=50257,
    context=("n_positions", 1024),
    d_model=("n_embd", 768),
    num_layers=("n_layer", 12),
    num_heads=("n_head", 12),
    norm_eps=("layer_norm_epsilon", 1e-5),
    dropout=0.1,
    dropout_keys=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
)


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    config.only("scale_attn_weights", True)
    config.only("scale_attn_by_inverse_layer_idx", False)
    config.only("add_cross_attention", False)
    return COMMON.fields(config) | {
        "feed_forward": {
            "kind": "mlp",
            "d_ff": config("n_inner", None, Width),
            "activation": config.activation("activation_function", "gelu_new"),
        }
    }


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    return COMMON.keys(model) | {"n_inner": inner_width(model), "activation_function": activation_name(model)}


FAMILY = with_task_classes(
    family("gpt2", "GPT2LMHeadModel", GPT2, lambda model: NAMES, fields, keys, words=COMMON.words),
    double_heads("GPT2DoubleHeadsModel"),
)
