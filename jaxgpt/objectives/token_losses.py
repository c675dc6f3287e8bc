"""What predicting tokens costs, from a model's hidden states. B rows, T tokens, D model width."""

from typing import Annotated, Any, Literal

import jax
from flax import linen as nn
from pydantic import BeforeValidator

from jaxgpt.ops.lookup import padded_size
from jaxgpt.ops.losses import chunked_cross_entropy
from jaxgpt.spec.sizes import Steps

Chunk = Annotated[Steps | Literal["auto", "all"], BeforeValidator(lambda value: "auto" if value is None else value)]
"""A field: tokens whose logits exist at once; `all`; or `auto` (see `Objective.with_logits`), which older files call
null."""


def token_losses(
    model: nn.Module,
    params: Any,
    hidden_BTD: jax.Array,
    targets_BT: jax.Array,
    chunk: Chunk = "all",
    label_smoothing: float | jax.Array = 0.0,
    z_loss: float | jax.Array = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Two float32 (B, T), in nats: what is optimised, and plain −log p(target) for reports. See `cross_entropy`.

    `chunk` tokens' logits exist at once (`auto`: all, where nothing has settled it), with as many columns as the
    device's products want.
    """
    size: int = model.spec.vocab_size
    columns = padded_size(size)

    def unembed(hidden: jax.Array) -> jax.Array:
        return model.apply({"params": params}, hidden, columns, method="unembed")

    most = chunk if isinstance(chunk, int) else None
    return chunked_cross_entropy(unembed, hidden_BTD, targets_BT, most, label_smoothing, z_loss, size)
