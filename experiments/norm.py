"""Does RMSNorm match LayerNorm (Zhang & Sennrich 2019), and how far does BatchNorm fall behind (Shen et al. 2020)?

    jaxgpt ablate experiments/norm.py

Eighteen runs of a small GPT on the text of Python's own standard library: about 7 minutes on 2 cores.

Equal tokens, with batches of 32 rows. BatchNorm (Ioffe & Szegedy 2015) is defined here, in the only form that is
honest in a causal model of pure functions:
- Statistics are over the rows of a batch, for each position apart. Over rows and positions together, as in vision, a
  token's normalisation would depend on the tokens after it, which it is to predict.
- Evaluation too takes the statistics of its batch: 128 rows at once, where training has 32. There are no running
  averages, because modules carry no state. So this does not show what BatchNorm loses when running averages replace
  the batch's statistics, which is where PowerNorm's authors see its instability (Shen et al. 2020, section 3), and
  its loss is not that of a model that could generate one text at a time.
- A row's loss depends a little on the rows beside it. The held-out tokens fill their batch exactly, without padding.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import PositiveFloat

from jaxgpt.lab import Experiment
from jaxgpt.nn.norm import LayerNorm, Norm, RMSNorm


class BatchNorm(Norm, kind="batch"):
    """Zero mean and unit variance over the batch's rows, at each position and channel, with gain and bias."""

    citation = "Ioffe & Szegedy 2015"
    eps: PositiveFloat = 1e-5

    def module(self, name: str) -> nn.Module:
        """Parameters `scale` (D,) and `bias` (D,)."""
        return _BatchNorm(self.eps, name=name)


class _BatchNorm(nn.Module):
    eps: float

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, x_BTD.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x_BTD.shape[-1:], jnp.float32)
        y_BTD = x_BTD.astype(jnp.float32)
        y_BTD = (y_BTD - y_BTD.mean(0)) * jax.lax.rsqrt(y_BTD.var(0) + self.eps)
        return (y_BTD * scale + bias).astype(x_BTD.dtype)


ROWS = {"batch_size": 32, "steps": 150}

experiment = Experiment(
    question="Does RMSNorm match LayerNorm, and how far does BatchNorm fall behind?",
    base="configs/gpt2/demo.yaml",
    arms={
        "layer": ROWS | {"model.norm": LayerNorm()},
        "rms": ROWS | {"model.norm": RMSNorm()},
        "batch": ROWS | {"model.norm": BatchNorm()},
    },
    baseline="layer",
    seeds=6,
)
