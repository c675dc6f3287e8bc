"""Next-token prediction."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import Field, NonNegativeFloat, PositiveInt

from jaxgpt.objectives.objective import Batch, Objective
from jaxgpt.ops.losses import chunked_cross_entropy


class LanguageModel(Objective):
    """Cross-entropy of each token given those before it, in nats a token."""

    citation = "Radford et al. 2018, section 3.1"
    next_token = True
    inputs = switches = ("label_smoothing", "z_loss")
    label_smoothing: NonNegativeFloat = Field(default=0.0, lt=1)
    """Probability spread evenly over the vocabulary in training; the reported loss is never smoothed."""
    z_loss: NonNegativeFloat = 0.0
    """Weight of log²Z (ST-MoE uses 1e-3 on routers, PaLM 1e-4 here)."""
    chunk: PositiveInt | None = None
    """Tokens whose logits exist at once; None: all. Large vocabularies want 1024 or so."""

    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """See Objective.loss; `metrics["loss"]` is plain cross-entropy."""
        rngs = {} if key is None else {"dropout": key}
        hidden_BTD = model.apply(
            {"params": params},
            batch["tokens"],
            positions=batch.get("positions"),
            segments=batch.get("segments"),
            train=key is not None,
            rngs=rngs,
            method="hidden",
        )
        loss_N, nll_N = chunked_cross_entropy(
            lambda h: model.apply({"params": params}, h, method="unembed"),
            hidden_BTD.reshape(-1, hidden_BTD.shape[-1]),
            batch["targets"].reshape(-1),
            self.chunk,
            self.label_smoothing if key is not None else 0.0,
            self.z_loss if key is not None else 0.0,
        )
        weights = batch.get("weights")
        w_N = jnp.ones_like(nll_N) if weights is None else weights.reshape(-1)
        total = jnp.sum(w_N)
        safe = jnp.maximum(total, 1e-9)
        return jnp.sum(loss_N * w_N) / safe, {"loss": jnp.sum(nll_N * w_N) / safe, "weight": total}
