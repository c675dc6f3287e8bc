"""The shipped configs: complete, headed, and as large and as long as the papers say."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.runs import Run
from jaxgpt.runs.batch_rows import Rows
from jaxgpt.spec import load_yaml
from jaxgpt.train.summary import summarize

FOLDER = Path(__file__).parents[1] / "configs"
NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yaml") if path.parent.name != "eval")
EXACT = {
    "gpt1/117m.yaml": 116_534_784,
    "gpt2/124m.yaml": 124_439_808,
    "gpt2/355m.yaml": 354_823_168,
    "gpt2/774m.yaml": 774_030_080,
    "gpt2/1558m.yaml": 1_557_611_200,
}
TRAINED = {  # trainable parameters, on a base of 124,439,808
    "peft/lora_124m.yaml": 12 * 2 * 2 * 8 * 768,
    "peft/qlora_124m.yaml": 12 * 64 * (4 * 2 * 768 + 2 * (768 + 4 * 768)),
    "peft/prefix_124m.yaml": 10 * 768 + (768 * 512 + 512) + (512 + 1) * 12 * 2 * 768,
    "peft/prompt_124m.yaml": 100 * 768,
    "peft/adapter_124m.yaml": 12 * 2 * (2 * 64 * 768 + 64 + 768) + (2 * 12 + 1) * 2 * 768,
    "peft/bitfit_124m.yaml": 12 * (3 + 1 + 4 + 1 + 2) * 768 + 768,
}
TASKS = ("sst2", "cola", "stsb", "arc_easy", "pairs")
PRINTED = {  # Brown et al. 2020, table 2.1: parameters, tokens a batch, learning rate
    "125m": (125e6, 0.5e6, 6.0e-4),
    "350m": (350e6, 0.5e6, 3.0e-4),
    "760m": (760e6, 0.5e6, 2.5e-4),
    "1.3b": (1.3e9, 1e6, 2.0e-4),
    "2.7b": (2.7e9, 1e6, 1.6e-4),
    "6.7b": (6.7e9, 2e6, 1.2e-4),
    "13b": (13e9, 2e6, 1.0e-4),
    "175b": (175e9, 3.2e6, 0.6e-4),
}


def load(name):
    return load_yaml(Run, FOLDER / name)


def test_every_published_size_has_a_config():
    assert {*EXACT, *(f"gpt3/{size}.yaml" for size in PRINTED)} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_loads_and_its_head_says_command_cost_and_expectation(name):
    load(name)
    head = [line.lstrip("# ") for line in (FOLDER / name).read_text().splitlines() if line.startswith("#")]
    for word in ("command", "cost", "expected"):
        (said,) = [line for line in head if line.split(" ")[0] == word]
        assert len(said.split()) > 2
    (command,) = [line for line in head if line.startswith("command")]
    assert f"jaxgpt train configs/{name}" in command


@pytest.mark.parametrize("name", EXACT)
def test_counts_are_the_published_ones(name):
    assert summarize(load(name))["params"] == EXACT[name]


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trained_is_counted_exactly_and_said(name):
    facts = summarize(load(name))
    assert facts["trainable_params"] == TRAINED[name]
    said = f"{facts['trainable_params']:,} trainable parameters of {facts['params']:,}"
    assert said in (FOLDER / name).read_text()


def test_lora_of_rank_8_trains_the_294912_parameters_that_are_known():
    assert TRAINED["peft/lora_124m.yaml"] == 294_912


@pytest.mark.parametrize("task", TASKS)
def test_gpt1_is_fine_tuned_by_the_papers_recipe(task):
    run = load(f"gpt1/{task}.yaml")
    assert (run.optim.lr, run.batch_size, run.epochs, run.objective.lm_weight) == (6.25e-5, 32, 3, 0.5)
    assert (run.schedule.kind, run.schedule.warmup, run.model.text_head.dropout) == ("linear", 0.002, 0.1)
    marked = run.model.evolve(text_head=None).count() - EXACT["gpt1/117m.yaml"]
    assert marked == run.tokenizer.marks * run.model.d_model


@pytest.mark.parametrize("size", PRINTED)
def test_gpt3_has_the_printed_size_batch_and_rate(size):
    run, (params, batch, rate) = load(f"gpt3/{size}.yaml"), PRINTED[size]
    assert abs(run.model.count() / params - 1) < 0.2
    assert abs(run.batch_size * run.seq_len / batch - 1) < 0.05
    assert run.optim.lr == rate
    head = (FOLDER / f"gpt3/{size}.yaml").read_text().splitlines()[0]
    assert f"{run.model.count():,} parameters" in head


@pytest.mark.parametrize("size", PRINTED)
def test_gpt3_counts_its_schedule_in_tokens_of_the_growing_batch(size):
    run = load(f"gpt3/{size}.yaml")
    rows = Rows(run)
    seen = lambda steps: rows.span(steps - 1)[1] * run.seq_len  # noqa: E731
    full = run.batch_size * run.seq_len
    assert abs(seen(run.steps) / 300e9 - 1) < 1e-3
    assert abs(seen(run.schedule.warmup) - 375e6) <= full
    assert abs(seen(run.schedule.decay_steps) - 260e9) <= full
    assert rows.sizes[0] * run.seq_len == 32_768
    assert 4e9 * 0.99 <= rows.span(rows.starts[-1])[0] * run.seq_len <= 12e9


def test_gpt3_warms_up_then_falls_to_a_tenth_and_stays():
    run = load("gpt3/175b.yaml")
    warmup, end = run.schedule.warmup, run.schedule.decay_steps
    with jax.default_device(jax.devices("cpu")[0]):
        share = np.asarray(run.schedule(jnp.array([0, warmup - 1, (warmup + end) // 2, end, run.steps - 1]), run.steps))
    assert_close(share, [1 / warmup, 1, 0.55, 0.1, 0.1], 1e-2)


def test_gpt3_alternates_dense_and_banded_layers():
    for size in PRINTED:
        assert [pattern.kind for pattern in load(f"gpt3/{size}.yaml").model.pattern] == ["causal", "banded"]


def test_show_allocates_nothing_even_for_175b():
    facts = summarize(load("gpt3/175b.yaml"))
    assert facts["params"] > 174e9 and facts["memory_state_bytes"] > 16 * 174e9
    assert facts["flops_per_token_true"] < facts["flops_per_token"]
