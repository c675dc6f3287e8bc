"""Every rule between fields is refused before anything is compiled, in one line that names field, value and remedy."""

import itertools
import re
from pathlib import Path

import jax
import pytest

from jaxgpt.runs import Run
from jaxgpt.runs.fits import check_devices
from jaxgpt.spec import ConfigError, apply_overrides, dump_yaml, load_yaml, parse
from jaxgpt.train import program as program_module

REFUSED = {
    "heads": ({"model.d_model": 18, "model.num_heads": 4}, ["d_model 18", "num_heads 4", "d_head"]),
    "kv heads": ({"model.num_heads": 4, "model.num_kv_heads": 3}, ["num_heads 4", "num_kv_heads 3"]),
    "odd rotary width": ({"model.position": "rotary", "model.d_head": 5}, ["rotary", "even d_head", "5"]),
    "window": ({"model.pattern": [{"kind": "banded", "window": 9}]}, ["window 9", "context 8"]),
    "no pattern": ({"model.pattern": []}, ["pattern", "causal"]),
    "sequence": ({"data.seq_len": 9}, ["data.seq_len 9", "model.context 8"]),
    "accumulate": ({"exec.accumulate": 3}, ["batch_size 8", "exec.accumulate 3"]),
    "large seed": ({"seed": 2**32}, ["seed", "4294967296"]),
    "larger seed": ({"seed": 2**63}, ["seed", "9223372036854775808"]),
    "ramp": ({"batch_ramp": {"start": 8, "tokens": 100}}, ["batch_ramp.start 8", "batch_size 8"]),
    "ramp step": ({"batch_ramp": {"start": 3, "tokens": 100}}, ["batch_size 8", "batch_ramp.start 3"]),
    "patience": ({"eval.patience": 2}, ["eval.patience", "eval.every"]),
    "mesh sizes": ({"exec.mesh": {"data": -1, "fsdp": -1}}, ["exec.mesh", "-1"]),
    "negative": ({"optim.lr": -1}, ["optim.lr", "-1"]),
    "not a number": ({"optim.lr": float("nan")}, ["optim.lr"]),
    "dropout": ({"model.dropout": 1.0}, ["model.dropout", "1"]),
    "typo": ({"optim.lrr": 1}, ["optim.lrr", "did you mean 'lr'"]),
    "unknown kind": ({"model.position": "rotory"}, ["model.position", "rotory", "did you mean 'rotary'"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tiny, name):
    overrides, words = REFUSED[name]
    with pytest.raises(ConfigError) as refusal:
        tiny(**overrides)
    (line,) = refusal.value.problems
    assert all(word in line for word in words), line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("config", "remedy"), [("simcse/demo", "use objective.chunk"), ("bert/base", "use exec.remat=block")]
)
def test_parts_of_a_batch_are_refused_where_rows_are_compared(config, remedy):
    path = Path(__file__).parents[2] / "configs" / f"{config}.yaml"
    with pytest.raises(ConfigError, match=f"exec.accumulate 2: objective .*{remedy}"):
        load_yaml(Run, path, ["exec.accumulate=2"])


def test_all_problems_at_once(tiny):
    with pytest.raises(ConfigError) as refusal:
        tiny(**{"model.dropout": 2, "optim.lr": 0, "steps": "many"})
    assert len(refusal.value.problems) == 3


DEVICES = {
    "batch": ({"batch_size": 12}, ["batch_size", "12", "8"]),
    "batch with accumulation": ({"batch_size": 24, "exec.accumulate": 2}, ["batch_size", "24", "16"]),
    "validation batch": ({"eval.batch_size": 4}, ["eval.batch_size", "4", "8"]),
    "mesh": ({"exec.mesh": {"data": 3}}, ["exec.mesh", "3", "8 devices"]),
    "left over": ({"exec.mesh": {"data": -1, "tensor": 3}}, ["exec.mesh", "8 devices"]),
}


@pytest.mark.parametrize("name", DEVICES)
def test_what_does_not_fit_the_mesh_is_refused_before_a_trace(tiny, name, monkeypatch):
    overrides, words = DEVICES[name]
    monkeypatch.setattr(program_module, "_program", lambda run: pytest.fail("reached the compiler"))
    with pytest.raises(ConfigError) as refusal:
        program_module.program(tiny(**overrides))
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_vocabulary_must_hold_the_tokenizers_ids(tiny):
    run = tiny(**{"model.vocab_size": 256})
    with pytest.raises(ConfigError, match=r"model\.vocab_size: 256 .* 257"):
        run.with_vocabulary(257)
    assert run.with_vocabulary(200) is run
    assert tiny(**{"model.vocab_size": None}).with_vocabulary(257).model.vocab_size == 257


def test_yaml_reads_back_to_an_equal_run(tiny):
    import yaml

    run = tiny(**{"model.position": "rotary", "optim.lr": 3e-4, "batch_ramp": None})
    assert parse(Run, yaml.safe_load(dump_yaml(run))) == run and hash(run) == hash(
        tiny(**{"model.position": "rotary", "optim.lr": 3e-4})
    )
    assert run.optim.lr == 3e-4


def test_specs_alone_touch_no_device(tiny):
    """Counting GPT-3 traces and never allocates."""
    before = len(jax.live_arrays())
    tiny(
        **{"model": {"kind": "gpt3", "num_layers": 96, "d_model": 12288, "num_heads": 96, "vocab_size": 50257}}
    ).model.shapes()
    assert len(jax.live_arrays()) <= before + 1


def test_a_warm_up_longer_than_the_run_is_told(tiny):
    (remark,) = tiny(**{"schedule.warmup": 40}).remarks()
    assert remark == ("schedule.warmup: 40 steps of warm-up in a run of 20: the learning rate ends at 0.5 of optim.lr")
    assert tiny(**{"schedule.warmup": 20}).remarks() == tiny().remarks() == []


def test_patience_needs_something_to_wait_for(tiny):
    patient = {"eval.every": 2, "eval.patience": 1}
    with pytest.raises(ConfigError, match=r"eval\.patience 1 waits .* data\.val_fraction"):
        tiny(**patient, **{"data.val_fraction": 0})
    tiny(**patient)
    tiny(**patient, **{"data.val_fraction": 0, "eval.sts": "pairs.csv"})


def test_what_does_not_divide_is_answered_with_what_does(tiny):
    with pytest.raises(ConfigError) as refusal:
        check_devices(tiny(**{"batch_size": 12, "eval.batch_size": 5, "model.num_heads": 4}), 8)
    assert refusal.value.problems == [
        "batch_size: 12 rows do not divide over exec.mesh data x fsdp x expert = 8, accumulate = 1; use 8 or 16 rows",
        "eval.batch_size: 5 rows do not divide over exec.mesh data x fsdp x expert = 8, accumulate = 1; use 8 rows",
    ]


@pytest.mark.parametrize("mesh", [{}, {"fsdp": -1}, {"data": 2, "fsdp": -1}, {"fsdp": 8, "tensor": 2}, {"expert": 2}])
def test_what_is_proposed_for_a_mesh_fits_it(tiny, mesh):
    """Rows and meshes that an error line names are taken as they stand."""
    found = 0
    for devices, rows, parts in itertools.product((8, 16, 24), (4, 6, 8, 12, 20, 36), (1, 2)):
        fields = {"batch_size": rows, "exec.accumulate": parts, "exec.mesh": mesh, "model.num_heads": 4}
        run = tiny(**fields)
        try:
            run.exec.mesh.shape(devices)
        except ConfigError:
            continue
        try:
            check_devices(run, devices)
        except ConfigError as error:
            (line,) = error.problems
            counts, meshes = re.fullmatch(r".*; use (.*) rows(?:, or (.*))?", line).groups()
            for count in counts.split(" or "):
                check_devices(tiny(**fields | {"batch_size": int(count)}), devices)
            if meshes:
                found += 1
                overrides = apply_overrides(run.model_dump(mode="json"), meshes.split(" "), Run)
                check_devices(parse(Run, overrides), devices)
    assert found
