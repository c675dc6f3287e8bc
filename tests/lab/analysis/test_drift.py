"""Drift: what should be one for all runs of a table and is not."""

import json
import re

import pytest

from jaxgpt.lab import analyse, execute, plan
from jaxgpt.lab.analysis.drift import drift

FACTS = {
    "command": ["jaxgpt", "ablate"],
    "commit": "0123456789abcdef",
    "diff": "",
    "versions": {"jax": "0.10.2", "numpy": "2.3"},
    "devices": ["cpu"],
    "flags": {},
    "corpus_sha256": "c0",
    "tokenizer_digest": "t0",
}


@pytest.fixture
def found(planned, trainer, tmp_path):
    """`found(arm, seed, **facts)`: a finished sweep in which the provenance of one run holds these facts."""
    execute(planned, tmp_path, runner=trainer)

    def change(arm="rotary", seed=3, **facts):
        for cell in planned.cells:
            held = FACTS | (facts if (cell.arm, cell.run.seed) == (arm, seed) else {})
            (tmp_path / cell.path / "provenance.json").write_text(json.dumps(held))
        return analyse(planned, tmp_path)

    return change


def test_runs_of_one_make_do_not_drift(found):
    assert drift(found()) == [] == drift(found(command=["jaxgpt", "lab", "work"]))


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (
            {"commit": "fedcba9876543210"},
            r"commit differs: 0123456789 \(11 runs, as \w+\), fedcba9876 \(1 runs, as ID\)",
        ),
        ({"diff": "- x\n+ y"}, r"diff differs: none \(11 runs, as \w+\), [0-9a-f]{10} \(1 runs, as ID\)"),
        ({"versions": {"jax": "0.11", "numpy": "2.3"}}, r"versions\.jax differs: 0\.10\.2 \(11 .*, 0\.11 \(1 .* ID\)"),
        ({"versions": {"jax": "0.10.2", "numpy": None}}, r"versions\.numpy differs: 2\.3 \(11 .*, none \(1 .* ID\)"),
        ({"devices": ["cpu", "cpu"]}, r"devices differs: \['cpu'\] \(11 .*, \['cpu', 'cpu'\] \(1 .* ID\)"),
        ({"flags": {"XLA_FLAGS": "-x"}}, r"flags\.XLA_FLAGS differs: none \(11 .*, -x \(1 .* ID\)"),
        ({"tokenizer_digest": "t1"}, r"tokenizer_digest differs within arm rotary: t0 \(5 .*, t1 \(1 .* ID\)"),
    ],
    ids=str,
)
def test_each_fact_that_differs_is_a_line_that_names_the_runs(found, planned, facts, line):
    (told,) = drift(found(**facts))
    assert re.fullmatch(line.replace("ID", planned.of("rotary")[3].id), told), told


def test_another_tokenizer_in_another_arm_may_be_the_question(planned, found, tmp_path):
    found()
    for cell in planned.of("rotary"):
        file = tmp_path / cell.path / "provenance.json"
        file.write_text(json.dumps(FACTS | {"tokenizer_digest": "t1", "corpus_sha256": "c1"}))
    assert drift(analyse(planned, tmp_path)) == []


def test_runs_of_every_budget_are_looked_at(experiment, run_spec, trainer, tmp_path):
    arms = {"learned": {}, "wide": {"model.d_model": 64}}
    both = plan(experiment.evolve(arms=arms, budget=("tokens", "flops")), "q", seeds=2, spec=run_spec)
    execute(both, tmp_path, runner=trainer)
    cell = both.of("wide", "flops")[0]
    assert cell not in both.of("wide", "tokens")
    (tmp_path / cell.path / "provenance.json").write_text(json.dumps({"commit": "fedcba9876543210"}))
    assert any(line.startswith("commit differs") for line in drift(analyse(both, tmp_path)))
