"""Hugging Face `qwen3` (Qwen3ForCausalLM): queries and keys are normalised within a head."""

from typing import Any

from jaxgpt.interop.families import llama_like as llama_type
from jaxgpt.interop.families import qwen2
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.config import Config, family
from jaxgpt.models import Decoder, Qwen3

DEFAULTS = qwen2.DEFAULTS | {"head_dim": 128}


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    ours = llama_type.fields(config, DEFAULTS)
    biased = config("attention_bias", False, bool)
    more = {"qk_norm": ours["norm"], "qkv_bias": biased, "o_bias": biased}
    return ours | more | {"pattern": qwen2.patterns(config, ours)}


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    return qwen2.keys(model) | {"attention_bias": model.has_qkv_bias or model.has_o_bias}


FAMILY = with_task_classes(family("qwen3", "Qwen3ForCausalLM", Qwen3, llama_type.names, fields, keys, moves_pairs=True))
