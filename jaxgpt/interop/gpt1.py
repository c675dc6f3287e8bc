"""Hugging Face `openai-gpt` (OpenAIGPTLMHeadModel): published weights are `openai-community/openai-gpt`.

Blocks are named as in their GPT-2, but normalise after the residual sum, and there is no final norm.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgpt.interop import gpt2
from jaxgpt.interop.hf_config import Dialect, check_expressible, read_config
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import GPT1, Decoder
from jaxgpt.ops.activations import GELUTanh, ReLU, SiLU

NAMES = NameMap(
    rows=(
        Row("tokens_embed.weight", ("embed/token",)),
        Row("positions_embed.weight", ("embed/position",)),
        *(row for row in gpt2.NAMES.rows if row.theirs.startswith("h.")),
        Row("lm_head.weight", ("head/weight",), transposed=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.bias|position_ids",
    copies={"lm_head.weight": "tokens_embed.weight"},
)
DIALECT = Dialect(
    model_type="openai-gpt",
    norm_place="post",
    activation="afn",
    activations={"gelu": GELUTanh(), "relu": ReLU(), "silu": SiLU(), "swish": SiLU()},  # their "gelu" is the tanh one
    defaults={**gpt2.DIALECT.defaults, "vocab_size": 40478},
    only={},
)


def spec_from_hf(config: Mapping[str, Any]) -> GPT1:
    """A parsed `config.json` -> the model. Raises ConfigError with one line for every key we cannot follow."""
    return read_config(config, DIALECT, GPT1)


def from_hf(tensors: Mapping[str, np.ndarray], model: Decoder) -> dict[str, Any]:
    """Named tensors -> the parameter tree, numpy float32; see `gpt2.from_hf`."""
    check_expressible(model, DIALECT)
    return NAMES.read(tensors, model.shapes())


def to_hf(params: Mapping[str, Any], model: Decoder) -> dict[str, np.ndarray]:
    """The parameter tree -> tensors named as in their checkpoints; see `gpt2.to_hf`."""
    check_expressible(model, DIALECT)
    return NAMES.write(params, model.shapes())
