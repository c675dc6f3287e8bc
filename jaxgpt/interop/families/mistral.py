"""Hugging Face `mistral` (MistralForCausalLM): published weights are `mistralai/Mistral-7B-v0.1` to `-v0.3`."""

from typing import Any

from jaxgpt.interop.families import llama
from jaxgpt.interop.families import llama_like as llama_type
from jaxgpt.interop.families.task_classes import with_task_classes
from jaxgpt.interop.hugging_face.config import Config, family
from jaxgpt.interop.hugging_face.sliding_window import width_of, window
from jaxgpt.models import Decoder, Mistral
from jaxgpt.ops.patterns import Causal
from jaxgpt.spec.sizes import Length

DEFAULTS = llama.DEFAULTS | {"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072}


def fields(config: Config) -> dict[str, Any]:
    """Our fields from their keys. All layers slide, or none."""
    ours = llama_type.fields(config, DEFAULTS)
    slides = config("sliding_window", 4096) is not None
    pattern = window(config("sliding_window", 4096, Length), ours["context"]) if slides else Causal()
    return ours | {"pattern": (pattern,)}


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    return llama_type.keys(model) | {"sliding_window": width_of(model.layer_patterns)}


FAMILY = with_task_classes(
    family("mistral", "MistralForCausalLM", Mistral, llama_type.names, fields, keys, moves_pairs=True)
)
