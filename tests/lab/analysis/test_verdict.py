import re

import pytest

from jaxgpt.lab import analyse, execute, plan
from jaxgpt.lab.analysis.verdict import shown, verdict


def test_a_clear_effect_is_claimed_with_its_size(swept):
    assert re.fullmatch(
        r"rotary is better than learned: its validation loss is lower by 0\.\d+ nats/token "
        r"\(95% interval 0\.\d+ to 0\.\d+, 6 paired seeds, p = 0\.\d+\)\.",
        verdict(swept),
    )


def test_no_effect_says_what_could_have_been_found(planned, trainer, tmp_path):
    trainer.effect = 0.0
    execute(planned, tmp_path, runner=trainer)
    text = verdict(analyse(planned, tmp_path))
    assert text.startswith("No difference between rotary and learned was shown: ")
    assert "would have been found four times in five" in text


def test_below_six_pairs_nothing_is_claimed(experiment, run_spec, trainer, tmp_path):
    trainer.effect = -1.0
    few = plan(experiment, "position", seeds=5, spec=run_spec)
    execute(few, tmp_path, runner=trainer)
    assert verdict(analyse(few, tmp_path)).startswith("Descriptive only, with 5 paired seeds where a claim needs 6")


def test_an_arm_with_too_few_pairs_is_left_open(experiment, run_spec, trainer, tmp_path):
    planned = plan(experiment.evolve(arms=experiment.arms | {"wide": {"model.d_model": 64}}), "position", spec=run_spec)
    trainer.status = lambda run: "diverged" if run.model.d_model == 64 and run.seed else "finished"
    execute(planned, tmp_path, runner=trainer)
    text = verdict(analyse(planned, tmp_path))
    assert "rotary by" in text and "wide is left open, having fewer than 6 pairs" in text
    assert text.endswith("of 18 runs 5 diverged.")


def test_planned_contrasts_of_several_arms_are_named_and_explored_ones_are_not_claimed(factored):
    text = verdict(factored)
    assert re.match(
        r"In validation loss: wide - thin by 0\.0\d+ nats/token and rotary - learned by 0\.0\d+ nats/token are lower, "
        r"which is better; rotary x wide is no different as far as shown \(8 paired seeds, 5% level after Holm's "
        r"adjustment over 3 contrasts\)\.$",
        text,
    )
    explored = [contrast for contrast in factored.contrasts if not contrast.planned]
    assert len(explored) == 3 and not any(map(shown, explored))
    assert not any(contrast.name in text for contrast in explored)


def test_a_single_planned_contrast_says_its_name_side_and_worth(factored, complete, trainer, tmp_path):
    weights = {"learned+thin": -0.5, "rotary+thin": -0.5, "learned+wide": 0.5, "rotary+wide": 0.5}
    asked = factored.plan.experiment.evolve(contrasts={"main effect of width": weights}, better="higher")
    trainer.shift = lambda run: 0.01 * run.seed - 0.05 * (run.model.d_model == 64) * (1 + 0.1 * run.seed)
    assert re.match(
        r"main effect of width: validation loss is lower, which is worse, by 0\.0\d+ nats/token \(95% interval 0\.0\d+ "
        r"to 0\.\d+, 8 paired seeds, p",
        verdict(complete(asked, tmp_path / "one", trainer)),
    )


def test_seeds_that_are_fused_in_one_arm_and_solo_in_the_other_are_counted(planned, complete, trainer, tmp_path):
    asked = planned.experiment.evolve(seeds=8)
    trainer.mode = lambda run: "fused" if run.model.position.kind == "rotary" and run.seed < 2 else "solo"
    found = complete(asked, tmp_path / "mixed", trainer)
    assert found.contrasts[0].seeds == tuple(range(2, 8))
    assert verdict(found).endswith("; 2 seeds could not be paired, being fused in one arm and solo in another.")


def test_a_ladder_answers_with_its_laws_and_whether_they_differ(laddered):
    interval = r"95% interval [−+]0\.\d+ to [−+]0\.\d+, 6"
    law = rf"it falls as parameters\^−0\.\d+ \({interval} seeds\)"
    assert re.fullmatch(
        rf"Validation loss over 4 sizes from 49\.2k to 442k: for learned {law} and for rotary {law}; rotary is steeper "
        rf"than learned by 0\.0\d+ in the exponent \({interval} paired seeds, p < 0\.0001\)\.",
        verdict(laddered),
    )


def test_one_series_says_its_exponent_interval_seeds_and_sizes(ladder_experiment, complete, climber, tmp_path):
    arms = {arm: held for arm, held in ladder_experiment.arms.items() if arm.startswith("learned")}
    one = ladder_experiment.evolve(arms=arms, ladder={"rungs": {"learned": tuple(arms)}})
    text = verdict(complete(one, tmp_path / "one", climber))
    pattern = (
        r"Validation loss falls as parameters\^(−0\.\d+) \(95% interval (−0\.\d+) to (−0\.\d+), 6 seeds, "
        r"4 sizes from 49\.2k to 442k\)\."
    )
    power, low, high = (float(held.replace("−", "-")) for held in re.fullmatch(pattern, text).groups())
    assert low < power < high and power == pytest.approx(-0.08, rel=0.12)


def test_a_ladder_of_few_seeds_is_descriptive_only_and_lost_runs_are_counted(
    ladder_experiment, complete, climber, tmp_path
):
    climber.status = lambda run: "diverged" if run.seed == 0 and run.model.d_model == 64 else "finished"
    text = verdict(complete(ladder_experiment, tmp_path / "few", climber))
    assert text.startswith("Descriptive only, with 5 seeds where a claim needs 6: validation loss over 4 sizes")
    assert text.endswith("is left open; of 48 runs 2 diverged.")


def test_a_budget_is_named_first(budgeted):
    assert verdict(budgeted).startswith("At equal tokens: wide is better than thin")
    assert verdict(budgeted.others[0]).startswith("At equal FLOPs: ")
