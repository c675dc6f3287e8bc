"""What a run will cost, from shapes alone: nothing is allocated and nothing is compiled."""

from typing import Any

import jax

from jaxgpt.runs.batch_rows import Rows
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.train.state import init_state


def summarize(run: ObjectiveRun) -> dict[str, Any]:
    """Exact counts of a run, bytes over all devices.

    FLOPs count forward and backward, 6·N + 12·layers·heads·d_head·T, with N less what is only looked up, and what
    scores against the vocabulary by the share of tokens that get logits; what is frozen has no gradient of its own, and
    what lies below all that is trained no backward pass (`Transformer.flops_per_token`). `flops_per_token_true` counts
    only the keys that the patterns keep, `params_active` only the experts that a token meets. Activations are not in
    the memory.
    """
    run = run.completed(quiet=False)
    model = run.model
    state = jax.eval_shape(lambda params: init_state(run, params), model.shapes())
    tokens = Rows(run).span(run.steps - 1)[1] * run.row_tokens
    return {
        "spec": run.model_dump(mode="json"),
        "params": model.count(),
        "trainable_params": run.cost().trained,
        "params_active": model.count() - model.idle,
        "flops_per_token": run.flops_per_token(),
        "flops_per_token_true": run.flops_per_token(dense=False),
        "steps": run.steps,
        "tokens_per_step": run.batch_size * run.row_tokens,
        "tokens": tokens,
        "flops": tokens * run.flops_per_token(),
        "memory_params_bytes": _bytes(state.model_params),
        "memory_gradients_bytes": _bytes(state.params),
        "memory_optimizer_bytes": _bytes(state.opt_state),
        "memory_ema_bytes": _bytes(state.ema),
        "memory_state_bytes": _bytes(state) + _bytes(state.params),
    }


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
