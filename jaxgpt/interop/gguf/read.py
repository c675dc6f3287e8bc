"""GGUF files, llama.cpp's: one file with settings, tensors (quantised or not) and vocabulary.

A file becomes a Hugging Face configuration and tensors of Hugging Face's names, read one at a time; the family's own
map does the rest. Quantised blocks are turned into float32 by the `gguf` package.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import gguf
import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType as Kind

from jaxgpt.interop.families.table import by_config
from jaxgpt.interop.gguf.header import Entry, Header, read_header
from jaxgpt.interop.gguf.names import ARCHITECTURES, OPTIONAL, Architecture
from jaxgpt.interop.gguf.tokenizer import KEY, read_tokenizer
from jaxgpt.interop.hugging_face.chat_template import from_gguf
from jaxgpt.interop.hugging_face.special_ids import check_special_ids
from jaxgpt.interop.rotary_pairing import to_half
from jaxgpt.interop.source import Source
from jaxgpt.interop.tensors import Tensor, mapped
from jaxgpt.ops.positions import Rotary, RotaryLlama3
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

PLAIN = {Kind.F32: np.dtype("<f4"), Kind.F16: np.dtype("<f2"), Kind.BF16: np.dtype(ml_dtypes.bfloat16)}
QUANTISED = (
    *(Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0),
    *(Kind.Q2_K, Kind.Q3_K, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K),
)
SLICE = 1024
"""Rows of blocks that are turned into numbers at once."""
ROPE_FACTORS = "rope_freqs.weight"
"""Not a weight: by how much Llama 3.1 slows each pair."""
REAL = ("rms_norm_eps", "layer_norm_epsilon", "rope_theta", "attn_logit_softcapping", "final_logit_softcapping")
LLAMA_3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""What those factors come from, besides the largest of them; the file does not say."""


def read_source(path: Path) -> Source:
    """The checkpoint and its vocabulary; no tensor is read yet.

    Raises ConfigError with one line for everything that is unsound, missing or not supported.
    """
    header = read_header(path)
    vocabulary, header = header.fields, header._replace(fields=_without_arrays(header.fields))
    architecture: Architecture | None = None
    try:
        architecture = _architecture(header)
        config = _config(path, header, architecture)
        family = by_config(config)
        model = family.spec(config)
        codec, templates = read_tokenizer(vocabulary), from_gguf(header.fields)
    except ConfigError as error:
        words = architecture.in_gguf(header.fields["general.architecture"]) if architecture else str
        raise ConfigError([f"{path}: {words(problem)}" for problem in error.problems]) from None
    tied = config["tie_word_embeddings"]
    tensors = {}
    for name, entry in header.tensors.items():
        if name == ROPE_FACTORS or (tied and name == "output.weight"):
            continue
        ways = architecture.turned_heads(name, config), architecture.is_transposed(name), architecture.shift(name)
        tensors[architecture.theirs(name) or name] = _tensor(path, entry, *ways)

    check_special_ids(header.fields, config["vocab_size"], str(path), KEY)
    ends = {f"{end}_token_id": header.fields.get(f"{KEY}{end}_token_id") for end in ("bos", "eos")}
    generation = {key: token for key, token in ends.items() if token is not None}
    return Source(model, codec, partial(family.read, tensors, model), generation, chat_templates=templates)


def _without_arrays(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which numpy's arrays, which have no truth value, became short lists: no setting is one."""
    return {key: value[:4].tolist() if isinstance(value, np.ndarray) else value for key, value in fields.items()}


def _architecture(header: Header) -> Architecture:
    name = header.fields.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ConfigError(f"general.architecture: {quote(name)} is not read; known: {', '.join(sorted(ARCHITECTURES))}")
    if header.fields.get("split.count", 1) not in (0, 1):
        raise ConfigError("split.count: one of several files; join them first: llama-gguf-split --merge")
    unknown = sorted({entry.kind.name for entry in header.tensors.values() if entry.kind not in {*PLAIN, *QUANTISED}})
    if unknown:
        known = ", ".join(kind.name for kind in (*PLAIN, *QUANTISED))
        raise ConfigError(f"tensors in {', '.join(unknown)} are not read; known: {known}")
    return ARCHITECTURES[name]


def _config(path: Path, header: Header, architecture: Architecture) -> dict[str, Any]:
    """What Hugging Face's config.json would say. Raises ConfigError with one line for each thing it cannot."""
    name = header.fields["general.architecture"]
    fields = {key.removeprefix(f"{name}."): value for key, value in header.fields.items() if key.startswith(f"{name}.")}
    config: dict[str, Any] = {"model_type": architecture.model_type, **architecture.constant}
    problems = []
    for key, ours in architecture.keys.items():
        value = fields.get(ours)
        if value is None and key not in OPTIONAL:
            problems.append(f"{name}.{ours}: missing")
        elif value is not None and type(value) is not (float if key in REAL else int):
            problems.append(f"{name}.{ours}: {str(value)[:64]} is not one {'real' if key in REAL else 'whole'} number")
        elif value is not None:
            config[key] = value
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None:
        problems.append("token_embd.weight: missing")
    followed = {"expert_count": 0, "attention.value_length": fields.get("attention.key_length"), **architecture.only}
    for key, value in followed.items():
        if fields.get(key, value) != value:
            problems.append(f"{name}.{key}: {quote(fields[key])} is not supported, only {quote(value)}")
    if problems or embedding is None:
        raise ConfigError(problems)
    config["vocab_size"] = embedding.shape[0]
    config["tie_word_embeddings"] = _is_tied(path, header)
    if "rope_theta" in architecture.keys:
        config = {"rope_theta": 10000.0, "num_key_value_heads": config["num_attention_heads"], **config}
        config["rope_scaling"] = _scaling(path, header, fields, config, name)
    config |= architecture.derived(config)
    if name == "llama":
        config["attention_bias"] = "blk.0.attn_q.bias" in header.tensors
        if fields.get("attention.sliding_window"):
            config |= {"model_type": "mistral", "sliding_window": fields["attention.sliding_window"]}
    return config


def _scaling(
    path: Path, header: Header, fields: Mapping[str, Any], config: Mapping[str, Any], name: str
) -> dict[str, Any] | None:
    """How rotary positions are stretched, in the words of config.json."""
    width = config.get("head_dim") or config["hidden_size"] // max(config["num_attention_heads"], 1)
    if fields.get("rope.dimension_count", width) != width:
        raise ConfigError(
            f"{name}.rope.dimension_count: {quote(fields['rope.dimension_count'])} is not supported, only a head's "
            f"{width}"
        )
    rope = {key.removeprefix("rope.scaling."): value for key, value in fields.items()}
    kind, factor, trained = rope.get("type", "none"), rope.get("factor"), rope.get("original_context_length")
    if ROPE_FACTORS in header.tensors:
        if kind != "none":
            raise ConfigError(f"{ROPE_FACTORS}: is not supported together with {name}.rope.scaling.type {quote(kind)}")
        return _llama_3(_tensor(path, header.tensors[ROPE_FACTORS]).read(), config["rope_theta"], width)
    if kind == "none":
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        betas = {"beta_fast": rope.get("yarn_beta_fast", 32.0), "beta_slow": rope.get("yarn_beta_slow", 1.0)}
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": trained, **betas}
    raise ConfigError(f"{name}.rope.scaling.type: {quote(kind)} is not supported; known: linear, none, yarn")


def _llama_3(factors: np.ndarray, theta: float, width: int) -> dict[str, Any]:
    """The scaling that gives these factors. Raises ConfigError when Llama 3.1's rule does not."""
    factor = float(round(float(factors.max()), 3))
    scaling = {"rope_type": "llama3", "factor": factor, **LLAMA_3}
    sound = factors.shape == (width // 2,) and factor > 1 and theta > 0
    if not sound or not np.allclose(factors, llama_3_factors(scaling, theta, width), rtol=1e-3):
        raise ConfigError(f"{ROPE_FACTORS}: these are not Llama 3.1's factors for theta {theta}, head width {width}")
    return scaling


def llama_3_factors(scaling: Mapping[str, Any], theta: float, width: int) -> np.ndarray:
    """float32 (K/2,): by how much each pair of channels turns slower than without the stretch."""
    position = RotaryLlama3(
        theta=theta,
        factor=scaling["factor"],
        trained=scaling["original_max_position_embeddings"],
        slow=scaling["low_freq_factor"],
        fast=scaling["high_freq_factor"],
    )
    return (Rotary(theta=theta).rates(width) / position.rates(width)).astype(np.float32)


def _is_tied(path: Path, header: Header) -> bool:
    """Whether the output is the token table: not in the file, or there again byte for byte."""
    embedding, output = (header.tensors.get(f"{name}.weight") for name in ("token_embd", "output"))
    if embedding is None or output is None:
        return True
    return output[:2] == embedding[:2] and np.array_equal(_bytes(path, embedding), _bytes(path, output))


def _tensor(path: Path, entry: Entry, turns: int | None = None, transposed: bool = False, shift: int = 0) -> Tensor:
    """`turns`: heads whose pairs lie side by side in the file; `shift`: what was added to the numbers."""
    read: Callable[[], np.ndarray] = partial(_read, path, entry)
    if turns:
        return Tensor(entry.shape, _dtype(entry), lambda: to_half(read(), turns))
    if transposed:
        return Tensor(entry.shape[::-1], _dtype(entry), lambda: read().T)
    if shift:
        return Tensor(entry.shape, np.dtype(np.float32), lambda: read().astype(np.float32) - np.float32(shift))
    return Tensor(entry.shape, _dtype(entry), read)


def _dtype(entry: Entry) -> np.dtype:
    return PLAIN.get(entry.kind, np.dtype(np.float32))


def _read(path: Path, entry: Entry) -> np.ndarray:
    raw = _bytes(path, entry)
    if entry.kind in PLAIN:
        return raw.view(PLAIN[entry.kind]).reshape(entry.shape)
    out = np.empty(entry.shape, np.float32)
    rows, blocks = out.reshape(-1, entry.shape[-1]), raw.reshape(prod(entry.shape[:-1]), -1)
    for i in range(0, len(rows), SLICE):  # the package holds what it is given twice more
        rows[i : i + SLICE] = gguf.dequantize(blocks[i : i + SLICE], entry.kind)
    return out


def _bytes(path: Path, entry: Entry) -> np.ndarray:
    """uint8, a view of the file."""
    return mapped(path, np.dtype(np.uint8), entry.offset, (entry.size,))
