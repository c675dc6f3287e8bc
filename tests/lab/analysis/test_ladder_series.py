import pytest

from jaxgpt.lab.analysis.ladder_series import parameters, series_of, size, steeper
from jaxgpt.models.gpt2 import GPT2


def test_a_series_recovers_the_law_that_made_its_losses(laddered):
    learned, rotary = series_of(laddered)
    assert learned.x == tuple(12 * width**2 for width in (64, 96, 128, 192))
    assert learned.seeds == tuple(range(6)) and len(learned.losses) == 6
    assert learned.law.exponent.low < 0.08 < learned.law.exponent.high
    assert rotary.law.exponent.low < 0.10 < rotary.law.exponent.high
    (apart,) = steeper((learned, rotary))
    assert apart.paired.difference.low < 0.02 < apart.paired.difference.high and apart.adjusted < 0.01


def test_only_seeds_that_finished_in_every_rung_in_one_mode_count(ladder_experiment, complete, climber, tmp_path):
    climber.status = lambda run: "diverged" if run.seed == 0 and run.model.d_model == 96 else "finished"
    climber.mode = lambda run: "fused" if run.seed == 1 and run.model.d_model == 192 else "solo"
    assert [held.seeds for held in series_of(complete(ladder_experiment, tmp_path / "some", climber))] == [
        (2, 3, 4, 5)
    ] * 2


def test_without_a_common_seed_there_is_no_law_and_a_reason(ladder_experiment, complete, climber, tmp_path):
    climber.status = lambda run: "diverged" if run.model.d_model == 64 else "finished"
    for held in series_of(complete(ladder_experiment, tmp_path / "none", climber)):
        assert held.law is None and held.why == "no seed has finished in every rung"


@pytest.mark.parametrize("axis", ["tokens", "flops"])
def test_other_axes_are_what_runs_spent(laddered, ladder_experiment, complete, climber, tmp_path, axis):
    ladder = ladder_experiment.ladder.evolve(axis=axis)
    found = complete(ladder_experiment.evolve(ladder=ladder), tmp_path / axis, climber)
    tokens = 20 * 4096
    arm, model = "learned-d64", found.plan.of("learned-d64")[0].run.model
    assert size(found, arm) == (tokens if axis == "tokens" else tokens * 6 * model.count())
    told = series_of(found)[0]
    assert told.law is None and "1 distinct sizes" in told.why if axis == "tokens" else told.law is not None


def test_parameters_leave_out_the_tables_whatever_the_vocabulary():
    model = GPT2(num_layers=2, num_heads=2, d_model=32, context=16)
    block = 12 * 32**2 + 13 * 32  # matrices; biases and norms
    assert parameters(model) == parameters(model.evolve(vocab_size=999)) == 2 * block + 2 * 32
    assert parameters(model.evolve(tied=False)) == parameters(model)
