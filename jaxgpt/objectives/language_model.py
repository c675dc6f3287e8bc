"""Next-token prediction, the objective of decoders. B rows, T tokens, D model width."""

from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import Field, NonNegativeFloat

from jaxgpt.models import Model
from jaxgpt.nn.sown import sown_losses
from jaxgpt.objectives.objective import Batch, Objective
from jaxgpt.objectives.token_losses import Chunk, token_losses
from jaxgpt.text import Data


class LanguageModel(Objective):
    """Cross-entropy of each token given those before it, in nats a token."""

    citation = "Radford et al. 2018, section 3.1"
    next_token = carries = True
    inputs = switches = ("label_smoothing", "z_loss")
    label_smoothing: NonNegativeFloat = Field(default=0.0, lt=1)
    """Probability spread evenly over the vocabulary in training; the reported loss is never smoothed."""
    z_loss: NonNegativeFloat = 0.0
    """Weight of log²Z (ST-MoE uses 1e-3 on routers, PaLM 1e-4 here)."""
    chunk: Chunk = "auto"
    """Tokens whose logits exist at once, or all; auto: all where memory allows it, else a part of a batch."""

    def with_logits(self, tokens: int | None) -> Self | None:
        """The same with `chunk` settled, where it is auto."""
        return self.evolve(chunk=tokens or "all") if self.chunk == "auto" else None

    def problems(self, model: Model, data: Data, rows: int) -> list[str]:
        """It needs windows of a corpus, and a model with an output over the vocabulary."""
        problems = [f"objective {self.kind} reads windows of a corpus; leave data.columns out"] if data.texts else []
        if not (model.continues or model.fills_in):
            problems.append(
                f"objective {self.kind} scores tokens; model {model.kind} has no output over the vocabulary"
            )
        return problems

    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean cross-entropy of the next tokens, in nats, which `metrics["loss"]` is. In training label
        smoothing, z-loss and the losses that layers sow (already weighted, means over the batch; reported as
        `aux/<name>`) are added to it."""
        rngs = {} if key is None else {"dropout": key}
        train, mutable = key is not None, [] if key is None else ["losses"]
        given, carried = {"params": params}, {}
        if (carry := batch.get("carry")) is not None:
            continues = batch["continues"]
            (hidden_BTD, carry), sown = model.apply(
                given, batch["tokens"], carry, continues, train, rngs=rngs, method="carry_on", mutable=mutable
            )
            carried["carry"] = carry
        else:
            hidden_BTD, sown = model.apply(
                given,
                batch["tokens"],
                positions=batch.get("positions"),
                segments=batch.get("segments"),
                train=train,
                rngs=rngs,
                method="hidden",
                mutable=mutable,
            )
        loss_BT, nll_BT = token_losses(
            model,
            params,
            hidden_BTD,
            batch["targets"],
            self.chunk,
            self.label_smoothing if key is not None else 0.0,
            self.z_loss if key is not None else 0.0,
        )
        weights = batch.get("weights")
        w_BT = jnp.ones_like(nll_BT) if weights is None else weights
        total = jnp.sum(w_BT)
        safe = jnp.maximum(total, 1e-9)
        aux = sown_losses(sown)
        loss = sum(aux.values(), jnp.sum(loss_BT * w_BT) / safe)
        metrics = {"loss": jnp.sum(nll_BT * w_BT) / safe, "weight": total}
        return loss, metrics | carried | {f"aux/{name}": value for name, value in aux.items()}
