import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxgpt.lab.analysis.costs import flops_per_token, per_run, total
from jaxgpt.spec import dump_yaml


def test_a_run_spends_its_steps_times_a_steps_cost(swept):
    spent = per_run(swept, "rotary")
    run = swept.plan.of("rotary")[0].run
    assert spent.steps == 20 and spent.tokens == 20 * run.cost().tokens and spent.seconds == 1.5
    assert spent.flops == pytest.approx(20 * run.cost().flops)


def test_what_diverged_has_spent_and_is_no_part_of_the_mean(budgeted):
    wide = [o for o in budgeted.outcomes if o.cell.arm == "wide"]
    assert total(budgeted, wide).seconds == 7 * 1.5 and per_run(budgeted, "wide").seconds == 1.5
    assert [o.status for o in wide].count("diverged") == 1


def test_nothing_finished_is_not_a_number(planned, tmp_path):
    from jaxgpt.lab import analyse

    assert all(map(math.isnan, per_run(analyse(planned, tmp_path), "rotary")))


@pytest.mark.parametrize("changed", [{}, {"optim.lr": 0.5}])
def test_what_the_data_decided_is_read_from_a_run_that_has_begun(tiny, tmp_path, changed):
    """Labels, and the weights that `balanced` stands for; another run tells nothing."""
    task = {"objective": {"kind": "classify", "class_weights": "balanced"}, "model.text_head": "task"}
    task |= {"data": {"columns": ["a"], "label": "b"}}
    decided = {"objective.class_weights": (0.5, 2.0), "model.text_head.labels": ("a", "b")}
    planned, begun = tiny(**task), tiny(**task | decided | changed)
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "config.yaml").write_text(dump_yaml(begun))
    plan = SimpleNamespace(of=lambda arm, budget: [SimpleNamespace(run=planned, path=Path("cell"))])
    flops = flops_per_token(SimpleNamespace(plan=plan, folder=tmp_path, budget=""), "arm")
    assert math.isnan(flops) if changed else flops == pytest.approx(begun.flops_per_token(dense=False))


def test_a_step_says_how_many_parameters_it_changes(tiny):
    adapter = tiny(**{"model.adapter": {"kind": "lora", "rank": 2}, "start": "base"})
    assert tiny().cost().trained == tiny().model.count()
    assert adapter.cost().trained == 2 * 2 * 2 * (16 + 16), "layers, q and v, rank, both sides of a factor"
