"""A run that trains an adapter: the base stays bit for bit and is saved by nobody; alone, as a lane, gone on with."""

import jax
import numpy as np
import pytest
from close import assert_close, difference
from flax.traverse_util import flatten_dict
from rarely import rarely

from jaxgpt import run
from jaxgpt.inference.load import load
from jaxgpt.runs.checkpoint.manifest import verify
from jaxgpt.runs.trainable import split_params
from jaxgpt.spec import ConfigError
from jaxgpt.train.fused.loop import run_fused
from jaxgpt.train.fused.program import _program, fused_program
from jaxgpt.train.program import _program as solo_program
from jaxgpt.train.program import hyper, program


def flat(tree):
    return {path: np.asarray(leaf) for path, leaf in flatten_dict(tree, sep="/").items()}


@pytest.fixture(scope="module")
def some(upon):
    """`some(**overrides)`: a run that puts LoRA on a finished one, whose folder is `some.base`."""
    return upon({"steps": 2}, {"model.adapter": {"kind": "lora", "rank": 2}, "steps": 4, "seed": 3})


def test_only_the_adapter_changes_and_is_saved(some, whole):
    before, after = flat(load(some.base).params), flat(load(whole).params)
    own = after.keys() - before.keys()
    assert own == {f"blocks/layers/attention/{name}/adapter/{part}" for name in "qv" for part in "ab"}
    for path, leaf in before.items():
        np.testing.assert_array_equal(after[path], leaf, err_msg=path)
    assert all(np.any(after[path]) for path in own), "b has left 0"
    leaves = verify(whole / "ckpt" / "step_00000004").leaves
    assert {path.split("/", 1)[1] for path in leaves if path.startswith("params/")} == own
    assert sum(path.startswith("opt_state/") and "/mu/" in path for path in leaves) == len(own)


def test_lanes_share_the_base(some, whole, tmp_path):
    outs = [tmp_path / "a", tmp_path / "b"]
    results = run_fused([some(), some(seed=4)], outs, quiet=True)
    assert [result["status"] for result in results] == ["finished", "finished"]
    first, alone, other = (flat(load(folder).params) for folder in (outs[0], whole, outs[1]))
    assert_close(first, alone, 2e-3)
    for path in alone:
        assert ("/adapter/" in path) != np.array_equal(first[path], other[path]), path


@pytest.mark.slow
def test_a_sweep_of_ranks_rates_and_seeds_is_one_program(some, tmp_path):
    """And each lane is its solo run, to rounding."""
    drawn = [(1, 1e-2, 3), (4, 1e-2, 3), (2, 3e-2, 4)]
    runs = [
        some(
            **{"model.adapter": {"kind": "lora", "rank": rank, "room": 4, "dropout": 0.1}, "optim.lr": lr, "seed": seed}
        )
        for rank, lr, seed in drawn
    ]
    programs = _program.cache_info().misses
    outs = [tmp_path / str(i) for i in range(3)]
    results = run_fused(runs, outs, quiet=True)
    assert _program.cache_info().misses == programs + 1
    lanes = [load(folder) for folder in outs]
    compiled = fused_program(lanes[0].spec, 3)
    assert _program.cache_info().misses == programs + 1 and compiled.step._cache_size() == 1
    solo = []
    for lane, one, result, (rank, _, _) in zip(lanes, runs, results, drawn, strict=True):
        alone = run(one, tmp_path / f"alone {one.seed} {rank}", quiet=True)
        solo.append(solo_program.cache_info().misses)
        assert result["val/loss"] == pytest.approx(alone["val/loss"], rel=1e-5)
        want = flat(load(tmp_path / f"alone {one.seed} {rank}").params)
        for path, leaf in flat(lane.params).items():
            assert_close(leaf, want[path], 2e-3 if "/adapter/" in path else 0.0)
            if path.endswith("adapter/b"):
                assert np.any(leaf[:, :rank], (0, 2)).all() and not np.any(leaf[:, rank:])
    assert len({*solo}) == 1, "alone they share theirs too"


def test_bit_fit_is_a_rule_alone(some, tmp_path):
    """Biases and nothing else (Ben Zaken et al. 2022)."""
    run(some(**{"model.adapter": None, "trainable": ["bias$"], "steps": 1}), tmp_path / "run", quiet=True)
    before, after = flat(load(some.base).params), flat(load(tmp_path / "run").params)
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    assert changed and changed == {path for path in before if path.endswith("bias")}


@pytest.mark.slow
def test_another_run_goes_on_with_the_adapter(some, whole, tmp_path):
    run(some(start=str(whole), trainable=["/adapter/b$"], steps=1), tmp_path / "run", quiet=True)
    before, after = flat(load(whole).params), flat(load(tmp_path / "run").params)
    assert {path for path in before if not np.array_equal(before[path], after[path])} == {
        f"blocks/layers/attention/{name}/adapter/b" for name in "qv"
    }


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"start": None}, r"^model\.adapter: what is not trained comes from other weights; name them in start"),
        (
            {"model.adapter.targets": ["here"]},
            r"^model\.adapter\.targets: no projection is named as 'here' says; there",
        ),
        ({"trainable": ["bias$"]}, r"start: .*/adapter/a: .* lacks it, so it must be trained"),
        ({"model.adapter": None, "start": "whole"}, r"^start: model\.adapter is .* in the weights' model; set it so"),
    ],
    ids=["no start", "no such projection", "a frozen adapter that is new", "an adapter that would be lost"],
)
def test_what_cannot_be_is_refused_in_one_line(some, whole, tmp_path, overrides, message):
    overrides = {name: str(whole) if value == "whole" else value for name, value in overrides.items()}
    with pytest.raises(ConfigError, match=message):
        run(some(**overrides), tmp_path / "run", quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["scan", rarely("unroll")])
def test_dropout_in_front_of_an_adapter_is_drawn_by_row_and_layer(some, weights, loop):
    """Whichever loop runs over the layers, whatever is recomputed, and whole or in parts."""
    adapter = {"kind": "lora", "rank": 2, "dropout": 0.5}
    tokens = np.random.default_rng(0).integers(0, 32, (8, 8), dtype=np.int32)
    batch = {"tokens": tokens, "targets": tokens}
    sizes = {"model.vocab_size": 32, "model.num_layers": 2, "model.adapter": adapter}

    def stepped(dropout=0.5, **overrides):
        spec = some(**(sizes | {"model.adapter.dropout": dropout, "exec.layers": "unroll"} | overrides))
        compiled = program(spec, jax.devices()[:1])
        state, key = compiled.init(jax.random.key(0), hyper(spec)), jax.random.key(1)
        state = state._replace(frozen=split_params(weights(spec.model, std=0.1), spec.trained)[1])
        for _ in range(2):  # b moves first, then a
            state, _ = compiled.step(state, batch, key, hyper(spec))
        return jax.device_get(state.params)

    other = {"exec.layers": loop, "exec.remat": "block", "exec.accumulate": 2}
    want = stepped()
    assert_close(stepped(**other), want, 1e-3)
    a = flat(want)["blocks/layers/attention/q/adapter/a"]
    assert difference(flat(stepped(0.0))["blocks/layers/attention/q/adapter/a"], a) > 1e-2


@pytest.mark.slow
def test_lengths_begin_as_those_of_the_base_that_is_stored(some, tmp_path):
    adapter = {"kind": "lora", "rank": 2, "dora": True}
    run(
        some(**{"model.adapter": adapter, "storage": "nf4", "steps": 1, "optim.lr": 1e-12}),
        tmp_path / "run",
        quiet=True,
    )
    tree = flatten_dict(load(tmp_path / "run").params, sep="/")
    length = np.linalg.norm(tree["blocks/layers/attention/q/weight"].astype(np.float32), axis=1)
    assert_close(tree["blocks/layers/attention/q/adapter/magnitude"], length, 1e-6)
