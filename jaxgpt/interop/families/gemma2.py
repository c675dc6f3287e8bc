"""Hugging Face `gemma2` (Gemma2ForCausalLM): published weights are `google/gemma-2-2b`, `-9b`, `-27b`."""

from typing import Any

from jaxgpt.interop.families import llama
from jaxgpt.interop.families import llama_like as llama_type
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.config import Config, Small, family
from jaxgpt.interop.hugging_face.sliding_window import layer_types, read_layer_types, width_of
from jaxgpt.models import Decoder, Gemma2
from jaxgpt.spec.sizes import Length, Width

DEFAULTS = llama.DEFAULTS | {
    "vocab_size": 256000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
}


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    ours = llama_type.fields(config, DEFAULTS, activation="hidden_activation")
    llama_type.check_multiple(config, ours)
    config.only("use_bidirectional_attention", None, False)
    width = None if config("sliding_window", 4096) is None else config("sliding_window", 4096, Length)
    biased = config("attention_bias", False, bool)
    return ours | {
        "norm": ours["norm"] | {"zero_centered": True},
        "norm_place": "both",
        "qkv_bias": biased,
        "o_bias": biased,
        "pattern": read_layer_types(config, ours["num_layers"], ours["context"], width, lambda i: i % 2 == 0),
        "embed_scale": ours["d_model"] ** 0.5,
        "score_scale": config("query_pre_attn_scalar", 256, Width) ** -0.5,
        "soft_cap": config("attn_logit_softcapping", 50.0, Small | None),
        "logit_cap": config("final_logit_softcapping", 30.0, Small | None),
    }


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    scale = model.score_scale
    return llama_type.keys(model, activation="hidden_activation") | {
        "attention_bias": model.has_qkv_bias or model.has_o_bias,
        "query_pre_attn_scalar": model.head_width if scale is None else max(1, round(scale**-2)),
        "sliding_window": width_of(model.layer_patterns) or model.context,  # their class wants one, used or not
        "layer_types": layer_types(model.layer_patterns),
        "attn_logit_softcapping": model.soft_cap,
        "final_logit_softcapping": model.logit_cap,
        "use_bidirectional_attention": None,
    }


FAMILY = with_task_classes(
    family("gemma2", "Gemma2ForCausalLM", Gemma2, llama_type.names, fields, keys, moves_pairs=True)
)
