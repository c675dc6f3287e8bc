"""Everything that training changes, as one pytree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgpt.runs.run import Run


class State(NamedTuple):
    """The train state: what a checkpoint holds."""

    step: jax.Array
    """int32: updates made so far. Dropout keys and the learning rate are functions of it."""
    params: Any
    """float32."""
    opt_state: Any
    ema: Any
    """The averaged parameters, or None."""

    @property
    def weights(self) -> Any:
        """What validation and sampling use: the average where there is one."""
        return self.params if self.ema is None else self.ema


def init_state(run: Run, params: Any) -> State:
    """The state before the first update."""
    average = None if run.ema is None else jax.tree.map(jnp.copy, params)
    return State(jnp.zeros((), jnp.int32), params, run.optim.build().init(params), average)
