import math

import pytest

from jaxgpt.lab.analysis.costs import per_run, total


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
