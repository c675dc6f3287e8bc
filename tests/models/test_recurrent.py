"""Recurrent models: published counts, no look ahead, one state however a row is read, dropout as the papers have it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.decode import BeamSearch, Sampling, beam_search, generate
from jaxgpt.evals.pairs import Pair
from jaxgpt.inference.loaded import Loaded
from jaxgpt.models import Recurrent
from jaxgpt.runs.files.folder import read_metrics
from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.byte import ByteCodec

SIZE = {"d_model": 6, "units": (8, 6), "context": 8, "vocab_size": 20}
TOKENS = np.random.default_rng(0).integers(0, 20, (3, 8), dtype=np.int32)
CELLS = ("elman", "lstm", "gru")


def spec(**fields):
    return Recurrent.model_validate(SIZE | fields)


@pytest.fixture(scope="module")
def lstm(weights):
    """Tied, with two biases and penalties."""
    model = spec(tied=True, two_biases=True, activation_penalty=2.0, slowness_penalty=1.0)
    return model, weights(model, std=0.5)


def hidden(model, params, tokens, **how):
    return jax.jit(lambda p: model.build().apply({"params": p}, tokens, method="hidden", **how))(params)


@pytest.mark.parametrize(
    ("size", "vocabulary", "count"),
    [
        ("small", 10_000, 4_651_600),
        ("medium", 10_000, 19_775_200),
        ("large", 10_000, 66_022_000),
        ("awd", 10_000, 24_221_600),
        ("awd", 33_278, 33_556_078),
    ],
)
def test_counts_are_the_papers(size, vocabulary, count):
    """Zaremba et al. 2014, section 4.1; Merity et al. 2018 on the Penn Treebank and WikiText-2."""
    assert Recurrent(context=35, vocab_size=vocabulary, **Recurrent.sizes[size]).count() == count


def test_flops_count_each_parameter_that_a_token_meets():
    """6 each, 4 of what meets tokens that need no gradient, none of a table that is looked up."""
    model = spec()
    tables = 20 * 6
    assert model.flops_per_token(8) == 6 * (model.count() - tables)
    first = (6 + 1) * 4 * 8
    assert model.flops_per_token(8, trained=lambda path: not path.startswith("embed")) == (
        6 * (model.count() - tables) - 2 * first
    )
    head = 6 * 20 + 20
    assert model.flops_per_token(8, trained=lambda path: path.startswith("lm_head")) == (
        2 * (model.count() - tables - head) + 4 * head
    )


def test_parameters_start_evenly_and_a_gate_where_it_is_told():
    model = spec(cell={"kind": "lstm", "forget_bias": 1.0}, units=(64,), init_range=0.05)
    params = jax.jit(model.init)(jax.random.key(0))
    assert np.abs(params["layers_0"]["state_weight"]).max() == pytest.approx(0.05, rel=1e-2)
    assert np.std(params["embed"]["token"]) == pytest.approx(0.05 / 3**0.5, rel=0.2)
    gates = np.asarray(params["layers_0"]["bias"]).reshape(4, 64).mean(1)
    assert gates == pytest.approx([0, 1, 0, 0], abs=0.03) and not np.any(params["lm_head"]["bias"])


@pytest.mark.often("lstm")
@pytest.mark.parametrize("cell", CELLS)
def test_nothing_is_seen_of_what_comes(cell, weights):
    model = spec(cell=cell)
    params = weights(model, std=0.5)
    table = params["embed"]["token"][TOKENS[:1]]

    def at(x_BTD):
        embedded = {**params, "embed": {"token": x_BTD[0]}}
        tokens = jnp.arange(8)[None]
        return model.evolve(vocab_size=8).build().apply({"params": embedded}, tokens, method="hidden")[0, 4].sum()

    slopes = np.abs(jax.jit(jax.grad(at))(table)[0]).sum(-1)
    assert (slopes[:5] > 0).all() and not slopes[5:].any()


def test_documents_of_a_row_are_as_texts_of_their_own(lstm):
    model, params = lstm
    segments = np.array([[1, 1, 1, 2, 2, 2, 2, 0]] * 3)
    together = hidden(model, params, TOKENS, segments=segments)
    for own in (slice(0, 3), slice(3, 7)):
        assert_close(together[:, own], hidden(model, params, TOKENS[:, own]))


def test_texts_are_scored_as_branches_of_what_they_share(lstm):
    model, params = lstm
    m = Loaded(model, model, params, ByteCodec())
    pairs = [Pair([1, 2, 3], [4, 5]), Pair([1, 2, 3], [6]), Pair([7], [8, 9, 1]), Pair([1, 2, 3], [5, 5, 5])]
    together, alone = m.score_pairs(pairs, quiet=True), [m.score_pairs([pair], quiet=True)[0] for pair in pairs]
    assert_close([each.log_prob for each in together], [each.log_prob for each in alone])
    assert [each.greedy for each in together] == [each.greedy for each in alone]


@pytest.mark.often("lstm")
@pytest.mark.parametrize("cell", CELLS)
def test_writing_by_state_is_writing_by_whole_rows(cell, weights):
    """Prompts of uneven lengths, far beyond the context."""
    model, prompts = spec(cell=cell), [[3, 1, 4, 1, 5], [9]]
    params = weights(model, std=0.7)
    texts = generate(model, params, prompts, 12, Sampling(temperature=0.0))
    logits = jax.jit(lambda rows: model.build().apply({"params": params}, rows))
    for prompt, text in zip(prompts, texts, strict=True):
        row = np.array([prompt + text])
        assert np.argmax(logits(row)[0, len(prompt) - 1 : -1], -1).tolist() == text
    for prompt, (best, *_) in zip(prompts, beam_search(model, params, prompts, 4, BeamSearch(width=3)), strict=True):
        row = np.array([prompt + best.ids])
        log_probs = jax.nn.log_softmax(logits(row)[0, len(prompt) - 1 : -1])
        assert_close(best.log_prob, np.take_along_axis(log_probs, row[0, len(prompt) :, None], 1).sum())


def test_dropout_is_locked_and_weights_drop_alike_for_all_tokens(weights):
    """Of one token over and over, an Elman layer without a past gives the same everywhere, and so do its masks."""
    model = spec(cell="elman", units=(6,), locked=True, input_dropout=0.5)
    params = weights(model, std=0.5)
    params["layers_0"]["state_weight"] *= 0

    def trained(model, key):
        rngs = {"dropout": jax.random.key(key)}
        return model.build().apply({"params": params}, jnp.full((2, 5), 7), train=True, method="hidden", rngs=rngs)

    locked, free = trained(model, 0), trained(model.evolve(locked=False), 0)
    assert_close(locked, jnp.broadcast_to(locked[:, :1], locked.shape))
    assert np.any(locked[0] != locked[1]) and np.any(free != free[:, :1])
    words = trained(model.evolve(input_dropout=0.0, word_dropout=0.9), 1)
    assert_close(words, jnp.broadcast_to(words[:1, :1], words.shape))
    assert not np.array_equal(words, trained(model.evolve(input_dropout=0.0), 1))
    params = weights(model, std=0.5)
    drop = model.evolve(input_dropout=0.0, weight_drop=0.5)
    assert_close(trained(drop, 2)[0], trained(drop, 2)[1])  # one matrix for all rows
    assert np.any(trained(drop, 2) != trained(drop, 3))


def test_penalties_are_added_to_the_loss(lstm):
    model, params = lstm
    batch = {"tokens": TOKENS, "targets": np.roll(TOKENS, -1, 1)}
    loss = jax.jit(lambda p, key: jaxgpt.objectives.LanguageModel().loss(model.build(), p, batch, key))
    total, metrics = loss(params, jax.random.key(0))
    states = np.asarray(hidden(model, params, TOKENS))
    assert float(metrics["aux/activation"]) == pytest.approx(float(2 * np.mean(states**2)), rel=1e-5)
    assert float(metrics["aux/slowness"]) == pytest.approx(
        float(np.mean((states[:, 1:] - states[:, :-1]) ** 2)), rel=1e-5
    )
    assert_close(total, metrics["loss"] + metrics["aux/activation"] + metrics["aux/slowness"])
    assert_close(loss(params, None)[0], metrics["loss"])


MODEL = {"kind": "recurrent", "d_model": 16, "units": [16, 16], "context": 16, "vocab_size": None}


@pytest.fixture(scope="module")
def runs(little, tmp_path_factory):
    """Two trained alike on eight devices, one with state and vocabulary split over them."""
    out = tmp_path_factory.mktemp("recurrent")
    run = little(model=MODEL, **{"model.dropout": 0.1}, steps=8, optim={"kind": "adamw", "lr": 0.02}, eval={"every": 4})
    jaxgpt.run(run, out / "eight", quiet=True)
    fsdp = run.evolve(exec=run.exec.evolve(mesh={"fsdp": 4, "tensor": 2}))
    jaxgpt.run(fsdp, out / "fsdp", quiet=True)
    return run, out


def test_a_run_learns_and_is_the_same_on_any_mesh(runs):
    _, out = runs
    losses = [[row["val/loss"] for row in read_metrics(out / name) if "val/loss" in row] for name in ("eight", "fsdp")]
    assert_close(losses[1], losses[0])
    assert losses[0][-1] < losses[0][0] - 0.1


def test_a_trained_run_is_used_like_any_other(runs):
    _, out = runs
    m = jaxgpt.load(out / "eight")
    (text,) = m.generate(["The "], max_new=40)
    assert len(text) > 16
    assert m.encode(["a text", "another"], quiet=True).shape == (2, 16)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"tied": True, "units": [8]}, "model: tied scores 8 units of the last layer against vectors of d_model 16"),
        ({"units": []}, "model: units needs at least one layer, for example"),
        ({"cell": "lsmt"}, "did you mean 'lstm'"),
        ({"weight_drop": 1.0}, "model.weight_drop: "),
        ({"units": [2**21]}, "model.units.0: "),
        ({"units": [2**20] * 20}, "more than 1e+14 parameters; lower one"),
    ],
)
def test_what_cannot_be_is_one_line(little, fields, line):
    with pytest.raises(ConfigError) as caught:
        little(model=MODEL | fields)
    assert len(caught.value.problems) == 1 and line in str(caught.value)


@pytest.mark.parametrize("mesh", [{"sequence": 2}, {"pipeline": 2}])
def test_a_mesh_that_divides_what_it_has_not_is_refused(little, tmp_path, mesh):
    run = little(model=MODEL)
    run = run.evolve(exec=run.exec.evolve(mesh=mesh | {"data": 4}))
    with pytest.raises(ConfigError, match=r"exec\.mesh\.(sequence: 2; model recurrent reads|pipeline 2)"):
        jaxgpt.run(run, tmp_path / "out", quiet=True)
