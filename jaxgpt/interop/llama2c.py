"""llama2.c's checkpoints: a header of seven numbers, then float32 weights in a fixed order. Versions 0 and 1 ("ak42").

Weights are (out, in), layer behind layer; queries and keys have their rotary pairs side by side. Format: `export.py`
and `run.c` of https://github.com/karpathy/llama2.c.
"""

import struct
from functools import partial
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgpt.interop.families.table import by_config
from jaxgpt.interop.rotary_pairing import to_half
from jaxgpt.interop.source import Source
from jaxgpt.interop.tensors import Tensor, mapped
from jaxgpt.spec import ConfigError
from jaxgpt.text import Codec
from jaxgpt.text.tokenizers.sentencepiece import read_llama2c, sentencepiece

MAGIC = 0x616B3432
"""Starts version 1 and later; version 0 starts with the model's width."""
START = 1
"""The token that begins every text, and so ends the one before it: `run.c` stops at it."""
FLOAT = np.dtype("<f4")


class Header(NamedTuple):
    """The sizes, whether the output is the token table, and the version."""

    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    context: int
    tied: bool
    later: bool
    """Version 1: another order, no tables, and a header that is filled up."""

    @property
    def start(self) -> int:
        """The byte at which weights begin."""
        return 256 if self.later else 28


def read_source(path: Path) -> Source:
    """The checkpoint, with the tokenizer `tok<size>.bin` or `tokenizer.bin` beside it, if there is one.

    Raises ConfigError with one line when the file is another thing, quantised, or not as long as its header says.
    """
    header = _header(path)
    tensors = _tensors(path, header)
    config = {
        "model_type": "llama",
        "vocab_size": header.vocab,
        "hidden_size": header.dim,
        "intermediate_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "num_key_value_heads": header.kv_heads,
        "max_position_embeddings": header.context,
        "tie_word_embeddings": header.tied,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    }
    family = by_config(config)
    model = family.spec(config)

    return Source(
        model,
        _codec(path, header.vocab),
        partial(family.read, tensors, model),
        {"bos_token_id": START, "eos_token_id": START},
    )


def _codec(path: Path, size: int) -> Codec | None:
    for name in (f"tok{size}.bin", "tokenizer.bin"):
        if (path.parent / name).exists():
            return sentencepiece(read_llama2c(path.parent / name, size), bos=START, eot=START)
    return None


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            raw = file.read(256)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) < 28:
        raise ConfigError(f"{path}: {len(raw)} bytes hold no header; expected a checkpoint of llama2.c")
    magic, version = struct.unpack_from("<Ii", raw)
    if magic == MAGIC and version == 2:
        raise ConfigError(f"{path}: version 2 is quantised; export version 0 or 1: python export.py --version 1 ...")
    if magic == MAGIC and (version != 1 or len(raw) < 256):
        raise ConfigError(f"{path}: version {version} of llama2.c; expected 0 or 1")
    later = magic == MAGIC
    dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack_from("<7i", raw, 8 if later else 0)
    tied = raw[36] != 0 if later else vocab > 0  # a negative size says that the output has weights of its own
    header = Header(dim, hidden, layers, heads, kv_heads, vocab if later else abs(vocab), context, tied, later)
    sizes = header[:7]
    sound = (
        min(sizes) > 0
        and header.vocab > START
        and header.dim % (2 * header.heads) == 0
        and header.heads % header.kv_heads == 0
    )
    if not sound:
        raise ConfigError(
            f"{path}: its header reads dim {sizes[0]}, hidden_dim {sizes[1]}, n_layers {sizes[2]}, n_heads {sizes[3]}, "
            f"n_kv_heads {sizes[4]}, vocab_size {sizes[5]}, seq_len {sizes[6]}; not a checkpoint of llama2.c"
        )
    return header


class Group(NamedTuple):
    """Tensors of one shape that follow one another, one a layer or one in all."""

    name: str
    """Hugging Face's, `{i}` for the layer; empty for the tables of cosines and sines, which are left out."""
    layers: int
    shape: tuple[int, ...]
    heads: int | None = None
    """Of a projection whose rotary pairs lie side by side."""


def _tensors(path: Path, header: Header) -> dict[str, Tensor]:
    """Named as Hugging Face's Llama names them. Raises ConfigError when the file's length is not their sum."""
    groups = _groups(header)
    size, makes = path.stat().st_size, header.start + FLOAT.itemsize * sum(g.layers * prod(g.shape) for g in groups)
    if size != makes:
        raise ConfigError(
            f"{path}: {size:,} bytes, but a header of dim {header.dim}, n_layers {header.layers}, vocab_size "
            f"{header.vocab} makes {makes:,}; the file is damaged or another thing"
        )
    tensors: dict[str, Tensor] = {}
    at = header.start
    for name, layers, shape, heads in groups:
        for i in range(layers):
            if name:
                tensors[name.format(i=i)] = Tensor(shape, FLOAT, partial(_read, path, shape, at, heads))
            at += prod(shape) * FLOAT.itemsize
    return tensors


def _groups(header: Header) -> list[Group]:
    """The tensors of a checkpoint, group by group in the order of the file."""
    L, D, F, V, H, G = header.layers, header.dim, header.hidden, header.vocab, header.heads, header.kv_heads
    kv = D // H * G

    def layered(name: str, *shape: int, heads: int | None = None) -> Group:
        return Group(f"model.layers.{{i}}.{name}.weight", L, shape, heads)

    embed, norm, output = (
        Group("model.embed_tokens.weight", 1, (V, D)),
        Group("model.norm.weight", 1, (D,)),
        Group("lm_head.weight", 1, (V, D)),
    )
    norm_1, norm_2 = layered("input_layernorm", D), layered("post_attention_layernorm", D)
    attention = [
        layered("self_attn.q_proj", D, D, heads=H),
        layered("self_attn.k_proj", kv, D, heads=G),
        layered("self_attn.v_proj", kv, D),
        layered("self_attn.o_proj", D, D),
    ]
    feed_forward = [layered("mlp.gate_proj", F, D), layered("mlp.down_proj", D, F), layered("mlp.up_proj", F, D)]
    if not header.later:
        tables = Group("", 2, (header.context, D // H // 2))
        groups = [embed, norm_1, *attention, norm_2, *feed_forward, norm, tables]
    else:
        groups = [norm_1, norm_2, norm, embed, *attention, *feed_forward]
    return groups if header.tied else [*groups, output]


def _read(path: Path, shape: tuple[int, ...], offset: int, heads: int | None) -> np.ndarray:
    array = mapped(path, FLOAT, offset, shape)
    return array if heads is None else to_half(array, heads)
