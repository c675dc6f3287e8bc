"""Hugging Face `gpt_neox` (GPTNeoXForCausalLM): published weights are `EleutherAI/gpt-neox-20b`, `pythia-*`.

A head's queries, keys and values lie side by side in one matrix.
"""

from typing import Annotated, Any

from pydantic import Field

from jaxgpt.interop.families.rows import LAYER, QKV, dense, norm
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.common_keys import CommonKeys
from jaxgpt.interop.hugging_face.config import Config, activation_name, family, inner_width
from jaxgpt.interop.hugging_face.rope import read_rope, rope_key, rope_keys, share
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import Decoder, GPTNeoX
from jaxgpt.spec.sizes import Width

Share = Annotated[float, Field(gt=0, le=1)]
COMMON = CommonKeys(
    vocab_size=50432,
    context=("max_position_embeddings", 2048),
    d_model=("hidden_size", 6144),
    num_layers=("num_hidden_layers", 44),
    num_heads=("num_attention_heads", 64),
    norm_eps=("layer_norm_eps", 1e-5),
    dropout=0.0,
    dropout_keys=("hidden_dropout", "attention_dropout"),
    tied=False,
)


def names(model: Decoder) -> NameMap:
    """The tensors of a model with so many heads."""
    return NameMap(
        rows=(
            Row("embed_in.weight", ("embed/token",)),
            *norm("layers.{i}.input_layernorm", f"{LAYER}/norm_attention"),
            *dense("layers.{i}.attention.query_key_value", *QKV, blocks=model.num_heads),
            *dense("layers.{i}.attention.dense", f"{LAYER}/attention/o"),
            *norm("layers.{i}.post_attention_layernorm", f"{LAYER}/norm_feed_forward"),
            *dense("layers.{i}.mlp.dense_h_to_4h", f"{LAYER}/feed_forward/up"),
            *dense("layers.{i}.mlp.dense_4h_to_h", f"{LAYER}/feed_forward/down"),
            *norm("final_layer_norm", "norm_final"),
            Row("embed_out.weight", ("lm_head/weight",), transposed=True, bare=True),
        ),
        prefix="gpt_neox.",
        buffers=r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
        copies={"embed_out.weight": "embed_in.weight"},
        renames=((r"^lm_head\.", "embed_out."),),  # how a model in memory calls it; files keep the old name
    )


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    common = COMMON.fields(config)
    hidden, heads = common["d_model"], common["num_heads"]
    part = config("partial_rotary_factor", config("rotary_pct", 0.25, Share), Share, rope_key(config))
    turned = int(hidden // heads * part)
    if not config.problems and (turned < 2 or turned % 2):
        config.problems.append(f"rotary_pct: {part} of a head's {hidden // heads} channels is no even number of them")
    position = read_rope(config, common["context"], "rotary_emb_base")
    biased = config("attention_bias", True, bool)
    return common | {
        "position": position | {"width": None if part == 1 else turned},
        "residual": "parallel" if config("use_parallel_residual", True, bool) else "sequential",
        "qkv_bias": biased,
        "o_bias": biased,
        "feed_forward": {
            "kind": "mlp",
            "d_ff": config("intermediate_size", 24576, Width),
            "activation": config.activation("hidden_act", "gelu"),
        },
    }


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    return COMMON.keys(model) | {
        **rope_keys(model.position, "rotary_emb_base"),
        "rotary_pct": share(getattr(model.position, "width", None), model.head_width),
        "use_parallel_residual": model.residual.kind == "parallel",
        "attention_bias": model.has_qkv_bias or model.has_o_bias,
        "intermediate_size": inner_width(model),
        "hidden_act": activation_name(model),
    }


FAMILY = with_task_classes(family("gpt_neox", "GPTNeoXForCausalLM", GPTNeoX, names, fields, keys))
