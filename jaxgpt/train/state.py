"""Everything that training changes, as one pytree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.trainable import merge_params, split_params


class State(NamedTuple):
    """The train state. A checkpoint holds all of it but what is frozen."""

    step: jax.Array
    """int32: updates made so far. Dropout keys and the learning rate are functions of it."""
    params: Any
    """The trainable parameters, float32."""
    opt_state: Any
    ema: Any
    """The exponential moving average of the trainable parameters, float32; None where the run keeps none."""
    frozen: Any = None
    """The model's other parameters, by paths of the same tree, as `storage` has them; None where all are trained."""
    carry: Any = None
    """What the model remembers of each stream of the data, float32; None without streams."""

    @property
    def model_params(self) -> Any:
        """All parameters of the model, trainable and frozen."""
        return merge_params(self.params, self.frozen)

    @property
    def weights(self) -> Any:
        """What validation and sampling use: the average where there is one."""
        return self.model_params if self.ema is None else merge_params(self.ema, self.frozen)

    @property
    def saved(self) -> "State":
        """The state without what is frozen: what a checkpoint holds."""
        return self._replace(frozen=None)


def init_state(run: ObjectiveRun, params: Any) -> State:
    """The state before the first update, of all the model's parameters. Raises ConfigError for rules of `trainable` and
    `storage` that no parameter follows."""
    params, frozen = split_params(params, run.trained)
    frozen = run.storage.store_all(frozen)
    average = None if run.ema is None else jax.tree.map(jnp.copy, params)
    carry = run.model.cache(run.batch_size, 0) if run.data.streams else None
    return State(jnp.zeros((), jnp.int32), params, run.optim.build().init(params), average, frozen, carry)
