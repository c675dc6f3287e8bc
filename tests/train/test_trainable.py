"""A run may train some of the parameters: the rest stays as it was, is saved by nobody and is there all the same."""

import numpy as np
import pytest
from close import assert_close
from flax.traverse_util import flatten_dict

from jaxgpt import run
from jaxgpt.inference.load import load
from jaxgpt.runs.checkpoint.manifest import verify
from jaxgpt.spec import ConfigError
from jaxgpt.train.fused.loop import run_fused
from jaxgpt.train.fused.program import refusal
from jaxgpt.train.program import program
from jaxgpt.train.summary import summarize

RULES = ("(^|/)bias$", "^norm_final/")


class Stop(Exception):
    """Ends a run from outside."""


def flat(tree):
    return {path: np.asarray(leaf) for path, leaf in flatten_dict(tree, sep="/").items()}


def trained(path):
    return path.endswith("/bias") or path.startswith("norm_final/")


@pytest.fixture(scope="module")
def some(upon):
    """`some(**overrides)`: a run that goes on from a finished one, whose folder is `some.base`, and trains `RULES`."""
    fields = {"trainable": list(RULES), "steps": 4, "ema": 0.5, "seed": 3, "exec.save_every": 2, "exec.log_every": 1}
    return upon({"steps": 2}, fields)


def test_only_what_a_rule_names_changes_and_is_saved(some, whole):
    before, after = flat(load(some.base).params), flat(load(whole).params)
    assert before.keys() == after.keys()
    for path in before:
        assert np.array_equal(before[path], after[path]) != trained(path), path
    leaves = verify(whole / "ckpt" / "step_00000004").leaves
    saved = {path.split("/", 1)[1] for path in leaves if path.startswith(("params/", "ema/"))}
    assert saved == {path for path in before if trained(path)}
    moments = [path for path in leaves if path.startswith("opt_state/") and "/mu/" in path]
    assert len(moments) == len(saved)


def kill(spec, out):
    """Ends it after the third step, of which the second is saved."""

    def stop(row):
        if row["step"] == 3:
            raise Stop

    with pytest.raises(Stop):
        run(spec, out, quiet=True, watch=stop)


def test_a_killed_one_goes_on_bitwise(some, whole, tmp_path):
    kill(some(), tmp_path / "run")
    assert run(some(), tmp_path / "run", quiet=True)["status"] == "finished"
    for path, leaf in flat(load(whole).params).items():
        np.testing.assert_array_equal(flat(load(tmp_path / "run").params)[path], leaf, err_msg=path)


def test_weights_that_changed_underneath_are_refused(some, little, tmp_path):
    base, out = tmp_path / "base", tmp_path / "run"
    run(little(steps=2), base, quiet=True)
    changed = some(start=str(base))
    kill(changed, out)
    run(little(steps=3), tmp_path / "other", quiet=True)
    base.rename(tmp_path / "away")
    (tmp_path / "other").rename(base)
    with pytest.raises(ConfigError, match=r"^start: has changed since .* SHA-256"):
        run(changed, out, quiet=True)
    with pytest.raises(ConfigError, match=r"^start: .*base has changed since .*run was trained .* put it back"):
        load(out)


@pytest.mark.often("some")
@pytest.mark.parametrize("rules", [list(RULES), None], ids=["some", "all"])
def test_lanes_start_from_weights_and_share_what_is_frozen(some, tmp_path, rules):
    """Each is its solo run to rounding, killed in between or not, and is loaded as one."""
    runs = [some(seed=3, trainable=rules), some(seed=4, trainable=rules)]
    outs = [tmp_path / "a", tmp_path / "b"]

    def stop(lane, row):
        if row["step"] == 3:
            raise Stop

    with pytest.raises(Stop):
        run_fused(runs, outs, quiet=True, watch=stop)
    results = run_fused(runs, outs, quiet=True)
    assert [result["status"] for result in results] == ["finished", "finished"]
    alone = run(runs[1], tmp_path / "alone", quiet=True)
    assert results[1]["train/loss"] == pytest.approx(alone["train/loss"], rel=2e-4)
    assert results[1]["val/loss"] == pytest.approx(alone["val/loss"], rel=2e-4)
    assert_close(load(outs[1]).params["norm_final"], load(tmp_path / "alone").params["norm_final"], 1e-3)
    first, second, base = (flat(load(folder).params) for folder in (*outs, some.base))
    for path in base:
        frozen = rules is not None and not trained(path)
        assert np.array_equal(first[path], base[path]) == np.array_equal(first[path], second[path]) == frozen, path


def test_lanes_share_no_weights_that_each_seed_has_of_its_own(some):
    assert refusal(some()) is None and "for every seed" in refusal(some(start="base{seed}"))
    assert refusal(some(start="base{seed}", trainable=None)) is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trainable": ["("]}, r"trainable\.0: .*'\(' is no regular expression"),
        ({"start": None}, r"trainable: what is not trained comes from other weights; name them in start"),
        ({"trainable": ["lora_", "bias$"]}, r"trainable: no parameter is named as 'lora_' says; there are "),
        ({"model.tied": False}, r"start: lm_head/weight: .* lacks it, so it must be trained"),
    ],
    ids=["no expression", "no start", "idle", "a frozen head that is new"],
)
def test_what_cannot_be_is_refused_in_one_line(some, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run(some(**overrides), tmp_path / "run", quiet=True)


def test_frozen_parameters_lie_where_trained_ones_would(some, little):
    sizes = {"exec.mesh": {"data": 1, "fsdp": 4, "tensor": 2}, "model.vocab_size": 32, "model.d_model": 16}
    every, part = (program(make(**sizes)).state for make in (little, some))
    places = lambda tree: {path: leaf.sharding for path, leaf in flatten_dict(tree, sep="/").items()}  # noqa: E731
    assert places(part.model_params) == places(every.params)
    assert {path for path in places(part.params)} == {path for path in places(every.params) if trained(path)}


def test_memory_counts_gradients_and_moments_of_what_is_trained(some, little):
    vocabulary = {"model.vocab_size": 32}
    every, part = summarize(little(**vocabulary)), summarize(some(**vocabulary, ema=None))
    assert part["params"] == every["params"] == every["trainable_params"] > part["trainable_params"] > 0
    assert part["memory_params_bytes"] == every["memory_params_bytes"]
    assert part["memory_gradients_bytes"] == 4 * part["trainable_params"]
    assert part["memory_optimizer_bytes"] < every["memory_optimizer_bytes"]
