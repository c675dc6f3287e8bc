"""An objective is a loss, one method; what it asks of data and vocabulary is nothing unless it says so."""

import jax.numpy as jnp
import pytest

from jaxgpt.objectives import LanguageModel, Loss, Objective
from jaxgpt.spec import members
from jaxgpt.text import Data


@pytest.fixture
def energy(monkeypatch):
    """A member that no other test sees."""
    monkeypatch.setattr(Objective, "_members", dict(members("objective")))

    class Energy(Objective):
        def loss(self, model, params, batch, key):
            loss = jnp.mean(jnp.square(model.apply({"params": params}, batch["tokens"])))
            return loss, {"loss": loss, "weight": jnp.float32(batch["tokens"].size)}

    return Energy()


def test_one_method_is_enough(energy, tiny):
    run = tiny(objective=energy)
    assert energy.words is None and energy.whole_batch is None and energy.settle(None) is energy
    assert energy.problems(run.model, Data(), 1) == []
    assert run.flops_per_token() == tiny().flops_per_token()


def test_a_loss_asks_for_nothing_else():
    assert Loss.__abstractmethods__ == {"loss"} == Objective.__abstractmethods__
    assert LanguageModel.settle is Objective.settle
