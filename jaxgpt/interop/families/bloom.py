"""Hugging Face `bloom` (BloomForCausalLM): published weights are `bigscience/bloom`, `-560m` to `-7b1`, and bloomz.

A head's queries, keys and values lie side by side in one matrix.
"""

from typing import Any

from jaxgpt.interop.families.rows import LAYER, QKV, dense, norm
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.common_keys import CommonKeys
from jaxgpt.interop.hugging_face.config import Config, family
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import BLOOM, Decoder
from jaxgpt.spec.sizes import Count, Layers

COMMON = CommonKeys(
    vocab_size=250880,
    context=("seq_length", 2048),
    d_model=("hidden_size", 64),
    num_layers=("n_layer", 2),
    num_heads=("n_head", 8),
    norm_eps=("layer_norm_epsilon", 1e-5),
    dropout=0.0,
    dropout_keys=("hidden_dropout", "attention_dropout"),
)
"""The context is what the weights were trained on (`seq_length`), not a limit."""


def names(model: Decoder) -> NameMap:
    """The tensors of a model with so many heads."""
    return NameMap(
        rows=(
            Row("word_embeddings.weight", ("embed/token",)),
            *norm("word_embeddings_layernorm", "norm_embed"),
            *norm("h.{i}.input_layernorm", f"{LAYER}/norm_attention"),
            *dense("h.{i}.self_attention.query_key_value", *QKV, blocks=model.num_heads),
            *dense("h.{i}.self_attention.dense", f"{LAYER}/attention/o"),
            *norm("h.{i}.post_attention_layernorm", f"{LAYER}/norm_feed_forward"),
            *dense("h.{i}.mlp.dense_h_to_4h", f"{LAYER}/feed_forward/up"),
            *dense("h.{i}.mlp.dense_4h_to_h", f"{LAYER}/feed_forward/down"),
            *norm("ln_f", "norm_final"),
            Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True),
        ),
        prefix="transformer.",
        buffers=r"(?!)",
        copies={"lm_head.weight": "word_embeddings.weight"},
    )


def fields(config: Config) -> dict[str, Any]:
    """Our fields from their keys, some of which older files call otherwise."""
    config.only("apply_residual_connection_post_layernorm", False)
    common = COMMON._replace(
        num_layers=("n_layer", config("num_hidden_layers", 2, Layers)),
        num_heads=("n_head", config("num_attention_heads", 8, Count)),
    )
    if config("n_embed") is not None:
        common = common._replace(d_model=("n_embed", 64))
    ours = common.fields(config)
    return ours | {"position": "alibi", "embed_norm": ours["norm"]}


FAMILY = with_task_classes(family("bloom", "BloomForCausalLM", BLOOM, names, fields, COMMON.keys, words=COMMON.words))
