"""From one run's weights to the next: SimCSE starts where a masked model ended, is scored on pairs, and encodes."""

import json

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt import run
from jaxgpt.evals.heat import Heat, heat
from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.inference.load import load
from jaxgpt.runs import Run
from jaxgpt.runs.fits import check_devices
from jaxgpt.spec import ConfigError, apply_overrides, parse
from jaxgpt.text import Char, WordPiece
from jaxgpt.train.initial_weights import _other_ids, _unlike
from jaxgpt.train.opening import begin, opened
from jaxgpt.train.program import hyper

pytestmark = pytest.mark.usefixtures("one_device")
WORDS = ["bandana", "banana", "an", "nab", "dab"]
MODEL = {"kind": "bert", "num_layers": 1, "d_model": 16, "num_heads": 2, "context": 12, "dropout": 0.1, "pooler": False}
DECODER = {"kind": "gpt2", "num_layers": 1, "d_model": 16, "num_heads": 2, "context": 12}
HEAD = {"kind": "contrastive", "pooling": "cls_before_pooler", "projection": "tanh"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """`home/first`: a finished run that fills in words; `home/pairs.csv`: scored pairs; `home/lines.txt`."""
    home = tmp_path_factory.mktemp("start")
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(WORDS, n)) for n in rng.integers(1, 6, 60)]
    (home / "lines.txt").write_text("".join(f"{line}\n" for line in lines))
    pairs = [(a, b, len({*a.split()} & {*b.split()})) for a, b in zip(lines[:20], lines[20:40], strict=True)]
    (home / "pairs.csv").write_text("".join(f"{a},{b},{score}\n" for a, b, score in pairs))
    run(first(home), home / "first", quiet=True)
    return home


def made(home, **fields):
    base = {
        "model": MODEL,
        "tokenizer": {"kind": "wordpiece", "vocab_size": 40},
        "data": {"corpus": str(home / "lines.txt"), "columns": 1, "seq_len": 8, "val_fraction": 0.2},
        "batch_size": 8,
        "steps": 2,
        "optim": {"kind": "adamw", "lr": 1e-2},
        "eval": {"sts": str(home / "pairs.csv")},
    }
    return parse(Run, apply_overrides(base, fields, Run))


def first(home):
    return made(home, **{"objective": {"kind": "masked_language_model"}, "eval": {}})


def second(home, **fields):
    given = {
        "tokenizer": {"kind": "wordpiece", "path": str(home / "first" / "tokenizer")},
        "objective": "info_nce",
        "start": str(home / "first"),
        "model.text_head": HEAD,
    }
    return made(home, **(given | fields))


def test_goes_on_from_the_weights_and_is_scored(home, monkeypatch):
    spec = second(home, steps=4, **{"eval.every": 2})
    result = run(spec, home / "second", quiet=True)
    assert {"val/sts", "val/uniformity", "val/loss", "best_val/sts", "aux/alignment"} <= result.keys()
    assert result["best_val/sts"] >= result["val/sts"]
    m = load(home / "second", best=False)
    found = sts(lambda texts: m.encode(texts, quiet=True), read_subsets(home / "pairs.csv")).figures
    assert_close(found["sts/all"], result["val/sts"], 1e-5)
    left = Heat.of_json(json.loads((home / "second" / "similarity.json").read_text()))
    mine = heat(lambda texts: m.encode(texts, quiet=True), read_subsets(home / "pairs.csv"))
    assert_close(left.cosines, mine.cosines, 1e-4, scale=1.0)  # four decimals are written
    old = load(home / "first").params
    tokens = np.abs(np.asarray(m.params["embed"]["token"]) - old["embed"]["token"])
    assert tokens.max() < 0.05, "four steps move a weight by 0.04 at most"
    assert m.encode(["an nab"], quiet=True).shape == (1, 16)
    again = run(spec, home / "second", quiet=True)
    assert again == result
    codec = load(home / "first").codec
    masked = made(home, objective="masked_language_model", eval={})
    frame = masked.settled(masked.prepare(True, codec)).objective.frame
    assert frame == codec.frame and all(frame), "windows of a corpus are read within [CLS] and [SEP]"


def test_what_does_not_fit_is_told_at_once(home):
    with pytest.raises(ConfigError) as told:
        run(second(home, **{"model.d_model": 8, "model.soft_cap": 3.0}), home / "third", quiet=True)
    text = str(told.value)
    assert "start: model.d_model is 16" in text and "start: model.soft_cap is None" in text
    assert "start: embed/token:" in text
    assert not list((home / "third").glob("ckpt/*"))
    with pytest.raises(ConfigError, match="start: 'nowhere' is not there"):
        run(second(home, start="nowhere"), home / "fourth", quiet=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 1}, "batch_size of 1 row has no negatives"),
        ({"objective": {"kind": "info_nce", "temperature": 0}}, "temperature"),
        ({"objective": {"kind": "info_nce", "widths": [32]}}, r"objective\.widths \[32\] exceed the vectors' 16"),
        ({"model.text_head": None}, "needs vectors of texts; set model.text_head"),
        ({"model.text_head.pooling": "men"}, "unknown pooling 'men'; did you mean 'mean'"),
        ({"model.text_head": {"kind": "contrastive", "width": 8}}, "text_head.width needs a projection"),
        ({"data.columns": None, "data.val_fraction": 0}, "say with data.columns"),
        ({"objective": "nt_xent", "data.columns": 3}, "uses 2 texts a row; data.columns has 3"),
        ({"objective": "language_model"}, "leave data.columns out"),
        (
            {"model.masked_head": False, "objective": {"kind": "info_nce", "masking": {}}},
            "needs an encoder with masked",
        ),
    ],
)
def test_bad_fields_are_told_before_anything_is_read(home, fields, message):
    with pytest.raises(ConfigError, match=message):
        second(home, **fields)


@pytest.mark.parametrize(("columns", "texts"), [(1, 2), (2, 2), (3, 3)])
def test_every_text_counts_as_tokens(home, columns, texts):
    assert second(home, **{"data.columns": columns}).row_tokens == 8 * texts
    assert first(home).row_tokens == 8


@pytest.mark.parametrize("axis", ["sequence", "pipeline"])
def test_a_mesh_that_parts_rows_is_refused(home, axis):
    with pytest.raises(ConfigError, match=rf"exec\.mesh\.{axis}: 2; objective info_nce draws dropout for whole rows"):
        check_devices(second(home, **{f"exec.mesh.{axis}": 2}), 2)


def test_a_vocabulary_without_a_mask_is_refused(home):
    spec = first(home).evolve(tokenizer="byte")
    with pytest.raises(ConfigError, match=r"objective\.masking\.mask_id: the tokenizer has no \[MASK\]"):
        run(spec, home / "fifth", quiet=True)


def test_masks_are_the_same_each_time(home):
    """A masked run repeats bitwise."""
    a, b = (run(first(home), home / name, quiet=True) for name in ("again", "again2"))
    assert a["train/loss"] == b["train/loss"] and a["val/loss"] == b["val/loss"]
    jax.tree.map(np.testing.assert_array_equal, load(home / "again").params, load(home / "first").params)


def test_a_default_written_out_is_no_difference(home):
    model = second(home).model
    written = model.evolve(feed_forward=model.feed_forward.evolve(d_ff=64), dropout=0.3)
    assert not _unlike(written, model) and not _unlike(model, written)
    assert _unlike(model.evolve(norm={"kind": "layer", "eps": 1e-5}), model) == [
        "model.norm.eps is 1e-05 in the weights' model; set it so"
    ]


@pytest.mark.slow
@pytest.mark.often("all but the table")
@pytest.mark.parametrize("trained", ["all", "all but the table"])
def test_new_marks_get_fresh_rows_and_they_alone(home, trained):
    """Drawn as the table's others are; where it is frozen the same for every seed, so that runs share it."""
    fields = {"model": DECODER, "data.columns": None, "data.seq_len": 8, "eval": {}}
    first = home / "decoder"
    run(made(home, **fields, objective={"kind": "language_model"}), first, quiet=True)
    old = load(first)
    rows = old.model.vocab_size
    marks = {"tokenizer": {"kind": "marked", "base": {"kind": "wordpiece", "path": str(first / "tokenizer")}}}
    rules = {} if trained == "all" else {"trainable": ["blocks/"]}
    tables = {}
    for seed in (0, 1):
        spec = made(home, **fields, **marks, **rules, start=str(first), seed=seed)
        spec = spec.evolve(model=spec.model.evolve(vocab_size=rows))
        with opened(spec, home / f"marks{trained}{seed}", True) as ready:
            assert ready.run.model.vocab_size == rows + 3
            state = begin(ready, jax.random.key(seed), hyper(ready.run)).state
        table = tables[seed] = np.asarray(state.model_params["embed"]["token"])
        np.testing.assert_array_equal(table[:rows], old.params["embed"]["token"])
        assert table[rows:].std(1).min() > 0.001
    assert np.array_equal(tables[0], tables[1]) is (trained != "all")
    if trained == "all":
        with pytest.raises(
            ConfigError, match=rf"start: embed/token: .* has \({rows}, 16\), the model \({rows + 1}, 16\)"
        ):
            plain = made(home, **fields, start=str(first), **{"tokenizer.path": str(first / "tokenizer")})
            run(plain.evolve(model=plain.model.evolve(vocab_size=rows + 1)), home / "larger", quiet=True)


def test_vocabularies_of_characters_are_told_apart_although_they_cannot_spell_the_probe():
    few, more = (Char().train(lambda text=text: [text]) for text in ("abc", "abcd"))
    assert not _other_ids(few, Char().train(lambda: ["cab"]))
    assert _other_ids(few, more)
    assert _other_ids(few, WordPiece(vocab_size=40).train(lambda: WORDS))
