"""Hugging Face `gpt2` (GPT2LMHeadModel): published weights are `openai-community/gpt2`, `-medium`, `-large`, `-xl`.

Their Conv1D stores (in, out) as we do; queries, keys and values are one matrix.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgpt.interop.hf_config import Dialect, check_expressible, read_config
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import GPT2, Decoder
from jaxgpt.ops.activations import GELU, GELUTanh, ReLU, SiLU

LAYER = "blocks/layers"
NAMES = NameMap(
    rows=(
        Row("wte.weight", ("embed/token",)),
        Row("wpe.weight", ("embed/position",)),
        Row("h.{i}.ln_1.weight", (f"{LAYER}/norm_1/scale",)),
        Row("h.{i}.ln_1.bias", (f"{LAYER}/norm_1/bias",)),
        Row("h.{i}.attn.c_attn.weight", tuple(f"{LAYER}/attention/{name}/weight" for name in "qkv")),
        Row("h.{i}.attn.c_attn.bias", tuple(f"{LAYER}/attention/{name}/bias" for name in "qkv")),
        Row("h.{i}.attn.c_proj.weight", (f"{LAYER}/attention/o/weight",)),
        Row("h.{i}.attn.c_proj.bias", (f"{LAYER}/attention/o/bias",)),
        Row("h.{i}.ln_2.weight", (f"{LAYER}/norm_2/scale",)),
        Row("h.{i}.ln_2.bias", (f"{LAYER}/norm_2/bias",)),
        Row("h.{i}.mlp.c_fc.weight", (f"{LAYER}/feed_forward/up/weight",)),
        Row("h.{i}.mlp.c_fc.bias", (f"{LAYER}/feed_forward/up/bias",)),
        Row("h.{i}.mlp.c_proj.weight", (f"{LAYER}/feed_forward/down/weight",)),
        Row("h.{i}.mlp.c_proj.bias", (f"{LAYER}/feed_forward/down/bias",)),
        Row("ln_f.weight", ("norm_f/scale",)),
        Row("ln_f.bias", ("norm_f/bias",)),
        Row("lm_head.weight", ("head/weight",), transposed=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.(bias|masked_bias)",
    copies={"lm_head.weight": "wte.weight"},
)
DIALECT = Dialect(
    model_type="gpt2",
    norm_place="pre",
    activation="activation_function",
    activations={
        "gelu_new": GELUTanh(),
        "gelu_pytorch_tanh": GELUTanh(),
        "gelu": GELU(),
        "relu": ReLU(),
        "silu": SiLU(),
        "swish": SiLU(),
    },
    defaults={
        "vocab_size": 50257,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
    },
    only={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False},
)


def spec_from_hf(config: Mapping[str, Any]) -> GPT2:
    """A parsed `config.json` -> the model. Raises ConfigError with one line for every key we cannot follow."""
    return read_config(config, DIALECT, GPT2)


def from_hf(tensors: Mapping[str, np.ndarray], model: Decoder) -> dict[str, Any]:
    """Named tensors -> the parameter tree, numpy float32.

    Names may lack `transformer.`; `lm_head.weight` may repeat the token table. Raises ConfigError for a model that
    Hugging Face's GPT-2 cannot be, and JaxgptError with one line for every missing, unknown or misshaped tensor.
    """
    check_expressible(model, DIALECT)
    return NAMES.read(tensors, model.shapes())


def to_hf(params: Mapping[str, Any], model: Decoder) -> dict[str, np.ndarray]:
    """The parameter tree (or one of its shape: gradients, averages) -> tensors named as in their checkpoints.

    A tied output is left out, as in their files. Raises as `from_hf` does.
    """
    check_expressible(model, DIALECT)
    return NAMES.write(params, model.shapes())
