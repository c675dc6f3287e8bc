"""What one of 8 devices holds under ZeRO, against the paper's formulas (Rajbhandari et al. 2020, figure 1).

The paper counts for each parameter 2 bytes of it, 2 of its gradient and K = 12 of optimiser state in mixed precision.
Here parameters are float32 and are their own master copy: 4, 4 and K = 8.
"""

import jax
import pytest

from jaxgpt.train.program import hyper, program

N, K = 8, 8


@pytest.mark.parametrize(("stage", "whole", "shared"), [(1, 4, K), (2, 4, K), (3, 0, 4 + K)])
def test_parameters_and_optimizer(tiny, stage, whole, shared):
    run = tiny(**{"model.d_model": 64, "exec.mesh": {"fsdp": N}, "exec.rules": {"kind": "zero", "stage": stage}})
    compiled = program(run)
    state = compiled.init(jax.random.key(0), hyper(run))
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves((state.params, state.opt_state)))
    assert held == pytest.approx((whole + shared / N) * run.model.count(), rel=0.05)


@pytest.mark.parametrize(("stage", "each"), [(1, 4), (2, 4 / N), (3, 4 / N)])
def test_gradients(tiny, stage, each):
    from jaxgpt.train.sharding_table import sharding_table

    run = tiny(**{"model.d_model": 64, "exec.mesh": {"fsdp": N}, "exec.rules": {"kind": "zero", "stage": stage}})
    facts = sharding_table(run)
    assert facts["per_device"]["gradients"] == pytest.approx(each * run.model.count(), rel=0.05)
    assert facts["remarks"] == []
