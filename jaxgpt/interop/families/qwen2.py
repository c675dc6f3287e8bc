"""Hugging Face `qwen2` (Qwen2ForCausalLM): Qwen 2 and 2.5. Queries, keys and values have biases."""

from typing import Any

from pydantic import NonNegativeInt

from jaxgpt.interop.families import llama
from jaxgpt.interop.families import llama_like as llama_type
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.config import Config, family
from jaxgpt.interop.hugging_face.sliding_window import layer_type_keys, read_layer_types
from jaxgpt.models import Decoder, Qwen2
from jaxgpt.spec.sizes import Length

DEFAULTS = llama.DEFAULTS | {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
}


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    ours = llama_type.fields(config, DEFAULTS)
    return ours | {"qkv_bias": True, "pattern": patterns(config, ours)}


def patterns(config: Config, ours: dict[str, Any]) -> Any:
    """The layers from `max_window_layers` on slide, if any do."""
    on = config("use_sliding_window", False, bool) and config("sliding_window", 4096) is not None
    width = config("sliding_window", 4096, Length) if on else None
    first = config("max_window_layers", 28, NonNegativeInt) if on else 0
    return read_layer_types(config, ours["num_layers"], ours["context"], width, lambda i: on and i >= first)


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    return llama_type.keys(model) | layer_type_keys(model.layer_patterns)


FAMILY = with_task_classes(family("qwen2", "Qwen2ForCausalLM", Qwen2, llama_type.names, fields, keys, moves_pairs=True))
