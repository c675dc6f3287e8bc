"""Arms that spend the same: steps follow from what a step takes, and every schedule ends with its budget."""

from types import SimpleNamespace

import pytest

from jaxgpt.lab import plan
from jaxgpt.lab.sweep.budget import steps
from jaxgpt.spec import ConfigError


@pytest.fixture
def runs(run_spec):
    """Arms whose steps cost 1, 2 and 1.5 of the baseline's tokens, and other FLOPs."""
    base = run_spec(steps=90)
    return {"base": base, "double": base.evolve(batch_size=128), "long": base.evolve(seq_len=96)}


def test_a_step_costs_its_tokens_and_their_flops(tiny):
    run = tiny(**{"batch_size": 4})
    tokens = 4 * run.seq_len
    assert run.cost() == (tokens, tokens * run.model.flops_per_token(run.seq_len, dense=False), run.model.count())
    banded = tiny(**{"model.pattern": {"kind": "banded", "window": 2}})
    assert banded.cost().flops < tiny().cost().flops and banded.cost().tokens == tiny().cost().tokens
    assert run.completed() is run


def test_steps_of_a_budget(runs, run_spec):
    assert steps(runs, "base", "tokens", None) == {"base": 90, "double": 45, "long": 60}
    assert steps(runs, "double", "tokens", None) == {"base": 180, "double": 90, "long": 120}
    wide = runs["base"].evolve(model=runs["base"].model.evolve(d_model=48))
    ratio = runs["base"].cost().flops / wide.cost().flops
    assert steps({"base": runs["base"], "wide": wide}, "base", "flops", None)["wide"] == round(90 * ratio) < 70
    paced = {"base": 0.1, "double": 0.15, "long": 0.3}
    assert steps(runs, "base", "seconds", lambda runs: paced) == {"base": 90, "double": 60, "long": 30}


def test_what_cannot_be_equal_is_refused(runs):
    ramped = runs | {"double": SimpleNamespace(even=False)}
    with pytest.raises(ConfigError, match="tokens cannot be equal where steps differ in cost, as those of 'double' do"):
        steps(ramped, "base", "tokens", None)
    with pytest.raises(ConfigError, match="arm 'long' gets no step for the seconds of the baseline"):
        steps(runs, "base", "seconds", lambda runs: {"base": 1.0, "double": 1.0, "long": 200.0})
    with pytest.raises(ConfigError, match="seconds a step have not been measured"):
        steps(runs, "base", "seconds", None)


def test_a_growing_batch_is_refused_before_anything_is_measured(runs):
    def pacer(runs):
        raise AssertionError("measured")

    with pytest.raises(ConfigError, match="seconds cannot be equal where steps differ"):
        steps(runs | {"long": SimpleNamespace(even=False)}, "base", "seconds", pacer)


def test_an_arm_may_not_set_the_steps_that_the_budget_decides(experiment):
    with pytest.raises(ConfigError, match=r"arms\.rotary: sets 'steps', which budget decides"):
        experiment.evolve(arms={"learned": {}, "rotary": {"steps": 9}}, budget=("tokens",))


def test_arms_that_cost_the_same_share_their_runs(experiment, run_spec):
    arms = {"learned": {}, "rotary": {"model.position": "rotary"}, "wide": {"model.d_model": 64}}
    found = plan(experiment.evolve(arms=arms, budget=("tokens", "flops")), "q", seeds=2, spec=run_spec)
    assert [(c.arm, c.run.seed, c.budgets) for c in found.cells if c.run.seed == 0] == [
        ("learned", 0, ("tokens", "flops")),
        ("rotary", 0, ("tokens", "flops")),
        ("wide", 0, ("tokens",)),
        ("wide", 0, ("flops",)),
    ]
    spent = {arm: found.of(arm, "flops")[0].run for arm in arms}
    flops = [run.steps * run.cost().flops for run in spent.values()]
    assert max(flops) < 1.1 * min(flops) and found.of("wide", "tokens")[0].run.steps == 20
    assert len({cell.path for cell in found.cells}) == len(found.cells) == 8
