"""Hugging Face `gptj` (GPTJForCausalLM): published weights are `EleutherAI/gpt-j-6b`."""

from typing import Any

from jaxgpt.interop.families.rows import LAYER, dense, norm
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.common_keys import CommonKeys
from jaxgpt.interop.hugging_face.config import Config, activation_name, family, inner_width
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import GPTJ, Decoder
from jaxgpt.spec.sizes import Width

NAMES = NameMap(
    rows=(
        Row("wte.weight", ("embed/token",)),
        *norm("h.{i}.ln_1", f"{LAYER}/norm_attention"),
        *(
            Row(f"h.{{i}}.attn.{name}_proj.weight", (f"{LAYER}/attention/{name}/weight",), transposed=True)
            for name in "kvq"
        ),
        Row("h.{i}.attn.out_proj.weight", (f"{LAYER}/attention/o/weight",), transposed=True),
        *dense("h.{i}.mlp.fc_in", f"{LAYER}/feed_forward/up"),
        *dense("h.{i}.mlp.fc_out", f"{LAYER}/feed_forward/down"),
        *norm("ln_f", "norm_final"),
        *dense("lm_head", "lm_head", bare=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.(bias|masked_bias)",
    copies={},
)
COMMON = CommonKeys(
    vocab_size=50400,
    context=("n_positions", 2048),
    d_model=("n_embd", 4096),
    num_layers=("n_layer", 28),
    num_heads=("n_head", 16),
    norm_eps=("layer_norm_epsilon", 1e-5),
    dropout=0.0,
    dropout_keys=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    tied=False,
)


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    config.only("tie_word_embeddings", False)
    common, turned = COMMON.fields(config), config("rotary_dim", 64, Width)
    width, heads = common["d_model"], common["num_heads"]
    if not config.problems and (turned % 2 or turned > width // heads):
        config.problems.append(f"rotary_dim: {turned}, expected an even number up to n_embd / n_head {width // heads}")
    return common | {
        "position": {"kind": "rotary", "width": turned},
        "residual": "parallel_one_norm",
        "qkv_bias": False,
        "o_bias": False,
        "feed_forward": {
            "kind": "mlp",
            "d_ff": config("n_inner", None, Width),
            "activation": config.activation("activation_function", "gelu_new"),
        },
        "head_bias": True,
    }


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    return COMMON.keys(model) | {
        "tie_word_embeddings": False,
        "rotary_dim": getattr(model.position, "width", None) or model.head_width,
        "n_inner": inner_width(model),
        "activation_function": activation_name(model),
    }


FAMILY = with_task_classes(
    family("gptj", "GPTJForCausalLM", GPTJ, lambda model: NAMES, fields, keys, words=COMMON.words)
)
