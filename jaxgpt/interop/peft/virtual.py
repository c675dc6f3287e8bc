"""PEFT's virtual tokens as parameters of our adapters, both ways: one tensor, `prompt_embeddings`.

n tokens, L layers, G key/value heads, K head width, D model width. A prefix is (n, L·2·G·K), each token's keys and
values layer by layer, and ours lies just so; a prompt is (n, D). Where a model scales what it embeds, PEFT's prompt is
what comes out of that, and ours, rows behind the token table, what goes in.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgpt.interop.finite import fault, is_finite
from jaxgpt.interop.peft.config import VirtualConfig
from jaxgpt.interop.peft.tensors import Leaves
from jaxgpt.interop.tensors import Tensor
from jaxgpt.models import Decoder
from jaxgpt.models.transformer import Transformer
from jaxgpt.peft import Prefix, Prompt
from jaxgpt.peft.prefix import ROOT
from jaxgpt.peft.prompt import PROMPT
from jaxgpt.spec import ConfigError, JaxgptError

TENSOR = "prompt_embeddings"
PREFIX = f"{ROOT}/prefix"


def read_virtual(
    config: VirtualConfig, tensors: Mapping[str, Tensor], model: Transformer
) -> tuple[Prefix | Prompt, Leaves]:
    """The adapter that a configuration and the tensor are. Raises ConfigError where they are of another model, and
    JaxgptError where a number is not finite."""
    prefix = config.kind == "prefix"
    sizes = {"num_layers": (config.layers, model.depth)}
    if prefix:
        width = model.kv_heads * model.head_width
        sizes |= {"token_dim": (config.width, width), "num_attention_heads": (config.heads, model.kv_heads)}
    else:
        width = model.d_model
        sizes |= {"token_dim": (config.width, width)}
    if differ := [
        f"{key}: {given}, the model has {own}" for key, (given, own) in sizes.items() if given not in (None, own)
    ]:
        raise ConfigError(differ)
    shape = (config.length, model.depth * 2 * width if prefix else width)
    if TENSOR not in tensors:
        raise ConfigError(f"{TENSOR}: missing; the model needs it with shape {shape}")
    tensor = tensors[TENSOR]
    if tensor.shape != shape or not np.issubdtype(tensor.read().astype(np.float32).dtype, np.floating):
        raise ConfigError(f"{TENSOR}: shape {tensor.shape}, expected {shape}")
    array = tensor.read().astype(np.float32)
    if not is_finite(array):
        raise JaxgptError(fault(TENSOR, array, "float32"))
    if prefix:
        return Prefix(tokens=config.length), {PREFIX: array}
    return Prompt(tokens=config.length), {PROMPT: array / _scale(model)}


def write_virtual(
    adapter: Prefix | Prompt, model: Transformer, leaves: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], Leaves]:
    """Keys of the configuration, and the tensor. A prefix has no MLP by now; see Adapter.finished."""
    prefix = isinstance(adapter, Prefix)
    config: dict[str, Any] = {
        "num_virtual_tokens": adapter.tokens,
        "num_layers": model.depth,
        "num_attention_heads": model.kv_heads if prefix else model.num_heads,
        "token_dim": model.kv_heads * model.head_width if prefix else model.d_model,
        "num_transformer_submodules": 1,
    }
    if prefix:
        config |= {"prefix_projection": False, "encoder_hidden_size": config["token_dim"]}
    else:
        config |= {"prompt_tuning_init": "RANDOM"}
    return config, {TENSOR: leaves[PREFIX] if prefix else leaves[PROMPT] * _scale(model)}


def _scale(model: Transformer) -> np.float32:
    """What the model multiplies token embeddings by."""
    return np.float32((isinstance(model, Decoder) and model.embed_scale) or 1.0)
