"""What GGUF calls the settings and tensors of a Hugging Face family: two tables an architecture, read both ways.

Keys are those below `<architecture>.`; names are without `.weight` and `.bias`. The tables are llama.cpp's
(`gguf/constants.py`, `gguf/tensor_mapping.py` and the conversions in `convert_hf_to_gguf.py`).
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from jaxgpt.interop.hugging_face.config import in_words

TURNED = {"blk.{i}.attn_q": "num_attention_heads", "blk.{i}.attn_k": "num_key_value_heads"}
"""Projections to what turns with the position, and where config.json says how many heads they have."""

SCALING = {
    "rope_scaling.factor": "rope.scaling.factor",
    "rope_scaling.original_max_position_embeddings": "rope.scaling.original_context_length",
    "rope_scaling.beta_fast": "rope.scaling.yarn_beta_fast",
    "rope_scaling.beta_slow": "rope.scaling.yarn_beta_slow",
}
"""Keys of config.json that stretch rotary positions, and GGUF's."""


class Architecture(NamedTuple):
    """One value of `general.architecture`."""

    model_type: str
    """Of the Hugging Face configuration that it becomes."""
    keys: Mapping[str, str]
    """A key of config.json -> GGUF's."""
    names: Mapping[str, str]
    """GGUF's name -> Hugging Face's; `{i}` stands for the layer."""
    interleaved: bool = False
    """Whether rotary pairs lie side by side, where Hugging Face has them a half head apart."""
    transposed: tuple[str, ...] = ()
    """GGUF's names of those that Hugging Face stores (in, out)."""
    constant: Mapping[str, object] = {}
    """What config.json must say besides."""
    derived: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda config: {}
    """What it must say by what the file has said so far."""
    only: Mapping[str, object] = {}
    """GGUF's settings that are followed with these values alone."""
    norms_shifted: bool = False
    """Whether norms' weights are what they scale by, where Hugging Face has how far that is from 1."""

    def theirs(self, name: str) -> str | None:
        """GGUF's name of a tensor -> Hugging Face's; None for one that it does not have."""
        return _renamed(name, self.names)

    def gguf(self, name: str) -> str | None:
        """The GGUF name of a Hugging Face tensor: the inverse of `theirs`."""
        return _renamed(name, {new: old for old, new in self.names.items()})

    def turned_heads(self, name: str, config: Mapping[str, Any]) -> int | None:
        """How many heads' rotary pairs lie side by side in the tensor, by GGUF's name; None: it has none such."""
        key = TURNED.get(_stem(name)[0].rpartition(".")[0]) if self.interleaved else None
        return None if key is None else config[key]

    def in_gguf(self, name: str) -> Callable[[str], str]:
        """Makes an error line about config.json one about the file: with GGUF's key for each of Hugging Face's. `name`:
        what the file calls the architecture."""
        words = {theirs: f"{name}.{ours}" for theirs, ours in {**self.keys, **SCALING}.items()}
        return partial(in_words, words=words)

    def shift(self, name: str) -> int:
        """What is added to the tensor, by GGUF's name, for the file."""
        return int(self.norms_shifted and name.endswith("norm.weight"))

    def is_transposed(self, name: str) -> bool:
        """Whether the tensor, by GGUF's name, is stored the other way round than in Hugging Face."""
        return name.endswith(".weight") and _stem(name)[0].removesuffix(".weight") in self.transposed


def _stem(name: str) -> tuple[str, str]:
    """The name with its layer as `{i}`, and the layer."""
    match = re.search(r"(?<=\.)\d+(?=\.)", name)
    return (name, "") if match is None else (f"{name[: match.start()]}{{i}}{name[match.end() :]}", match[0])


def _renamed(name: str, table: Mapping[str, str]) -> str | None:
    stem, layer = _stem(name)
    base, dot, kind = stem.rpartition(".")
    new = table.get(base) if kind in ("weight", "bias") else None
    return None if new is None else (new + dot + kind).replace("{i}", layer)


LLAMA_KEYS = {
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "head_dim": "attention.key_length",
    "rope_theta": "rope.freq_base",
}
LAYER = "model.layers.{i}"
LLAMA_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.{i}.attn_norm": f"{LAYER}.input_layernorm",
    "blk.{i}.attn_q": f"{LAYER}.self_attn.q_proj",
    "blk.{i}.attn_k": f"{LAYER}.self_attn.k_proj",
    "blk.{i}.attn_v": f"{LAYER}.self_attn.v_proj",
    "blk.{i}.attn_output": f"{LAYER}.self_attn.o_proj",
    "blk.{i}.ffn_norm": f"{LAYER}.post_attention_layernorm",
    "blk.{i}.ffn_gate": f"{LAYER}.mlp.gate_proj",
    "blk.{i}.ffn_up": f"{LAYER}.mlp.up_proj",
    "blk.{i}.ffn_down": f"{LAYER}.mlp.down_proj",
}
QK_NORMS = {"blk.{i}.attn_q_norm": f"{LAYER}.self_attn.q_norm", "blk.{i}.attn_k_norm": f"{LAYER}.self_attn.k_norm"}
GEMMA2_KEYS = {name: name for name in ("attn_logit_softcapping", "final_logit_softcapping")} | {
    "sliding_window": "attention.sliding_window"
}
GEMMA2_NORMS = {
    "blk.{i}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
    "blk.{i}.ffn_norm": f"{LAYER}.pre_feedforward_layernorm",
    "blk.{i}.post_ffw_norm": f"{LAYER}.post_feedforward_layernorm",
}
OPTIONAL = ("head_dim", "rope_theta", "num_key_value_heads", *GEMMA2_KEYS)
"""Keys of config.json that a file may leave to their defaults."""
GEMMA2_27B = 46
"""Its layers, by which llama.cpp knows it."""


def _gemma2(config: Mapping[str, Any]) -> dict[str, Any]:
    """llama.cpp's rule for what scores are scaled by (`src/models/gemma2.cpp`)."""
    share = config["hidden_size"] // max(config["num_attention_heads"], 1)
    width = config.get("head_dim", share)
    return {"head_dim": width, "query_pre_attn_scalar": share if config["num_hidden_layers"] == GEMMA2_27B else width}


GPT2_LAYER = "transformer.h.{i}"
ARCHITECTURES = {
    "llama": Architecture("llama", LLAMA_KEYS, LLAMA_NAMES, interleaved=True, constant={"hidden_act": "silu"}),
    "qwen2": Architecture("qwen2", LLAMA_KEYS, LLAMA_NAMES, constant={"hidden_act": "silu"}),
    "qwen3": Architecture("qwen3", LLAMA_KEYS, LLAMA_NAMES | QK_NORMS, constant={"hidden_act": "silu"}),
    "gemma2": Architecture(
        "gemma2",
        LLAMA_KEYS | GEMMA2_KEYS,
        {name: theirs for name, theirs in LLAMA_NAMES.items() if name != "output"} | GEMMA2_NORMS,  # it is always tied
        constant={"hidden_activation": "gelu_pytorch_tanh"},
        derived=_gemma2,
        only={"attention.sliding_window_pattern": 2, "rope.freq_base_swa": 10000.0},
        norms_shifted=True,
    ),
    "gpt2": Architecture(
        "gpt2",
        {
            "n_positions": "context_length",
            "n_embd": "embedding_length",
            "n_layer": "block_count",
            "n_inner": "feed_forward_length",
            "n_head": "attention.head_count",
            "layer_norm_epsilon": "attention.layer_norm_epsilon",
        },
        {
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
            "blk.{i}.attn_norm": f"{GPT2_LAYER}.ln_1",
            "blk.{i}.attn_qkv": f"{GPT2_LAYER}.attn.c_attn",
            "blk.{i}.attn_output": f"{GPT2_LAYER}.attn.c_proj",
            "blk.{i}.ffn_norm": f"{GPT2_LAYER}.ln_2",
            "blk.{i}.ffn_up": f"{GPT2_LAYER}.mlp.c_fc",
            "blk.{i}.ffn_down": f"{GPT2_LAYER}.mlp.c_proj",
        },
        constant={"activation_function": "gelu_new"},
        transposed=("blk.{i}.attn_qkv", "blk.{i}.attn_output", "blk.{i}.ffn_up", "blk.{i}.ffn_down"),
    ),
}
