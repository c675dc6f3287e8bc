"""A run directory becomes a model: the right weights, its tokenizer, and text in and out."""

import jax
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.decode import Sampling
from jaxgpt.runs.checkpoint.checkpoint import save
from jaxgpt.spec import ConfigError, dump_yaml
from jaxgpt.text import Char
from jaxgpt.text.tokenizers.byte import ByteCodec


@pytest.fixture
def run_dir(little, weights, tmp_path):
    """`run_dir({step: tree}, best=step, **overrides)` writes what a training run would; gives its directory."""

    def write(trees, best=None, **overrides):
        run = little(**({"model.vocab_size": 257} | overrides))
        (tmp_path / "config.yaml").write_text(dump_yaml(run))
        ByteCodec().save(tmp_path / "tokenizer")
        for step, seeds in trees.items():
            tree = {part: weights(run.model, seed) for part, seed in seeds.items()}
            save(tmp_path / "ckpt", step, tree, {}, best=step == best)
        return tmp_path

    return write


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))


def test_the_best_checkpoint_comes_first(run_dir, weights):
    out = run_dir({1: {"params": 1}, 2: {"params": 2}, 3: {"params": 3}}, best=1)
    loaded = jaxgpt.load(out)
    assert same(loaded.params, weights(loaded.model, 1))
    assert same(jaxgpt.load(out, best=False).params, weights(loaded.model, 3))


def test_without_a_best_it_is_the_last(run_dir, weights):
    loaded = jaxgpt.load(run_dir({1: {"params": 1}, 2: {"params": 2}}))
    assert same(loaded.params, weights(loaded.model, 2))


def test_the_average_is_what_is_used_where_there_is_one(run_dir, weights):
    loaded = jaxgpt.load(run_dir({1: {"params": 1, "ema": 2}}, ema=0.9))
    assert same(loaded.params, weights(loaded.model, 2))


@pytest.fixture
def loaded(run_dir):
    return jaxgpt.load(run_dir({1: {"params": 1}}))


def test_logits_are_the_models_and_bad_tokens_are_refused(loaded):
    tokens = loaded.tokenizer.encode("loud and")
    logits = loaded.logits([tokens])
    assert logits.shape == (1, 8, 257) and logits.dtype == np.float32
    want = loaded.model.build().apply({"params": loaded.params}, np.array([tokens]))
    assert_close(logits, want)
    for bad, message in [
        ([[*tokens, 1]], r"shape \(1, 9\)"),
        (tokens, r"shape \(8,\)"),
        ([[257]], "vocabulary of 257"),
        ([[-1]], "vocabulary of 257"),
        (np.empty((0, 3), int), r"shape \(0, 3\)"),
        ([[0.5]], "tokens: "),
    ]:
        with pytest.raises(ConfigError, match=message):
            loaded.logits(bad)


def test_text_is_continued_cut_at_stops_and_streamed_the_same(loaded):
    (whole,) = loaded.generate(["One"], max_new=20, temperature=1.0, seed=1)
    assert [whole] == loaded.generate(["One"], max_new=20, temperature=1.0, seed=1)
    sampling = Sampling(temperature=1.0)
    assert "".join(loaded.stream("One", 20, sampling, 1)) == whole.rstrip("\ufffd")
    word = next(letter for letter in whole[2:] if letter.isascii())
    (cut,) = loaded.generate(["One"], max_new=20, temperature=1.0, seed=1, stop=["never there at all", word])
    assert cut == whole[: whole.index(word)]


def test_what_is_generated_comes_with_its_log_probabilities(loaded):
    sampling = {"temperature": 1.0, "top_k": 50}
    (one,) = loaded.generate_with_log_probs("One", 5, seed=1, **sampling)
    assert [one.text] == loaded.generate("One", 5, seed=1, **sampling) and len(one.ids) == len(one.log_probs)
    row = loaded.rows("One")[0]
    logits = np.asarray(loaded.logits([[*row, *one.ids[:-1]]]))[0, len(row) - 1 :]
    want = logits[np.arange(len(one.ids)), one.ids] - np.log(np.exp(logits).sum(-1))
    assert_close(one.log_probs, want)


def test_the_likeliest_continuations_are_texts_with_their_scores(loaded):
    (best, second), _ = loaded.beam_search(["One", "Two"], 4, 2, width=3, penalty="gnmt", alpha=0.6)
    assert best.text != second.text and best.score >= second.score and best.log_prob < 0
    ((greedy,),) = loaded.beam_search("One", 4, width=1, alpha=0.0)
    assert [greedy.text] == loaded.generate("One", 4) and greedy.score == greedy.log_prob
    with pytest.raises(ConfigError, match="beams"):
        loaded.beam_search("One", 4, beams=3)


def test_a_vocabulary_wider_than_the_tokenizer_writes_its_letters_only(run_dir):
    out = run_dir({1: {"params": 1}}, **{"model.vocab_size": 300})
    Char().train(lambda: ["One two"]).save(out / "tokenizer")
    loaded = jaxgpt.load(out)
    (text,) = loaded.generate(["One"], max_new=20, temperature=5.0)
    assert len(text) == 20 and set(text) <= set("One two")


def test_what_is_no_run_is_refused_in_one_line(run_dir, tmp_path):
    with pytest.raises(ConfigError, match="expected a run"):
        jaxgpt.load(tmp_path / "absent")
    out = run_dir({})
    with pytest.raises(ConfigError, match="holds no checkpoint yet; train it first") as caught:
        jaxgpt.load(out)
    assert "\n" not in str(caught.value)
