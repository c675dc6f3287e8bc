"""Hugging Face `openai-gpt` (OpenAIGPTLMHeadModel): published weights are `openai-community/openai-gpt`.

Blocks are named as in their GPT-2, but normalise after the residual sum, and there is no final norm.
"""

from typing import Any

from jaxgpt.interop.families import gpt2
from jaxgpt.interop.families.task_classes import double_heads, with_task_classes
from jaxgpt.interop.hugging_face.config import Config, activation_name, family
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import GPT1, Decoder
from jaxgpt.ops.activations import GELUTanh, ReLU, SiLU

NAMES = NameMap(
    rows=(
        Row("tokens_embed.weight", ("embed/token",)),
        Row("positions_embed.weight", ("embed/position",)),
        *(row for row in gpt2.NAMES.rows if row.theirs.startswith("h.")),
        Row("lm_head.weight", ("lm_head/weight",), transposed=True, bare=True),
    ),
    prefix="transformer.",
    buffers=r"h\.\d+\.attn\.bias|position_ids",
    copies={"lm_head.weight": "tokens_embed.weight"},
)
ACTIVATIONS = {"gelu": GELUTanh(), "relu": ReLU(), "silu": SiLU(), "swish": SiLU()}
"""Their "gelu" is the tanh one here."""
COMMON = gpt2.COMMON._replace(vocab_size=40478, context=("n_positions", 512))


def fields(config: Config) -> dict[str, Any]:
    """Our fields from the keys of config.json."""
    activation = config.activation("afn", "gelu", ACTIVATIONS)
    return COMMON.fields(config) | {"feed_forward": {"kind": "mlp", "activation": activation}}


def keys(model: Decoder) -> dict[str, Any]:
    """The keys of config.json from our fields."""
    return COMMON.keys(model) | {"afn": activation_name(model, ACTIVATIONS)}


FAMILY = with_task_classes(
    family("openai-gpt", "OpenAIGPTLMHeadModel", GPT1, lambda model: NAMES, fields, keys, words=COMMON.words),
    double_heads("OpenAIGPTDoubleHeadsModel"),
)
