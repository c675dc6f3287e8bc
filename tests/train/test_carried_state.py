"""A state that goes from batch to batch: it matters, no gradient crosses, it is saved, and it is read in one pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.objectives import LanguageModel
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.runs.files.folder import read_metrics
from jaxgpt.spec import ConfigError
from jaxgpt.train.program import program

MODEL = {"kind": "recurrent", "d_model": 12, "units": [16, 12], "context": 8, "vocab_size": None}
SGD = {"kind": "sgd", "lr": 0.5}


class Interrupt(Exception):
    pass


@pytest.fixture(scope="module")
def spec(little):
    how = {"log_every": 1, "save_every": 2}
    fields = {"model": MODEL, "data.streams": True, "steps": 7, "optim": SGD, "eval": {"every": 3}, "exec": how}
    return little(**fields, **{"model.dropout": 0.2, "data.val_tokens": 200})


@pytest.fixture(scope="module")
def whole(spec, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    jaxgpt.run(spec, out, quiet=True)
    return out


def last_state(spec, out):
    _, state, _ = restore(out / "ckpt", program(spec.with_vocabulary(257)).state)
    return state


def test_what_was_read_before_changes_the_loss_and_takes_no_gradient(weights):
    model = jaxgpt.models.Recurrent(**MODEL | {"vocab_size": 20})
    params, rng = weights(model, std=0.5), np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(0, 20, (2, 3, 8), dtype=np.int32))

    @jax.jit
    def loss(carry, part, continues):
        batch = {"tokens": tokens[part], "targets": jnp.roll(tokens[part], -1, 1), "continues": continues}
        total, metrics = LanguageModel().loss(model.build(), params, batch | {"carry": carry}, None)
        return total, metrics["carry"]

    on, anew, zero = jnp.ones(3, jnp.int32), jnp.zeros(3, jnp.int32), model.cache(3, 0)
    _, carry = loss(zero, 0, on)
    assert loss(carry, 1, on)[0] != loss(zero, 1, on)[0] == loss(carry, 1, anew)[0]
    slopes = jax.grad(lambda carry: loss(carry, 1, on)[0])(carry)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(slopes))
    together = model.build().apply({"params": params}, tokens.transpose(1, 0, 2).reshape(3, 16), method="hidden")
    second, _ = model.build().apply({"params": params}, tokens[1], carry, on, method="carry_on")
    assert_close(second, together[:, 8:])


def test_a_run_that_was_killed_goes_on_bitwise(spec, whole, tmp_path):
    def watch(row):
        if row["step"] == 5:
            raise Interrupt

    with pytest.raises(Interrupt):
        jaxgpt.run(spec, tmp_path, quiet=True, watch=watch)
    jaxgpt.run(spec, tmp_path, quiet=True)
    mine, others = (
        [{k: v for k, v in r.items() if k not in ("tokens_per_second", "mfu")} for r in read_metrics(o)]
        for o in (tmp_path, whole)
    )
    assert mine == others
    for own, other in zip(*map(jax.tree.leaves, (last_state(spec, tmp_path), last_state(spec, whole))), strict=True):
        assert np.asarray(own).tobytes() == np.asarray(other).tobytes()
    assert any(np.any(leaf) for leaf in jax.tree.leaves(last_state(spec, whole).carry))


@pytest.mark.parametrize("rows", [1, 3])
def test_validation_is_one_pass_whatever_the_length_of_a_row(spec, tmp_path, rows, monkeypatch):
    """Here of what the model reads of each stream at once."""
    first, losses = jax.devices()[:1], []
    monkeypatch.setattr(jax, "devices", lambda: first)
    for length in (1, 8):
        run = spec.evolve(steps=1, data=spec.data.evolve(seq_len=length), eval={"batch_size": rows})
        run = run.evolve(optim=run.optim.evolve(lr=1e-30))
        losses.append(jaxgpt.run(run, tmp_path / str(length), quiet=True)["val/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    m, ids = jaxgpt.load(tmp_path / "8"), spec.prepare(True).val.ids_N[:201].astype(np.int32)
    size, nll = -(-200 // rows), 0.0
    for start in range(0, 200, size):
        row = ids[None, start : min(start + size, 200) + 1]
        logits = m.model.build().apply({"params": m.params}, row[:, :-1])[0]
        nll -= float(jax.nn.log_softmax(logits)[np.arange(row.shape[1] - 1), row[0, 1:]].sum())
    assert losses[1] == pytest.approx(nll / 200, rel=1e-5)


def test_eight_devices_are_one(spec, whole, tmp_path, monkeypatch):
    first = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: first)
    jaxgpt.run(spec, tmp_path, quiet=True)
    ours, theirs = (
        [row["train/loss"] for row in read_metrics(out) if "train/loss" in row] for out in (tmp_path, whole)
    )
    assert_close(ours, theirs)
    carry = last_state(spec, tmp_path).carry
    monkeypatch.undo()
    assert_close(carry, last_state(spec, whole).carry)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"model": {"kind": "gpt2", "num_layers": 1, "d_model": 8, "num_heads": 2, "context": 8}},
            "gpt2 carries no state",
        ),
        ({"exec.accumulate": 2}, "data.streams: a batch is whole and keeps its size; leave exec.accumulate"),
        ({"data.documents": "separate"}, "streams are one corpus that is read on and on"),
    ],
)
def test_what_carries_no_state_is_one_line(little, fields, line):
    with pytest.raises(ConfigError) as caught:
        little(**{"model": MODEL, "data.streams": True} | fields)
    assert len(caught.value.problems) == 1 and line in str(caught.value)
