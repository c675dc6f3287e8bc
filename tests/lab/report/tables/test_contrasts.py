"""Second looks beside the primary interval: only where they apply, and equal to their own functions."""

import json

import pytest

from jaxgpt.lab import analyse, execute, plan
from jaxgpt.lab.number_format import p_value
from jaxgpt.lab.report import write
from jaxgpt.lab.report.tables.arms import arm_table
from jaxgpt.lab.report.tables.contrasts import contrast_table
from jaxgpt.lab.statistics.bootstrap import bca
from jaxgpt.lab.statistics.paired import below
from jaxgpt.seal import seal


def shown(found):
    columns, (row,) = contrast_table(found, list(found.contrasts))
    return dict(zip(columns, row, strict=True))


def test_few_seeds_that_all_pair_get_no_second_interval(swept):
    assert not {"95% BCa", "95% unpaired (Welch)"} & set(shown(swept))


def test_ten_pairs_get_the_bootstrap_s_interval(experiment, run_spec, trainer, tmp_path):
    planned = plan(experiment, "position", seeds=10, spec=run_spec)
    execute(planned, tmp_path, runner=trainer)
    found = analyse(planned, tmp_path)
    low, high = bca(found.contrasts[0].differences)
    told = shown(found)["95% BCa"].replace("−", "-").strip("[]").split(", ")
    assert [float(end) for end in told] == pytest.approx([low, high], abs=6e-4)
    write(found)


def test_runs_without_a_pair_still_speak_through_welch(planned, trainer, tmp_path):
    """Solo and fused runs of one seed do not pair; Welch's interval holds them all, and is the wider for it."""
    execute(planned, tmp_path, runner=trainer)
    whole = analyse(planned, tmp_path).contrasts[0].paired.difference
    result = tmp_path / planned.of("rotary")[0].path / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"mode": "fused"}))
    seal(result.parent)
    found = analyse(planned, tmp_path)
    assert found.contrasts[0].seeds == (1, 2, 3, 4, 5)
    low, high = (float(end) for end in shown(found)["95% unpaired (Welch)"].replace("−", "-").strip("[]").split(", "))
    assert low < whole.mean < high and high - low > 2 * whole.half


@pytest.mark.parametrize(("better", "word"), [("lower", "below"), ("higher", "above")])
def test_a_goal_is_tested_in_the_good_direction(experiment, run_spec, trainer, tmp_path, better, word):
    planned = plan(experiment.evolve(goal=2.05, better=better), "position", spec=run_spec)
    execute(planned, tmp_path, runner=trainer)
    found = analyse(planned, tmp_path)
    columns, rows = arm_table(found)
    for arm, row in zip(found.arms, rows, strict=True):
        p = below([o.value for o in arm.finished], 2.05)
        wanted = p if better == "lower" else 1 - p
        assert row[columns.index(f"p ({word} 2.05)")] == p_value(wanted)
