"""Hugging Face `llama` (LlamaForCausalLM): Llama 1 to 3, SmolLM, TinyLlama and many more."""

from typing import Any

from jaxgpt.interop.families import llama_like as llama_type
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.config import Config, family
from jaxgpt.models import Decoder, Llama

DEFAULTS = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "max_position_embeddings": 2048,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    ours = llama_type.fields(config, DEFAULTS)
    llama_type.check_multiple(config, ours)
    biased = config("attention_bias", False, bool)
    return ours | {"bias": config("mlp_bias", False, bool), "qkv_bias": biased, "o_bias": biased}


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    biased = {"attention_bias": model.has_qkv_bias or model.has_o_bias, "mlp_bias": model.bias}
    return llama_type.keys(model) | biased


FAMILY = with_task_classes(family("llama", "LlamaForCausalLM", Llama, llama_type.names, fields, keys, moves_pairs=True))
