"""A Llama-type model or a GPT-2 as a GGUF file, vocabulary included, that llama.cpp and we read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

from jaxgpt.disk import atomic
from jaxgpt.interop.families.family import Family
from jaxgpt.interop.families.table import by_config, by_model, refusal
from jaxgpt.interop.gguf.names import ARCHITECTURES
from jaxgpt.interop.gguf.read import LLAMA_3, ROPE_FACTORS, llama_3_factors
from jaxgpt.interop.gguf.tokenizer import tokenizer_fields
from jaxgpt.interop.hugging_face.chat_template import to_gguf
from jaxgpt.interop.hugging_face.config import lost
from jaxgpt.interop.rotary_pairing import to_interleaved
from jaxgpt.models import Decoder, Model
from jaxgpt.ops.positions import Turning
from jaxgpt.spec import ConfigError
from jaxgpt.text import Codec

KEPT = ("vocab_size", "tie_word_embeddings", "rope_scaling", "attention_bias")
"""Keys of config.json that a reader finds without one of GGUF's, in the tensors or by the rules of `_rotary`."""
FILE_TYPES = {"float32": 0, "float16": 1, "bfloat16": 32}
"""llama.cpp's numbers for them."""
KINDS = {"float32": Kind.F32, "float16": Kind.F16, "bfloat16": Kind.BF16}


def write_gguf(
    target: Path,
    model: Model,
    params: Mapping[str, Any],
    codec: Codec | None = None,
    generation: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    chat_templates: Mapping[str, str] | None = None,
) -> Model:
    """Writes `target`, whole or not at all. Matrices are in `dtype` (float32, float16, bfloat16); vectors in float32,
    as llama.cpp wants them. In float32 it reads back bit for bit, but for Gemma 2's norms, which are stored plus 1.

    Returns the model that the file holds: `model`, or where its class always has biases, the same with zeros for them.
    Raises ConfigError for a model or a vocabulary that GGUF has no form for, and for numbers too large for float16.
    """
    if dtype not in KINDS:
        raise ConfigError(f"dtype: {dtype!r} is not written; known: {', '.join(KINDS)}")
    name, family = _choose(model)
    model, params = family.fill(model, params)
    architecture, config = ARCHITECTURES[name], family.config(model)
    stored = {key: config[key] for key in (*architecture.keys, *KEPT) if config.get(key) is not None}
    stored = {"model_type": family.model_type, **architecture.constant, **stored}
    _check(model, family.spec(stored | architecture.derived(stored)), name)
    rope, extra = _rotary(config, name)
    own = {ours: config[key] for key, ours in architecture.keys.items() if config.get(key) is not None} | rope
    fields = {f"{name}.{key}": value for key, value in own.items()}
    fields |= {f"{name}.vocab_size": config["vocab_size"], "general.file_type": FILE_TYPES[dtype]}
    if codec is None:
        fields |= {"tokenizer.ggml.model": "none"}
    else:
        fields |= tokenizer_fields(codec, config["vocab_size"])
    fields |= to_gguf(chat_templates or {})
    arrays: dict[str, np.ndarray] = {}
    for theirs, array in family.write(params, model).items():
        ours = architecture.gguf(theirs)
        if ours is None:
            raise ConfigError(f"model: its tensor {theirs} has no place in GGUF's {name!r}")
        turns = architecture.turned_heads(ours, config)
        array = to_interleaved(array, turns) if turns else array
        array = array + np.float32(architecture.shift(ours)) if architecture.shift(ours) else array
        arrays[ours] = array.T if architecture.is_transposed(ours) else array
    with atomic(Path(target)) as file:
        writer = gguf.GGUFWriter(file.name, name)
        for key, value in fields.items():
            _add(writer, key, value)
        for key, token in (generation or {}).items():
            if key in ("bos_token_id", "eos_token_id") and type(token) is int and f"tokenizer.ggml.{key}" not in fields:
                writer.add_uint32(f"tokenizer.ggml.{key}", token)
        for ours, array in (arrays | extra).items():
            kind = KINDS[dtype] if array.ndim > 1 else Kind.F32
            writer.add_tensor(ours, _cast(ours, array, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return model


def _choose(model: Model) -> tuple[str, Family]:
    """An architecture whose family can be the model, the model's own first: a Mistral without a window is a Llama; else
    its own with biases of zero."""
    own = by_model(model).model_type
    names = sorted(ARCHITECTURES, key=lambda name: ARCHITECTURES[name].model_type != own)
    families = {name: by_config({"model_type": ARCHITECTURES[name].model_type}) for name in names}
    for name, family in families.items():
        if refusal(family, model) is None:
            return name, family
    for name, family in families.items():
        if family.model_type == own and refusal(family, family.filled(model)) is None:
            return name, family
    known = ", ".join(architecture.model_type for architecture in ARCHITECTURES.values())
    raise ConfigError(f"model: a {own!r} is not written as GGUF; known: {known}")


def _check(model: Model, back: Model, name: str) -> None:
    """Raises ConfigError with one line for every field that the file's settings do not keep."""
    assert isinstance(model, Decoder) and isinstance(back, Decoder)
    if isinstance(model.position, Turning):  # channels move as the pairing asks
        model = model.evolve(position=model.position.evolve(pairing="half"))
    problems = lost(model, back, f"GGUF's '{name}'")
    if problems:
        raise ConfigError(problems)


def _cast(name: str, array: np.ndarray, kind: Kind) -> np.ndarray:
    array = np.ascontiguousarray(array, np.float32)
    if kind == Kind.F16 and np.abs(array).max(initial=0) > np.finfo(np.float16).max:
        raise ConfigError(f"{name}: holds numbers beyond float16; write float32 or bfloat16")
    return gguf.quantize(array, kind)


def _rotary(config: Mapping[str, Any], name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings of rotary positions below the architecture's name, and tensors that hold some."""
    if "rope_theta" not in config:
        return {}, {}
    width, theta, scaling = config["head_dim"], float(config["rope_theta"]), config["rope_scaling"] or {}
    rope: dict[str, Any] = {
        "rope.freq_base": theta,
        "rope.dimension_count": width,
        "attention.key_length": width,
        "attention.value_length": width,
    }
    kind = scaling.get("rope_type", "default")
    if kind == "llama3":
        if any(scaling[key] != value for key, value in LLAMA_3.items()):
            raise ConfigError(f"model.position: GGUF keeps Llama 3.1's own stretch only: {LLAMA_3}")
        return rope, {ROPE_FACTORS: llama_3_factors(scaling, theta, width)}
    if kind in ("linear", "yarn"):
        rope |= {"rope.scaling.type": kind, "rope.scaling.factor": float(scaling["factor"])}
    if kind == "yarn":
        rope["rope.scaling.original_context_length"] = scaling["original_max_position_embeddings"]
        rope |= {f"rope.scaling.yarn_{key}": float(scaling[key]) for key in ("beta_fast", "beta_slow")}
    return rope, {}


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)
